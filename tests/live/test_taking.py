"""Business code takes messages of an inbox: in key order, one transaction a key, whatever fails. [I7] [I8]"""
import random
import threading
from collections import defaultdict

import psycopg2
import pytest
from inbox_table import Inbox, Worker, by_key, damage
from schema import Background, cluster, empty, migrated, refused, rows, waits_for_lock  # noqa: F401
from servers.process import wait_until


@pytest.fixture
def inbox(migrated):  # noqa: F811
    """main, one partition with four lanes."""
    return Inbox(migrated)


def same_lane(inbox, count):
    """Keys of one lane."""
    return [key for key in (f"k{n}" for n in range(100)) if inbox.hashed(key) % inbox.lanes == 0][:count]


def test_a_message_has_all_its_columns(inbox, migrated):
    inbox.store(["k"])
    migrated.run(f"UPDATE relay.{inbox.table} SET headers_bytes = 'h', record_time = '2026-01-01'")
    worker = Worker(migrated)
    ((*found,),) = worker.run("SELECT inbox, seq, id, topic, partition, kafka_offset, record_time::text, key, key_bytes, "
                              "type, headers ->> 'a', headers_bytes, payload, payload_bytes, attempts, "
                              "received_at < now() + interval '1 minute' FROM relay.take()")
    found[11] = bytes(found[11])
    assert found == ["main", 1, f"{inbox.sources[0]}/0", "payments", 0, 0, "2026-01-01 00:00:00+00", "k", None,
                     "PaymentReceived", "b", b"h", '{"n": 0}', None, 0, True]


@pytest.mark.parametrize("count", [1, 7])
def test_before_the_first_partition_there_is_nothing(migrated, count):  # noqa: F811
    """Business code may start before the relay has read anything."""
    worker = Worker(migrated)
    assert worker.take(count) == [] and worker.claim(count) == []
    Inbox(migrated, "billing", partitions=0)
    assert Worker(migrated, "billing").take(count) == []


@pytest.mark.parametrize("count", [1, 7])
def test_all_come_once_in_the_order_of_their_keys(inbox, migrated, count):
    keys = [f"k{n % 13}" for n in range(200)]
    offsets = inbox.store(keys)
    assert by_key(Worker(migrated).drain(count)) == by_key(zip(keys, offsets))
    assert migrated.value("SELECT count(*) FROM relay.held") == 0


def test_a_second_take_continues(inbox, migrated):
    inbox.store(["k"] * 5)
    worker = Worker(migrated)
    first, second = worker.take(), worker.take(2)
    assert [message[2] for message in first + second] == [0, 1, 2]
    for seq, *_ in first + second:
        worker.done(seq)
    assert [message[2] for message in worker.take(9)] == [3, 4] and worker.take(9) == []
    worker.commit()
    assert [offset for _, offset in worker.drain()] == [3, 4]


def test_what_was_passed_over_comes_first_when_its_key_is_free_again(inbox, migrated):
    """All in one transaction: the held message of the key is finished, the next one is still in the lane."""
    first, second = same_lane(inbox, 2)
    inbox.store([first, second, first, second, first])
    worker = Worker(migrated)
    worker.retry(worker.take()[0][0])
    worker.commit()
    found = worker.take(4)
    assert [message[2] for message in found] == [1, 3], "what is behind the delayed one waits"
    inbox.all_due()
    for _ in range(3):
        found += worker.take()
        worker.done(found[-1][0])
    assert by_key((key, offset) for _, key, offset, _ in found) == {second: [1, 3], first: [0, 2, 4]}
    for seq, *_ in found[:2]:
        worker.done(seq)
    worker.commit()
    assert worker.drain() == []


def test_what_is_not_finished_is_given_back(inbox, migrated):
    """[I8] The first of another key is left over: it is held while the position passes it, and due at once."""
    first, second = same_lane(inbox, 2)
    inbox.store([first, second, first, second])
    worker = Worker(migrated)
    taken = worker.take(9)
    worker.done(taken[1][0])
    worker.done(taken[3][0])
    worker.commit()
    assert migrated.value("SELECT count(*) FROM relay.held") == 2
    assert worker.drain() == [(first, 0), (first, 2)]


def test_within_a_key_the_order_is_kept(inbox, migrated):
    inbox.store(["k", "k", "k"])
    worker = Worker(migrated)
    seqs = [message[0] for message in worker.take(3)]
    said = refused(worker.connection, "SELECT relay.done('main', %s)", (seqs[1],))
    assert f"message {seqs[1]} of inbox \"main\" cannot be finished before message {seqs[0]} of the same key" in said
    assert "in the order in which they were taken" in said
    worker.rollback()
    seqs = [message[0] for message in worker.take(3)]
    worker.retry(seqs[0], "0")
    assert f"before message {seqs[0]}" in refused(worker.connection, "SELECT relay.done('main', %s)", (seqs[1],))
    worker.rollback()
    assert [offset for _, offset in worker.drain()] == [0, 1, 2]


def test_each_message_is_finished_once(inbox, migrated):
    inbox.store(["k"])
    worker = Worker(migrated)
    for finish in ("done('main', %s)", "reject('main', %s, 'x')"):
        ((seq, *_),) = worker.take()
        worker.run(f"SELECT relay.{finish}", seq)
        for again in ("done('main', %s)", "retry('main', %s, '0')", "reject('main', %s, 'x')"):
            worker.run("SAVEPOINT s")
            assert "is finished already" in refused(worker.connection, f"SELECT relay.{again}", (seq,))
            worker.run("ROLLBACK TO s")
        worker.rollback()
    ((seq, *_),) = worker.take()
    worker.retry(seq, "0")
    assert "is not taken by this transaction" in refused(worker.connection, "SELECT relay.done('main', %s)", (seq,))
    worker.rollback()
    worker.drain()
    assert "is not taken by this transaction" in refused(worker.connection, "SELECT relay.done('main', %s)", (seq,))


def test_the_pattern_with_a_savepoint(inbox, migrated):
    """take, SAVEPOINT, work that fails, ROLLBACK TO, retry, COMMIT."""
    inbox.store(["k", "k"])
    worker = Worker(migrated)
    ((seq, *_),) = worker.take()
    worker.run("SAVEPOINT work")
    with pytest.raises(psycopg2.Error):
        worker.run("SELECT 1 / 0")
    worker.run("ROLLBACK TO work")
    worker.retry(seq, "0", "division by zero")
    worker.commit()
    assert migrated.run("SELECT attempts, reason FROM relay.held") == [(1, "division by zero")]
    ((again, _, offset, attempts),) = worker.take()
    assert (again, offset, attempts) == (seq, 0, 1)


def test_rolling_back_to_before_the_take_gives_it_up(inbox, migrated):
    """[I8] The lock went with it, so another may have it, and done is refused."""
    inbox.store(["k"])
    worker, other = Worker(migrated), Worker(migrated)
    worker.run("SAVEPOINT before")
    ((seq, *_),) = worker.take()
    assert other.take() == []
    other.rollback()
    worker.run("ROLLBACK TO before")
    assert [message[0] for message in other.take()] == [seq]
    for call in ("done('main', %s)", "retry('main', %s, '0')", "reject('main', %s, 'x')"):
        worker.run("SAVEPOINT s")
        said = refused(worker.connection, f"SELECT relay.{call}", (seq,))
        assert "is not taken by this transaction" in said and "savepoint before the take" in said
        worker.run("ROLLBACK TO s")


def test_a_done_that_was_rolled_back_to_is_undone(inbox, migrated):
    inbox.store(["k"])
    worker = Worker(migrated)
    ((seq, *_),) = worker.take()
    worker.run("SAVEPOINT s")
    worker.done(seq)
    worker.run("ROLLBACK TO s")
    worker.reject(seq)
    worker.commit()
    assert worker.drain() == []


@pytest.mark.parametrize("end", ["rollback", "terminated"])
def test_a_crash_gives_it_back(inbox, migrated, end):
    inbox.store(["k", "k"])
    worker, other = Worker(migrated, application_name="dies"), Worker(migrated)
    ((seq, *_),) = worker.take()
    worker.done(seq)
    assert other.take() == []
    other.rollback()
    if end == "rollback":
        worker.rollback()
    else:
        assert migrated.server.kill_backends("dies", migrated.name) == 1
    assert [message[0] for message in wait_until(other.take, 20, "the message of the session that died")] == [seq]


def test_a_retry_delays_its_key_alone(inbox, migrated):
    """Also what is behind it in the lane, now and later."""
    first, second = same_lane(inbox, 2)
    inbox.store([first, second, first, second, first])
    worker = Worker(migrated)
    ((seq, key, _, _),) = worker.take()
    assert key == first
    worker.retry(seq)
    worker.commit()
    assert worker.drain() == [(second, 1), (second, 3)]
    inbox.store([first, second])
    assert worker.drain(5) == [(second, 6)]
    inbox.all_due()
    ((_, _, offset, attempts), *others) = worker.take(9)
    assert (offset, attempts, [message[2:] for message in others]) == (0, 1, [(2, 0), (4, 0), (5, 0)])
    worker.rollback()
    assert worker.drain() == [(first, 0), (first, 2), (first, 4), (first, 5)]


def test_a_delay_comes_to_its_end(inbox, migrated):
    inbox.store(["k"])
    worker = Worker(migrated)
    worker.retry(worker.take()[0][0], "300 milliseconds")
    worker.commit()
    began = migrated.value("SELECT clock_timestamp()")

    def taken():
        found = worker.take()
        worker.rollback()
        return found
    wait_until(taken, 20, "the message coming due")
    assert migrated.value("SELECT clock_timestamp() - %s > interval '200 milliseconds'", (began,))


def test_keyless_messages_are_each_on_their_own(inbox, migrated):
    inbox.store([None] * 8)
    workers = [Worker(migrated) for _ in range(inbox.lanes)]
    taken = [worker.take()[0] for worker in workers]
    assert len({message[2] for message in taken}) == inbox.lanes
    workers[0].retry(taken[0][0])
    for worker in workers:
        worker.commit()
    assert len(workers[0].drain()) == 7


def test_keyless_in_order(migrated):
    """One lane, one after the other."""
    inbox = Inbox(migrated, "ordered", keyless_in_order="true", hashed=lambda key: 0)
    inbox.store(["k"] * 3)
    migrated.run("UPDATE relay.inbox_ordered SET key = NULL")
    worker, other = Worker(migrated, "ordered"), Worker(migrated, "ordered")
    assert worker.take()[0][2] == 0 and other.take() == []
    worker.rollback()
    other.rollback()
    assert [offset for _, offset in worker.drain()] == [0, 1, 2]


def test_rejected_is_a_dead_letter_and_the_key_goes_on(inbox, migrated):
    inbox.store(["k", "k"], payloads=['{"total": "\u20ac"}', "{}"])
    worker = Worker(migrated)
    worker.retry(worker.take()[0][0], "0")
    worker.commit()
    ((seq, *_),) = worker.take()
    worker.reject(seq, "no such account")
    worker.commit()
    assert migrated.run("SELECT stream, class, reason, seq, topic, partition, kafka_offset, message_id, key, headers, "
                        "convert_from(payload_bytes, 'UTF8'), attempts FROM relay.dead_letter") == [
        ("inbox/main", "REJECTED", "no such account", seq, "payments", 0, 0, f"{inbox.sources[0]}/0", "k", '{"a": "b"}',
         '{"total": "\u20ac"}', 1)]
    assert [offset for _, offset in worker.drain()] == [1]


# --- leases ----------------------------------------------------------------------------------------


def test_a_claim_outlives_its_transaction(inbox, migrated):
    first, second = same_lane(inbox, 2)
    inbox.store([first, first, second])
    worker, other = Worker(migrated), Worker(migrated)
    claimed = worker.claim(9)
    assert [message[1:4] for message in claimed] == [(first, 0, 0), (second, 2, 0)]
    worker.commit()
    assert other.take() == [] and other.claim() == []
    other.commit()
    worker.run("SELECT relay.ack('main', %s, %s)", claimed[0][0], claimed[0][4])
    worker.run("SELECT relay.nack('main', %s, %s, '0', 'busy')", claimed[1][0], claimed[1][4])
    worker.commit()
    assert sorted(other.drain()) == sorted([(first, 1), (second, 2)])


def test_a_claim_that_is_rolled_back_was_none(inbox, migrated):
    inbox.store(["k"])
    worker = Worker(migrated)
    assert len(worker.claim()) == 1
    worker.rollback()
    assert worker.take()[0][2:] == (0, 0)


@pytest.mark.parametrize("taker", ["take", "claim"])
def test_a_lease_that_ran_out(inbox, migrated, taker):
    """Comes again with attempts + 1; the old token is refused from then on, and until then is good."""
    inbox.store(["k"])
    worker, other = Worker(migrated), Worker(migrated)
    ((seq, _, _, _, token),) = worker.claim()
    worker.commit()
    inbox.all_due()
    ((again, _, _, attempts, *_),) = getattr(other, taker)()
    assert (again, attempts) == (seq, 1)
    other.commit()
    said = refused(worker.connection, "SELECT relay.ack('main', %s, %s)", (seq, token))
    assert f"message {seq} of inbox \"main\" is not leased under token {token}" in said and "The lease ran out" in said
    worker.rollback()
    assert "The lease ran out" in refused(worker.connection, "SELECT relay.nack('main', %s, %s)", (seq, token))
    worker.rollback()


def test_an_ack_waits_for_the_lane_and_then_looks(inbox, migrated):
    """[I8] The lease ran out, another one has just taken it and is not done."""
    inbox.store(["k"])
    worker, other = Worker(migrated), Worker(migrated)
    ((seq, _, _, _, token),) = worker.claim()
    worker.commit()
    inbox.all_due()
    ((again, *_),) = other.take()
    late = Background(worker.connection, "SELECT relay.ack('main', %s, %s)", (seq, token))
    waits_for_lock(migrated, worker.connection)
    other.done(again)
    other.commit()
    with pytest.raises(psycopg2.Error, match="is not leased under token"):
        late.wait()


def test_an_ack_is_not_for_another_message(inbox, migrated):
    inbox.store(["a", "b"])
    worker = Worker(migrated)
    claimed = worker.claim() + worker.claim()
    worker.commit()
    for sql, args in (("ack('main', %s, %s)", (claimed[0][0], claimed[1][4])), ("ack('main', %s, NULL)", (claimed[0][0],)),
                      ("ack('nope', %s, %s)", (claimed[0][0], claimed[0][4]))):
        assert "is not leased under" in refused(worker.connection, f"SELECT relay.{sql}", args) or "nope" in sql
        worker.rollback()


# --- refusals and rights -----------------------------------------------------------------------------


@pytest.mark.parametrize("level", ["REPEATABLE READ", "SERIALIZABLE"])
def test_old_snapshots_are_refused(inbox, migrated, level):
    inbox.store(["k"])
    for call in ("take()", "claim()"):
        worker = Worker(migrated)
        worker.connection.set_session(isolation_level=level)
        said = refused(worker.connection, f"SELECT * FROM relay.{call}")
        assert f"needs isolation level READ COMMITTED, this transaction has {level}" in said and "|" in said


@pytest.mark.parametrize("call, said", [
    ("take('nope')", 'there is no inbox "nope" | SELECT relay.create_inbox(\'nope\') in a migration makes it.'),
    ("take(NULL)", "cannot be the name of an inbox"), ("take('x; y')", "cannot be the name of an inbox"),
    ("take(max => 0)", "max is 1 to 10000, not 0"), ("take(max => NULL)", "max is 1 to 10000, not NULL"),
    ("take(max => 10001)", "max is 1 to 10000"), ("claim('nope')", 'there is no inbox "nope"'),
    ("claim(lease => NULL)", "a delay or lease is an interval"), ("claim(lease => '-1 s')", "a delay or lease is"),
    ("done('nope', 1)", 'there is no inbox "nope"'), ("done('main', 1)", "is not taken by this transaction"),
    ("done('main', NULL)", "is not taken by this transaction"), ("done(NULL, 1)", "cannot be the name of an inbox"),
    ("retry('main', 1, '1 s')", "is not taken by this transaction"),
    ("reject('main', 1, 'x')", "is not taken by this transaction"), ("ack('main', 1, 1)", "is not leased under token 1")])
def test_mistakes_are_named(migrated, call, said):  # noqa: F811
    assert said in migrated.refused(f"SELECT relay.{call}", user="app_login")


def test_a_retry_without_a_delay_is_refused(inbox, migrated):
    inbox.store(["k"])
    worker = Worker(migrated)
    ((seq, *_),) = worker.take()
    assert "a delay or lease is an interval from 0 on" in refused(
        worker.connection, "SELECT relay.retry('main', %s, NULL)", (seq,))


def test_business_code_may_take_and_read_and_nothing_else(inbox, migrated):
    inbox.store(["k"])
    assert migrated.value("SELECT count(*) FROM relay.inbox", user="app_login") == 1
    for sql in ("UPDATE relay.inbox SET key = 'x'", "DELETE FROM relay.inbox", "SELECT 1 FROM relay.lane",
                "SELECT 1 FROM relay.held", "SELECT 1 FROM relay.dead_letter", 'SELECT relay."inbox#take"(\'main\', 1)',
                'SELECT relay."inbox#hold"(1, 1::smallint, 0, 0, 0::smallint)', "SELECT relay.note_due(1, 1::smallint, now(), 0)",
                "SELECT relay.make_source(NULL, NULL, NULL, NULL, NULL)", "SELECT relay.drop_inbox('main')",
                "SELECT relay.create_inbox('x')", "INSERT INTO relay.inbox (key) VALUES (1)"):
        assert "permission denied" in migrated.refused(sql, user="app_login"), sql
    for call in ("take()", "claim()", "done('main', 1)"):
        assert "permission denied" in migrated.refused(f"SELECT relay.{call}", user="stranger_login")


def test_a_search_path_of_somebody_else_changes_nothing(inbox, migrated):
    """The functions run as their owner: operators and functions of the caller must not."""
    migrated.run("CREATE SCHEMA evil; GRANT ALL ON SCHEMA evil TO PUBLIC; CREATE FUNCTION evil.eq(integer, integer) RETURNS "
                 "boolean LANGUAGE plpgsql AS 'BEGIN RAISE EXCEPTION ''evil''; END'; "
                 "CREATE OPERATOR evil.= (LEFTARG = integer, RIGHTARG = integer, FUNCTION = evil.eq)")
    inbox.store(["k", "k"])
    worker = Worker(migrated)
    worker.run("SET search_path TO evil, pg_catalog")
    worker.done(worker.take()[0][0])
    worker.retry(worker.take()[0][0])
    worker.commit()


def test_the_relay_may_store(inbox, migrated):
    """Everything of the storing contract, as the relay's user."""
    relay = migrated.connect("daemon_login", autocommit=False)
    rows(relay, "SELECT slot FROM relay.ring FOR SHARE")
    rows(relay, "SELECT relay.make_source(%s, 'other', 0, 0, 0)", (inbox.uuid,))
    rows(relay, "UPDATE relay.source_offset SET next = 1, epoch = 1 WHERE next = 0")
    rows(relay, "INSERT INTO relay.inbox (slot, source, lane, kafka_offset, key_hash, id) VALUES (0, 1, 0, 0, 0, 'x')")
    rows(relay, 'INSERT INTO relay."inbox#id" VALUES (0, gen_random_uuid(), gen_random_uuid())')
    rows(relay, "INSERT INTO relay.dead (stream, class, reason, topic) VALUES (%s, 'POISON', 'x', 't')", (inbox.uuid,))
    relay.rollback()
    for sql in ("UPDATE relay.inbox SET key = 'x'", "DELETE FROM relay.inbox", "UPDATE relay.lane SET next = 0",
                "UPDATE relay.ring SET slot = 1", "SELECT relay.take()"):
        assert "permission denied" in migrated.refused(sql, user="daemon_login"), sql


# --- inboxes, generations, slots -----------------------------------------------------------------------


def test_two_inboxes_in_one_transaction(inbox, migrated):
    other = Inbox(migrated, "billing")
    inbox.store(["k"])
    other.store(["k", "k"])
    worker, billing = Worker(migrated), Worker(migrated, "billing")
    billing.connection = worker.connection
    assert worker.take()[0][0] == 1 and [message[0] for message in billing.take(2)] == [1, 2]
    worker.done(1)
    billing.done(1)
    worker.commit()
    assert worker.drain() == [] and billing.drain() == [("k", 1)]


def test_an_inbox_is_dropped_only_when_nothing_is_open(inbox, migrated):
    other = Inbox(migrated, "billing")
    other.store(["k", "l"])
    said = 'inbox "billing" has messages that are not finished, it is not dropped | Let business code finish them first'
    worker = Worker(migrated, "billing")
    assert said in migrated.refused("SELECT relay.drop_inbox('billing')")
    worker.retry(worker.take()[0][0])
    worker.commit()
    worker.reject(worker.take()[0][0])
    worker.commit()
    assert said in migrated.refused("SELECT relay.drop_inbox('billing')")
    other.all_due()
    worker.drain()
    migrated.run("SELECT relay.drop_inbox('billing')")
    assert migrated.value("SELECT count(*) FROM relay.source JOIN relay.stream s ON s.uuid = stream "
                          "WHERE s.short_name = 'billing'") == 0
    assert migrated.value("SELECT count(*) FROM pg_class WHERE relnamespace = 'relay'::regnamespace "
                          "AND relname LIKE 'inbox_billing%%'") == 0
    assert 'there is no inbox "billing"' in migrated.refused("SELECT relay.take('billing')")
    again = Inbox(migrated, "billing")
    again.store(["k"])
    assert len(worker.drain()) == 1
    assert 'there is no stream "inbox/nope"' in migrated.refused("SELECT relay.drop_inbox('nope')")
    migrated.run("SELECT relay.drop_inbox('main')")
    again.store(["k"])
    assert len(worker.drain()) == 1


def test_a_newer_generation_waits_for_the_older_one(inbox, migrated):
    """[I7] Until all of it is finished, held messages too."""
    inbox.store(["a", "b"])
    newer = inbox.make_source(0, 1, 0)
    inbox.store(["a", "b"], source=newer)
    assert migrated.value("SELECT epoch FROM relay.source_offset WHERE source = %s", (inbox.sources[0],)) == 1, \
        "a batch of the older generation could still be stored"
    worker = Worker(migrated)
    sources = "SELECT count(*) FROM relay.source WHERE finished_at IS NOT NULL"
    ((seq, key, *_),) = worker.take()
    worker.retry(seq)
    worker.commit()
    other = "b" if key == "a" else "a"
    assert worker.drain() == [(other, 1 if other == "b" else 0)] and migrated.value(sources) == 0
    inbox.all_due()
    found = worker.drain()
    assert found[0][0] == key and sorted(found[1:]) == [("a", 0), ("b", 1)] and migrated.value(sources) == 1


def test_messages_of_all_slots_come_in_order(inbox, migrated):
    """Also for a lane that had nothing for long, and after a slot was emptied and used again."""
    stored, worker, keys = [], Worker(migrated), ["a", "b", "c", "d"]
    finished = []
    for turn in range(9):
        for key in keys[:1 + turn % 4]:
            stored += zip([key] * 2, inbox.store([key] * 2))
        if turn % 3 == 2:
            finished += worker.drain()
        oldest = (turn + 2) % 4
        if turn > 1 and migrated.value("SELECT relay.copy_held(%s, %s::smallint)", (inbox.uuid, oldest)):
            migrated.run(f'TRUNCATE relay."inbox#{oldest}"')
        elif turn > 1:
            finished += worker.drain()
            assert migrated.value("SELECT relay.copy_held(%s, %s::smallint)", (inbox.uuid, oldest))
            migrated.run(f'TRUNCATE relay."inbox#{oldest}"')
        inbox.turn()
    assert by_key(finished + worker.drain()) == by_key(stored)


def test_a_slot_before_which_a_lane_stands_is_not_free(inbox, migrated):
    """A lane that was not taken from for two turns has all of the slots behind its own before it."""
    key = same_lane(inbox, 1)[0]
    ready = "SELECT relay.copy_held(%s, %s::smallint)"
    for _ in range(3):
        inbox.store([key])
        inbox.turn()
    assert [migrated.value(ready, (inbox.uuid, slot)) for slot in range(3)] == [False, False, False]
    assert [offset for _, offset in Worker(migrated).drain()] == [0, 1, 2]
    assert [migrated.value(ready, (inbox.uuid, slot)) for slot in range(3)] == [True, True, True]


@pytest.mark.parametrize("same_key", [False, True])
def test_two_takes_across_a_turn(inbox, migrated, same_key):
    """Finishing the second leaves the first unfinished, or is refused if they are of one key."""
    first, second = same_lane(inbox, 2)
    inbox.store([first])
    inbox.turn()
    inbox.store([first if same_key else second])
    worker = Worker(migrated)
    (one, *_), (two, *_) = *worker.take(), *worker.take()
    if same_key:
        assert f"before message {one}" in refused(worker.connection, "SELECT relay.done('main', %s)", (two,))
        worker.rollback()
        assert [offset for _, offset in worker.drain()] == [0, 1]
        return
    worker.done(two)
    worker.commit()
    assert worker.drain() == [(first, 0)]


def test_a_delay_that_is_none_is_not_negative(inbox, migrated):
    """'-1 month 30 days' equals 0 as an interval; on a day of a shorter month it lies in the past."""
    inbox.store(["k", "k"])
    worker = Worker(migrated)
    worker.retry(worker.take()[0][0], "-1 month 30 days")
    worker.commit()
    assert migrated.value("SELECT due_at >= clock_timestamp() - interval '1 minute' FROM relay.held_key")
    assert [offset for _, offset in worker.drain()] == [0, 1]


def test_cursors_of_the_caller_may_have_any_name(inbox, migrated):
    inbox.store(["k"])
    worker = Worker(migrated)
    worker.run("DECLARE lanes CURSOR FOR SELECT 1")
    assert len(worker.take(3)) == 1


def test_ids_are_forgotten_beside_a_batch_and_not_during_a_replay(inbox, migrated):
    """Cleaning takes the ring before the tables, as a batch does; a partition that is read anew needs its ids."""
    clean = "SELECT relay.clean_inbox(%s, interval '1 hour', interval '2 hours')"
    migrated.run("INSERT INTO relay.closed_generation SELECT stream, 3, now() - interval '3 hours' FROM relay.ring")
    batch = migrated.connect()
    rows(batch, "BEGIN")
    rows(batch, "SELECT 1 FROM relay.ring FOR SHARE")
    assert migrated.value(clean, (inbox.uuid,)) == "later"
    rows(batch, 'SELECT 1 FROM relay."inbox#id" WHERE generation = 3')
    rows(batch, "COMMIT")
    newer = inbox.make_source(0, 1, 0)
    assert migrated.value(clean, (inbox.uuid,)) == "nothing", "the replay has not come so far"
    migrated.run("UPDATE relay.source_offset SET witness_time = now() WHERE source = %s", (newer,))
    assert migrated.value(clean, (inbox.uuid,)) == "forget ids"
    assert migrated.value("SELECT ids_since < now() - interval '2 hours' FROM relay.ring")


def test_a_held_message_is_copied_before_its_slot_is_emptied(inbox, migrated):
    inbox.store(["k", "k"], payloads=['{"n": "first"}', "{}"])
    worker = Worker(migrated)
    worker.retry(worker.take()[0][0])
    worker.commit()
    ready = "SELECT relay.copy_held(%s, 0::smallint)"
    assert not migrated.value(ready, (inbox.uuid,)), "the slot is the open one"
    inbox.turn()
    assert not migrated.value(ready, (inbox.uuid,)), "a message waits in the lane"
    assert worker.take() == []
    worker.commit()
    inbox.store(["l"])
    assert worker.drain() == [("l", 2)]
    assert migrated.value(ready, (inbox.uuid,))
    before = migrated.run('SELECT * FROM relay.inbox ORDER BY kafka_offset LIMIT 1')
    migrated.run('TRUNCATE relay."inbox#0"')
    inbox.all_due()
    ((seq, payload, key, id_, attempts),) = worker.run("SELECT seq, payload, key, id, attempts FROM relay.take()")
    assert (payload, key, id_, attempts) == ('{"n": "first"}', "k", f"{inbox.sources[0]}/0", 1) and seq in before[0]
    worker.reject(seq)
    worker.commit()
    assert migrated.value("SELECT convert_from(payload_bytes, 'UTF8') FROM relay.dead_letter") == '{"n": "first"}'
    assert len(worker.drain()) == 1


def test_keys_with_nothing_held_are_forgotten(inbox, migrated):
    inbox.store(["k", "l"])
    worker = Worker(migrated)
    for _ in range(2):
        worker.retry(worker.take()[0][0])
        worker.commit()
    inbox.all_due()
    ((seq, key, *_),) = worker.take()
    worker.done(seq)
    worker.commit()
    assert migrated.value("SELECT relay.forget_keys(%s, '1 hour')", (inbox.uuid,)) == 0
    assert migrated.value("SELECT relay.forget_keys(%s, '0')", (inbox.uuid,)) == 1
    assert [found for found, _ in worker.drain()] == [{"k": "l", "l": "k"}[key]]


def test_a_long_run_of_a_delayed_key_is_passed(inbox, migrated):
    """More than one call moves; the position is behind them afterwards, and another key of the lane comes."""
    first, second = same_lane(inbox, 2)
    inbox.store([first] * 2500 + [second])
    worker = Worker(migrated)
    worker.retry(worker.take()[0][0])
    worker.commit()
    assert worker.drain() == [(second, 2500)]
    assert migrated.value("SELECT count(*) FROM relay.held") == 2500
    inbox.all_due()
    assert [offset for _, offset in worker.drain(100)] == list(range(2500))


def test_two_keys_with_one_hash_do_not_stand_in_each_others_way(migrated):
    inbox = Inbox(migrated, hashed=lambda key: 8)
    inbox.store(["a", "b", "a"])
    worker = Worker(migrated)
    ((seq, key, *_),) = worker.take(9)
    assert key == "a"
    worker.retry(seq, "0")
    worker.commit()
    assert [message[1] for message in worker.take(9)] == ["a"]
    worker.rollback()
    assert by_key(worker.drain(9)) == {"a": [0, 2], "b": [1]}


# --- many at once ------------------------------------------------------------------------------------

PROCESS = "INSERT INTO effect (key, kafka_offset) VALUES (%s, %s)"
NAIVE = """DELETE FROM open_message WHERE seq = (SELECT seq FROM open_message ORDER BY seq LIMIT 1 FOR UPDATE SKIP LOCKED)
RETURNING seq, key, kafka_offset, 0"""


class Crowd:
    """Workers at once: each effect is written in the transaction of its message. Notes when two have one key."""

    def __init__(self, schema, seed, take, finish, retry):
        self.schema, self.take, self.finish, self.retry = schema, take, finish, retry
        self.seed, self.overlaps, self.errors = seed, 0, []

    def run(self, count, total):
        """Until there are so many effects."""
        threads = [threading.Thread(target=self._guarded, args=(number, total)) for number in range(count)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(180)
            assert not thread.is_alive(), f"a worker is stuck, seed {self.seed}"
        assert not self.errors, (self.seed, self.errors[:3])
        return self.schema.run("SELECT key, kafka_offset FROM effect ORDER BY at")

    def _guarded(self, number, total):
        try:
            worker = Worker(self.schema, user="postgres")
            chance = random.Random(f"{self.seed} {number}")
            while worker.run("SELECT count(*) FROM effect")[0][0] < total:
                self._once(worker, chance)
        except Exception as error:  # pylint: disable=broad-except
            self.errors.append(repr(error))

    def _once(self, worker, chance):
        for seq, key, offset, _ in self.take(worker, chance):
            if not worker.run("SELECT pg_try_advisory_xact_lock(hashtextextended(%s, 0))", key)[0][0]:
                self.overlaps += 1
            worker.run("SELECT pg_sleep(%s)", chance.random() * 0.002)
            if chance.random() < 0.1 and self.retry:
                self.retry(worker, seq)
                break
            worker.run(PROCESS, key, offset)
            self.finish(worker, seq)
        if chance.random() < 0.1:
            worker.rollback()
        else:
            worker.commit()


def hot_keys(inbox, total, chance):
    """{key: offsets}: half of the messages are of three keys."""
    stored = defaultdict(list)
    for _ in range(total // 100):
        partition = chance.randrange(len(inbox.sources))
        keys = [f"{partition}/" + (f"hot{chance.randrange(3)}" if chance.random() < 0.5 else f"k{chance.randrange(60)}")
                for _ in range(100)]
        for key, offset in zip(keys, inbox.store(keys, partition)):
            stored[key].append(offset)
    return dict(stored)


EFFECTS = "CREATE TABLE effect (at bigserial, key text, kafka_offset bigint)"


@pytest.mark.seconds(300)
def test_eight_workers_with_hot_keys_rollbacks_and_retries(migrated):
    """Never two transactions with one key, never out of order, each message finished once."""
    seed = random.randrange(10**6)
    print("seed", seed)
    inbox = Inbox(migrated, partitions=2, lanes=4)
    migrated.run(EFFECTS)
    stored = hot_keys(inbox, 2000, random.Random(seed))
    crowd = Crowd(migrated, seed, lambda worker, chance: worker.take(chance.choice((1, 1, 1, 4))), Worker.done,
                  lambda worker, seq: worker.retry(seq, "5 milliseconds"))
    effects = crowd.run(8, 2000)
    assert damage(stored, effects, crowd.overlaps) == [], f"seed {seed}"
    assert migrated.value("SELECT count(*) FROM relay.held") == 0


def test_skip_locked_without_a_key_check_is_caught(migrated):
    """Planted: what many write by hand. The same judge sees the damage."""
    inbox = Inbox(migrated, partitions=2, lanes=4)
    migrated.run(EFFECTS)
    stored = hot_keys(inbox, 400, random.Random(1))
    migrated.run("CREATE TABLE open_message AS SELECT seq, key, kafka_offset FROM relay.inbox; "
                 "CREATE UNIQUE INDEX ON open_message (seq)")
    crowd = Crowd(migrated, 1, lambda worker, chance: worker.run(NAIVE), lambda worker, seq: None, None)
    effects = crowd.run(8, 400)
    found = damage(stored, effects, crowd.overlaps)
    assert any("out of order" in line and " 0 out of order" not in line for line in found), found
    assert crowd.overlaps > 0


# --- against a model -----------------------------------------------------------------------------------


class Model:
    """What sessions may see: each hash is a queue of open messages [offset, attempts, blocked], blocked by delay or token.

    A session has the lanes that it took from; only it changes them, so its changes are simply undone by a copy.
    """

    def __init__(self, lanes):
        self.lanes, self.queues, self.owner, self.seqs = lanes, defaultdict(list), {}, {}

    def takeable(self, session, mine):
        """(hash, offset) of every message that a take of the session may return now."""
        found = []
        for hashed, queue in self.queues.items():
            lane = hashed % self.lanes
            if self.owner.get(lane, session) != session or (queue and queue[0][2] is not None):
                continue
            found += [(hashed, message[0]) for message in queue if (hashed, message[0]) not in mine][:1]
        return found


class Session:
    """One of several business transactions, driven at random."""

    def __init__(self, number, schema, model):
        self.number, self.model, self.worker = number, model, Worker(schema)
        self.taken, self.saved, self.undo = [], [], {}

    def _own(self, hashed):
        lane = hashed % self.model.lanes
        if lane not in self.undo:
            self.undo[lane] = {key: [list(m) for m in queue] for key, queue in self.model.queues.items()
                               if key % self.model.lanes == lane}
            self.model.owner[lane] = self.number

    def take(self, count):
        mine = {(hashed, offset) for _, hashed, offset in self.taken}
        allowed = self.model.takeable(self.number, mine)
        found = self.worker.take(count)
        assert len(found) <= count
        # With something taken already less may come: messages behind those that were held meanwhile wait.
        assert found or self.undo or not allowed, f"nothing was taken, but {allowed} could have been"
        for seq, _, offset, attempts in found:
            hashed = self.model.seqs[seq]
            assert self.model.owner.get(hashed % self.model.lanes, self.number) == self.number, "a lane of two"
            queue = self.model.queues[hashed]
            assert not queue[0][2], f"message {seq} was taken, its key is delayed or leased"
            expected = [m for m in queue if (hashed, m[0]) not in mine][0]
            assert [offset, attempts] == expected[:2], f"{seq}: {offset} taken, {expected} comes first"
            self._own(hashed)
            mine.add((hashed, offset))
            self.taken.append((seq, hashed, offset))

    def finish(self, chance):
        seq, hashed, offset = chance.choice(self.taken)
        queue = self.model.queues[hashed]
        is_first = queue[0][0] == offset and not queue[0][2]
        how = chance.choice(("done", "done", "done", "retry", "reject"))
        self.worker.run("SAVEPOINT finish")
        try:
            delay = chance.choice(("0", "1 hour"))
            if how == "retry":
                self.worker.retry(seq, delay)
            else:
                getattr(self.worker, how)(seq)
        except psycopg2.Error as error:
            assert not is_first, error
            assert "cannot be finished before" in str(error), error
            self.worker.run("ROLLBACK TO finish")
            return
        assert is_first, f"{how} of {seq} was accepted, {queue[0]} comes first"
        self.taken.remove((seq, hashed, offset))
        if how == "retry":
            queue[0][1] += 1
            queue[0][2] = "delay" if delay != "0" else None
        else:
            queue.pop(0)

    def savepoint(self):
        if not self.saved:
            self.worker.run("SAVEPOINT s")
            self.saved.append((list(self.taken), set(self.undo), {
                key: [list(m) for m in queue] for key, queue in self.model.queues.items()
                if self.model.owner.get(key % self.model.lanes) == self.number}))

    def back(self):
        if self.saved:
            self.worker.run("ROLLBACK TO s")
            taken, lanes, queues = self.saved.pop()
            for lane in set(self.undo) - lanes:
                self._restore(lane)
            self.model.queues.update({key: [list(m) for m in queue] for key, queue in queues.items()})
            self.taken = taken

    def _restore(self, lane):
        self.model.queues.update(self.undo.pop(lane))
        del self.model.owner[lane]

    def end(self, commit):
        if commit:
            self.worker.commit()
            for lane in list(self.undo):
                del self.undo[lane], self.model.owner[lane]
        else:
            self.worker.rollback()
            for lane in list(self.undo):
                self._restore(lane)
        self.taken, self.saved = [], []


@pytest.mark.parametrize("hashes", [40, 5], ids=["many_hashes", "few"])
@pytest.mark.parametrize("number", range(3))
def test_random_sessions_against_the_model(migrated, number, hashes):
    """Takes, finishing in any order, savepoints, commits and rollbacks of three sessions; what is seen is what may be."""
    seed = random.randrange(10**6)
    print("seed", seed)
    chance = random.Random(seed)
    inbox = Inbox(migrated, lanes=3, hashed=lambda key: int(key[1:]))
    model = Model(3)
    keys = [f"k{chance.randrange(hashes)}" for _ in range(150)]
    for key, offset in zip(keys, inbox.store(keys)):
        model.queues[int(key[1:])].append([offset, 0, None])
    model.seqs = dict(migrated.run("SELECT seq, key_hash FROM relay.inbox"))
    sessions, turns = [Session(which, migrated, model) for which in range(3)], 3
    for _ in range(400):
        session = chance.choice(sessions)
        what = chance.choices(("take", "finish", "savepoint", "back", "commit", "rollback", "turn"),
                              (30, 50, 6, 6, 12, 5, 6))[0]
        if what == "take":
            session.take(chance.choice((1, 1, 2, 5)))
        elif what == "finish" and session.taken:
            session.finish(chance)
        elif what == "savepoint":
            session.savepoint()
        elif what == "back":
            session.back()
        elif what == "turn" and turns and not any(other.undo for other in sessions):
            turns -= 1
            inbox.turn()
            for key, offset in zip(keys[:20], inbox.store(keys[:20])):
                model.queues[int(key[1:])].append([offset, 0, None])
            model.seqs = dict(migrated.run("SELECT seq, key_hash FROM relay.inbox"))
        elif what in ("commit", "rollback"):
            session.end(what == "commit")
    for session in sessions:
        session.end(False)
    inbox.all_due()
    left = {f"k{hashed}": [m[0] for m in queue] for hashed, queue in model.queues.items() if queue}
    assert by_key(sessions[0].worker.drain(3)) == left, f"seed {seed}"
