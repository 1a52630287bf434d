"""Idle outboxes rest on one that polls for them all: they cost little, and a row is seen as soon as ever [C4].

A stream that rests and is told nothing looks by itself after 30 s (PUBLISHER_REST_MS), so SOON_SECONDS tells one that
was woken from one that was forgotten, also on a slow machine.
"""
import os
import re
import signal
import time
from pathlib import Path

import pytest
from relay import Relay, wait_until
from scene import POLLS
from servers.process import stretched

PUBLISHED = "boxrelay_outbox_published_total"
SOON_SECONDS = 15
MANY, FEW = 20, 8
# A second: main loop, registry and leadership need 20, polls and the handing on of the watch 30; 8 that poll, 100.
SWITCHES_MAX = 80


@pytest.fixture
def idle(database, kafka, topic, tmp_path):
    """idle(count, failpoints): (a relay whose streams all rest, the names of its outboxes, a function that writes)."""
    name, made = topic(1), []

    def start(count, failpoints=""):
        relay = Relay(database.dsn, kafka.bootstrap, tmp_path, env={"BOXRELAY_FAILPOINTS": failpoints}).migrate()
        made.append(relay)
        names = ["main"] + [f"o{number}" for number in range(1, count)]
        for outbox in names[1:]:
            database.query("SELECT relay.create_outbox(%s)", (outbox,))
        relay.start()
        wait_until(lambda: relay.metric("boxrelay_stream_state", state="poll") == count, f"{count} streams polling")
        wait_rest(relay)

        def insert(*outboxes):
            tables = ["relay.outbox" if outbox == "main" else f"relay.outbox_{outbox}" for outbox in outboxes]
            database.query("; ".join(f"INSERT INTO {table} (topic, key, payload) VALUES ('{name}', 'k', 'p')"
                                     for table in tables))
        return relay, names, insert
    yield start
    for relay in made:
        relay.kill()


def switches(relay):
    """How often the relay's own threads have gone to sleep; those of librdkafka have names of their own."""
    count = 0
    for task in Path(f"/proc/{relay.process.pid}/task").iterdir():
        if (task / "comm").read_text() == "boxrelay\n":
            count += sum(int(text.split()[1]) for text in (task / "status").read_text().splitlines()
                         if text.startswith("voluntary_ctxt_switches"))
    return count


def wait_rest(relay):
    """Until the threads sleep nearly all the time. Transactions of the relay's own, as after a start, wake all."""
    def rests():
        before, began = switches(relay), time.monotonic()
        time.sleep(1)
        return (switches(relay) - before) / (time.monotonic() - began) < SWITCHES_MAX
    wait_until(rests, "streams that rest")


def sessions(database, relay):
    """{outbox: (backend's pid, start of its last query, the query)}."""
    prefix = f"boxrelay/{relay.name}/outbox/"
    return {application.removeprefix(prefix): rest for application, *rest in database.query(
        "SELECT application_name, pid, query_start, query FROM pg_stat_activity WHERE application_name LIKE %s",
        (prefix + "%",))}


def wait_polls(database, relay, outbox, count):
    """Until it has polled so often from now on."""
    seen = set()

    def enough():
        seen.add(sessions(database, relay)[outbox][1])
        return len(seen) > count
    wait_until(enough, f"{count} polls of {outbox}", every=0.02)


def wait_published(relay, outbox):
    """Until a row of it is; how long that took."""
    began = time.monotonic()
    wait_until(lambda: relay.metric(PUBLISHED, stream=f"outbox/{outbox}") == 1, f"a row of {outbox}", every=0.02)
    return time.monotonic() - began


def test_each_polls_in_its_turn(idle, database):
    """The watch goes round: all sessions are tried, though twenty poll together no oftener than one alone."""
    relay, names, _ = idle(MANY)
    before = {outbox: started for outbox, (_, started, _) in sessions(database, relay).items()}
    polled = set()

    def all_polled():
        polled.update(outbox for outbox, (_, started, query) in sessions(database, relay).items()
                      if started > before[outbox] and re.search(POLLS, query))
        return polled == set(names)
    wait_until(all_polled, "a poll of each session")
    wait_rest(relay)


def test_a_row_of_each_is_seen_at_once(idle):
    """One poll wakes all: nobody waits for its own turn, the last of which comes after two seconds."""
    relay, names, insert = idle(MANY)
    insert(*names)
    began = time.monotonic()
    wait_until(lambda: relay.metric(PUBLISHED) == MANY, "a row of each", every=0.02)
    assert time.monotonic() - began < stretched(1.2)


def test_the_others_are_paused(idle, database):
    """Who is paused hands the watch on."""
    relay, names, insert = idle(FEW)
    for outbox in names[:-1]:
        database.query("SELECT relay.pause(%s, 'test')", (f"outbox/{outbox}",))
    wait_until(lambda: relay.metric("boxrelay_stream_state", state="paused") == FEW - 1, "paused")
    insert(names[-1])
    assert wait_published(relay, names[-1]) < SOON_SECONDS


def test_the_others_hang_in_their_polls(idle, database):
    """PostgreSQL does not answer those whose turn it is: each has handed the watch on before it asked."""
    relay, names, insert = idle(FEW)
    pids = [pid for outbox, (pid, _, _) in sessions(database, relay).items() if outbox != names[-1]]
    try:
        for pid in pids:
            os.kill(pid, signal.SIGSTOP)
        wait_polls(database, relay, names[-1], 2 * FEW)
        insert(names[-1])
        assert wait_published(relay, names[-1]) < SOON_SECONDS
    finally:
        for pid in pids:
            os.kill(pid, signal.SIGCONT)


def test_another_is_in_the_midst_of_a_batch(idle, database):
    """Its thread is busy for longer than anybody may wait for it."""
    relay, names, insert = idle(FEW, f"after_tick=sleep:{1000 * 60}@1")
    ticks = "SELECT max(number) FROM relay.tick JOIN relay.stream s ON s.uuid = stream WHERE s.name = 'outbox/main'"
    before = database.query(ticks)
    insert("main")
    wait_until(lambda: database.query(ticks) != before, "the tick of main")
    for outbox in names[1:]:
        insert(outbox)
        assert wait_published(relay, outbox) < SOON_SECONDS
    assert not relay.metric(PUBLISHED, stream="outbox/main")


def test_a_lost_connection_is_told_to_all(idle, database):
    """Then each tries its own: without a word from the others a lost session shows when its turn comes."""
    relay, names, insert = idle(FEW)
    lost = sessions(database, relay)
    for pid, _, _ in lost.values():
        database.query("SELECT pg_terminate_backend(%s)", (pid,))
    wait_until(lambda: len(sessions(database, relay)) == FEW, "sessions")
    assert not {pid for pid, _, _ in lost.values()} & {pid for pid, _, _ in sessions(database, relay).values()}
    insert(names[-1])
    assert wait_published(relay, names[-1]) < SOON_SECONDS


def test_the_library_s_timers_may_be_late(idle):
    """Else its main thread turns in a loop before each; those that talk to brokers keep the system's 50 us."""
    relay, _, _ = idle(1)
    slack = {}
    for task in Path(f"/proc/{relay.process.pid}/task").iterdir():
        name = (task / "comm").read_text().strip().rstrip("0123456789-")
        slack.setdefault(name, set()).add(int(Path(f"/proc/{task.name}/timerslack_ns").read_text()))
    assert slack["rdk:main"] == {2_000_000}
    assert slack["rdk:broker"] == {50_000}
