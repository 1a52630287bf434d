"""Taking messages in key order against a bare queue without any order: SELECT ... FOR UPDATE SKIP LOCKED and DELETE.

pgbench, prepared statements: BEGIN, take, done, COMMIT, against BEGIN, SELECT, DELETE, COMMIT. The messages are stored
by SQL as the relay stores them, so no relay and no broker take part. What should not matter to the rate (waiting and
done messages, a delayed key, an old snapshot) is measured in pairs against a small inbox without it.
"""
import os
import re
import subprocess
import time

from . import usage
from .report import ratio_at_least, ratio_at_most

PARTITIONS = 4
STORE = """
CREATE SCHEMA bench;
CREATE TABLE bench.queue (seq bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, key text, payload text);
CREATE FUNCTION bench.store(of_partition integer, count integer, keys integer) RETURNS void LANGUAGE sql AS $$
    WITH moved AS (
        UPDATE relay.source_offset o SET next = o.next + count FROM relay.source s
        WHERE s.id = o.source AND s.partition = of_partition RETURNING o.source, o.next - count AS first, s.lanes)
    INSERT INTO relay.inbox (slot, source, lane, kafka_offset, key_hash, id, key, payload)
        SELECT 0, m.source, k.hash % m.lanes, m.first + n - 1, k.hash, m.source || '/' || m.first + n, k.key,
               '{"account": 12345, "amount": 100, "currency": "EUR", "note": "a payment that was made"}'
        FROM moved m, generate_series(1, count) AS n,
             LATERAL (SELECT 'account-' || n % keys AS key, hashtext(keys || '/' || n % keys) & 2147483647 AS hash) AS k
$$;
SELECT relay.make_source(s.uuid, 'payments', p, 0, 0) FROM relay.stream s, generate_series(0, 3) AS p
    WHERE s.name = 'inbox/main'
"""
QUEUE = "INSERT INTO bench.queue (key, payload) SELECT key, payload FROM relay.inbox LIMIT %s"
PASS = """UPDATE relay.lane l SET next = (SELECT o.next FROM relay.source_offset o WHERE o.source = l.source)"""
SCRIPTS = {
    "ours": "BEGIN;\nSELECT seq, payload FROM relay.take() \\gset\nSELECT relay.done('main', :seq);\nCOMMIT;\n",
    "bare": "BEGIN;\nSELECT seq, payload FROM bench.queue ORDER BY seq LIMIT 1 FOR UPDATE SKIP LOCKED \\gset\n"
            "DELETE FROM bench.queue WHERE seq = :seq;\nCOMMIT;\n",
}


class Queue:
    """A database with messages, and the same number of rows in a bare queue."""

    def __init__(self, place, waiting, done=0):
        self.place, (self.relay, self.database) = place, place.relay()
        for statement in re.split(r";\n(?=[A-Z])", STORE):
            self.query(statement)
        if done:
            self.store(done)
            self.query(PASS)
        self.store(waiting)
        self.query(QUEUE, waiting)
        place.postgres.query("VACUUM ANALYZE", None, self.database)

    def query(self, sql, *args):
        """One statement."""
        return self.place.postgres.query(sql, args or None, self.database)

    def store(self, count):
        """Messages of 5,000 keys, in all partitions."""
        for partition in range(PARTITIONS):
            self.query("SELECT bench.store(%s, %s, 5000)", partition, count // PARTITIONS)

    def rate(self, kind, workers, seconds):
        """(Messages a second, CPU of all of PostgreSQL in us for one); there are always some left."""
        self.place.postgres.query("CHECKPOINT")
        script = self.relay.folder / f"taking-{kind}.sql"
        script.write_text(SCRIPTS[kind])
        server = ["-h", "127.0.0.1", "-p", str(self.place.postgres.port), "-U", "postgres"]
        load = ["-n", "-M", "prepared", "-c", str(workers), "-j", "1", "-T", str(seconds), "-f", script]
        meter = usage.Meter(cluster=self.place.cluster_cpu)
        done = subprocess.run(["pgbench", *load, *server, self.database], env=os.environ, capture_output=True, text=True,
                              check=False)
        if done.returncode:
            raise RuntimeError(done.stderr)
        cpu = meter.read()["cluster"]
        count = int(re.search(r"actually processed: (\d+)", done.stdout)[1])
        return float(re.search(r"tps = ([\d.]+) \(without", done.stdout)[1]), cpu * 1e6 / count

    def delay(self, count):
        """One key is delayed, in front of so many of its messages; seconds until a take has passed them all."""
        self.query("SELECT bench.store(0, %s, 1)", count)
        connection = self.place.postgres.connect(self.database, autocommit=False)
        cursor = connection.cursor()

        def call(sql, *args):
            cursor.execute(sql, args)
            return cursor.fetchall()
        while not call("SELECT relay.retry('main', seq, '1 hour') FROM relay.take() WHERE key = 'account-0'"):
            connection.rollback()
        connection.commit()
        began = time.monotonic()
        while call("SELECT count(*) < %s FROM relay.held", count)[0][0] and time.monotonic() - began < 600:
            call("SELECT relay.done('main', seq) FROM relay.take()")
            connection.commit()
        connection.close()
        return time.monotonic() - began

    def close(self):
        """Drops it."""
        self.place.postgres.drop_database(self.database)


def delayed(place, waiting, count, many):
    """A small inbox, (seconds), with the key delayed."""
    queue = Queue(place, waiting)
    # The hot messages come first, else all that waits would have to be taken before.
    queue.query(PASS)
    seconds = queue.delay(count)
    queue.store(many)
    queue.query("VACUUM ANALYZE")
    return queue, seconds


def add(report, name, pairs):
    """Rate and CPU: on a machine that others use too, the second says more."""
    for at, what, unit, target in ((0, "rate", "messages/s", ratio_at_least(0.8)),
                                   (1, "PostgreSQL CPU", "us/message", ratio_at_most(1.25))):
        report.add(f"{name}: {what}", unit, [found[at] for _, found in pairs], [found[at] for found, _ in pairs], target)


def run(place, report):
    """Rates, and what they should not depend on."""
    quick, rounds = place.options.quick, place.options.rounds
    seconds = 2 if quick else 8
    waiting, done, hot = (40_000, 100_000, 5_000) if quick else (1_000_000, 10_000_000, 200_000)
    small = 40_000 if quick else 400_000
    report.begin("taking", f"take and done, one message a transaction, {PARTITIONS} partitions of 16 lanes, pairs of {seconds} s",
                 "SELECT ... FOR UPDATE SKIP LOCKED and DELETE, without order; for what should not matter: a small inbox")
    plain = Queue(place, small * 2)
    for workers in (1, 4, 16):
        pairs = [(plain.rate("bare", workers, seconds), plain.rate("ours", workers, seconds)) for _ in range(rounds)]
        add(report, f"{workers} workers", pairs)

    def flat(name, other):
        pairs = []
        for _ in range(rounds):
            plain.store(small // 4)
            other.store(small // 4)
            pairs.append((plain.rate("ours", 4, seconds), other.rate("ours", 4, seconds)))
        add(report, f"4 workers, {name}", pairs)
        other.close()
    flat(f"{waiting:,} waiting, {done:,} done", Queue(place, waiting, done))
    other, passed = delayed(place, small // 4, hot, small)
    report.add(f"one key delayed in front of {hot:,}: until passed", "s", [passed])
    flat("the same afterwards", other)
    other = Queue(place, small * 2)
    holder = place.postgres.connect(other.database, autocommit=False)
    holder.set_session(isolation_level="REPEATABLE READ")
    holder.cursor().execute("SELECT count(*) FROM relay.lane")
    other.rate("ours", 4, seconds * 2)
    flat("a snapshot held for long", other)
    holder.close()
    plain.close()
