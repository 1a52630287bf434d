"""What a stopped relay, a cancelled wait and a failover to a synchronous standby may cost: no row, no lock for long."""
import judge
from relay import Relay, wait_until
from servers import Postgres

INSERT = "INSERT INTO relay.outbox (topic, key, payload) VALUES (%s, 'k', %s)"


def values(kafka, topic, **options):
    """Payloads as a read_committed consumer sees them."""
    return [record.value.decode() for record in judge.read(kafka, [topic], **options)]


def test_a_commit_with_a_warning_does_not_count(kafka, topic, tmp_path):
    """[T2] The wait for a synchronous standby is cancelled: COMMIT succeeds, but what it stands on may be lost."""
    name = topic()
    with Postgres() as postgres:
        relay = Relay(postgres.dsn(), kafka.bootstrap, tmp_path).migrate()
        with relay:
            relay.wait_log("publishing the stream")
            postgres.set(synchronous_standby_names="nobody")
            waiting = ("SELECT pg_cancel_backend(pid) FROM pg_stat_activity WHERE wait_event = 'SyncRep' "
                       "AND application_name LIKE 'boxrelay/%%/outbox/main'")
            postgres.query("SET synchronous_commit = local; " + INSERT, (name, "0"))
            wait_until(lambda: postgres.query(waiting) and relay.logged("COMMIT_WARNING"), "a cancelled tick")
            assert not values(kafka, name, allow_open=True, deadline=2)
            postgres.set(synchronous_standby_names="")
            wait_until(lambda: relay.metric("boxrelay_outbox_published_total") == 1, "published once it is durable")
        assert values(kafka, name) == ["0"]


def test_a_stopped_relay_pins_nothing_for_long(database, kafka, topic, tmp_path):
    """[T5] Stopped inside its tick transaction: the server ends the session, and with it locks and xmin."""
    name = topic()
    relay = Relay(database.dsn, kafka.bootstrap, tmp_path, env={"BOXRELAY_FAILPOINTS": "before_tick=stop@1"}).migrate()
    held = ("SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND xact_start IS NOT NULL "
            "AND application_name LIKE 'boxrelay/%/outbox/main'")
    database.query(INSERT, (name, "0"))
    with relay:
        wait_until(lambda: database.query(held)[0][0] == 1, "an open transaction")
        wait_until(lambda: database.query(held)[0][0] == 0, "the server ends it", 45)
    relay.env.pop("BOXRELAY_FAILPOINTS")
    relay.drain()
    assert values(kafka, name) == ["0"]


def test_a_stopped_relay_holds_readers_back_for_half_a_minute(database, kafka, topic, tmp_path):
    """[K8] Stopped before EndTxn of its first batch (after two barriers): Kafka ends the transaction by itself."""
    name = topic()
    relay = Relay(database.dsn, kafka.bootstrap, tmp_path, env={"BOXRELAY_FAILPOINTS": "before_end_txn=stop@3"})
    relay.migrate()
    database.query(INSERT, (name, "0"))
    with relay:
        wait_until(lambda: kafka.admin.offsets(name, "read_uncommitted") != kafka.admin.offsets(name), "it is open")
        assert values(kafka, name, deadline=60) == []
    relay.env.pop("BOXRELAY_FAILPOINTS")
    relay.drain()
    assert values(kafka, name) == ["0"]


def test_failover_to_a_synchronous_standby(kafka, topic, tmp_path):
    """The position's tick is on the standby too: it goes on, nothing lost or doubled."""
    name = topic()
    with Postgres() as primary:
        standby = primary.standby(sync=True)
        with standby:
            primary.wait_streaming(standby.name, "sync")
            dsn = (f"host=127.0.0.1,127.0.0.1 port={primary.port},{standby.port} dbname=postgres user=postgres "
                   "target_session_attrs=read-write")
            relay = Relay(dsn, kafka.bootstrap, tmp_path).migrate()
            with relay:
                for i in range(50):
                    primary.query(INSERT, (name, str(i)))
                wait_until(lambda: (relay.metric("boxrelay_outbox_published_total") or 0) > 0, "publishing")
                primary.kill()
                standby.promote()
                standby.set(synchronous_standby_names="")
                for i in range(50, 100):
                    standby.query(INSERT, (name, str(i)))
                wait_until(lambda: len(values(kafka, name)) >= 100, "everything published", 90, 1)
            assert values(kafka, name) == [str(i) for i in range(100)]
