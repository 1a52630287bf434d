"""Planted bugs: each mend of the protocol is switched off in turn, and a scripted schedule shows the damage.

Every schedule runs twice. With the mend the outcome is right; without it, in the very same schedule, a read_committed
consumer sees rows lost, doubled or from nowhere, and the checker of the campaigns says so. Failpoints and planted bugs
need a debug build; the mistakes in cleaning are planted in the functions of the migration.
"""
import signal

import pytest
from proxy import END_TXN, PRODUCE
from relay import wait_until
from ring import STEP, Ring
from scene import Scene
from schema import Background, refused, rows, waits_for_lock
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


@pytest.mark.parametrize("restarted", [False, True], ids=["running", "restarted"])
def test_late_by_floor(restarted, stage, postgres):
    """[W1] A row of the slot before, whose transaction commits when all others go into the next slot."""
    scene = stage("late_by_floor", postgres)
    ring = Ring(scene.query)
    relay = scene.start()
    late = scene.begin()
    scene.add(late, "late")
    scene.insert("before")
    scene.wait_beyond(0)
    # By this session or by the relay's own look.
    wait_until(lambda: ring.step() and (ring.slots() or [()])[0][2:3] == (True,), "the ring to be turned")
    for count in range(1, 4):  # the floor moves with the tick before the last
        end = scene.end()
        scene.insert(f"after {count}")
        scene.wait_beyond(end)
    assert scene.query("SELECT DISTINCT tableoid::regclass::text FROM relay.outbox ORDER BY 1") == [
        ('relay."outbox#0"',), ('relay."outbox#1"',)]
    if restarted:
        assert relay.stop() == 0
        relay = scene.start()
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
    relay.kill()
    scene.insert("end", partition=1)  # by now: with the bug a running relay can miss that one, too
    scene.start()
    wait_until(lambda: scene.end(1) > 0, "the last row")
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
    scene.pass_ids(50)  # the relay's own transactions were lost too; "end" is not to have an id of theirs
    relay.signal(signal.SIGCONT)
    scene.finish(relay)
    expect(scene, {"lost": ["b"]})


def test_position_before_init(stage, postgres):
    """[K4] The predecessor commits after its successor has read the position, but before it is fenced."""
    scene = stage("position_before_init", postgres)
    first = scene.start("before_tick=stop@1")
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
    kafka_proxy.drop(api_key=PRODUCE, contains=scene.positions)  # so the new barrier is no repetition, and is seen
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
    position = kafka_proxy.drop(api_key=PRODUCE, contains=scene.positions)
    scene.insert("c")
    position.wait_hit()
    scene.wait_beyond(4, "read_uncommitted")
    arrival = next(event for event in kafka_proxy.events() if event.get("rule") == late.number)
    late.release()
    wait_until(lambda: any(event["conn"] == arrival["conn"] for event in kafka_proxy.events(kind="close")),
               "the answer to the late EndTxn")
    relay.kill()
    kafka_proxy.heal()
    scene.finish(scene.start(via_proxy=True, instance_id="one"))
    expect(scene, {"doubled": ["c"]})


# --- cleaning: the mistakes are planted in SQL ---------------------------------------------------

LOCKED = "    PERFORM FROM relay.stream s WHERE s.uuid = of_stream.uuid AND s.dropped_at IS NULL FOR NO KEY UPDATE;\n" \
         "    IF NOT FOUND THEN\n        RETURN;\n    END IF;\n"


def test_cleaning_under_repeatable_read(stage, postgres):
    """[C2] A row commits after the snapshot was taken: the look under the lock does not see it."""
    scene = stage("in_sql", postgres)
    ring = Ring(scene.query)
    if scene.planted:
        ring.plant("clean", "IF current_setting('transaction_isolation') <> 'read committed' THEN", "IF false THEN")
    relay = scene.start()
    late = scene.begin()
    scene.add(late, "late")
    scene.insert("early")
    # By this session or by the relay's own look.
    wait_until(lambda: ring.step() and ring.slots()[0][3], "the slot without its late row to be covered")
    relay.signal(signal.SIGSTOP)
    cleaning = scene.begin()
    cleaning.set_session(isolation_level="REPEATABLE READ")
    rows(cleaning, "SELECT count(*) FROM relay.stream")
    scene.commit(late, "late")
    scene.remember()
    if scene.planted:
        assert rows(cleaning, STEP, (ring.stream, "0")) == [("empty", 0)]
        cleaning.commit()
    else:
        assert "READ COMMITTED" in refused(cleaning, STEP, (ring.stream, "0"))
        cleaning.rollback()
    relay.signal(signal.SIGCONT)
    scene.finish(relay)
    expect(scene, {"lost": ["late"]})


def test_a_target_computed_outside_the_lock(stage, postgres):
    """[C1] Two turn at once: the second moves the sequence back, and numbers are handed out twice."""
    scene = stage("in_sql", postgres)
    ring = Ring(scene.query)
    if scene.planted:
        ring.plant("take_step", LOCKED, "", "        PERFORM setval(", LOCKED + "        PERFORM setval(")
    scene.insert("a")
    assert ring.step() == "open"
    ring.wait_longer()
    holder, first, second = scene.begin(), scene.begin(), scene.begin()
    rows(holder, "SELECT FROM relay.stream FOR NO KEY UPDATE")
    turning = []
    for connection in (first, second):
        turning.append(Background(connection, STEP, (ring.stream, "0")))
        waits_for_lock(scene, connection)
    holder.rollback()
    turning[0].wait()
    scene.insert("b")
    first.commit()
    turning[1].wait()
    second.commit()
    scene.insert("c")
    relay = scene.start(outbox={"main": {"batch_rows_max": 1}})  # a slice ends between two rows of one number
    scene.finish(relay)
    expect(scene, {"lost": ["c"]})


def test_a_slot_judged_by_the_current_snapshot(stage, postgres):
    """[C2] Committed is not published: what nobody has read yet goes."""
    scene = stage("in_sql", postgres)
    ring = Ring(scene.query)
    if scene.planted:
        ring.plant("known_snapshot", "THEN t.known_snapshot END", "THEN pg_current_snapshot() END")
    relay = scene.start()
    scene.insert("a")
    scene.wait_beyond(0)
    relay.kill()
    scene.insert("b")
    scene.remember()
    assert ring.clean()[-1] == "nothing"
    scene.finish(scene.start())
    expect(scene, {"lost": ["b"]})
