"""What is broken on the inbox path: the faults of faults.py that fit, and those of consumer groups and partitions."""
from . import faults, inbox_workload

APIS = {"JoinGroup": 11, "SyncGroup": 14, "Heartbeat": 12, "OffsetCommit": 8, "Fetch": 1, "ListOffsets": 2}


def zombie_of_several(bench, random):
    """One instance sleeps until its partitions are another's, and wakes behind it."""
    if len(bench.relays.alive()) < 2:
        bench.relays.start()
        bench.pause(random.uniform(0.5, 3))
    frozen = random.choice(bench.relays.alive())
    owned = bench.owned()
    frozen.pause()
    try:
        if bench.wait_moved(owned, 25):
            bench.note("zombie behind a successor")
    finally:
        frozen.resume()
    bench.pause(random.uniform(0, 1))


def rebalances(bench, random):
    """Instances come and go faster than a group settles."""
    for _ in range(random.randint(2, 4)):
        if len(bench.relays.alive()) < 3 and random.random() < 0.7:
            bench.relays.start()
        else:
            bench.relays.keep(max(1, len(bench.relays.alive()) - 1), random)
        bench.pause(random.uniform(0, 1.5))


def add_partitions(bench, random):
    """A topic gets partitions while it is written to; once for each topic, then instances restart instead."""
    for topic, count in random.sample(sorted(inbox_workload.TOPICS.items()), len(inbox_workload.TOPICS)):
        if topic not in bench.grown:
            bench.grown.add(topic)
            bench.kafka.admin.create_partitions(topic, count + inbox_workload.ADDED)
            bench.note("partitions added")
            return
    rebalances(bench, random)


def group_request(bench, random):
    """A request of the consumer, or its answer, is held, lost or cut."""
    api = random.choice(list(APIS))
    action = random.choice(["hold", "drop", "cut", "hold_response", "drop_response", "cut_response"])
    rule = bench.kafka_proxy.rule(action, api_key=APIS[api], nth=random.randint(1, 3), times=random.choice([1, 1, 2]))
    if api in ("JoinGroup", "SyncGroup", "ListOffsets"):
        bench.relays.start()
    if bench.wait_hit(rule, 8):
        bench.note(f"{action} {api}")
        bench.pause(random.uniform(0, 3))
    rule.remove()


def workers_and_relay(bench, random):
    """All sessions of business code end while the relay dies."""
    random.choice(bench.relays.alive()).kill()
    bench.end_sessions(f"{bench.sessions}-%")
    bench.relays.start()


# As in faults.py.
DECK = [faults.relay_kill] * 5 + [zombie_of_several] * 4 + [rebalances] * 3 + [group_request] * 4 + [
    faults.tick_commit] * 3 + [faults.postgres_crash] * 2 + [faults.broker_kill] * 2 + [
    faults.zombie, faults.relay_stop, faults.doze, faults.postgres_backend_crash, faults.terminate_relay,
    faults.terminate_writers, faults.broker_pause, faults.cut_kafka, faults.cut_postgres, faults.freeze_kafka,
    faults.freeze_postgres, faults.refuse_kafka, faults.refuse_postgres, faults.slow_links, faults.together, add_partitions,
    workers_and_relay]
ESSENTIAL = [faults.relay_kill, zombie_of_several, rebalances, add_partitions, faults.postgres_crash,
             faults.terminate_writers, faults.broker_kill, faults.cut_postgres, faults.tick_commit, faults.cut_kafka]


def schedule(random, count):
    """The essential ones once, then whole decks."""
    return faults.schedule(random, count, tuple(ESSENTIAL), tuple(DECK))
