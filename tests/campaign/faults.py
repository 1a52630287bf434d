"""What is broken, and how: one function a fault; each leaves the servers running and the links whole.

A fault gets the Bench (campaign.py): postgres, kafka, relays, pg_proxy, kafka_proxy, and a Random of its own.
"""
from proxy import ADD_PARTITIONS_TO_TXN, END_TXN, INIT_PRODUCER_ID, PRODUCE

APIS = {"EndTxn": END_TXN, "Produce": PRODUCE, "InitProducerId": INIT_PRODUCER_ID,
        "AddPartitionsToTxn": ADD_PARTITIONS_TO_TXN}


def relay_kill(bench, random):
    """kill -9 at any moment; another process starts at once or later."""
    relay = random.choice(bench.relays.alive())
    relay.kill()
    bench.pause(random.choice([0, 0, random.uniform(0, 2)]))
    bench.relays.start(static=relay.static if random.random() < 0.7 else not relay.static)
    if random.random() < 0.4:  # and once more, while it is starting
        bench.pause(random.uniform(0, 0.3))
        for other in bench.relays.alive():
            other.kill()
        bench.relays.start()


def relay_stop(bench, random):
    """SIGTERM, and a successor."""
    relay = random.choice(bench.relays.alive())
    relay.stop()
    bench.relays.start()


def zombie(bench, random):
    """All instances freeze, another takes over, and the frozen ones wake behind it."""
    frozen = bench.relays.alive()
    for relay in frozen:
        relay.pause()
    try:
        bench.relays.start(static=False)
        if random.random() < 0.8:
            if bench.wait_progress(20):
                bench.note("zombie behind a successor")
        else:
            bench.pause(random.uniform(0, 9))
    finally:
        for relay in frozen:
            relay.resume()
    bench.pause(random.uniform(0.2, 2))
    bench.relays.keep(1, random)


def doze(bench, random):
    """SIGSTOP and SIGCONT without a successor, shorter and longer than the time-outs."""
    frozen = bench.relays.alive()
    for relay in frozen:
        relay.pause()
    try:
        bench.pause(random.choice([random.uniform(0.05, 2), random.uniform(4, 14)]))
    finally:
        for relay in frozen:
            relay.resume()


def several(bench, random):
    """Two or three instances; some of them die."""
    for _ in range(random.randint(1, 2)):
        bench.relays.start(static=False)
        bench.pause(random.uniform(0, 2))
    bench.pause(random.uniform(0, 3))
    bench.relays.keep(random.choice([1, 1, 2]), random)


def postgres_crash(bench, random):
    """Immediate stop, or SIGKILL to all of PostgreSQL, and recovery."""
    if random.random() < 0.6:
        bench.postgres.stop("immediate")
    else:
        bench.postgres.kill()
    bench.pause(random.choice([0, random.uniform(0, 3)]))
    bench.postgres.start()


def postgres_backend_crash(bench, random):
    """SIGKILL to one backend: PostgreSQL ends all sessions and recovers."""
    bench.postgres.crash_backend(random.choice(["boxrelay%", f"{bench.sessions}-%"]))
    bench.postgres.wait_ready()


def terminate_relay(bench, _random):
    """pg_terminate_backend of the relay's sessions."""
    bench.end_sessions("boxrelay%")


def terminate_writers(bench, random):
    """pg_terminate_backend of writers."""
    bench.end_sessions(random.choice([f"{bench.sessions}-%", f"{bench.sessions}-{random.randrange(8)}"]))


def broker_kill(bench, random):
    """kill -9 of the broker, and a restart."""
    broker = bench.kafka.brokers[0]
    broker.kill()
    bench.pause(random.choice([0, random.uniform(0, 3)]))
    broker.start()


def broker_pause(bench, random):
    """SIGSTOP of the broker, shorter and longer than request time-outs."""
    broker = bench.kafka.brokers[0]
    broker.pause()
    try:
        bench.pause(random.choice([random.uniform(0.05, 2), random.uniform(4, 9)]))
    finally:
        broker.resume()


def cut_kafka(bench, random):
    """All connections to Kafka are reset, some times in a row."""
    for _ in range(random.randint(1, 4)):
        bench.kafka_proxy.cut()
        bench.pause(random.uniform(0, 0.5))


def cut_postgres(bench, random):
    """All connections of the relay to PostgreSQL are reset, some times in a row."""
    for _ in range(random.randint(1, 4)):
        bench.pg_proxy.cut()
        bench.pause(random.uniform(0, 0.5))


def _freeze(bench, random, proxy):
    direction = random.choice(["both", "up", "down"])
    proxy.freeze(direction)
    bench.pause(random.choice([random.uniform(0.05, 2), random.uniform(4, 9)]))
    if random.random() < 0.4:
        proxy.cut()
    proxy.thaw(direction)


def freeze_kafka(bench, random):
    """Kafka's connections stay open and nothing passes, in one direction or both."""
    _freeze(bench, random, bench.kafka_proxy)


def freeze_postgres(bench, random):
    """The same for PostgreSQL."""
    _freeze(bench, random, bench.pg_proxy)


def _refuse(bench, random, proxy):
    proxy.refuse()
    proxy.cut()
    bench.pause(random.uniform(0.1, 4))
    proxy.refuse(False)


def refuse_kafka(bench, random):
    """Kafka is unreachable for some seconds."""
    _refuse(bench, random, bench.kafka_proxy)


def refuse_postgres(bench, random):
    """PostgreSQL is unreachable for some seconds."""
    _refuse(bench, random, bench.pg_proxy)


def slow_links(bench, random):
    """Latency on both links, and a kill in the middle."""
    bench.kafka_proxy.delay(random.choice([5, 40, 150]))
    bench.pg_proxy.delay(random.choice([1, 5, 30]))
    bench.pause(random.uniform(0.5, 3))
    if random.random() < 0.5:
        random.choice(bench.relays.alive()).kill()
        bench.relays.start()
        bench.pause(random.uniform(0.5, 2))
    bench.kafka_proxy.delay(0)
    bench.pg_proxy.delay(0)


def _provoke(bench, random, api):
    """InitProducerId is only sent by a new producer."""
    if api == "InitProducerId":
        if random.random() < 0.5:
            bench.kafka_proxy.cut()
            bench.end_sessions("boxrelay%")
        else:
            random.choice(bench.relays.alive()).kill()
            bench.relays.start()


def hold_request(bench, random):
    """One request is held and released later: after an answer would have been in time, or as a straggler behind
    a client that has gone, or behind a successor."""
    api = random.choice(list(APIS))
    rule = bench.kafka_proxy.hold(api_key=APIS[api], contains=bench.transactional, nth=random.randint(1, 3),
                                  close_client=random.random() < 0.6)
    _provoke(bench, random, api)
    if bench.wait_hit(rule, 12):
        bench.note(f"held {api}")
        bench.pause(random.choice([random.uniform(0, 1), random.uniform(1, 6)]))
        if random.random() < 0.3:
            random.choice(bench.relays.alive()).kill()
            bench.relays.start()
            bench.wait_progress(15)
    rule.remove()


def lose_answer(bench, random):
    """The broker does it, and the relay never hears of it (or only late)."""
    api = random.choice(list(APIS))
    action = random.choice(["drop_response", "cut_response", "hold_response"])
    rule = bench.kafka_proxy.rule(action, api_key=APIS[api], contains=bench.transactional, nth=random.randint(1, 3),
                                  times=random.choice([1, 1, 2]))
    _provoke(bench, random, api)
    if bench.wait_hit(rule, 12):
        bench.note(f"{action} {api}")
        bench.pause(random.uniform(0, 5))
    rule.remove()


def lose_request(bench, random):
    """The broker never sees it."""
    api = random.choice(list(APIS))
    action = random.choice(["drop", "cut"])
    rule = bench.kafka_proxy.rule(action, api_key=APIS[api], contains=bench.transactional, nth=random.randint(1, 3))
    _provoke(bench, random, api)
    if bench.wait_hit(rule, 12):
        bench.note(f"{action} {api}")
    rule.remove()


def tick_commit(bench, random):
    """The COMMIT of a tick: held, lost, or done without an answer."""
    action = random.choice(["hold", "cut", "cut_response", "drop_response", "hold_response"])
    rule = bench.pg_proxy.rule(action, contains=b"COMMIT", nth=random.randint(1, 5),
                               close_client=action == "hold" and random.random() < 0.5)
    if bench.wait_hit(rule, 10):
        bench.note(f"{action} COMMIT")
        bench.pause(random.uniform(0, 3))
    rule.remove()
    if action == "drop_response":
        bench.pause(random.uniform(0, 2))
        bench.pg_proxy.cut()


def together(bench, random):
    """Two at once: a server dies while the relay does."""
    random.choice(bench.relays.alive()).kill()
    if random.random() < 0.5:
        bench.postgres.stop("immediate")
        bench.relays.start()
        bench.postgres.start()
    else:
        bench.kafka.brokers[0].kill()
        bench.relays.start()
        bench.kafka.brokers[0].start()


# Each round of the schedule is a shuffle of this deck.
DECK = [relay_kill] * 5 + [hold_request] * 4 + [lose_answer] * 3 + [zombie] * 2 + [several] * 2 + [
    postgres_crash] * 2 + [tick_commit] * 2 + [
    relay_stop, doze, postgres_backend_crash, terminate_relay, terminate_writers, broker_kill, broker_pause,
    cut_kafka, cut_postgres, freeze_kafka, freeze_postgres, refuse_kafka, refuse_postgres, slow_links, lose_request,
    together]

# The short campaign draws from these first, so that a dozen faults are a dozen kinds.
ESSENTIAL = [relay_kill, zombie, several, postgres_crash, terminate_relay, terminate_writers, broker_kill,
             broker_pause, cut_kafka, freeze_postgres, hold_request, lose_answer, tick_commit, relay_kill]


def schedule(random, count, essential=tuple(ESSENTIAL), deck=tuple(DECK)):
    """`count` faults: the essential ones once, then whole decks, all shuffled."""
    chosen = random.sample(essential, len(essential))
    while len(chosen) < count:
        chosen += random.sample(deck, len(deck))
    return chosen[:count]
