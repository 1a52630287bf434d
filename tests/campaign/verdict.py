"""The judgement: the tables against what an independent read_committed consumer reads.

The table is the truth for what was committed: what a crash took back from an asynchronous commit is
not in it, and must not be in Kafka either. The writers' logs are compared with the table as well, so
that a campaign whose tables lie is noticed.
"""
import bisect
import json
import re
from collections import Counter, defaultdict

import judge

from . import workload

OWN_HEADERS = ("id", "type", "relay")
ROWS = """
SELECT uuid_send(id), topic, coalesce(key_bytes, convert_to(key, 'UTF8')),
       encode(sha256(coalesce(payload_bytes, convert_to(payload, 'UTF8'))), 'hex'), type, headers, partition,
       (extract(epoch FROM created_at) * 1000)::bigint
FROM {table}"""
EXAMPLES_MAX = 10


class Verdict:
    """Counts by what is wrong, and some examples of each."""

    def __init__(self):
        self.counts = Counter({name: 0 for name in (
            "lost", "duplicated", "phantom", "out_of_order", "unequal", "wrong_partition", "writers_disagree")})
        self.examples = defaultdict(list)
        self.rows = self.records = 0
        self.longest_gap_ms = self.taken_back = 0

    def add(self, what, example):
        """One more."""
        self.counts[what] += 1
        if len(self.examples[what]) < EXAMPLES_MAX:
            self.examples[what].append(str(example))

    @property
    def good(self):
        """Nothing wrong, and something was there to judge."""
        return self.rows > 0 and not any(self.counts.values())


class Row:
    """A row of a table, and where it was seen."""
    __slots__ = ("outbox", "topic", "key", "value", "type", "headers", "partition", "written_ms", "seen")

    def __init__(self, outbox, columns):
        self.outbox, self.seen = outbox, None
        self.topic, self.key, self.value, self.type, self.headers, self.partition, self.written_ms = columns
        self.key = None if self.key is None else bytes(self.key)


def read_rows(postgres, database, table, outbox, into):
    """All rows of one outbox, by id, with constant memory in PostgreSQL's client."""
    connection = postgres.connect(database, autocommit=False)
    try:
        with connection.cursor("rows") as cursor:
            cursor.itersize = 20_000
            cursor.execute(ROWS.format(table=table))
            for identity, *columns in cursor:
                into[bytes(identity)] = Row(outbox, columns)
    finally:
        connection.close()


def check_record(verdict, row, record):
    """Bytes, headers and partition."""
    if (record.topic, record.key, record.value) != (row.topic, row.key, row.value):
        verdict.add("unequal", f"{record} is not topic {row.topic} key {row.key!r} value {row.value}")
    own = json.loads(row.headers) if row.headers else {}
    wanted = [(name, value.encode()) for name, value in own.items() if name not in OWN_HEADERS]
    wanted.append(("id", record.headers[len(wanted)][1] if len(record.headers) > len(wanted) else None))
    if row.type is not None:
        wanted.append(("type", row.type.encode()))
    *others, last = record.headers
    if others != wanted or last[0] != "relay" or not re.fullmatch(rb"[0-9a-f]{8}/[0-9]+", last[1]):
        verdict.add("unequal", f"headers {record.headers} are not {wanted} and relay")
    expected = row.partition if row.partition is not None else record.java_partition
    if expected is not None and record.partition != expected:
        verdict.add("wrong_partition", f"{record} belongs to {expected}")


def check_order(verdict, row, record, last):
    """A key's numbers rise along its partition."""
    number = record.header("n")
    if number is None:
        return
    place = (row.outbox, record.topic, record.partition, record.key)
    if int(number) <= last.get(place, 0):
        verdict.add("out_of_order", f"{record}: {number} after {last[place]}")
    last[place] = int(number)


def identity_of(record):
    """The event id as 16 bytes, or None."""
    text = (record.header("id") or "").replace("-", "")
    return bytes.fromhex(text) if len(text) == 32 else None


def compare(verdict, rows, records):
    """Every row once, nothing else."""
    last, times = {}, []
    for record in records:
        verdict.records += 1
        times.append(record.timestamp)
        row = rows.get(identity_of(record))
        if row is None:
            verdict.add("phantom", record)
            continue
        if row.seen is not None:
            verdict.add("duplicated", f"{record}, first at {row.seen}")
            continue
        row.seen = f"{record.partition}@{record.offset}"
        check_record(verdict, row, record)
        check_order(verdict, row, record, last)
    for identity, row in rows.items():
        if row.seen is None:
            verdict.add("lost", f"{row.outbox} {workload.origin(identity)} topic {row.topic} key {row.key!r}")
    verdict.longest_gap_ms = longest_gap(sorted(times), sorted(row.written_ms for row in rows.values()))


def longest_gap(published, written):
    """The longest time without a record though a row was there: from the last record, or the first row after it."""
    longest = 0
    for before, after in zip(published, published[1:]):
        at = bisect.bisect_right(written, before)
        if at < len(written) and written[at] < after:
            longest = max(longest, after - written[at])
    return longest


def read_logs(paths):
    """{(writer, transaction): [kind, rows, kept, outcome]}; no outcome: the writer was ended."""
    found = {}
    for writer, path in enumerate(paths):
        for line in path.read_text().splitlines():
            word, number, *rest = line.split()
            if word == "I":
                found[writer, int(number)] = [rest[0], int(rest[1]), int(rest[2]), "unknown"]
            else:
                found[writer, int(number)][3] = rest[0]
    return found


def check_logs(verdict, rows, transactions, resolved):
    """Outcomes that are certain must be in the tables so; all others are there whole or not at all."""
    there = Counter(workload.origin(identity)[1:3] for identity in rows)
    for place, (kind, _, kept, outcome) in transactions.items():
        certain = outcome == "committed" and place[0] % 2 == 0 or resolved.get(place) == "commit"
        nothing = outcome == "rolled_back" or resolved.get(place) == "rollback"
        if outcome == "committed" and kept and not there[place]:
            verdict.taken_back += 1
        allowed = {kept} if certain else {0} if nothing else {0, kept}
        if there[place] not in allowed:
            verdict.add("writers_disagree", f"writer {place[0]} transaction {place[1]} ({kind}, {outcome}, "
                        f"{resolved.get(place)}): {there[place]} of {kept} rows")


def judge_all(postgres, kafka, database, logs, resolved):
    """The whole judgement."""
    verdict, rows = Verdict(), {}
    for outbox, table in workload.OUTBOXES.items():
        read_rows(postgres, database, table, outbox, rows)
    verdict.rows = len(rows)
    compare(verdict, rows, judge.stream(kafka, list(workload.TOPICS), digest=True, deadline=60))
    transactions = read_logs(logs)
    check_logs(verdict, rows, transactions, resolved)
    verdict.transactions = Counter(kind for kind, *_ in transactions.values())
    verdict.outcomes = Counter(outcome for *_, outcome in transactions.values())
    return verdict
