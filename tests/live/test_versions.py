"""The outbox path on the other versions, and on three brokers that die one after the other."""
import judge
import pytest
from relay import Relay, wait_until
from servers import Kafka, Postgres

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


@pytest.mark.full
@pytest.mark.parametrize("postgres_version", [14, 16, 17, 18])
def test_other_versions_of_postgres(postgres_version, kafka, topic, tmp_path):
    """Windows, slices, a crash: the same on every supported server."""
    name = topic(3)
    with Postgres(postgres_version) as postgres:
        relay = Relay(postgres.dsn(), kafka.bootstrap, tmp_path).migrate()
        postgres.query(ROWS, (name, 0, 11999))
        with relay:
            wait_until(lambda: relay.metric("boxrelay_outbox_published_total") == 12000, "published")
            postgres.restart("immediate")
            postgres.query(ROWS, (name, 12000, 12999))
            relay.drain()
        assert by_key(kafka, name) == expected(13000)


@pytest.mark.full
def test_kafka_3_9(database, tmp_path):
    """The oldest supported line of brokers, with a crash of it."""
    with Kafka(version="3.9.1") as kafka:
        name = kafka.create_topic("t", 3)
        relay = Relay(database.dsn, kafka.bootstrap, tmp_path).migrate()
        database.query(ROWS, (name, 0, 11999))
        with relay:
            wait_until(lambda: relay.metric("boxrelay_outbox_published_total") == 12000, "published")
            kafka.kill()
            database.query(ROWS, (name, 12000, 12999))
            kafka.restart()
            relay.drain(120)
        assert by_key(kafka, name) == expected(13000)


@pytest.mark.full
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
