"""Planted bugs of the inbox path: each mend is switched off in turn, and a scripted schedule shows the damage.

Every schedule runs twice. With the mend each message is stored, or set aside, exactly once; without it, in the very
same schedule, some are lost or doubled. Needs a debug build.
"""
import signal

import judge
import pytest
from relay import Relay, partition_of_each, wait_until


class Stage:
    """One database, one topic with a message without an id among its messages, relays with or without the bug."""

    def __init__(self, database, kafka, topic, folder, planted):
        self.database, self.kafka, self.topic, self.folder, self.planted = database, kafka, topic, folder, planted
        self.relays, self.sent = [], []
        self.start_none().migrate()

    def start_none(self, failpoints="", **options):
        """A relay that is not started."""
        config = {"outbox": {}, "inbox": {"main": {"topics": [self.topic], **options}}}
        env = {"BOXRELAY_FAILPOINTS": failpoints, "BOXRELAY_PLANTED": self.planted}
        name = self.relays[0].name if self.relays else None
        self.relays.append(Relay(self.database.dsn, self.kafka.bootstrap, self.folder, name, config, env))
        return self.relays[-1]

    def send(self, ids, **options):
        """A message for each id; None: one without an id."""
        with judge.Sender(self.kafka) as sender:
            for one in ids:
                sender.send(self.topic, "k", "{}", {"id": one} if one else {}, **options)
            sender.flush()
        self.sent += ids

    def damage(self):
        """What was not stored, or set aside, exactly once."""
        found = [row[0] for row in self.database.query("SELECT id FROM relay.inbox")]
        found += [None] * self.database.query("SELECT count(*) FROM relay.dead_letter")[0][0]
        wrong = {"lost": sorted({one for one in self.sent if one not in found}, key=str),
                 "doubled": sorted({one for one in found if found.count(one) > 1}, key=str)}
        return {kind: which for kind, which in wrong.items() if which}

    def expect(self, damage):
        """That damage with the bug, none without."""
        assert self.damage() == (damage if self.planted else {})

    def close(self):
        """Kills the relays."""
        for relay in self.relays:
            relay.kill()


@pytest.fixture(params=["mended", "planted"])
def stage(request, database, kafka, topic, tmp_path):
    """stage(bug, partitions) makes a stage with or without that bug."""
    made = []

    def make(bug, partitions=1):
        made.append(Stage(database, kafka, topic(partitions), tmp_path, bug if request.param == "planted" else ""))
        return made[-1]
    yield make
    for one in made:
        one.close()


def test_offset_outside_transaction(stage):
    """[I1] A crash between the offset's transaction and the rows' loses them."""
    scene = stage("offset_outside_transaction")
    scene.send(["a", "b"])
    point = "between_transactions" if scene.planted else "before_store_commit"
    relay = scene.start_none(f"{point}=kill@1").start()
    wait_until(lambda: not relay.running(), "the crash")
    scene.send(["c"])
    scene.start_none().drain()
    scene.expect({"lost": ["a", "b"]})


def woken_zombie(scene):
    """An instance that sleeps with a batch in its hands until another has stored it, then goes on."""
    scene.send(["a", None, "b"])
    zombie = scene.start_none("before_store=stop@1").start()
    with open(f"/proc/{zombie.process.pid}/stat", encoding="ascii") as stat:
        wait_until(lambda: (stat.seek(0), stat.read().rpartition(")")[2].split()[0] == "T")[1], "it sleeps")
    other = scene.start_none().start()
    wait_until(lambda: len(scene.database.query("SELECT 1 FROM relay.inbox")) == 2, "the other stored")
    zombie.signal(signal.SIGCONT)
    done = "OFFSET_TAKEN" if not scene.planted else "message set aside"
    zombie.wait_log(done)
    scene.send(["c"])
    wait_until(lambda: len(scene.database.query("SELECT 1 FROM relay.inbox")) == 3, "what follows")
    return zombie, other


def test_no_epoch_check(stage):
    """[I1] A zombie's offset is taken though another has moved it: what cannot be told by its id is set aside twice."""
    scene = stage("no_epoch_check")
    woken_zombie(scene)
    scene.expect({"doubled": [None]})


def test_zombie_write_after_revoke(stage):
    """[I2] An instance that was fenced takes the partition over again without being assigned it."""
    scene = stage("zombie_write_after_revoke")
    woken_zombie(scene)
    scene.expect({"doubled": [None]})


def test_dedup_per_partition(stage):
    """[I3] The same id in two partitions."""
    scene = stage("dedup_per_partition", 2)
    scene.send(["a"], partition=0)
    scene.send(["a"], partition=1)
    scene.start_none().drain()
    scene.expect({"doubled": ["a"]})


def test_ring_unlocked(stage, tmp_path):
    """[I4] The generations turn while a batch is under way, and another instance stores the same id in the next one."""
    scene = stage("ring_unlocked", 2)
    gate = tmp_path / "gate"
    slow = scene.start_none("after_store_begin=wait@2")
    slow.env["BOXRELAY_FAILPOINT_GATE"] = str(gate)
    other = scene.start_none()
    slow.start(), other.start()
    mine, others = partition_of_each(scene.database, [slow, other])
    scene.send(["x"], partition=mine)
    wait_until(lambda: scene.database.query("SELECT 1 FROM relay.inbox"), "it knows which generations are closed")
    scene.send(["a"], partition=mine)
    wait_until(lambda: scene.database.query("SELECT 1 FROM pg_stat_activity WHERE state = 'idle in transaction' AND "
                                            "application_name LIKE 'boxrelay%%'"), "a batch is under way")
    clean = "SELECT relay.clean_inbox(uuid, '100ms', '100ms') FROM relay.stream WHERE name = 'inbox/main'"
    if scene.planted:
        assert [scene.database.query(clean) for _ in range(2)] == [[("turn",)], [("turn ids",)]]
    else:
        assert scene.database.query(clean) == [("later",)]
    scene.send(["a"], partition=others)
    scene.sent.remove("a")
    wait_until(lambda: len(scene.database.query("SELECT 1 FROM relay.inbox")) == 2, "the other stored it")
    gate.touch()
    wait_until(lambda: scene.database.query(
        "SELECT 1 FROM relay.source s JOIN relay.source_offset o ON o.source = s.id WHERE s.partition = %s AND o.next > 0",
        (mine,)), "the batch is stored")
    scene.expect({"doubled": ["a"]})


def test_latest_after_data(stage):
    """[I2] A partition that is found later, with messages in it, is read from its end."""
    scene = stage("latest_after_data", 1)
    scene.send(["a"])
    scene.start_none().drain()
    scene.kafka.admin.create_partitions(scene.topic, 2)
    scene.send(["b"], partition=1)
    scene.start_none().drain()
    scene.expect({"lost": ["b"]})
