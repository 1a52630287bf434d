"""Planted bugs: each mend of the protocol is switched off in turn, and a scripted schedule shows the damage.

Every schedule runs twice. With the mend the outcome is right; without it, in the very same schedule, a read_committed
consumer sees rows lost, doubled or from nowhere, and the checker of the campaigns says so. Failpoints and planted bugs
need a debug build.
"""
import signal

import pytest
from proxy import ADD_PARTITIONS_TO_TXN, END_TXN, PRODUCE
from relay import wait_until
from scene import Scene
from servers import Postgres


@pytest.fixture(scope="module")
def crashing():
    """A cluster to crash, where nothing reaches the disk by itself."""
    settings = {"synchronous_commit": "off", "wal_writer_delay": "10s", "autovacuum": "off"}
    with Postgres(settings=settings) as cluster:
        yield cluster


@pytest.fixture(params=["mended", "planted"])
def stage(request, kafka, topic, tmp_path):
    """stage(bug, cluster) makes a scene with or without that bug."""
    made = []

    def make(bug, cluster):
        planted = bug if request.param == "planted" else ""
        made.append(Scene(cluster, kafka, topic(2), tmp_path, planted))
        return made[-1]
    yield make
    for scene in made:
        scene.close()


def expect(scene, damage):
    """That damage with the bug, none without."""
    assert scene.damage() == (damage if scene.planted else {})


def test_read_by_seq(stage, postgres):
    """[W1] A row that drew its number first and commits last."""
    scene = stage("read_by_seq", postgres)
    relay = scene.start()
    late = scene.begin()
    scene.add(late, "late")
    scene.insert("early")
    scene.wait_beyond(0)
    scene.commit(late, "late")
    scene.finish(relay)
    expect(scene, {"lost": ["late"]})


def test_poll_by_sequence(stage, postgres):
    """[C4] A row that commits when no number is drawn any more."""
    scene = stage("poll_by_sequence", postgres)
    relay = scene.start()
    late = scene.begin()
    scene.add(late, "late")
    scene.wait_polls(relay)
    scene.commit(late, "late")
    scene.wait_polls(relay, 20)
    expect(scene, {"lost": ["late"]})
    scene.finish(relay)
    assert scene.damage() == {}


def crash_after_commit(scene, failpoints):
    """An asynchronous commit goes out; PostgreSQL crashes before anything else makes it durable."""
    relay = scene.start(failpoints + ",after_commit=stop@1")
    scene.hold_wal()
    xid = scene.insert("a")
    scene.wait_stopped(relay)
    scene.crash()
    scene.insert_as(xid, "b")
    relay.signal(signal.SIGCONT)
    scene.finish(relay)


def test_no_tick(stage, crashing):
    """[T1] The crash takes "done" back, and hands the transaction's id to another row."""
    scene = stage("no_tick", crashing)
    crash_after_commit(scene, "")
    expect(scene, {"lost": ["b"], "phantom": ["a"]})


def test_tick_after_end_txn(stage, crashing):
    """[T2] The crash comes between the commit in Kafka and the tick."""
    scene = stage("tick_after_end_txn", crashing)
    crash_after_commit(scene, "")
    expect(scene, {"lost": ["b", "end"], "phantom": ["a"]})


def test_rollback_taken_for_commit(stage, crashing):
    """[T2] A transaction that failed unseen answers COMMIT with ROLLBACK, and no error."""
    scene = stage("rollback_taken_for_commit", crashing)
    crash_after_commit(scene, "transaction_fails=error@1")
    expect(scene, {"lost": ["b", "end"], "phantom": ["a"]})


def test_advance_on_empty(stage, crashing):
    """[T3] The id of an aborted transaction, seen as done by an empty poll, comes again after the crash."""
    scene = stage("advance_on_empty", crashing)
    relay = scene.start()
    scene.hold_wal()
    aborted = scene.begin()
    xid = scene.add(aborted, "aborted")
    aborted.rollback()
    scene.wait_polls(relay)
    relay.signal(signal.SIGSTOP)
    scene.crash()
    scene.insert_as(xid, "b")
    relay.signal(signal.SIGCONT)
    scene.finish(relay)
    expect(scene, {"lost": ["b"]})


def test_position_before_init(stage, postgres):
    """[K4] The predecessor commits after its successor has read the position, but before it is fenced."""
    scene = stage("position_before_init", postgres)
    first = scene.start("after_tick=stop@1")
    scene.insert("a")
    scene.wait_stopped(first)
    second = scene.start("after_early_position=stop@1", wait=None)
    scene.wait_stopped(second)
    first.signal(signal.SIGCONT)
    scene.wait_beyond(0)
    first.kill()
    second.signal(signal.SIGCONT)
    scene.finish(second)
    expect(scene, {"doubled": ["a"]})


def test_produce_error_ignored(stage, postgres):
    """[K11] A produce that failed leaves a transaction that commits without the record."""
    scene = stage("produce_error_ignored", postgres)
    relay = scene.start("produce_fails=error@4")  # after the barrier, and after the first position with its barrier
    scene.insert("a")
    scene.finish(relay)
    expect(scene, {"lost": ["a"]})


def test_producer_reused_after_abort(stage, postgres, kafka_proxy):
    """[K1] The answer to a Produce is lost, the transaction aborted, the same row sent again under its old number."""
    scene = stage("producer_reused_after_abort", postgres)
    relay = scene.start(via_proxy=True)
    writer = scene.begin()
    writer.cursor().execute("SELECT FROM relay.tick FOR UPDATE")  # the tick has to wait
    kafka_proxy.refuse()  # no second try
    kafka_proxy.cut_response(api_key=PRODUCE, contains=scene.topic.encode())
    scene.insert("a")
    scene.wait_beyond(0, "read_uncommitted")
    scene.postgres.kill_backends("boxrelay/%/outbox/main", scene.database)
    relay.wait_log("57P01")
    writer.rollback()
    kafka_proxy.heal()
    scene.finish(relay)
    expect(scene, {"lost": ["a"]})


def test_endtxn_repeat_ignored(stage, postgres, kafka_proxy):
    """[K2] A delayed EndTxn, repeated meanwhile, arrives in a later transaction and commits its first half."""
    scene = stage("endtxn_repeat_ignored", postgres)
    relay = scene.start(via_proxy=True, instance_id="one")
    late = kafka_proxy.hold(api_key=END_TXN, contains=scene.name.encode(), close_client=True)
    scene.insert("a")
    scene.wait_beyond(0)
    scene.insert("b")
    scene.wait_beyond(2)  # "a" and its marker
    scene.wait_polls(relay)
    position = kafka_proxy.hold(api_key=ADD_PARTITIONS_TO_TXN, contains=f"boxrelay.{scene.name}.positions".encode())
    scene.insert("c")
    position.wait_holding()
    scene.wait_beyond(4, "read_uncommitted")
    arrival = next(event for event in kafka_proxy.events() if event.get("rule") == late.number)
    late.release()
    wait_until(lambda: any(event["conn"] == arrival["conn"] for event in kafka_proxy.events(kind="close")),
               "the answer to the late EndTxn")
    relay.kill()
    kafka_proxy.heal()
    scene.finish(scene.start(via_proxy=True, instance_id="one"))
    expect(scene, {"doubled": ["c"]})
