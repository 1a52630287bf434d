"""The outbox path on real servers: what goes out, outages in any order, several instances, refusals."""
import json
import signal
import time

import judge
import pytest
from relay import Relay, wait_until
from servers import Kafka, Postgres
from servers.process import stretched


@pytest.fixture
def relay(database, kafka, tmp_path):
    """A migrated relay, not started; killed after the test."""
    made = Relay(database.dsn, kafka.bootstrap, tmp_path).migrate()
    yield made
    made.kill()


def insert(database, topic, count, key="k", first=0):
    """`count` rows in one transaction; their payloads are first, first + 1, ..."""
    database.query("INSERT INTO relay.outbox (topic, key, payload) SELECT %s, %s, i::text "
                   "FROM generate_series(%s, %s) AS i", (topic, key, first, first + count - 1))


def values(kafka, topic):
    """Payloads as a read_committed consumer sees them, by partition and offset."""
    return [record.value.decode() for record in judge.read(kafka, [topic])]


def numbers(count):
    """What insert() wrote."""
    return [str(i) for i in range(count)]


def test_a_row_goes_out_as_it_is(relay, database, kafka, topic):
    """Key, value and headers byte for byte; ours last; the partition of Java's murmur2."""
    name = topic(5)
    database.query("""
        INSERT INTO relay.outbox (topic, key, key_bytes, payload, payload_bytes, type, headers) VALUES
        (%(t)s, 'Zürich', NULL, '{"a": 1}', NULL, 'Placed', '{"traceparent": "00-1", "id": "mine", "e": ""}'),
        (%(t)s, NULL, '\\x00ff', NULL, '\\x000102', NULL, NULL),
        (%(t)s, '', NULL, '', NULL, NULL, NULL),
        (%(t)s, 'gone', NULL, NULL, NULL, NULL, NULL),
        (%(t)s, NULL, NULL, 'no key', NULL, NULL, NULL)""", {"t": name})
    relay.drain()
    found = {record.value: record for record in judge.read(kafka, [name])}
    ids = {row[0] for row in database.query("SELECT id::text FROM relay.outbox")}
    placed = found[b'{"a": 1}']
    assert placed.key == "Zürich".encode()
    assert [header[0] for header in placed.headers] == ["traceparent", "e", "id", "type", "relay"]
    assert placed.header("traceparent") == "00-1" and placed.header("e") == "" and placed.header("type") == "Placed"
    assert {record.header("id") for record in found.values()} == ids
    assert found[b"\x00\x01\x02"].key == b"\x00\xff"
    assert found[b""].key == b""
    assert found[None].key == b"gone"
    assert found[b"no key"].key is None
    assert all(record.partition == record.java_partition for record in found.values() if record.key is not None)


def test_explicit_partition_and_order(relay, database, kafka, topic):
    """Rows of one key keep their order, and an explicit partition is obeyed."""
    name = topic(3)
    insert(database, name, 20000)
    database.query("INSERT INTO relay.outbox (topic, key, payload, partition) VALUES (%s, 'k', 'last', 2)", (name,))
    relay.drain()
    records = list(judge.read(kafka, [name]))
    assert [r.value.decode() for r in records if r.value != b"last"] == numbers(20000)
    assert [r.partition for r in records if r.value == b"last"] == [2]


def test_a_late_commit_is_not_lost(relay, database, kafka, topic):
    """A transaction that drew its seq first and commits last goes out, once."""
    name = topic(1)
    with relay:
        relay.wait_log("publishing the stream")
        late = database.connect(autocommit=False)
        late.cursor().execute("INSERT INTO relay.outbox (topic, key, payload) VALUES (%s, 'a', 'late')", (name,))
        insert(database, name, 10, key="b")
        wait_until(lambda: relay.metric("boxrelay_outbox_published_total") == 10, "ten rows published")
        late.commit()
        wait_until(lambda: relay.metric("boxrelay_outbox_published_total") == 11, "the late row published")
    assert sorted(values(kafka, name)) == sorted(numbers(10) + ["late"])


def test_several_outboxes(relay, database, kafka, topic):
    """Each outbox has its own worker; one made while the relay runs is found."""
    first, second = topic(1), topic(1)
    with relay:
        relay.wait_log("publishing the stream")
        database.query("SELECT relay.create_outbox('audit')")
        database.query("INSERT INTO relay.outbox_audit (topic, key, payload) VALUES (%s, 'a', '0')", (second,))
        insert(database, first, 1)
        for stream in ("outbox/main", "outbox/audit"):
            wait_until(lambda name=stream: relay.metric("boxrelay_outbox_published_total", stream=name) == 1, stream)
    assert values(kafka, first) == values(kafka, second) == ["0"]


def test_unknown_topic_waits_for_its_creation(relay, database, kafka, topic):
    """Nothing is lost or skipped; rows behind it wait too, and go on by themselves."""
    missing, there = f"{topic(1)}-later", topic(1)
    insert(database, missing, 1)
    insert(database, there, 1)
    with relay:
        relay.wait_log("UNKNOWN_TOPIC_OR_PART")
        assert not values(kafka, there)
        topic(1, name=missing)
        wait_until(lambda: relay.metric("boxrelay_outbox_published_total") == 2, "both rows published")
    assert values(kafka, missing) == values(kafka, there) == ["0"]


def test_rebase_frees_a_relay_that_waits(relay, database, kafka, topic):
    """The running relay takes the operator's choice up by itself, though it never wrote a tick meanwhile."""
    insert(database, f"never-{topic(1)}", 1)
    relay.start()
    relay.wait_log("UNKNOWN_TOPIC")
    done = relay.command("rebase", "outbox/main", "--to", "now", "--force")
    assert done.returncode == 0, done.stderr
    name = topic(1)
    insert(database, name, 3)
    wait_until(lambda: values(kafka, name) == numbers(3), "what was written after the rebase")


def test_rebase_leaves_alone_what_goes_on_by_itself(relay, database, kafka, topic):
    """Nothing is given up or sent twice by mistake: what it would do is told, and the relay goes on as before."""
    name = topic(1)
    insert(database, name, 4)
    relay.start()
    wait_until(lambda: values(kafka, name) == numbers(4), "the first rows")
    database.query("SELECT relay.pause('outbox/main', 'test')")
    wait_until(lambda: relay.metric("boxrelay_stream_paused", stream="outbox/main") == 1, "paused")
    insert(database, name, 3, first=4)
    done = relay.command("rebase", "outbox/main", "--to", "now")
    assert done.returncode == 4 and "POSITION_FINE" in done.stderr and " 3 rows would never" in done.stderr, done.stderr
    assert database.query("SELECT paused_reason FROM relay.status WHERE stream = 'outbox/main'") == [("test",)]
    database.query("SELECT relay.resume('outbox/main')")
    done = relay.command("rebase", "outbox/main", "--to", "start")
    assert done.returncode == 4 and "second time" in done.stderr and "--force" in done.stderr, done.stderr
    insert(database, name, 1, first=7)
    wait_until(lambda: len(values(kafka, name)) >= 8, "it goes on")
    assert values(kafka, name) == numbers(8)
    assert database.query("SELECT count(*) FROM relay.audit WHERE action = 'rebase'") == [(0,)]


@pytest.mark.parametrize("case", ["too_large", "partition", "reserved", "no_key"])
def test_poison_stops_only_its_stream(relay, database, kafka, topic, case):
    """Rows before it go out, it stops the stream loudly with the way out; the other outbox flows."""
    config = {"too_large": {"max.message.bytes": "2000"}, "no_key": {"cleanup.policy": "compact"}}.get(case)
    name, other = topic(1, config), topic(1)
    insert(database, name, 3)
    row = {"too_large": (name, "k", "x" * 900000, None), "partition": (name, "k", "x", 7),
           "reserved": ("__consumer_offsets", "k", "x", None), "no_key": (name, None, "x", None)}[case]
    payload = "(SELECT string_agg(md5(i::text), '') FROM generate_series(1, 3000) AS i)" if case == "too_large" else "%s"
    arguments = [value for value in row if not (case == "too_large" and value == row[2])]
    database.query(f"INSERT INTO relay.outbox (topic, key, payload, partition) VALUES (%s, %s, {payload}, %s)",
                   arguments)
    insert(database, name, 1, first=3)
    database.query("SELECT relay.create_outbox('flows')")
    database.query("INSERT INTO relay.outbox_flows (topic, key, payload) VALUES (%s, 'a', '0')", (other,))
    with relay:
        line = relay.wait_log("cannot be published")
        assert "rebase outbox/main --to now --force" in line["hint"] and line["stream"] == "outbox/main"
        assert "seq 4" in line["msg"]
        wait_until(lambda: relay.metric("boxrelay_outbox_published_total", stream="outbox/flows") == 1, "the other")
        wait_until(lambda: relay.metric("boxrelay_outbox_published_total", stream="outbox/main") == 3, "rows before it")
    assert values(kafka, name) == numbers(3)
    assert values(kafka, other) == ["0"]


def test_second_instance_takes_over(relay, database, kafka, topic, tmp_path):
    """A planned stop hands over at once; both together publish each row once."""
    name = topic(3)
    insert(database, name, 100)
    with relay, Relay(database.dsn, kafka.bootstrap, tmp_path, name=relay.name) as second:
        wait_until(lambda: (relay.metric("boxrelay_leader") or 0) + (second.metric("boxrelay_leader") or 0) == 1,
                   "exactly one leader")
        leader, other = (relay, second) if relay.metric("boxrelay_leader") == 1 else (second, relay)
        assert leader.stop() == 0
        insert(database, name, 100, first=100)
        wait_until(lambda: other.metric("boxrelay_leader") == 1, "the other leads")
        relay.drain()
    assert values(kafka, name) == numbers(200)


def test_a_zombie_does_no_harm(relay, database, kafka, topic, tmp_path):
    """SIGSTOP long enough to lose the session, take-over, SIGCONT: nothing doubled or lost."""
    name = topic(1)
    with relay, Relay(database.dsn, kafka.bootstrap, tmp_path, name=relay.name) as second:
        wait_until(lambda: (relay.metric("boxrelay_leader") or 0) + (second.metric("boxrelay_leader") or 0) == 1,
                   "exactly one leader")
        leader, other = (relay, second) if relay.metric("boxrelay_leader") == 1 else (second, relay)
        insert(database, name, 100)
        leader.signal(signal.SIGSTOP)
        insert(database, name, 100, first=100)
        wait_until(lambda: other.metric("boxrelay_leader") == 1, "the other leads")
        wait_until(lambda: len(values(kafka, name)) == 200, "everything published", every=0.5)
        leader.signal(signal.SIGCONT)
        insert(database, name, 100, first=200)
        other.drain()
    assert values(kafka, name) == numbers(300)


def test_two_with_one_instance_id(database, kafka, topic, tmp_path):
    """The one that came first is thrown out, says so, and does not throw the other out in turn at once."""
    name = topic(1)
    first = Relay(database.dsn, kafka.bootstrap, tmp_path, config={"instance_id": "one"}).migrate()
    second = Relay(database.dsn, kafka.bootstrap, tmp_path, first.name, {"instance_id": "one"})
    with first:
        insert(database, name, 1)
        wait_until(lambda: values(kafka, name) == numbers(1), "published")
        with second:
            line = first.wait_log("consumer group: ")
            assert line["error.code"] == "FENCED_INSTANCE_ID" and "give each its own" in line["hint"]
            wait_until(lambda: second.metric("boxrelay_leader") == 1, "the second leads")
            insert(database, name, 1, first=1)
            wait_until(lambda: values(kafka, name) == numbers(2), "the second publishes")
            time.sleep(5)
            assert second.metric("boxrelay_leader") == 1
            assert sum("FENCED_INSTANCE_ID" in str(line) for line in first.lines() + second.lines()) <= 2


def test_kafka_away_at_start_and_later(database, topic, tmp_path):
    """The process stays up, says so, goes on by itself."""
    with Kafka() as kafka:
        name = kafka.create_topic("t", 1)
        relay = Relay(database.dsn, kafka.bootstrap, tmp_path).migrate()
        kafka.stop()
        insert(database, name, 10)
        with relay:
            relay.wait_health("/health/live")
            relay.wait_health("/health/ready")
            wait_until(lambda: relay.metric("boxrelay_kafka_up") == 0, "seen as down")
            kafka.restart()
            wait_until(lambda: relay.metric("boxrelay_outbox_published_total") == 10, "published after the start")
            kafka.kill()
            insert(database, name, 10, first=10)
            wait_until(lambda: relay.metric("boxrelay_kafka_up") == 0, "seen as down again")
            assert relay.get("/health/ready")[0] == 200
            wait_until(lambda: relay.metric("boxrelay_outbox_pending_rows") == 10, "what piles up is counted", 90)
            insert(database, name, 5, first=20)
            wait_until(lambda: relay.metric("boxrelay_outbox_pending_rows") == 15, "still")
            assert relay.metric("boxrelay_outbox_oldest_age_seconds") > 0
            wait_until(lambda: database.query("SELECT pending FROM relay.status WHERE stream = 'outbox/main'") == [(15,)],
                       "the status shows it", 60)
            kafka.restart()
            wait_until(lambda: relay.metric("boxrelay_outbox_published_total") == 25, "published after the outage", 90)
        assert values(kafka, name) == numbers(25)


def test_postgres_away_at_start_and_later(kafka, topic, tmp_path):
    """The process stays up, is not ready until PostgreSQL was reached, goes on by itself."""
    name = topic(1)
    with Postgres() as postgres:
        relay = Relay(postgres.dsn(), kafka.bootstrap, tmp_path).migrate()
        rows = "INSERT INTO relay.outbox (topic, key, payload) SELECT %s, 'k', i::text FROM generate_series(%s, %s) i"
        postgres.query(rows, (name, 0, 9))
        postgres.stop()
        with relay:
            relay.wait_health("/health/live")
            relay.wait_health("/health/ready", 503)
            relay.wait_log("PostgreSQL")
            postgres.restart()
            wait_until(lambda: relay.metric("boxrelay_outbox_published_total") == 10, "published after the start")
            postgres.restart("immediate")
            postgres.query(rows, (name, 10, 19))
            wait_until(lambda: relay.metric("boxrelay_outbox_published_total") == 20, "published after the crash", 90)
            postgres.kill_backends("boxrelay%")
            postgres.query(rows, (name, 20, 29))
            wait_until(lambda: relay.metric("boxrelay_outbox_published_total") == 30, "published after the kill", 90)
        assert values(kafka, name) == numbers(30)


def test_pause_and_resume(relay, database, kafka, topic):
    """Paused in SQL: nothing goes out, kept over a restart; resumed: everything."""
    name = topic(1)
    database.query("SELECT relay.pause('outbox/main', 'maintenance')")
    with relay:
        wait_until(lambda: relay.metric("boxrelay_stream_state", state="paused") == 1, "paused")
        insert(database, name, 5)
        database.query("SELECT relay.resume('outbox/main')")
        wait_until(lambda: relay.metric("boxrelay_outbox_published_total") == 5, "published")
    assert values(kafka, name) == numbers(5)


def refused(relay, code):
    """`run --once` is refused with exit status 4 and an error that names the way out."""
    done = relay.command("run", "--once", "--timeout", "40s")
    assert done.returncode == 4, done.stderr
    assert code in done.stderr, done.stderr
    return done.stderr


def test_lost_positions_topic_is_refused_and_rebased(relay, database, kafka, topic):
    """Never "start at now", never again from the start: an operator decides."""
    name = topic(1)
    insert(database, name, 5)
    relay.drain()
    kafka.delete_topic(f"boxrelay.{relay.name}.positions")
    insert(database, name, 5, first=5)
    assert "boxrelay rebase outbox/main" in refused(relay, "POSITION")
    done = relay.command("rebase", "outbox/main", "--to", "now")
    assert done.returncode == 0, done.stderr
    insert(database, name, 5, first=10)
    relay.drain()
    assert values(kafka, name) == numbers(5) + ["10", "11", "12", "13", "14"]
    assert relay.command("rebase", "outbox/main", "--to", "start", "--force").returncode == 0
    relay.drain()
    assert values(kafka, name)[10:] == numbers(15)


def test_another_name_is_refused(relay, database, kafka, topic, tmp_path):
    """A database belongs to one relay."""
    name = topic(1)
    insert(database, name, 1)
    relay.drain()
    insert(database, name, 1, first=1)
    assert relay.name in refused(Relay(database.dsn, kafka.bootstrap, tmp_path), "OTHER_NAME")


def test_another_cluster_is_refused(relay, database, topic, tmp_path):
    """The position is in another Kafka: rows of before would go out again."""
    name = topic(1)
    insert(database, name, 1)
    relay.drain()
    insert(database, name, 1, first=1)
    with Kafka() as other:
        assert "rebase" in refused(Relay(database.dsn, other.bootstrap, tmp_path, name=relay.name), "POSITION")


def test_lost_commits_are_refused(kafka, topic, tmp_path):
    """A cluster restored from an older copy: the position is of a tick that it does not know."""
    name = topic(1)
    rows = "INSERT INTO relay.outbox (topic, key, payload) VALUES (%s, 'k', %s)"
    with Postgres() as postgres:
        relay = Relay(postgres.dsn(), kafka.bootstrap, tmp_path).migrate()
        postgres.query(rows, (name, "0"))
        relay.drain()
        postgres.stop()
        older = postgres.copy()
        postgres.restart()
        postgres.query(rows, (name, "1"))
        relay.drain()
        with older:
            older.query(rows, (name, "2"))
            stderr = refused(Relay(older.dsn(), kafka.bootstrap, tmp_path, name=relay.name), "LOST")
            assert "rebase outbox/main" in stderr


def test_stop_finishes_the_batch(relay, database, kafka, topic):
    """TERM during a drain: exit 0, what was begun is committed, nothing twice after the restart."""
    name = topic(1)
    insert(database, name, 50000)
    with relay:
        wait_until(lambda: (relay.metric("boxrelay_outbox_published_total") or 0) > 0, "publishing")
        started = time.monotonic()
        assert relay.stop() == 0
        assert time.monotonic() - started < stretched(12)
    relay.drain()
    assert values(kafka, name) == numbers(50000)


def test_status_shows_the_stream(relay, database, topic):
    """relay.status and the command agree."""
    insert(database, topic(1), 5)
    with relay:
        wait_until(lambda: database.query("SELECT state FROM relay.status WHERE stream = 'outbox/main'")[0][0] == "poll", "state in SQL")
        done = relay.command("status", "--json")
        assert done.returncode == 0, done.stderr
        assert "outbox/main" in json.dumps(json.loads(done.stdout))
