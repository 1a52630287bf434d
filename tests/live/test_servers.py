"""The test bench itself: what it starts, breaks and reads must be what it says."""
import json
import os
import re
import subprocess
import threading
import time
from pathlib import Path

import psycopg2
import pytest

import judge
from proxy import END_TXN, PRODUCE
from servers import Kafka, Postgres, wait_until
from servers.keeper import start_time
from servers.process import stretched

UP = Path(__file__).resolve().parents[1] / "servers" / "up.py"


def send_all(kafka, topic, values, transactional_id=None, properties=None):
    """Sends the values (as keys too), in one transaction if there is an id."""
    with judge.Sender(kafka, transactional_id, properties) as sender:
        if transactional_id:
            sender.begin()
        for value in values:
            sender.send(topic, value, value)
        if transactional_id:
            sender.commit()
        else:
            sender.flush()


def test_judge_reads_bytes_headers_and_partitions(kafka, topic):
    name = topic(partitions=3)
    with judge.Sender(kafka) as sender:
        sender.send(name, "k", b"\x00\xff\t\n", [("a", "1"), ("a", None), ("b=,", b"\xc3\xa9")])
        sender.send(name, None, None, partition=2, timestamp=1700000000000)
        sender.send(name, "", "")
        sender.flush()
    records = {record.key: record for record in judge.read(kafka, name)}
    assert records[b"k"].value == b"\x00\xff\t\n"
    assert records[b"k"].headers == [("a", b"1"), ("a", None), ("b=,", b"\xc3\xa9")]
    assert records[b"k"].header("b=,") == "é"
    assert records[b"k"].partition == records[b"k"].java_partition
    assert records[None].value is None and records[None].java_partition is None
    assert (records[None].partition, records[None].timestamp) == (2, 1700000000000)
    assert records[b""].value == b"" and records[b""].partition == records[b""].java_partition


def test_judge_hides_aborted_and_tells_open_transactions(kafka, topic):
    name = topic()
    with judge.Sender(kafka, f"tx-{name}") as sender:
        sender.begin()
        sender.send(name, "a", "aborted")
        sender.flush()
        sender.abort()
        sender.begin()
        sender.send(name, "c", "committed")
        sender.commit()
        sender.begin()
        sender.send(name, "o", "open")
        sender.flush()
        assert [r.key for r in judge.read(kafka, name, deadline=0.5, allow_open=True)] == [b"c"]
        with pytest.raises(judge.Unstable):
            judge.read(kafka, name, deadline=0.5)
        everything = judge.read(kafka, name, isolation="read_uncommitted")
        assert [r.key for r in everything] == [b"a", b"c", b"o"]
        sender.commit()
    assert [r.key for r in judge.read(kafka, name)] == [b"c", b"o"]


def test_judge_reads_many_records_as_digests(kafka, topic):
    name = topic(partitions=4)
    with judge.Sender(kafka, properties={"batch.size": 131072}) as sender:
        for number in range(50_000):
            sender.send(name, str(number), "x" * 100)
        sender.flush()
    records = judge.read(kafka, name, digest=True)
    assert sorted(int(record.key) for record in records) == list(range(50_000))
    assert len({record.value for record in records}) == 1 and len(records[0].value) == 64


def test_admin_calls(kafka, topic):
    name = topic(partitions=2, config={"cleanup.policy": "compact"})
    send_all(kafka, name, ["a"], f"tx-{name}")
    assert sum(kafka.admin.offsets(name, "read_committed").values()) == 2  # the record and its marker
    assert set(kafka.admin.offsets(name, at=-2).values()) == {0}
    kafka.admin.create_partitions(name, 5)
    kafka.admin.alter_topic(name, {"retention.ms": 1000})
    assert kafka.admin.topics()[name] == 5
    assert kafka.admin.committed("nobody", name) == {p: -1 for p in range(5)}
    assert kafka.coordinator(f"tx-{name}").node_id == 1


def test_kafka_keeps_data_over_kill_and_restart():
    with Kafka() as kafka:
        kafka.create_topic("kept", 1)
        send_all(kafka, "kept", ["one"])
        bootstrap = kafka.bootstrap
        kafka.brokers[0].kill()
        kafka.start()
        kafka.restart()
        assert kafka.bootstrap == bootstrap
        assert [record.value for record in judge.read(kafka, "kept")] == [b"one"]
        kafka.pause()
        threading.Timer(0.5, kafka.resume).start()
        send_all(kafka, "kept", ["two"])


def test_kafka_three_brokers_lose_one():
    with Kafka(brokers=3) as kafka:
        kafka.create_topic("three", 3)
        kafka.leader("three", 0).kill()
        send_all(kafka, "three", [str(n) for n in range(20)], "tx-three")
        assert len(judge.read(kafka, "three")) == 20
        kafka.start()
        kafka.wait_in_sync()


def test_proxy_holds_end_txn(kafka, kafka_proxy, topic):
    name = topic()
    other = topic()
    with judge.Sender(kafka.bootstrap_via_proxy, f"tx-{name}", {"client.id": "held"}) as sender:
        seen = kafka_proxy.count(END_TXN)
        rule = kafka_proxy.hold(api_key=END_TXN, client_prefix="held", contains=f"tx-{name}".encode())
        sender.begin()
        sender.send(name, "k", "v")
        sender.ask("commit")
        rule.wait_holding()
        send_all(kafka.bootstrap_via_proxy, other, ["passes"], f"tx-{other}")
        assert judge.read(kafka, name, deadline=0.3, allow_open=True) == []
        assert rule.release() == 1
        sender.answer()
        assert kafka_proxy.count(END_TXN) >= seen + 2
    assert [record.value for record in judge.read(kafka, name)] == [b"v"]
    assert len(judge.read(kafka, other)) == 1


def test_proxy_delivers_a_straggler_after_its_client_is_gone(kafka, kafka_proxy, topic):
    name = topic()
    with judge.Sender(kafka.bootstrap_via_proxy, f"tx-{name}", {"request.timeout.ms": 60000}) as sender:
        rule = kafka_proxy.hold(api_key=END_TXN, contains=f"tx-{name}".encode(), close_client=True)
        kafka_proxy.drop(api_key=END_TXN, contains=f"tx-{name}".encode(), times=0)
        sender.begin()
        sender.send(name, "k", "v")
        sender.ask("commit")
        rule.wait_holding()
        sender.child.kill()
    assert judge.read(kafka, name, deadline=0.3, allow_open=True) == []
    rule.release()
    assert [record.value for record in judge.read(kafka, name)] == [b"v"]


@pytest.mark.parametrize("action", ["drop_response", "cut_response", "hold_response", "drop", "cut"])
def test_proxy_faults_of_one_produce_are_outlived(kafka, kafka_proxy, topic, action):
    name = topic()
    rule = kafka_proxy.rule(action, api_key=PRODUCE, client_prefix=name, ms=300)
    send_all(kafka.bootstrap_via_proxy, name, ["v"],
             properties={"client.id": name, "request.timeout.ms": 1000, "delivery.timeout.ms": 20000})
    assert rule.hits == 1
    assert [record.value for record in judge.read(kafka, name)] == [b"v"]


def test_proxy_freeze_cut_refuse_delay_slice(database, postgres_proxy):
    connection = database.connect(via_proxy=True)
    cursor = connection.cursor()
    postgres_proxy.freeze()
    answered = threading.Event()
    thread = threading.Thread(target=lambda: (cursor.execute("SELECT 1"), answered.set()))
    thread.start()
    assert not answered.wait(0.3)
    postgres_proxy.thaw()
    assert answered.wait(stretched(5))
    thread.join()
    postgres_proxy.delay(100)
    begin = time.monotonic()
    cursor.execute("SELECT 1")
    assert time.monotonic() - begin >= 0.2
    postgres_proxy.delay(0)
    postgres_proxy.slice(7)
    cursor.execute("SELECT repeat('x', 5000)")
    assert len(cursor.fetchone()[0]) == 5000
    postgres_proxy.refuse()
    with pytest.raises(psycopg2.OperationalError, match="refused"):
        database.connect(via_proxy=True)
    cursor.execute("SELECT 1")
    assert postgres_proxy.cut() == 1
    with pytest.raises(psycopg2.OperationalError):
        cursor.execute("SELECT 1")
    postgres_proxy.refuse(False)
    database.connect(via_proxy=True)


@pytest.mark.parametrize("action,kept", [("cut_response", True), ("cut", False)])
def test_proxy_loses_a_commit_or_its_answer(database, postgres_proxy, action, kept):
    database.query("CREATE TABLE t (x int)")
    connection = database.connect(via_proxy=True, autocommit=False)
    cursor = connection.cursor()
    cursor.execute("INSERT INTO t VALUES (1)")
    postgres_proxy.rule(action, contains=b"COMMIT")
    with pytest.raises(psycopg2.OperationalError):
        connection.commit()
    wait_until(lambda: database.query("SELECT count(*) = 0 FROM pg_stat_activity WHERE datname = %s "
                                      "AND pid <> pg_backend_pid()", (database.name,))[0][0], 5, "session ended")
    assert database.query("SELECT count(*) FROM t")[0][0] == int(kept)


def test_proxy_holds_the_answer_to_a_commit(database, postgres_proxy):
    database.query("CREATE TABLE t (x int)")
    connection = database.connect(via_proxy=True, autocommit=False)
    connection.cursor().execute("INSERT INTO t VALUES (1)")
    rule = postgres_proxy.hold_response(contains=b"COMMIT")
    thread = threading.Thread(target=connection.commit)
    thread.start()
    rule.wait_holding()
    assert database.query("SELECT count(*) FROM t") == [(1,)]
    assert thread.is_alive()
    rule.release()
    thread.join(5)
    assert not thread.is_alive()


def test_proxy_carries_enough(kafka, kafka_proxy, topic):
    name = topic()
    with judge.Sender(kafka.bootstrap_via_proxy, properties={"batch.size": 262144, "linger.ms": 20}) as sender:
        sender.send(name, None, "warm")
        sender.flush()
        begin = time.monotonic()
        for _ in range(300):
            sender.send(name, None, b"x" * 100_000)
        sender.flush()
        assert time.monotonic() - begin < stretched(3)  # 10 MB/s; the Python sender is the brake here


def test_postgres_crashes_and_keeps_what_was_committed():
    with Postgres() as postgres:
        postgres.query("CREATE TABLE t (x int)")
        for stop in (postgres.kill, lambda: postgres.stop("immediate"), postgres.stop):
            postgres.query("INSERT INTO t VALUES (1)")
            stop()
            postgres.start()
        assert postgres.query("SELECT count(*) FROM t") == [(3,)]
        assert postgres.query("SHOW fsync") == [("on",)]
        connection = postgres.connect(application_name="victim-1")
        assert postgres.kill_backends("victim%") == 1
        with pytest.raises(psycopg2.OperationalError):
            connection.cursor().execute("SELECT 1")


@pytest.mark.parametrize("sync", [True, False])
def test_postgres_standby_is_promoted(sync):
    with Postgres() as primary, primary.standby(sync=sync) as standby:
        primary.query("CREATE TABLE t (x int)")
        primary.wait_streaming(standby.name, "sync" if sync else "async")
        primary.kill()
        standby.promote()
        standby.query("INSERT INTO t VALUES (1)")
        assert standby.query("SELECT count(*) FROM t") == [(1,)]


@pytest.mark.full
@pytest.mark.parametrize("version", [14, 16, 17, 18])
def test_postgres_of_other_versions(version):
    with Postgres(version) as postgres:
        assert postgres.query("SHOW server_version_num")[0][0].startswith(str(version))
        with postgres.standby() as standby:
            assert standby.query("SELECT pg_is_in_recovery()") == [(True,)]


@pytest.mark.full
def test_kafka_of_the_older_release():
    with Kafka(version="3.9.1") as kafka:
        kafka.create_topic("old", 1)
        send_all(kafka, "old", ["v"], "tx-old")
        assert len(judge.read(kafka, "old")) == 1


def test_nothing_is_left_behind_when_the_test_process_is_killed(tmp_path):
    env = {**os.environ, "TEST_DIR": str(tmp_path / "run")}
    with subprocess.Popen([UP], stdout=subprocess.PIPE, env=env) as up:
        try:
            facts = json.loads(up.stdout.readline())
            children = Path(f"/proc/{up.pid}/task").glob("*/children")
            pids = [int(pid) for path in children for pid in path.read_text().split()]
        finally:
            up.kill()
    assert len(pids) == 3  # PostgreSQL, Kafka and the keeper
    socket_dir = re.search("host=([^ ]+)", facts["postgres_socket"])[1]
    wait_until(lambda: all(start_time(pid) is None for pid in pids), 20, "servers ended")
    wait_until(lambda: not list((tmp_path / "run").iterdir()), 20, "folders removed")
    assert not os.path.exists(socket_dir)
