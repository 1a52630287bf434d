"""A scene of the outbox path: one database, one topic, one relay name, rows with known fates, and what became of them.

    scene = Scene(postgres, kafka, topic, folder, planted="no_tick")
    relay = scene.start("after_commit=stop@1")
    scene.insert("a")
    scene.wait_stopped(relay)
    ...
    scene.finish()
    assert scene.damage() == {}

Partition 0 of the topic takes the rows, partition 1 the last one, so that its arrival shows that all is over.
"""
import collections
import os
import signal

import judge
from relay import Relay, wait_queries, wait_until

POLLS = r"pg_current_snapshot\(\)::text\s*$|pg_sequence_last_value"
INSERT = ("INSERT INTO relay.outbox (topic, key, payload, partition) VALUES (%s, 'k', %s, %s) "
          "RETURNING xid::text::bigint")
WRITERS_OF_WAL = ("walwriter", "background writer", "checkpointer")


def is_stopped(pid):
    """By SIGSTOP, as far as /proc tells."""
    with open(f"/proc/{pid}/stat", encoding="ascii") as stat:
        return stat.read().rpartition(")")[2].split()[0] == "T"


class Scene:
    """See above; close() ends it."""

    def __init__(self, postgres, kafka, topic, folder, planted=""):
        self.postgres, self.kafka, self.topic, self.folder, self.planted = postgres, kafka, topic, folder, planted
        self.database = postgres.create_database()
        self.relays, self.connections, self.written = [], [], []
        self.remembered = {}
        self.name = self._relay().migrate().name

    def _relay(self, failpoints="", via_proxy=False, **config):
        bootstrap = self.kafka.bootstrap_via_proxy if via_proxy else self.kafka.bootstrap
        env = {"BOXRELAY_FAILPOINTS": failpoints, "BOXRELAY_PLANTED": self.planted}
        name = self.relays[0].name if self.relays else None
        made = Relay(self.postgres.dsn(self.database), bootstrap, self.folder, name, config, env)
        self.relays.append(made)
        return made

    def start(self, failpoints="", wait="publishing the stream", **config):
        """A relay that runs: once it has logged `wait` (None: at once)."""
        relay = self._relay(failpoints, **config).start()
        if wait:
            relay.wait_log(wait)
        return relay

    def close(self):
        """Ends all relays and connections and drops the database."""
        for relay in self.relays:
            relay.kill()
        for connection in self.connections:
            connection.close()
        self.postgres.drop_database(self.database)

    @property
    def positions(self):
        """The positions topic as a request names it, for the proxy's rules."""
        return f"boxrelay.{self.name}.positions".encode()

    # ---- rows ----

    def query(self, sql, args=None):
        """One statement in the scene's database."""
        return self.postgres.query(sql, args, self.database)

    def begin(self):
        """A connection whose transaction ends by commit() or rollback()."""
        connection = self.postgres.connect(self.database, autocommit=False)
        self.connections.append(connection)
        return connection

    def add(self, connection, payload, partition=0):
        """Inserts a row; returns its transaction's id."""
        with connection.cursor() as cursor:
            cursor.execute(INSERT, (self.topic, payload, partition))
            return cursor.fetchone()[0]

    def commit(self, connection, payload):
        """Commits the row that was added."""
        connection.commit()
        self.written.append(payload)

    def insert(self, payload, partition=0):
        """A row in a transaction of its own, in one statement; returns the transaction's id."""
        (xid,), = self.query(INSERT, (self.topic, payload, partition))
        self.written.append(payload)
        return xid

    def insert_as(self, xid, payload):
        """A row in the transaction of that id, if PostgreSQL hands it out once more, else in a later one."""
        connection = self.begin()
        with connection.cursor() as cursor:
            while True:
                cursor.execute("SELECT pg_current_xact_id()::text::bigint")
                if cursor.fetchone()[0] >= xid:
                    break
                connection.rollback()
        self.add(connection, payload)
        self.commit(connection, payload)

    def pass_ids(self, count):
        """Transactions that do nothing but use up an id."""
        for _ in range(count):
            self.query("SELECT pg_current_xact_id()")

    def remember(self):
        """The rows that are there count from now on, even where something removes them."""
        self.remembered.update(self.query("SELECT id::text, payload FROM relay.outbox"))

    # ---- waiting ----

    def end(self, partition=0, isolation="read_committed"):
        """The end of a partition as readers see it."""
        return self.kafka.admin.offsets(self.topic, isolation)[partition]

    def wait_beyond(self, offset, isolation="read_committed", timeout=60):
        """Until partition 0 ends beyond the offset."""
        wait_until(lambda: self.end(0, isolation) > offset, f"{self.topic} beyond {offset}, {isolation}", timeout)

    def wait_polls(self, relay, count=3):
        """Until the worker has looked at PostgreSQL so often from now on, and whatever followed is done but the last."""
        wait_queries(self.query, f"boxrelay/{relay.name}/outbox/main", count, POLLS)

    @staticmethod
    def wait_stopped(relay):
        """Until a failpoint has stopped it."""
        wait_until(lambda: is_stopped(relay.process.pid), f"failpoint of {relay.log}")

    # ---- PostgreSQL's crash ----

    def hold_wal(self):
        """From now on only commits that wait for it reach the disk: an asynchronous one is lost by the crash."""
        for (pid,) in self.postgres.query("SELECT pid FROM pg_stat_activity WHERE backend_type = ANY (%s)",
                                          (list(WRITERS_OF_WAL),)):
            os.kill(pid, signal.SIGSTOP)

    def crash(self):
        """All of PostgreSQL's processes die at once; then it recovers."""
        self.postgres.kill()
        self.postgres.start()

    # ---- the outcome ----

    def finish(self, relay, timeout=30):
        """A last row, and its arrival, or the stream's stop."""
        self.insert("end", partition=1)
        before = len(relay.lines())
        wait_until(lambda: self.end(1) > 0 or self.stopped(relay, before), "the last row", timeout)

    @staticmethod
    def stopped(relay, after=0):
        """The stream stopped for an operator."""
        return any(line.get("state") == "stopped" for line in relay.lines()[after:])

    def damage(self):
        """What a read_committed consumer sees that is not what was written: {} if nothing is wrong."""
        rows = self.query("SELECT id::text, payload FROM relay.outbox")
        names = {**self.remembered, **dict(rows)}
        records = judge.read(self.kafka, [self.topic])
        seen = collections.Counter(record.header("id") for record in records)
        order = [record.value.decode() for record in records if record.partition == 0]
        right = [payload for payload in self.written if payload in order]
        found = {
            "lost": sorted(name for row, name in names.items() if row not in seen),
            "doubled": sorted(names.get(row, row) for row, times in seen.items() if times > 1),
            "phantom": sorted(record.value.decode() for record in records if record.header("id") not in names),
            "order": [] if sorted(set(order), key=order.index) == right else order,
        }
        return {kind: what for kind, what in found.items() if what}
