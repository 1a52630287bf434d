"""The kafka room on real brokers, one call at a time: rules K1 to K12 of docs/design.md."""
import os
import random
import signal
import socket
import subprocess
import time
import uuid

import pytest

import judge
from proxy import END_TXN, PRODUCE
from servers import Kafka, wait_until
from servers.paths import new_dir
from servers.process import stretched
from servers.wire import Connection, Writer
from kafka_room import Driver

# With librdkafka 2.8 two of ten closes took a second while the broker was away, with 2.0.2 none. What counts is that no
# close waits for the broker.
CLOSE_MS_MAX = 2000


@pytest.fixture
def driver(kafka):
    """driver(environment=None, via_proxy=False): a driver that is ended after the test."""
    made = []

    def make(environment=None, via_proxy=False, properties=None):
        made.append(Driver(kafka.bootstrap_via_proxy if via_proxy else kafka.bootstrap, properties, environment))
        return made[-1]
    yield make
    for one in made:
        one.__exit__()


def fresh(prefix="tx"):
    """A name of its own."""
    return f"{prefix}-{uuid.uuid4().hex[:10]}"


def fresh_uuid():
    """A uuid as text."""
    return str(uuid.uuid4())


def noise(size):
    """Bytes that do not compress, as the driver reads them."""
    return "x" + random.randbytes(size).hex()


def values(kafka, name):
    """What a read_committed consumer sees."""
    return [record.value for record in judge.read(kafka, [name])]


# Records

def test_null_and_empty_differ_in_key_value_and_header(kafka, topic, driver):
    name, d = topic(partitions=3), driver()
    d.open(fresh(), topics=[name])
    d.ok("begin", 10000)
    headers = [("null", None), ("empty", b""), ("twice", b"\x00\xff"), ("twice", "ü")]
    for key, value in [(None, None), (None, b""), ("", b""), ("", None), ("k", b"\x00\xff")]:
        assert d.send(name, key, value, headers=headers)["class"] == "none"
    d.ok("commit", 5)
    seen = judge.read(kafka, [name])
    assert sorted(((r.key, r.value) for r in seen), key=repr) == sorted(
        [(None, None), (None, b""), (b"", b""), (b"", None), (b"k", b"\x00\xff")], key=repr)
    assert all(r.headers == [("null", None), ("empty", b""), ("twice", b"\x00\xff"), ("twice", "ü".encode())]
               for r in seen)


def test_keys_go_where_java_sends_them(kafka, topic, driver):
    name, d = topic(partitions=7), driver()
    d.open(fresh(), topics=[name])
    d.ok("begin", 10000)
    keys = [b""] + [random.randbytes(random.randint(1, 40)) for _ in range(200)]
    for key in keys:
        assert d.send(name, key, b"v")["class"] == "none"
    assert d.send(name, b"explicit", b"v", partition=5)["class"] == "none"
    d.ok("commit", len(keys) + 1)
    seen = judge.read(kafka, [name])
    assert len(seen) == len(keys) + 1
    assert [r.partition for r in seen if r.key == b"explicit"] == [5]
    assert all(r.partition == r.java_partition for r in seen if r.key != b"explicit")


def test_several_transactions_keep_the_order_of_a_key(kafka, topic, driver):
    name, d = topic(partitions=2), driver()
    d.open(fresh(), topics=[name])
    for batch in range(5):
        d.ok("begin", 10000)
        d.ok("many", name, 1000, 100, 1, f"b{batch}")
        d.ok("commit", 1000)
    seen = [value.rstrip(b".").decode() for value in values(kafka, name)]
    assert seen == [f"b{batch}-{i}" for batch in range(5) for i in range(1000)]


# What can never pass

def test_a_record_that_the_client_refuses_leaves_the_transaction_clean(kafka, topic, driver):
    name, d = topic(partitions=2), driver()
    d.open(fresh(), topics=[name])
    d.ok("begin", 10000)
    assert d("send", name, 7, "-", "x00", 1)["code"] == "_UNKNOWN_PARTITION"
    assert d("send", name, -2, "-", "x00", 1)["class"] == "poison"
    assert d("send", name, -1, "-", "*1100000", 1)["code"] == "MSG_SIZE_TOO_LARGE"
    assert d("topic", "no:topic", 0)["class"] == "poison"
    assert d("topic", fresh("absent"), 0)["code"] == "UNKNOWN_TOPIC_OR_PART"
    assert d.send(name, "k", "good")["class"] == "none"
    d.ok("commit", 1)
    assert values(kafka, name) == [b"good"]


@pytest.mark.parametrize("config, bad_key, bad_value, code", [
    ({"max.message.bytes": 20000}, "x31", lambda: noise(40000), "MSG_SIZE_TOO_LARGE"),
    ({"cleanup.policy": "compact"}, "-", lambda: "x00", "INVALID_RECORD")])
def test_isolating_names_the_refused_record(kafka, topic, driver, config, bad_key, bad_value, code):
    name, other, d = topic(config=config), topic(partitions=3), driver()
    transactional_id = fresh()
    for isolate in (0, 1):
        d.open(transactional_id, isolate=isolate, topics=[name, other])
        d.ok("begin", 10000)
        for i in range(40):
            d.ok("send", other, -1, f"x{i:02x}", noise(50), 1000 + i)
            d.ok("send", name, -1, *((bad_key, bad_value()) if i == 20 else ("x32", noise(50))), i)
        answer = d("commit", 80)
        assert (answer["class"], answer["code"]) == ("poison", code)
        assert answer["refused"] == (20 if isolate else -1)
        d.ok("close")
    d.open(transactional_id)  # ends the transaction, which would hold the judge back
    assert values(kafka, name) == [] and values(kafka, other) == []


def test_batches_shrink_to_the_smallest_topic(kafka, topic, driver):
    """A full batch would else be refused as if one record were too large."""
    name, d = topic(config={"max.message.bytes": 30000}), driver()
    transactional_id = fresh()
    d.open(transactional_id)
    answer = d("topic", name, 0)
    assert (answer["class"], answer["code"], answer["bytes_max"]) == ("recreate", "BATCH_SIZE", 30000)
    d.ok("close")
    for topics in ((), (name,)):
        d.open(transactional_id, topics=topics)
        d.ok("topic", name, 0)
        d.ok("begin", 10000)
        for i in range(60):
            d.ok("send", name, -1, "x31", noise(2000), i)
        d.ok("commit", 60)
        d.ok("close")
    assert len(values(kafka, name)) == 120


def test_known_small_topics_cost_one_more_handle_not_a_failure(topic, driver):
    name, d = topic(config={"max.message.bytes": 30000}), driver()
    d.open(fresh(), topics=[name])
    assert d.ok("topic", name, 0)["bytes_max"] == 30000


def test_the_batch_has_to_be_complete(kafka, topic, driver):
    """[K11] A commit would succeed without the missing record."""
    name = topic()
    d = driver()
    d.open(fresh(), topics=[name])
    d.ok("begin", 10000)
    d.send(name, "k", "alone")
    answer = d("commit", 2)
    assert (answer["class"], answer["code"]) == ("recreate", "RECORDS_MISSING")
    d.ok("close")
    planted = driver({"BOXRELAY_PLANTED": "produce_error_ignored"})
    planted.open(fresh(), topics=[name])
    planted.ok("begin", 10000)
    planted.send(name, "k", "without the other")
    assert planted("commit", 2)["class"] == "none"


@pytest.mark.parametrize("reused", [True, False])
def test_a_producer_reused_after_an_abort_loses_rows(kafka, kafka_proxy, topic, driver, reused):
    """[K1] The log has the batch of the aborted transaction; the next one gets its sequence numbers, the broker takes
    it for a duplicate, and every call succeeds. A new producer sends the same rows."""
    name, d, transactional_id = topic(), driver(via_proxy=True), fresh()
    d.open(transactional_id, topics=[name])
    lost = kafka_proxy.cut_response(api_key=PRODUCE, times=0)
    d.ok("begin", 1500)
    d.ok("many", name, 20, 50, 5, "row")
    assert d("commit", 20)["class"] == "recreate"
    lost.remove()
    if reused:
        d.ok("abort")
    else:
        d.ok("close")
        d.open(transactional_id, topics=[name])
    d.ok("begin", 10000)
    d.ok("many", name, 20, 50, 5, "row")
    d.ok("commit", 20)
    assert len(values(kafka, name)) == (0 if reused else 20)


# EndTxn

def test_a_repeated_end_txn_ends_the_producer(kafka, kafka_proxy, topic, driver):
    """[K2] Committed, yet reported as a failure; the barrier's commit too."""
    name, positions, d = topic(), fresh("positions"), driver(via_proxy=True)
    d.ok("ensure", positions, 1, 1, 1)
    transactional_id = fresh()
    d.open(transactional_id, topics=[name, positions])
    kafka_proxy.cut_response(api_key=END_TXN)
    d.ok("begin", 10000)
    d.send(name, "k", "once")
    answer = d("commit", 1)
    assert (answer["class"], answer["code"], answer["repeated"]) == ("recreate", "END_TXN_REPEATED", True)
    d.ok("close")
    assert values(kafka, name) == [b"once"]
    d.open(transactional_id, topics=[name, positions])
    kafka_proxy.cut_response(api_key=END_TXN)
    assert d("barrier", positions, 0, fresh_uuid(), fresh_uuid(), 0)["code"] == "END_TXN_REPEATED"


def test_planted_a_repeated_end_txn_is_ignored(kafka_proxy, topic, driver):
    name, d = topic(), driver({"BOXRELAY_PLANTED": "endtxn_repeat_ignored"}, via_proxy=True)
    d.open(fresh(), topics=[name])
    kafka_proxy.cut_response(api_key=END_TXN)
    d.ok("begin", 10000)
    d.send(name, "k", "once")
    assert d("commit", 1)["repeated"] is True


def test_a_commit_without_an_answer_is_not_resumed(kafka, kafka_proxy, topic, driver):
    """[K9] The one call times out, the outcome is unknown, the producer is finished."""
    name, d = topic(), driver({"BOXRELAY_COMMIT_TIMEOUT_MS": "1500"}, via_proxy=True)
    transactional_id = fresh()
    d.open(transactional_id, topics=[name])
    held = kafka_proxy.hold_response(api_key=END_TXN)
    d.ok("begin", 10000)
    d.send(name, "k", "unknown")
    answer = d("commit", 1)
    assert answer["class"] == "recreate" and 1400 < answer["ms"] < stretched(3000)
    assert d.ok("close")["ms"] < stretched(CLOSE_MS_MAX)
    held.release()
    d.open(transactional_id, topics=[name])
    assert values(kafka, name) == [b"unknown"]


@pytest.mark.parametrize("planted", ["", "commit_resumed"])
def test_a_late_answer_finds_nobody_waiting(kafka_proxy, topic, driver, planted):
    """[K9] The answer comes after the one call's time-out: it is over by then. The planted bug still waits, resumed."""
    name = topic()
    d = driver({"BOXRELAY_COMMIT_TIMEOUT_MS": "1500", "BOXRELAY_PLANTED": planted}, via_proxy=True)
    d.open(fresh(), topics=[name])
    kafka_proxy.hold_response(api_key=END_TXN, ms=5000)
    d.ok("begin", 10000)
    d.send(name, "k", "late")
    answer = d("commit", 1)
    if planted:
        assert answer["ms"] >= 3500, "resumed until the answer came"
    else:
        assert answer["class"] == "recreate" and answer["ms"] < stretched(3500)


# Take-over

def test_take_over_after_kill_with_an_open_transaction(kafka, topic, driver):
    """[K6, K12] Quick, and nothing of the dead one is seen."""
    name, transactional_id, times = topic(), fresh(), []
    for number in range(5):
        d = driver()
        times.append(d.open(transactional_id, topics=[name])["ms"])
        d.ok("begin", 10000)
        d.ok("many", name, 100, 100, 10, f"dead{number}")
        wait_until(lambda: kafka.admin.offsets(name, "read_uncommitted") != kafka.admin.offsets(name),
                   10, "records of the open transaction")
        d.process.kill()
    heir = driver()
    heir.open(transactional_id, topics=[name])
    heir.ok("begin", 10000)
    heir.send(name, "k", "heir")
    heir.ok("commit", 1)
    print("take-over ms:", [round(ms) for ms in times[1:]])
    assert values(kafka, name) == [b"heir"]
    assert min(times[1:]) < stretched(500)


def test_a_zombie_writes_nothing_after_a_take_over(kafka, topic, driver):
    name, transactional_id = topic(), fresh()
    zombie, heir = driver(), driver()
    zombie.open(transactional_id, topics=[name])
    zombie.ok("begin", 10000)
    zombie.ok("many", name, 100, 100, 10, "zombie")
    os.kill(zombie.process.pid, signal.SIGSTOP)
    heir.open(transactional_id, topics=[name])
    heir.ok("begin", 10000)
    heir.send(name, "k", "heir")
    heir.ok("commit", 1)
    os.kill(zombie.process.pid, signal.SIGCONT)
    assert zombie("commit", 100)["class"] == "recreate"
    zombie.ok("close")
    assert values(kafka, name) == [b"heir"]


# The positions topic

def test_ensure_makes_extends_and_checks_the_topic(kafka, topic, driver):
    """[K5]"""
    d, positions = driver(), fresh("positions")
    for partitions, wanted in ((1, 1), (3, 3), (2, 3)):
        d.ok("ensure", positions, partitions, 0, 0)
        assert len(kafka.admin.metadata([positions])["topics"][positions]) == wanted
    deleting = topic(config={"cleanup.policy": "compact,delete"})
    assert d("ensure", deleting, 1, 0, 0)["code"] == "POSITIONS_TOPIC_POLICY"


def test_two_ensure_at_once(kafka, driver):
    drivers, positions = [driver() for _ in range(2)], fresh("positions")
    for d in drivers:
        d.process.stdin.write(f"ensure {positions} 2 0 0\n")
        d.process.stdin.flush()
    assert all('"none"' in d.process.stdout.readline() for d in drivers)
    assert len(kafka.admin.metadata([positions])["topics"][positions]) == 2


def commit_positions(d, positions, stream, count=1):
    """Transactions with a position each."""
    for _ in range(count):
        d.ok("begin", 10000)
        d.ok("position", positions, 0, stream)
        d.ok("commit", 1)


def test_read_back_finds_the_last_position_before_that_very_barrier(driver):
    """[K3, K4]"""
    d, positions, stream, other = driver(), fresh("positions"), fresh_uuid(), fresh_uuid()
    d.ok("ensure", positions, 1, 0, 0)
    d.open(fresh(), topics=[positions])
    empty, first, later = fresh_uuid(), fresh_uuid(), fresh_uuid()
    d.ok("barrier", positions, 0, stream, empty, 0)
    assert d.ok("readback", positions, 0, stream, empty, -1, 5000)["found"] is False
    d.ok("barrier", positions, 0, stream, first, 1)
    at_first = d.ok("readback", positions, 0, stream, first, -1, 5000)
    assert at_first["found"] is True
    commit_positions(d, positions, stream)
    commit_positions(d, positions, other, 5)
    d.ok("barrier", positions, 0, stream, later, 0)
    last = d.ok("readback", positions, 0, stream, later, at_first["offset"], 5000)
    assert last["offset"] > at_first["offset"]
    assert d.ok("readback", positions, 0, stream, later, -1, 5000)["offset"] == last["offset"]
    # An offset outside of the log is never taken for its end.
    assert d.ok("readback", positions, 0, stream, later, 1_000_000, 5000)["offset"] == last["offset"]
    # Only the last position before the barrier asked for.
    assert d.ok("readback", positions, 0, stream, first, 0, 5000)["offset"] == at_first["offset"]


def test_read_back_from_the_end_doubles_until_a_position_is_found(driver):
    d, positions, stream, barrier = driver(), fresh("positions"), fresh_uuid(), fresh_uuid()
    d.ok("ensure", positions, 1, 0, 0)
    d.open(fresh(), topics=[positions])
    commit_positions(d, positions, stream)
    d.ok("begin", 10000)
    for i in range(2000):
        d.ok("send", positions, 0, f"x{i:04x}", "x00", i)
    d.ok("commit", 2000)
    d.ok("barrier", positions, 0, stream, barrier, 0)
    answer = d.ok("readback", positions, 0, stream, barrier, -1, 10000)
    assert (answer["found"], answer["offset"]) == (True, 0)


def test_a_barrier_that_does_not_appear_is_no_missing_position(kafka, driver):
    d, positions, stream = driver(), fresh("positions"), fresh_uuid()
    d.ok("ensure", positions, 1, 0, 0)
    answer = d("readback", positions, 0, stream, fresh_uuid(), -1, 1500)
    assert (answer["class"], answer["code"]) == ("config", "BARRIER_NOT_VISIBLE")
    blocker, mine, barrier = driver(), driver(), fresh_uuid()
    blocker.open(fresh(), topics=[positions])
    blocker.ok("begin", 10000)
    blocker.ok("position", positions, 0, fresh_uuid())
    wait_until(lambda: kafka.admin.offsets(positions, "read_uncommitted") != kafka.admin.offsets(positions),
               10, "an open transaction")
    mine.open(fresh(), topics=[positions])
    mine.ok("barrier", positions, 0, stream, barrier, 0)
    assert mine("readback", positions, 0, stream, barrier, 0, 1500)["code"] == "BARRIER_NOT_VISIBLE"
    blocker.ok("commit", 1)
    mine.ok("readback", positions, 0, stream, barrier, 0, 5000)


# Leadership

def poll_until(d, change, timeout=10):
    """Polls until such a change came; returns all changes."""
    changes, begin = [], time.monotonic()
    while time.monotonic() - begin < stretched(timeout):
        changes += d("poll", 50)["changes"]
        if any(seen["change"] == change for seen in changes):
            return changes
    raise AssertionError(f"no {change}, only {changes}")


def test_members_share_partitions_and_hand_over(driver):
    one, two, positions, group = driver(), driver(), fresh("positions"), fresh("group")
    one.ok("ensure", positions, 3, 0, 0)
    one.ok("join", group, positions, "-")
    assert poll_until(one, "assigned")[-1]["partitions"] == [0, 1, 2]
    two.ok("join", group, positions, "-")
    assert [c["change"] for c in poll_until(one, "assigned")] == ["revoked", "assigned"]
    assert len(poll_until(two, "assigned")[-1]["partitions"]) in (1, 2)
    assert two.ok("leave")["ms"] < stretched(1500)
    started = time.monotonic()
    assert poll_until(one, "assigned")[-1]["partitions"] == [0, 1, 2]
    assert time.monotonic() - started < stretched(3)
    one.ok("ensure", positions, 4, 0, 0)
    assert poll_until(one, "assigned")[-1]["partitions"] == [0, 1, 2, 3]
    two.ok("join", group, positions, "-")
    poll_until(one, "assigned")
    poll_until(two, "assigned")
    two.process.kill()
    started = time.monotonic()
    assert poll_until(one, "assigned", 15)[-1]["partitions"] == [0, 1, 2, 3]
    assert time.monotonic() - started < stretched(10)


def test_two_members_with_one_instance_id(driver):
    one, two, positions, group = driver(), driver(), fresh("positions"), fresh("group")
    one.ok("ensure", positions, 1, 0, 0)
    one.ok("join", group, positions, "same")
    poll_until(one, "assigned")
    two.ok("join", group, positions, "same")
    changes = []

    def fenced():
        answer = one("poll", 100)
        changes.extend(answer["changes"])
        return (answer["class"], answer.get("code")) == ("integrity", "FENCED_INSTANCE_ID")
    wait_until(fenced, 15, "the first member is fenced")
    poll_until(two, "assigned")
    for _ in range(20):
        changes.extend(one("poll", 50)["changes"])
    assert any(change["change"] == "lost" and change["partitions"] == [0] for change in changes)
    assert one.ok("leave")["ms"] < stretched(2000)


# Outages: no call is longer than its deadline and a second

def test_brokers_that_never_came(driver):
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{unused.getsockname()[1]}"
        with Driver(address) as d:
            answer = d("open", "tx", 2000, 0, "-")
            assert answer["class"] == "reconnect" and "refused" in answer["text"] and answer["ms"] < stretched(3000)
            d.ok("stop-in", 300)
            answer = d("open", "tx", 20000, 0, "-")
            assert answer["code"] == "STOPPING" and answer["ms"] < stretched(2500)
            d.ok("stop", 0)
            answer = d("readback", "p", 0, fresh_uuid(), fresh_uuid(), -1, 1500)
            assert answer["class"] == "reconnect" and answer["ms"] < stretched(2500)
            d.ok("stop-in", 300)
            assert d("ensure", "p", 1, 0, 0)["code"] == "STOPPING"
            d.ok("join", "group", "p", "-")
            assert [d("poll", 500)["class"] for _ in range(3)][-1] == "reconnect"
            assert d.ok("leave")["ms"] < stretched(1500)


def test_what_is_no_kafka_is_told(postgres):
    """PostgreSQL's port in bootstrap.servers: librdkafka advises to allow for answers of a gigabyte."""
    with Driver(f"127.0.0.1:{postgres.port}") as d:
        answer = d("open", "tx", 2000, 0, "-")
    assert answer["code"] == "_BAD_MSG" and "receive.message.max.bytes" not in answer["text"], answer
    assert "no Kafka listener" in answer["hint"], answer


def test_a_broker_that_stops_answering_dies_and_comes_back():
    with Kafka() as kafka, Driver(kafka.bootstrap) as d:
        name, positions, stream, barrier = kafka.create_topic("out"), "positions", fresh_uuid(), fresh_uuid()
        d.ok("ensure", positions, 1, 0, 0)
        d.open("tx", topics=[name, positions])
        d.ok("begin", 2000)
        d.ok("many", name, 100, 100, 10, "frozen")
        kafka.pause()
        answer = d("commit", 100)
        assert answer["class"] == "recreate" and answer["ms"] < stretched(3000)
        assert d.ok("close")["ms"] < stretched(CLOSE_MS_MAX)
        answer = d("open", "tx", 2000, 0, name)
        assert answer["class"] in ("retry", "reconnect") and answer["ms"] < stretched(3000)
        answer = d("readback", positions, 0, stream, barrier, 0, 1500)
        assert answer["class"] == "reconnect" and answer["ms"] < stretched(3500)
        kafka.resume()
        d.open("tx", topics=[name, positions])
        while d("barrier", positions, 0, stream, barrier, 1).get("code") == "END_TXN_REPEATED":  # it has to catch up
            d.ok("close")
            d.open("tx", topics=[name, positions])
        d.ok("begin", 2000)
        d.ok("many", name, 100, 100, 10, "killed")
        kafka.kill()
        answer = d("commit", 100)
        assert answer["class"] == "recreate" and answer["ms"] < stretched(3000)
        assert d.ok("close")["ms"] < stretched(CLOSE_MS_MAX)
        kafka.start()
        d.open("tx", topics=[name, positions])
        assert d.ok("readback", positions, 0, stream, barrier, 0, 10000)["found"] is True
        d.ok("begin", 10000)
        d.ok("many", name, 10, 100, 10, "good")
        d.ok("commit", 10)
        assert {value.partition(b"-")[0] for value in values(kafka, name)} == {b"good"}


def test_the_group_says_how_long_an_outage_lasts():
    with Kafka() as kafka, Driver(kafka.bootstrap) as d:
        d.ok("ensure", "positions", 1, 0, 0)
        d.ok("join", "group", "positions", "-")
        poll_until(d, "assigned")
        kafka.kill()
        changes, until, classes = [], time.monotonic() + 8, []
        while time.monotonic() < until:
            answer = d("poll", 200)
            changes += answer["changes"]
            classes.append(answer["class"])
        assert classes[-5:] == ["reconnect"] * 5
        assert [change["change"] for change in changes] == ["lost"]
        kafka.start()
        poll_until(d, "assigned", 20)
        wait_until(lambda: d("poll", 100)["class"] == "none", 10, "the outage is over")


# Rights

def pem_files():
    """A key store for the broker, its certificate, and another's."""
    folder = new_dir("pem")
    for name in ("broker", "other"):
        subprocess.run(["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", f"{name}.key", "-out",
                        f"{name}.pem", "-days", "2", "-subj", "/CN=127.0.0.1", "-addext",
                        "subjectAltName=IP:127.0.0.1"], cwd=folder, check=True, capture_output=True)
    (folder / "store.pem").write_text((folder / "broker.key").read_text() + (folder / "broker.pem").read_text())
    return folder


def test_wrong_passwords_certificates_and_rights_are_named():
    folder = pem_files()
    jaas = ('org.apache.kafka.common.security.plain.PlainLoginModule required username="admin" password="a-secret" '
            'user_admin="a-secret" user_bob="b-secret";')
    properties = {"ssl.keystore.type": "PEM", "ssl.keystore.location": folder / "store.pem",
                  "sasl.enabled.mechanisms": "PLAIN", "listener.name.sasl.plain.sasl.jaas.config": jaas,
                  "authorizer.class.name": "org.apache.kafka.metadata.authorizer.StandardAuthorizer",
                  "super.users": "User:ANONYMOUS;User:admin"}
    with Kafka(properties=properties, extra_listeners={"TLS": "SSL", "SASL": "SASL_SSL"}) as kafka:
        name = kafka.create_topic("out")

        def codes(listener, user=None, password=None, authority="broker"):
            settings = {"security.protocol": "ssl", "ssl.ca.location": folder / f"{authority}.pem"}
            if user:
                settings.update({"security.protocol": "sasl_ssl", "sasl.mechanism": "PLAIN", "sasl.username": user,
                                 "sasl.password": password})
            with Driver(kafka.listener(listener), settings) as d:
                opened, ensured = d("open", "tx", 8000, 0, name), d("ensure", "positions", 1, 0, 0)
                d.ok("join", "group", "positions", "-")
                polled = d("poll", 500)
                for _ in range(20):
                    if opened["class"] != "none" and polled["class"] == "none":
                        polled = d("poll", 200)
                answers = [opened, ensured, polled]
            assert "secret" not in str(answers)
            return [(answer["class"], answer.get("code")) for answer in answers]

        assert codes("TLS") == [("none", None)] * 3
        assert codes("SASL", "admin", "a-secret") == [("none", None)] * 3
        assert codes("TLS", authority="other") == [("config", "_SSL")] * 3
        assert codes("SASL", "bob", "wrong") == [("config", "_AUTHENTICATION")] * 3
        opened, ensured, polled = codes("SASL", "bob", "b-secret")
        assert opened == ("config", "TRANSACTIONAL_ID_AUTHORIZATION_FAILED")
        assert ensured == ("config", "TOPIC_AUTHORIZATION_FAILED")
        assert polled in [("config", f"{what}_AUTHORIZATION_FAILED") for what in ("GROUP", "TOPIC")]


def allow(kafka, user, resource, name, *operations):
    """ACLs by CreateAcls v1: resource types, literal pattern, operations and "allow" by their protocol numbers."""
    types = {"topic": 2, "group": 3, "transactional_id": 5}
    numbers = {"read": 3, "write": 4, "describe": 8}
    body = Writer()
    body.array(operations, lambda operation: body.put("b", types[resource]).string(name).put("b", 3)
               .string(f"User:{user}").string("*").put("bb", numbers[operation], 3))
    with Connection(*kafka.brokers[0].address) as connection:
        answer = connection.ask(30, 1, body)
    answer.get("i")
    assert answer.array(lambda: (answer.get("h"), answer.string())[0]) == [0] * len(operations)


def test_a_topic_that_may_not_be_written_is_told_at_once():
    """[K11] The records stay queued and flush would wait for them until the batch's deadline."""
    jaas = ('org.apache.kafka.common.security.plain.PlainLoginModule required username="admin" password="a" '
            'user_admin="a" user_bob="b";')
    properties = {"sasl.enabled.mechanisms": "PLAIN", "listener.name.sasl.plain.sasl.jaas.config": jaas,
                  "authorizer.class.name": "org.apache.kafka.metadata.authorizer.StandardAuthorizer",
                  "super.users": "User:ANONYMOUS;User:admin"}
    client = {"security.protocol": "sasl_plaintext", "sasl.mechanism": "PLAIN", "sasl.username": "bob",
              "sasl.password": "b"}
    with Kafka(properties=properties, extra_listeners={"SASL": "SASL_PLAINTEXT"}) as kafka, \
            Driver(kafka.listener("SASL"), client) as d:
        read, write = kafka.create_topic("may-describe"), kafka.create_topic("may-write")
        allow(kafka, "bob", "transactional_id", "tx", "write", "describe")
        allow(kafka, "bob", "topic", read, "describe")
        allow(kafka, "bob", "topic", write, "describe", "write")
        wait_until(lambda: d("open", "tx", 5000, 0, "-")["class"] == "none", 10, "the rights arrive")
        assert d.ok("topic", write, 0)["bytes_max"] == 0  # no right to describe its configuration
        d.ok("begin", 10000)
        d.send(write, "k", "good")
        d.ok("commit", 1)
        d.ok("topic", read, 0)
        d.ok("begin", 10000)
        d.send(read, "k", "bad")
        answer = d("commit", 1)
        assert (answer["class"], answer["code"]) == ("config", "TOPIC_AUTHORIZATION_FAILED")
        assert answer["ms"] < stretched(2000)


# Three brokers

@pytest.mark.full
def test_positions_on_three_brokers_are_strong_or_refused():
    """[K5]"""
    with Kafka(brokers=3) as kafka, Driver(kafka.bootstrap) as d:
        assert d.ok("ensure", "strong", 2, 0, 0)["warned"] is False
        replicas = kafka.admin.metadata(["strong"])["topics"]["strong"]
        assert all(len(partition["replicas"]) == 3 for partition in replicas.values())
        kafka.create_topic("weak", 1, {"cleanup.policy": "compact"}, replicas=1)
        answer = d("ensure", "weak", 1, 0, 0)
        assert (answer["class"], answer["code"]) == ("integrity", "POSITIONS_TOPIC_WEAK")
        assert d.ok("ensure", "weak", 1, 0, 1)["warned"] is True
        kafka.create_topic("thin", 1, {"cleanup.policy": "compact", "min.insync.replicas": 1}, replicas=3)
        assert d("ensure", "thin", 1, 0, 0)["code"] == "POSITIONS_TOPIC_WEAK"
