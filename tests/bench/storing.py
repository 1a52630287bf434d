"""Storing Kafka messages in an inbox, against INSERT ... SELECT unnest(...) ON CONFLICT DO NOTHING into a plain table.

The plain table has the same columns, the same check, the same index for taking, and a primary key on the id. It gets
the very same rows from a C program without Kafka, in transactions as large as the relay's were in the measure before,
with the relay's session settings that matter (synchronous_commit off, generic plans).
"""
import time

from live.relay import Relay

from . import usage
from .place import finish, program, wait_until
from .report import ratio_at_least, ratio_at_most

PARTITIONS = 6
KINDS = ("random", "time", "text")
MILLION = 1_000_000
SHARES = ((0, "no duplicates", 1.25), (1_000, "0.1 %", 0.9), (10_000, "1 %", 0.9), (100_000, "10 %", 0.9),
          (MILLION, "100 %", 0.9))
CLOSED = 2  # generations of ids behind the open one, as an inbox has them that runs for long
PLAIN = """
CREATE SCHEMA bench;
CREATE TABLE bench.inbox (
    seq bigint GENERATED ALWAYS AS IDENTITY, source integer NOT NULL, lane smallint NOT NULL, kafka_offset bigint NOT NULL,
    key_hash integer NOT NULL, record_time timestamptz, received_at timestamptz NOT NULL DEFAULT now(),
    id text PRIMARY KEY, key text, key_bytes bytea, type text, headers text, headers_bytes bytea, payload text,
    payload_bytes bytea, CHECK (payload::jsonb IS NOT NULL OR payload IS NULL));
CREATE INDEX ON bench.inbox (source, lane, kafka_offset)
"""
ID = {
    "random": "gen_random_uuid()",
    "time": "overlay(lpad(to_hex(1700000000000 + n / 20), 12, '0') placing '-' from 9 for 0) || '-7' || "
            "substr(gen_random_uuid()::text, 16, 21)",
    "text": "'/shops/' || n % 100 || ' order-' || n || '-placed'",
}
OLD_PLAIN = """INSERT INTO bench.inbox (source, lane, kafka_offset, key_hash, id)
    SELECT n % 6, n % 16, -n, n % 1000000, {id} FROM generate_series({first}, {last}) AS n"""
OLD_IDS = """INSERT INTO relay."inbox#id" SELECT {generation}, {id}, gen_random_uuid()
    FROM generate_series({first}, {last}) AS n"""
READ = "SELECT coalesce(sum(o.next), 0)::bigint FROM relay.source_offset o JOIN relay.source s ON s.id = o.source " \
       "WHERE s.topic = %s"


class Inbox:
    """A database with an inbox and the plain table, both with so many ids in them."""

    def __init__(self, place, kind, old):
        self.place, self.kind, self.stored, self.known, self.topic = place, kind, 0, 0, None
        self.relay, self.database = place.relay()
        self.query(PLAIN)
        self.query("UPDATE relay.subscription SET lanes = 16")
        step = -(-old // (CLOSED + 1))
        for generation in range(CLOSED + 1 if old else 0):
            first, last = generation * step + 1, min((generation + 1) * step, old)
            stored = f"(lpad(to_hex(n / 1024), 8, '0') || substr(md5({ID[kind]}), 9))::uuid" if kind == "text" else \
                f"({ID[kind]})::uuid"
            self.query(OLD_IDS.format(generation=generation, id=stored, first=first, last=last))
            self.query(OLD_PLAIN.format(id=f"({ID[kind]})::text", first=first, last=last))
        if old:
            self.query("UPDATE relay.ring SET generation = %s, generation_since = clock_timestamp()", CLOSED)
            self.query("INSERT INTO relay.closed_generation SELECT stream, generate_series(0, %s) FROM relay.ring",
                       CLOSED - 1)
        place.postgres.query("VACUUM ANALYZE", None, self.database)

    def query(self, sql, *args):
        """One statement."""
        return self.place.postgres.query(sql, args or None, self.database)

    def read(self):
        """Messages of the topic that are stored."""
        return self.query(READ, self.topic)[0][0]

    def numbers(self, rows, share):
        """Arguments of storer's rows: all are new but for the share, and those are of the first that were stored."""
        return self.kind, self.stored, rows, self.known, share

    def ours(self, rows, share):
        """Of a relay that reads them: rate, CPU, rows a transaction. From the first commit seen, not from its start."""
        place = self.place
        with place.topic(PARTITIONS) as self.topic:
            finish(program("storer", "fill", place.kafka.bootstrap, self.topic, *self.numbers(rows, share)))
            self.query("CHECKPOINT")
            config = {"outbox": {}, "inbox": {"main": {"topics": [self.topic], "waiting_rows_max": 1_000_000_000,
                                                       "waiting_bytes_max": 1 << 40}}}
            relay = Relay(place.postgres.dsn(self.database), place.kafka.bootstrap, place.folder, self.relay.name, config)
            with relay:
                first = wait_until(self.read, "the first batch", every=0.002)
                started, meter, before = time.monotonic(), place.meter(relay), batches(relay)
                done = first
                while done < rows:
                    rate = max((done - first) / (time.monotonic() - started), 1)
                    time.sleep(min(max((rows - done) / rate * 0.7, 0.003), 0.5))
                    done = self.read()
                seconds = time.monotonic() - started
                found = {name: value * 1e6 / (rows - first) for name, value in meter.read().items()}
                each = (rows - first) / max(batches(relay) - before, 1)
                found.update(rate=(rows - first) / seconds, each=each, memory=usage.memory_mb(relay.process.pid, "VmHWM"))
                relay.stop()
        return found

    def bare(self, rows, share, each):
        """The same of the plain table."""
        self.query("CHECKPOINT")
        rate, client, backend = finish(program("storer", "bare", self.place.postgres.dsn(self.database),
                                               *self.numbers(rows, share), max(round(each), 1)))
        return {"rate": rate, "relay": client, "postgres": backend}

    def pair(self, rows, share):
        """(The plain table's, ours)."""
        ours = self.ours(rows, share)
        bare = self.bare(rows, share, ours["each"])
        self.known = self.known or rows
        self.stored += rows
        return bare, ours

    def close(self):
        """Drops it."""
        self.place.postgres.drop_database(self.database)


def batches(relay):
    """Transactions committed."""
    return relay.metric("boxrelay_transactions_total", result="committed") or 0


def latency(place, rate, seconds):
    """p50, p99 and the maximum in ms from writing to Kafka until the row can be seen."""
    relay, database = place.relay()
    place.postgres.query("UPDATE relay.subscription SET lanes = 1", None, database)
    with place.topic(1) as topic:
        config = {"outbox": {}, "inbox": {"main": {"topics": [topic]}}}
        relay = Relay(place.postgres.dsn(database), place.kafka.bootstrap, place.folder, relay.name, config)
        with relay:
            relay.wait_health("/health/ready")
            wait_until(lambda: place.postgres.query("SELECT count(*) FROM relay.source", None, database)[0][0], "read")
            watcher = program("storer", "watch", place.postgres.dsn(database), rate * seconds, 2000)
            writer = program("storer", "pace", place.kafka.bootstrap, topic, rate, seconds)
            time.sleep(2)
            started, meter = time.monotonic(), place.meter(relay)
            finish(writer)
            used, span = meter.read(), time.monotonic() - started
            found = dict(zip(("p50", "p99", "max"), finish(watcher)))
            found.update({name: value * 100 / span for name, value in used.items()})
    place.postgres.drop_database(database)
    return found


def add(report, name, pairs, bound):
    """Rate, and CPU: on a machine that others use too, the second says more."""
    def both(key):
        return [ours[key] for _, ours in pairs], [bare[key] for bare, _ in pairs]
    report.add(f"{name}: rate", "rows/s", *both("rate"), ratio_at_least(bound))
    report.add(f"{name}: PostgreSQL CPU, the session's", "us/row", *both("postgres"), ratio_at_most(round(1 / bound, 2)))
    report.add(f"{name}: CPU of relay, and of the plain table's client", "us/row", *both("relay"))
    report.add(f"{name}: rows a transaction", "rows", [ours["each"] for _, ours in pairs])


def run(place, report):
    """Every kind of id and share of duplicates; then the latency."""
    quick, options = place.options.quick, place.options
    rows = 60_000 if quick else 400_000
    sizes = (0, options.stored_ids if options.stored_ids is not None else 200_000 if quick else 10 * MILLION)
    place.warm()
    report.begin("storing", f"{rows:,} messages of 200 B with two headers from {PARTITIONS} partitions, by the share of "
                 "duplicates; from the first commit seen", "INSERT ... SELECT unnest(...) ON CONFLICT DO NOTHING into a "
                 "plain table, the same rows, transactions of the same size, no Kafka")
    for old in sizes:
        for kind in KINDS:
            inbox = Inbox(place, kind, old)
            for share, title, bound in SHARES:
                pairs = [inbox.pair(rows, share) for _ in range(options.rounds)]
                add(report, f"{kind} ids, {f'{old:,} stored' if old else 'empty'}, {title}", pairs, bound)
            inbox.close()
    seconds = 5 if quick else 12
    found = [latency(place, 1000, seconds) for _ in range(options.rounds)]
    for key in ("p50", "p99", "max"):
        report.add(f"1,000 messages/s, written until seen: {key}", "ms", [one[key] for one in found])
    for part, title in (("relay", "relay"), ("postgres", "PostgreSQL, the relay's sessions")):
        report.add(f"1,000 messages/s: CPU of {title}", "% of a core", [one[part] for one in found])

