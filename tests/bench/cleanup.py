"""Emptying an outbox of published rows by TRUNCATE of its slot, against DELETE and VACUUM of a table alike."""
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


def measure(place, database, statements):
    """(Seconds, bytes of WAL) of these statements, after a checkpoint."""
    place.postgres.query("CHECKPOINT")
    connection = place.postgres.connect(database)
    cursor = connection.cursor()
    cursor.execute("SELECT pg_current_wal_insert_lsn()")
    before, = cursor.fetchone()
    began = time.monotonic()
    for statement in statements:
        cursor.execute(statement)
    took = time.monotonic() - began
    cursor.execute("SELECT pg_current_wal_insert_lsn() - %s", (before,))
    wal, = cursor.fetchone()
    connection.close()
    return took, float(wal)


def once(place, rows):
    """((seconds, WAL) of DELETE and VACUUM, the same of TRUNCATE)."""
    _, database = place.relay()
    for statement in LIKE.split(";"):
        place.postgres.query(statement, None, database)
    for table in ("bench_rows", "relay.outbox"):
        place.load(database, "orders", rows, 200, False, table)
    found = (measure(place, database, ("DELETE FROM bench_rows", "VACUUM bench_rows")),
             measure(place, database, ("SET lock_timeout = '100ms'", 'TRUNCATE relay."outbox#0"')))
    place.postgres.drop_database(database)
    return found


def run(place, report):
    """Time and WAL."""
    rows = 100_000 if place.options.quick else 1_000_000
    report.begin("cleanup", f"{rows:,} published rows of 200 B are removed",
                 "DELETE and VACUUM, in a table with the same columns and indexes")
    pairs = [once(place, rows) for _ in range(place.options.rounds)]
    for at, name, unit, bound, scale in ((0, "time", "ms", 1 / 10, 1e3), (1, "WAL", "kB", 1 / 1000, 1e-3)):
        report.add(name, unit, [ours[at] * scale for _, ours in pairs], [plain[at] * scale for plain, _ in pairs],
                   ratio_at_most(bound))
