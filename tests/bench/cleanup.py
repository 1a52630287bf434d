"""Emptying an outbox of published rows, as the relay does it, against DELETE and VACUUM of a table alike.

All steps of relay.clean with a retention of nothing count: the ring turns, the slot is closed, covered, emptied.
That the rows are published is written into the newest tick, as the relay would have, to spare the publishing.
"""
import time

from .report import ratio_at_most

LIKE = """CREATE TABLE bench_rows AS SELECT * FROM relay.outbox LIMIT 0;
ALTER TABLE bench_rows ALTER COLUMN id SET DEFAULT gen_random_uuid();
ALTER TABLE bench_rows ALTER COLUMN xid SET DEFAULT pg_current_xact_id();
CREATE SEQUENCE bench_seq OWNED BY bench_rows.seq;
ALTER TABLE bench_rows ALTER COLUMN seq SET DEFAULT nextval('bench_seq');
ALTER TABLE bench_rows SET (autovacuum_enabled = off);
CREATE INDEX ON bench_rows (xid, seq);
CREATE INDEX ON bench_rows (seq)"""
KNOWN = """UPDATE relay.tick SET known_snapshot = pg_current_snapshot(), database_oid = d.oid,
    system_identifier = (SELECT system_identifier FROM pg_control_system())
FROM pg_database d WHERE d.datname = current_database()"""
CLEAN = "SELECT c.step FROM relay.stream s, relay.clean(s.uuid, interval '0') AS c WHERE s.kind = 'outbox'"


def delete(cursor):
    """The usual way."""
    cursor.execute("DELETE FROM bench_rows")
    cursor.execute("VACUUM bench_rows")


def clean(cursor):
    """The relay's way."""
    steps = []
    while not steps or steps[-1] not in ("nothing", "later"):
        cursor.execute(CLEAN)
        steps += cursor.fetchone()
    assert "empty" in steps, f"relay.clean took the steps {steps}"


def measure(place, database, remove):
    """(Seconds, bytes of WAL) of it, after a checkpoint."""
    place.postgres.query("CHECKPOINT")
    connection = place.postgres.connect(database)
    cursor = connection.cursor()
    cursor.execute("SELECT pg_current_wal_insert_lsn()")
    before, = cursor.fetchone()
    began = time.monotonic()
    remove(cursor)
    took = time.monotonic() - began
    cursor.execute("SELECT pg_current_wal_insert_lsn() - %s", (before,))
    wal, = cursor.fetchone()
    connection.close()
    return took, float(wal)


def once(place, rows):
    """((seconds, WAL) of DELETE and VACUUM, the same of the relay's cleaning)."""
    _, database = place.relay()
    for statement in LIKE.split(";"):
        place.postgres.query(statement, None, database)
    for table in ("bench_rows", "relay.outbox"):
        place.load(database, "orders", rows, 200, False, table)
    place.postgres.query(KNOWN, None, database)
    found = measure(place, database, delete), measure(place, database, clean)
    place.postgres.drop_database(database)
    return found


def run(place, report):
    """Time and WAL."""
    rows = 100_000 if place.options.quick else 1_000_000
    report.begin("cleanup", f"{rows:,} published rows of 200 B are removed",
                 "DELETE and VACUUM, in a table with the same columns and indexes")
    pairs = [once(place, rows) for _ in range(min(place.options.rounds, 2))]
    for at, name, unit, bound, scale in ((0, "time", "ms", 1 / 10, 1e3), (1, "WAL", "kB", 1 / 1000, 1e-3)):
        report.add(name, unit, [ours[at] * scale for _, ours in pairs], [plain[at] * scale for plain, _ in pairs],
                   ratio_at_most(bound))
