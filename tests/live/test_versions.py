"""Both paths on the other versions of PostgreSQL and Kafka, and on three brokers that die one after the other.

A version is another default for the servers that the tests start (TEST_POSTGRES_VERSION, TEST_KAFKA_VERSION), so that
whole modules run on it, as `TEST_KAFKA_VERSION=3.9.1 pytest tests/live/test_outbox.py` does by hand. What tests the
schema alone takes the fixture `cluster` of schema.py instead, which knows the other versions of PostgreSQL by itself.
"""
import os
import re
import subprocess

import judge
import pytest
from relay import REPOSITORY, Relay
from servers import Kafka

pytestmark = pytest.mark.full

VERSIONS = {
    **{f"postgres{version}": {"TEST_POSTGRES_VERSION": str(version)} for version in (14, 16, 17, 18)},
    "kafka3.9": {"TEST_KAFKA_VERSION": "3.9.1"},
    "oldest": {"TEST_POSTGRES_VERSION": "14", "TEST_KAFKA_VERSION": "3.9.1"},
}
MODULES = {
    "postgres": ["test_outbox", "test_slices", "test_migrate", "test_limits", "test_planted", "test_cli", "test_inbox",
                 "test_inbox_planted"],
    "kafka": ["test_outbox", "test_kafka_room", "test_limits", "test_planted", "test_inbox", "test_inbox_planted"],
    "oldest": ["test_campaign", "test_inbox_campaign"],
}
RUNS = [(version, module) for version in VERSIONS for kind, modules in MODULES.items() if version.startswith(kind)
        for module in modules]


@pytest.mark.seconds(1800)
@pytest.mark.parametrize("version, module", RUNS, ids=lambda value: value)
def test_other_versions(version, module):
    """Rows, outages, take-overs, refusals, planted bugs: the same as on the default versions."""
    argv = ["/usr/bin/python3", "-B", "-m", "pytest", "-p", "no:cacheprovider", "--tb=short", f"tests/live/{module}.py"]
    done = subprocess.run(argv, cwd=REPOSITORY, env={**os.environ, **VERSIONS[version]}, capture_output=True, text=True,
                          stdin=subprocess.DEVNULL, timeout=1700, check=False)
    assert done.returncode == 0, done.stdout[-8000:] + done.stderr
    assert re.search(r"[1-9]\d* passed", done.stdout), done.stdout


ROWS = "INSERT INTO relay.outbox (topic, key, payload) SELECT %s, 'k' || i %% 7, i::text FROM generate_series(%s, %s) i"


def by_key(kafka, topic):
    """{key: [number, ...]} as a read_committed consumer sees them."""
    found = {}
    for record in judge.read(kafka, [topic]):
        found.setdefault(record.key.decode(), []).append(int(record.value))
    return found


def expected(count):
    """What ROWS wrote, by key."""
    return {f"k{key}": [i for i in range(count) if i % 7 == key] for key in range(7)}


def test_three_brokers_die_one_after_the_other(database, tmp_path):
    """Replicated topics: every broker is killed once while rows are written."""
    with Kafka(brokers=3) as kafka:
        name = kafka.create_topic("t", 3)
        relay = Relay(database.dsn, kafka.bootstrap, tmp_path).migrate()
        written = 0
        with relay:
            for broker in kafka.brokers:
                database.query(ROWS, (name, written, written + 999))
                written += 1000
                broker.kill()
                database.query(ROWS, (name, written, written + 999))
                written += 1000
                broker.restart()
                kafka.wait_in_sync()
            relay.drain(120)
        assert by_key(kafka, name) == expected(written)
