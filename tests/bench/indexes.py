"""Which indexes an outbox table should have: what each choice costs writers, polls and the slices of a backlog.

The same heap for all: a backlog is loaded once, its database is copied for each choice and indexed anew. Slices are the
program's, but BRIN's has a near upper end and may sort, and without an index on seq it has to sort.
"""
import re
import statistics
import time

from . import polls, producers, usage
from .reading import ROWS_MAX, SETTINGS, Reader, Snapshot, statement, window
from .report import ratio_at_least

CHOICES = {
    "(xid, seq), (seq)": ("(xid, seq)", "(seq)"),
    "(xid, seq), brin (seq)": ("(xid, seq)", "USING brin (seq)"),
    "(xid, seq)": ("(xid, seq)",),
    "(xid), (seq)": ("(xid)", "(seq)"),
}
BRIN = "(xid, seq), brin (seq)"
SORTING = "; SET enable_sort = on; SET enable_bitmapscan = on; SET work_mem = '64MB'"
BACKLOG_TRANSACTION = 10_000
SLICES_SECONDS = 8


def set_indexes(place, database, choice):
    """Replaces those that the migration made."""
    for name in ("outbox#xid", "outbox#order"):
        place.postgres.query(f'DROP INDEX relay."{name}"', None, database)
    for number, definition in enumerate(CHOICES[choice]):
        place.postgres.query(f'CREATE INDEX "choice#{number}" ON relay.outbox {definition}', None, database)


def index_bytes_a_row(place, database, rows):
    """Of all partitions."""
    size, = place.postgres.query("SELECT sum(pg_relation_size(indexrelid)) FROM pg_index "
                                 "JOIN pg_class c ON c.oid = indrelid "
                                 "WHERE c.relname LIKE 'outbox#%%' AND c.relkind = 'r'", None, database)[0]
    return float(size) / rows


def brin_slice():
    """The slice with all but its range of seq hidden from the planner, which would else take (xid, seq) instead of BRIN."""
    sql = statement("slice")
    found = re.search(r"AND (xid >= .*?)\s+ORDER BY", sql, re.S)
    return sql.replace(found[0], f"AND CASE WHEN {found[1]} THEN true ELSE false END ORDER BY")


def read_backlog(place, database, choice, since, rows):
    """(CPU us and us of the first slice, CPU us a row of those that follow). Their seq is known: it has no gaps."""
    reader = Reader(place.postgres, database, SETTINGS + (SORTING if choice in (BRIN, "(xid, seq)") else ""))
    sql = brin_slice() if choice == BRIN else statement("slice")
    parameters = window(since, reader.begin())

    def take(behind):
        return reader.slice(parameters, behind, behind + ROWS_MAX if choice == BRIN else rows, sql)

    def first():
        reader.window(parameters)
        return take(0)
    _, first_cpu, first_us = reader.timed(first)
    behind, cpu, began = ROWS_MAX, 0.0, time.monotonic()
    while behind + ROWS_MAX <= min(rows, 500_000) and time.monotonic() - began < SLICES_SECONDS:
        size, used, _ = reader.timed(take, behind)
        assert size > 100 * ROWS_MAX, f"a slice of {size} bytes"
        behind, cpu = behind + ROWS_MAX, cpu + used
    reader.close()
    return first_cpu, first_us, cpu / (behind - ROWS_MAX)


def load_backlog(place, rows):
    """(A database whose outbox holds so many rows of many transactions, the snapshot before them)."""
    _, database = place.relay()
    connection = place.postgres.connect(database)
    cursor = connection.cursor()
    cursor.execute("SELECT pg_current_snapshot()::text")
    since = cursor.fetchone()[0]
    for _ in range(rows // BACKLOG_TRANSACTION):
        cursor.execute(polls.INSERT, (BACKLOG_TRANSACTION,))
    connection.close()
    place.postgres.query("CHECKPOINT")
    return database, Snapshot(since)


def write(place, database, script, seconds):
    """(tps, CPU us a transaction, WAL bytes a transaction)."""
    lsn = "SELECT pg_current_wal_insert_lsn() - '0/0'"
    before, meter = place.postgres.query(lsn)[0][0], usage.Meter(cpu=place.cluster_cpu)
    tps, count = producers.pgbench(place, database, script, seconds, "off")
    return tps, meter.read()["cpu"] * 1e6 / count, float(place.postgres.query(lsn)[0][0] - before) / count


def measure_writers(place, report):
    """Single INSERTs, each choice in turn with the plain table."""
    seconds, databases = 2 if place.options.quick else 5, {}
    for choice in CHOICES:
        relay, databases[choice] = place.relay()
        set_indexes(place, databases[choice], choice)
        for statement in producers.SETUP.split(";"):
            place.postgres.query(statement, None, databases[choice])
    script = producers.scripts("orders", relay.folder)
    pairs = {choice: [] for choice in CHOICES}
    for _ in range(place.options.rounds):
        for choice, database in databases.items():
            pairs[choice].append([write(place, database, script["insert", table], seconds)
                                  for table in ("bench.plain", "relay.outbox")])
    for choice, found in pairs.items():
        for at, unit in enumerate(("tps", "us of CPU/row", "bytes of WAL/row")):
            report.add(f"{choice}: INSERT", unit, [ours[at] for _, ours in found], [plain[at] for plain, _ in found],
                       ratio_at_least(0.93) if unit == "tps" else None)


def measure_readers(place, report):
    """Polls and slices of a backlog."""
    quick = place.options.quick
    rows = 50_000 if quick else 2_000_000
    template, since = load_backlog(place, rows)
    for choice in CHOICES:
        database = place.postgres.create_database(template=template)
        set_indexes(place, database, choice)
        report.add(f"{choice}: size", "bytes/row", [index_bytes_a_row(place, database, rows)])
        place.postgres.query("ANALYZE relay.outbox", None, database)
        first_cpu, first_us, cpu_a_row = read_backlog(place, database, choice, since, rows)
        report.add(f"{choice}: first slice of {rows:,} rows", "ms of CPU", [first_cpu / 1e3])
        report.add(f"{choice}: first slice of {rows:,} rows", "ms", [first_us / 1e3])
        report.add(f"{choice}: slices of {ROWS_MAX}", "us of CPU/row", [cpu_a_row])
        costs = [polls.polls(place, database, polls.OTHERS, 0, 30 if quick else 100)
                 for _ in range(place.options.rounds)]
        report.add(f"{choice}: empty poll, {polls.OTHERS} finishing", "us of CPU", [statistics.median(costs)])
        place.postgres.drop_database(database)


def run(place, report):
    """Writers and readers."""
    report.begin("indexes", "four choices for an outbox table",
                 "of an INSERT, a plain table with a bigint primary key; else none")
    measure_writers(place, report)
    measure_readers(place, report)
