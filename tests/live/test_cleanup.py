"""Cleaning of published rows [C1, C2, C3]: the ring of slots by itself, then turned by relays that run."""
import collections
import json
import random
import threading
import time
import uuid

import judge
import psycopg2
import pytest
from relay import Relay, wait_until
from ring import STEP, Ring
from schema import GRANTS, MIGRATIONS, Background, cluster, migrated, refused, rows, waits_for_lock  # noqa: F401

ALL_OF_IT = ["open", "turn", "cover", "empty", "nothing"]


class Outbox(Ring):
    """The ring of a database that no relay runs in: the test says what is known to be published."""

    def __init__(self, schema):
        connection = schema.connect()
        super().__init__(lambda sql, args=None: rows(connection, sql, args))
        self.schema = schema

    def publish(self, payload="v"):
        """A row in a transaction of its own."""
        self.run("SELECT relay.publish('t', 'k', %s)", (payload,))

    def begin(self, payload):
        """A row in a transaction that stays open."""
        writer = self.schema.connect(autocommit=False)
        rows(writer, "SELECT relay.publish('t', 'k', %s)", (payload,))
        return writer

    def know(self, snapshot="pg_current_snapshot()"):
        """As if a relay had published all that is done, and had stored that as known."""
        self.run(f"UPDATE relay.tick SET known_snapshot = {snapshot}, database_oid = "
                 "(SELECT oid FROM pg_database WHERE datname = current_database()) WHERE stream = %s", (self.stream,))

    def kept(self):
        """Payloads that are there."""
        return sorted(payload for (payload,) in self.run("SELECT payload FROM relay.outbox"))

    def age(self, column, slot, by):
        """Makes a time of a slot older."""
        self.run(f"UPDATE relay.slot SET {column} = {column} - %s::interval WHERE stream = %s AND slot = %s",
                 (by, self.stream, slot))


@pytest.fixture
def outbox(migrated):  # noqa: F811
    """An outbox of the test's own."""
    return Outbox(migrated)


# --- the ring by itself --------------------------------------------------------------------------


def test_a_published_slot_is_emptied_lap_after_lap(outbox):
    """[C1, C2] Ten turns, more than the ring has slots; numbers only rise, and nothing else goes."""
    last = 0
    for turn in range(10):
        outbox.publish(f"row {turn}")
        ((seq,),) = outbox.run("SELECT seq FROM relay.outbox")
        assert seq > last and seq >> 32 == turn
        last = seq
        outbox.know()
        assert outbox.clean() == ALL_OF_IT
        assert outbox.kept() == []
    assert outbox.slots()[1] == (1, 9, True, True, True)


def test_what_is_not_known_to_be_published_stays(outbox):
    """[C2] Not covered: never published, a position before the row, a position that lists its transaction as open."""
    outbox.publish("first")
    assert outbox.clean() == ["open", "turn", "nothing"]
    outbox.know("'3:3:'")
    assert outbox.clean() == ["nothing"]
    late = outbox.begin("late")  # in the second slot
    outbox.publish("second")
    outbox.know()
    late.commit()
    assert outbox.clean() == ["cover", "open", "turn", "empty", "nothing"]  # only the first slot
    assert outbox.kept() == ["late", "second"]
    outbox.know("NULL")  # a rebase
    assert outbox.clean() == ["nothing"]
    outbox.know()
    assert outbox.clean() == ["cover", "empty", "nothing"]


def test_a_copy_of_a_database_is_not_cleaned(outbox):
    """Its ticks name another one, where transaction ids meant something else."""
    outbox.publish("new")
    outbox.run("UPDATE relay.tick SET known_snapshot = '9999999:9999999:'")
    assert outbox.run("SELECT relay.known_snapshot(%s)", (outbox.stream,)) == [(None,)]
    assert outbox.clean() == ["open", "turn", "nothing"]
    assert outbox.kept() == ["new"]


def test_times_are_kept(outbox):
    """A slot is open for a quarter of the retention, and kept for all of it from when it was seen published."""
    outbox.publish("old")
    outbox.know()
    assert outbox.clean("4 hours") == ["open", "nothing"]
    outbox.age("opened_at", 0, "59 minutes")
    assert outbox.clean("4 hours") == ["nothing"]
    outbox.age("opened_at", 0, "1 minute")
    assert outbox.clean("4 hours") == ["turn", "cover", "nothing"]
    outbox.age("covered_at", 0, "239 minutes")
    assert outbox.clean("4 hours") == ["nothing"]
    assert outbox.clean("239 minutes") == ["empty", "nothing"]  # the retention was made shorter


def test_a_commit_into_a_covered_slot_starts_its_retention_again(outbox):
    """[C2] Also when the position has passed it before the next look."""
    late = outbox.begin("late")
    outbox.publish("early")
    outbox.know()
    assert outbox.clean("1 hour") == ["open", "nothing"]
    outbox.age("opened_at", 0, "1 hour")
    assert outbox.clean("1 hour") == ["turn", "cover", "nothing"]
    outbox.age("covered_at", 0, "1 hour")
    late.commit()
    outbox.know()
    assert outbox.clean("1 hour") == ["cover", "nothing"]
    assert outbox.kept() == ["early", "late"]
    outbox.age("covered_at", 0, "1 hour")
    assert outbox.clean("1 hour") == ["empty", "nothing"]


def test_what_commits_while_the_lock_is_waited_for_is_seen(outbox):
    """[C2] The look under the lock is a new statement: the row stays, whether the position has passed it or not."""
    for position in ("before it", "after it"):
        late = outbox.begin(position)
        outbox.publish("early")
        outbox.know()
        while outbox.step() != "cover":
            pass
        outbox.wait_longer()
        connection = outbox.schema.connect()
        emptying = Background(connection, STEP, (outbox.stream, "0"))
        waits_for_lock(outbox.schema, connection)
        late.commit()
        ((step, _),) = emptying.wait()
        assert step == "keep" and position in outbox.kept()
        outbox.know()
        assert outbox.clean()[-2:] == ["empty", "nothing"] and outbox.kept() == []


def test_the_sequence_is_the_truth_about_the_open_slot(outbox):
    """[C1] setval outlives a rollback: the slot that the table calls open is closed then, and nothing is turned twice."""
    outbox.publish("first")
    assert outbox.clean("1 hour") == ["open", "nothing"]
    connection = outbox.schema.connect(autocommit=False)
    assert rows(connection, STEP, (outbox.stream, "0")) == [("turn", 0)]
    connection.rollback()
    assert outbox.slots() == [(0, 0, False, False, False)]
    assert outbox.clean() == ["close", "nothing"]
    outbox.publish("second")
    assert outbox.run("SELECT seq FROM relay.outbox ORDER BY seq") == [(1,), (1 << 32,)]


def test_two_at_once_turn_once(outbox):
    """[C1] The second waits for the first, then finds the slot that was opened, and leaves it."""
    outbox.publish("first")
    assert outbox.step() == "open"
    outbox.wait_longer()
    first, second = outbox.schema.connect(autocommit=False), outbox.schema.connect()
    assert rows(first, STEP, (outbox.stream, "0")) == [("turn", 0)]
    waiting = Background(second, STEP, (outbox.stream, "0"))
    waits_for_lock(outbox.schema, second)
    outbox.publish("second")
    first.commit()
    waiting.wait()
    outbox.publish("third")
    assert outbox.run("SELECT seq - (1::bigint << 32) FROM relay.outbox ORDER BY seq OFFSET 1") == [(0,), (1,)]


def test_a_full_ring_stays_in_its_open_slot(outbox):
    """[C1] Into a slot with rows nothing turns, also not if they are of a transaction that is open or was rolled back."""
    for turn in range(7):
        if turn == 0:
            outbox.begin("rolled back").rollback()
        else:
            outbox.publish(str(turn))
        assert outbox.clean() == ["open", "turn", "nothing"]
    outbox.publish("last")
    assert outbox.clean() == ["open", "nothing"]
    outbox.publish("behind the last")
    assert outbox.run("SELECT max(seq) >> 32 FROM relay.outbox") == [(7,)]
    outbox.know()
    steps = outbox.clean()
    assert collections.Counter(steps) == {"cover": 8, "empty": 8, "turn": 1, "nothing": 1}
    assert outbox.kept() == []


def test_a_late_row_in_an_emptied_slot_is_kept_until_it_is_published(outbox):
    """A writer that drew its number before the slot was closed, and comes to insert after it was emptied."""
    outbox.publish("first")
    outbox.know()
    assert outbox.clean() == ALL_OF_IT
    outbox.run("INSERT INTO relay.outbox (seq, topic, payload) OVERRIDING SYSTEM VALUE VALUES (2, 't', 'late')")
    assert outbox.clean() == ["close", "nothing"]
    outbox.know()
    assert outbox.clean() == ["cover", "empty", "nothing"]


def test_without_anything_to_do_nothing_is_written(outbox):
    """Neither by an outbox without rows nor by one whose rows wait: a write would wake every outbox's poll."""
    def writes():
        connection = outbox.schema.connect(autocommit=False)
        assert rows(connection, STEP, (outbox.stream, "1 hour"))[0][0] == "nothing"
        ((xid,),) = rows(connection, "SELECT pg_current_xact_id_if_assigned()")
        connection.rollback()
        return xid is not None
    assert not writes()
    assert outbox.run("SELECT count(*) FROM relay.cleanup_state") == [(0,)]
    outbox.publish()
    assert outbox.clean("1 hour") == ["open", "nothing"]
    assert not writes()


def test_it_needs_a_transaction_of_its_own(outbox):
    """READ COMMITTED, and nothing written before."""
    for level in ("REPEATABLE READ", "SERIALIZABLE"):
        connection = outbox.schema.connect(autocommit=False)
        connection.set_session(isolation_level=level)
        assert f"relay.clean needs isolation level READ COMMITTED, this transaction has {level}" in refused(
            connection, STEP, (outbox.stream, "0"))
    connection = outbox.schema.connect(autocommit=False)
    rows(connection, "SELECT pg_current_xact_id()")
    assert "relay.clean needs a transaction of its own" in refused(connection, STEP, (outbox.stream, "0"))
    assert "retention is NULL or negative" in refused(outbox.schema.connect(), STEP, (outbox.stream, "-1 s"))


def holds_back(outbox, holder, name):
    """Cleaning says at once that it is held back, since when and by whom; afterwards it goes on."""
    begun = time.monotonic()
    assert outbox.step() == "later"
    assert time.monotonic() - begun < 5  # 0.1 s of waiting on a busy machine
    ((reason, by),) = outbox.report()
    assert reason == "lock" and name in by, by
    assert outbox.step() == "later"
    outbox.run("UPDATE relay.cleanup_state SET held_since = held_since - interval '1 hour'")
    assert outbox.step() == "later"
    assert outbox.run("SELECT held_for > '1 hour' AND held_for < '2 hours', size_bytes > 0, oldest_slot_age > '0' "
                      "FROM relay.cleanup") == [(True, True, True)]
    holder()
    assert outbox.clean() == ["empty", "nothing"]
    assert outbox.report() == [(None, None)]


def covered(outbox):
    """A slot that could be emptied."""
    outbox.publish()
    outbox.know()
    while outbox.step() != "cover":
        pass


def test_who_reads_or_writes_a_slot_is_named(outbox):
    """As pg_dump does, for hours; and a transaction that wrote to it and is open or prepared."""
    covered(outbox)
    reader = outbox.schema.server.connect(outbox.schema.name, autocommit=False, application_name="pg_dump")
    rows(reader, "SELECT count(*) FROM relay.outbox")
    holds_back(outbox, reader.close, f"pid {reader.info.backend_pid} (pg_dump) in a transaction since 20")
    writer = outbox.begin("open")
    covered(outbox)
    holds_back(outbox, writer.rollback, f"pid {writer.info.backend_pid} (test) in a transaction since 20")
    gid = uuid.uuid4().hex
    prepared = outbox.begin("prepared")
    covered(outbox)
    rows(prepared, f"PREPARE TRANSACTION '{gid}'")
    holds_back(outbox, lambda: outbox.run(f"ROLLBACK PREPARED '{gid}'"), f"prepared transaction '{gid}', prepared 20")


def test_without_the_right_the_age_is_said_to_be_hidden(outbox):
    """relay_owner without pg_read_all_stats still names pid and application."""
    covered(outbox)
    reader = outbox.schema.connect(autocommit=False)
    rows(reader, "SELECT count(*) FROM relay.outbox")
    outbox.run("REVOKE pg_read_all_stats FROM relay_owner")
    try:
        assert outbox.step() == "later"
        assert outbox.report() == [("lock", f"pid {reader.info.backend_pid} (test), the age of its transaction is not "
                                            "visible to the relay")]
    finally:
        outbox.run("GRANT pg_read_all_stats TO relay_owner")


def test_rows_that_wait_are_said_to_hold_it_back(outbox):
    """A closed slot that is not published: by state, by pause."""
    outbox.publish()
    assert outbox.clean()[-1] == "nothing"
    assert outbox.report() == [(None, None)]
    outbox.age("closed_at", 0, "1 minute")
    assert outbox.clean() == ["nothing"]
    assert outbox.report() == [("position", "rows wait: nothing is known to be published yet")]
    outbox.know("'3:3:'")
    outbox.run("INSERT INTO relay.stream_state (stream, state) VALUES (%s, 'stopped')", (outbox.stream,))
    assert outbox.clean() == ["nothing"]
    assert outbox.report() == [("position", "rows wait: the stream is in state stopped")]
    outbox.run("SELECT relay.pause('outbox/main', 'moving')")
    assert outbox.clean() == ["nothing"]
    assert outbox.report() == [("position", "rows wait: the stream was paused by postgres")]
    outbox.know()
    assert outbox.clean() == ["cover", "empty", "nothing"]
    assert outbox.report() == [(None, None)]


def test_a_dropped_outbox_leaves_nothing(outbox):
    """Also not for one made again under its name."""
    outbox.run("SELECT relay.create_outbox('audit')")
    audit = Ring(outbox.run, "outbox/audit")
    outbox.run("INSERT INTO relay.outbox_audit (topic) VALUES ('t')")
    assert audit.clean() == ["open", "turn", "nothing"]
    outbox.run("UPDATE relay.tick SET known_snapshot = pg_current_snapshot()")
    outbox.run("SELECT relay.drop_outbox('audit')")
    assert audit.slots() == audit.report() == []
    assert audit.clean() == ["nothing"]
    outbox.run("SELECT relay.create_outbox('audit')")
    assert Ring(outbox.run, "outbox/audit").clean() == ["nothing"]


# --- relays that run -----------------------------------------------------------------------------


class Writers:
    """Threads that write numbered rows of their own keys, in small, rolled back, late and large transactions."""

    def __init__(self, schema, topic, count=3):
        self.schema, self.topic, self.stopping, self.written = schema, topic, False, [[] for _ in range(count)]
        self.failures = []
        self._threads = [threading.Thread(target=self._run, args=(number,), daemon=True) for number in range(count)]
        for thread in self._threads:
            thread.start()

    def _run(self, number):
        try:
            connection = self.schema.server.connect(self.schema.name, user="app_login", autocommit=False)
            dice = random.Random(number)
            while not self.stopping:
                self._transact(number, connection, dice)
            connection.close()
        except psycopg2.Error as failure:
            self.failures.append(failure)

    def _transact(self, number, connection, dice):
        size = dice.choice([1, 1, 3, 50])
        payloads = [f"{number}:{len(self.written[number]) + i}" for i in range(size)]
        rows(connection, "INSERT INTO relay.outbox (topic, key, payload) SELECT %s, %s, unnest(%s::text[])",
             (self.topic, f"k{number}", payloads))
        if dice.random() < 0.2:
            connection.rollback()
            return
        time.sleep(dice.choice([0, 0, 0.01, 0.3]))  # open while others commit, and while the ring turns
        connection.commit()
        self.written[number] += payloads

    def finish(self):
        """All their rows, by key."""
        self.stopping = True
        for thread in self._threads:
            thread.join(30)
        assert not self.failures, self.failures
        return {f"k{number}": payloads for number, payloads in enumerate(self.written)}


def clean_all_the_time(schema, stopping, counts):
    """A second instance's cleaning, much faster than any relay's, and with no retention at all."""
    connection = schema.server.connect(schema.name)
    ((stream,),) = rows(connection, "SELECT uuid FROM relay.stream WHERE name = 'outbox/main'")
    try:
        while not stopping.is_set():
            ((step, _),) = rows(connection, STEP, (stream, "0"))
            counts[step] += 1
    except psycopg2.Error as failure:
        counts[str(failure)] += 1
    connection.close()


def relay_on(schema, kafka, folder, **config):
    """As the least of its rights allow."""
    config = {"outbox": {"main": {"retention": "1s", "size_alarm": "1MiB"}}, **config}
    return Relay(schema.server.dsn(schema.name, user="daemon_login"), kafka.bootstrap, folder, config=config)


@pytest.fixture
def registered(cluster):  # noqa: F811
    """A database whose ticks are its own, unlike a copy's; role of the relay as grants.sql makes it."""
    from schema import Schema
    schema = Schema(cluster, cluster.create_database())
    schema.psql(*MIGRATIONS, GRANTS)
    yield schema
    schema.close()


def test_nothing_is_lost_or_doubled_while_the_ring_turns(registered, kafka, topic, tmp_path):
    """[C1, C2, C3] A relay with a retention of a second, beside it two sessions that clean without any; in the end the
    idle outbox is empty.
    """
    name = topic(3)
    stopping, counts = threading.Event(), collections.Counter()
    with relay_on(registered, kafka, tmp_path) as relay:
        relay.wait_log("publishing the stream")
        cleaners = [threading.Thread(target=clean_all_the_time, args=(registered, stopping, counts), daemon=True)
                    for _ in range(2)]
        for cleaner in cleaners:
            cleaner.start()
        writers = Writers(registered, name)
        wait_until(lambda: counts["empty"] >= 10, "ten slots emptied")
        stopping.set()
        for cleaner in cleaners:
            cleaner.join(30)
        before = relay.metric("boxrelay_outbox_slots_emptied_total")
        wait_until(lambda: relay.metric("boxrelay_outbox_slots_emptied_total") > before + 2, "the relay's own cleaning")
        written = writers.finish()
        wait_until(lambda: registered.value("SELECT count(*) FROM relay.outbox") == 0, "the idle outbox to be empty")
        wait_until(lambda: relay.metric("boxrelay_outbox_oldest_slot_age_seconds") == 0, "a look at the empty outbox")
        assert relay.metric("boxrelay_outbox_size_bytes") < 500_000
        assert not relay.logged("could not be cleaned")
    assert counts["turn"] >= 10
    assert set(counts) <= {"nothing", "later", "keep", "open", "close", "turn", "cover", "uncover", "empty"}, counts
    found = collections.defaultdict(list)
    for record in judge.read(kafka, [name]):
        found[record.key.decode()].append(record.value.decode())
    assert found == written


def test_a_relay_says_who_holds_cleaning_back(registered, kafka, topic, tmp_path):
    """In log, metrics, /status and boxrelay status, with what to do; and that it goes on. The size's alarm as well."""
    name = topic(1)
    with relay_on(registered, kafka, tmp_path) as relay:
        relay.wait_log("publishing the stream")
        registered.run("INSERT INTO relay.outbox (topic, payload) SELECT %s, repeat('x', 1000) FROM "
                       "generate_series(1, 3000)", (name,))
        reader = registered.server.connect(registered.name, autocommit=False, application_name="pg_dump")
        rows(reader, "SELECT count(*) FROM relay.outbox")
        line = relay.wait_log("cleaning is held back")
        assert line["reason"] == "lock" and "(pg_dump) in a transaction since" in line["held_by"]
        assert "pg_terminate_backend" in line["hint"]
        alarm = relay.wait_log("larger than its size_alarm")
        assert alarm["bytes"] > alarm["size_alarm"] == 1 << 20
        assert relay.metric("boxrelay_outbox_cleanup_blocked_seconds") > 0
        assert relay.metric("boxrelay_outbox_size_alarm") == 1
        assert relay.metric("boxrelay_outbox_size_bytes") > 3_000_000
        assert relay.metric("boxrelay_outbox_oldest_slot_age_seconds") > 0
        cleanup = json.loads(relay.get("/status")[1])["streams"][0]["cleanup"]
        assert cleanup["held_reason"] == "lock" and "pg_dump" in cleanup["held_by"] and cleanup["held_seconds"] > 0
        shown = relay.command("status").stdout
        assert "outbox/main: cleaning is held back for" in shown and "(pg_dump)" in shown, shown
        assert max(len(line) for line in shown.splitlines()[:2]) <= 120
        (stream,) = [row for row in json.loads(relay.command("status", "--json").stdout) if row["stream"] == "outbox/main"]
        assert stream["cleanup_held_reason"] == "lock" and stream["size_bytes"] > 3_000_000
        reader.close()
        relay.wait_log("cleaning goes on")
        wait_until(lambda: relay.metric("boxrelay_outbox_size_alarm") == 0, "the size's alarm to end")
        assert relay.metric("boxrelay_outbox_cleanup_blocked_seconds") == 0
        assert len(relay.logged("cleaning is held back")) == len(relay.logged("larger than its")) == 1
    assert len(judge.read(kafka, [name])) == 3000


def test_a_refused_stream_keeps_its_published_rows(registered, kafka, topic, tmp_path):
    """Its operator may choose to send them again, also when their retention is over."""
    name = topic(1)
    relay = relay_on(registered, kafka, tmp_path)
    with relay:
        relay.wait_log("publishing the stream")
        registered.run("INSERT INTO relay.outbox (topic, payload) VALUES (%s, 'v')", (name,))
        reader = registered.connect(autocommit=False)
        rows(reader, "SELECT count(*) FROM relay.outbox")  # holds cleaning back meanwhile
        wait_until(lambda: registered.run("SELECT 1 FROM relay.slot WHERE covered_at IS NOT NULL"), "the slot covered")
    registered.run("UPDATE relay.tick SET uuid = gen_random_uuid(), known_uuid = gen_random_uuid() WHERE number >= 0")
    reader.rollback()
    assert registered.value("SELECT count(*) FROM relay.outbox") == 1
    with relay:
        relay.wait_log("COMMITS_LOST")
        relay.wait_log("published rows are kept while the stream is refused")
        looked = time.monotonic() + 3
        wait_until(lambda: time.monotonic() > looked, "three looks with a retention of one second")
        assert registered.value("SELECT count(*) FROM relay.outbox") == 1
        assert relay.command("rebase", "outbox/main", "--to", "start").returncode == 0
        wait_until(lambda: registered.value("SELECT count(*) FROM relay.outbox") == 0, "cleaning to go on")
    assert [record.value for record in judge.read(kafka, [name])] == [b"v", b"v"]


def test_before_the_migration_a_relay_works_and_does_not_clean(cluster, kafka, topic, tmp_path):  # noqa: F811
    """Schema version 2: said once with the file's name. It begins by itself when the migration is there."""
    from schema import Schema
    schema, name = Schema(cluster, cluster.create_database()), topic(1)
    schema.psql(*MIGRATIONS[:2], GRANTS)
    with relay_on(schema, kafka, tmp_path) as relay:
        line = relay.wait_log("not cleaned before a migration")
        assert line["migration"] == "0003_cleanup.sql" and "boxrelay migrate up" in line["hint"]
        schema.run("INSERT INTO relay.outbox (topic, payload) VALUES (%s, 'v')", (name,))
        wait_until(lambda: relay.metric("boxrelay_outbox_published_total") == 1, "the row published")
        (stream,) = json.loads(relay.command("status", "--json").stdout)
        assert stream["size_bytes"] is None and stream["cleanup_held_reason"] is None
        schema.psql(*MIGRATIONS[2:])
        refusal = relay.wait_log("could not be cleaned")
        assert refusal["error.code"] == "42501" and "grants.sql" in refusal["hint"]
        schema.psql(GRANTS)
        wait_until(lambda: relay.metric("boxrelay_outbox_slots_emptied_total") == 1, "the slot emptied")
        assert len(relay.logged("not cleaned before a migration")) == 1
    schema.close()
