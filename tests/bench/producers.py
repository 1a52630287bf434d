"""What writing to an outbox costs its writers, against a plain table with a bigint key.

pgbench, prepared statements, four clients over TCP. Each measure is a pair of short runs, plain first. First while a
relay publishes, during both runs of a pair; its and the broker's CPU is taken from the same cores, which a broker of
one's own would not do. So the CPU of PostgreSQL for a transaction, without the relay's sessions, stands beside the
rate. Then the schema alone, in a database that no relay looks at: what is left is the cost of the table.
"""
import os
import re
import subprocess

from . import usage
from .place import wait_published
from .report import ratio_at_least

CLIENTS, ACCOUNTS = 4, 100_000
TABLES = ("bench.plain", "relay.outbox")
TITLES = {"business": "UPDATE + INSERT", "insert": "INSERT alone"}
COLUMNS = "topic, key, payload, type"
VALUES = """'{topic}', 'account-' || :id, '{{"account": ' || :id || ', "amount": ' || :amount ||
    ', "currency": "EUR", "reference": "9b2f6c1e4d7a4c0f8e5b3a1d2c4f6e8a", "channel": "web",
    "note": "a payment that was made"}}',
    'PaymentMade'"""
DRAW = f"\\set id random(1, {ACCOUNTS})\n\\set amount random(1, 1000)\n"
BUSINESS = "UPDATE bench.account SET balance = balance + :amount, changed_at = now() WHERE id = :id;\n"
SETUP = f"""
CREATE SCHEMA bench;
CREATE TABLE bench.account (id integer PRIMARY KEY, balance bigint NOT NULL, changed_at timestamptz NOT NULL)
    WITH (fillfactor = 80);
INSERT INTO bench.account SELECT i, 0, now() FROM generate_series(1, {ACCOUNTS}) AS i;
CREATE TABLE bench.plain (
    seq bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    topic text NOT NULL,
    key text,
    key_bytes bytea,
    payload text,
    payload_bytes bytea,
    type text,
    headers text,
    id uuid NOT NULL DEFAULT gen_random_uuid(),
    partition integer,
    created_at timestamptz NOT NULL DEFAULT clock_timestamp());
VACUUM ANALYZE bench.account
"""


def scripts(topic, folder):
    """{(what, table): path of a pgbench script}."""
    found = {}
    for table in TABLES:
        insert = f"INSERT INTO {table} ({COLUMNS}) VALUES ({VALUES.format(topic=topic)});\n"
        for what, text in (("business", f"{DRAW}BEGIN;\n{BUSINESS}{insert}COMMIT;\n"), ("insert", DRAW + insert)):
            found[what, table] = folder / f"{what}-{table}.sql"
            found[what, table].write_text(text)
    return found


def pgbench(place, database, script, seconds, synchronous_commit):
    """Transactions per second, and how many there were."""
    environment = {**os.environ, "PGOPTIONS": f"-c synchronous_commit={synchronous_commit}"}
    server = ["-h", "127.0.0.1", "-p", str(place.postgres.port), "-U", "postgres"]
    load = ["-n", "-M", "prepared", "-c", str(CLIENTS), "-j", "2", "-T", str(seconds), "-f", script]
    done = subprocess.run(["pgbench", *load, *server, database], env=environment, capture_output=True, text=True, check=True)
    return (float(re.search(r"tps = ([\d.]+) \(without", done.stdout)[1]),
            int(re.search(r"actually processed: (\d+)", done.stdout)[1]))


def measure(place, database, relay, script, seconds, synchronous_commit):
    """(tps, PostgreSQL's CPU in us a transaction without the relay's sessions); relay None: there is none."""
    pids = place.backends(relay) if relay else []
    meter = usage.Meter(cluster=place.cluster_cpu, relay=lambda: sum(usage.cpu_exact(pid) for pid in pids))
    tps, count = pgbench(place, database, script, seconds, synchronous_commit)
    used = meter.read()
    if relay:
        (rows,), = place.postgres.query('SELECT last_value FROM relay."outbox#seq"', None, database)
        wait_published(relay, rows)  # what is left over would burden the next run, of the plain table
    return tps, (used["cluster"] - used["relay"]) * 1e6 / count


def pairs_of(place, report, database, relay, script, seconds, suffix=""):
    """A business transaction and a bare INSERT, synchronous or not."""
    for statement in SETUP.split(";"):
        place.postgres.query(statement, None, database)
    for table in TABLES:
        pgbench(place, database, script["business", table], 2, "off")
    for what, title in TITLES.items():
        for synchronous_commit in ("on", "off"):
            pairs = [[measure(place, database, relay, script[what, table], seconds, synchronous_commit)
                      for table in TABLES] for _ in range(place.options.rounds)]
            name = f"{title}, synchronous_commit={synchronous_commit}{suffix}"
            report.add(name, "tps", [ours[0] for _, ours in pairs], [plain[0] for plain, _ in pairs], ratio_at_least(0.93))
            report.add(f"{name}: CPU of PostgreSQL", "us/transaction", [ours[1] for _, ours in pairs],
                       [plain[1] for plain, _ in pairs])


def run(place, report):
    """With a relay, and the schema alone."""
    seconds = 3 if place.options.quick else 10
    place.warm()
    report.begin("producers", f"pgbench, {CLIENTS} clients, pairs of {seconds} s, into an outbox that is being published, "
                 "and into one that no relay looks at (schema alone)",
                 "the same values into a plain table with a bigint primary key")
    with place.running() as (relay, database), place.topic(6) as topic:
        script = scripts(topic, relay.folder)
        pairs_of(place, report, database, relay, script, seconds)
    _, database = place.relay()
    pairs_of(place, report, database, None, script, seconds, ", schema alone")
    place.postgres.drop_database(database)
