"""The inbox path on real servers: what is stored, where reading starts, outages, several instances, refusals."""
import hashlib
import json
import signal
import time
import uuid

import judge
import pytest
from relay import Relay, partition_of_each, wait_until
from servers import Kafka, Postgres


@pytest.fixture
def reader(database, kafka, tmp_path):
    """reader(topics, **options) makes a relay, migrated and not started, that feeds inbox main from these topics."""
    made = []

    def make(topics, name=None, dsn=None, bootstrap=None, **options):
        config = {"inbox": {"main": {"topics": topics, **options}}, "outbox": {}}
        relay = Relay(dsn or database.dsn, bootstrap or kafka.bootstrap, tmp_path, name or (made[0].name if made else None),
                      config)
        if not made:
            relay.migrate()
        made.append(relay)
        return relay
    yield make
    for relay in made:
        relay.kill()


@pytest.fixture
def sender(kafka):
    """A Java producer without transactions."""
    with judge.Sender(kafka) as made:
        yield made


def send(sender, topic, ids, key=None, value=None, **options):
    """A JSON message for each id; its payload names it."""
    for one in ids:
        sender.send(topic, key or f"k{hash(one) % 10}", value or json.dumps({"id": one}), {"id": one}, **options)
    sender.flush()


def ids(database, inbox="inbox"):
    """What is stored, in the order of arrival."""
    return [row[0] for row in database.query(f"SELECT id FROM relay.{inbox} ORDER BY seq")]


def dead(database):
    """(class, offset) of what was set aside."""
    return database.query("SELECT class, kafka_offset FROM relay.dead_letter ORDER BY topic, partition, kafka_offset")


def wait_stored(database, count, timeout=60):
    """Until so many messages are there."""
    wait_until(lambda: database.query("SELECT count(*) FROM relay.inbox")[0][0] >= count, f"{count} messages", timeout)


def test_a_message_is_stored_as_it_is(reader, database, topic, sender):
    """Keys, values, headers and times; text as text, bytes as bytes, nothing as NULL."""
    name = topic(1)
    sender.send(name, "Zürich", '{"a": 1}', [("id", "one"), ("type", "Placed"), ("e", "")], timestamp=1700000000123)
    sender.send(name, b"\x00\xff", '"text"', {"id": "two"})
    sender.send(name, None, None, [("id", "tomb"), ("x", b"\xff"), ("x", "2"), ("n", None)])
    sender.send(name, "", "3", [("ce_source", "/shop"), ("ce_id", "7"), ("id", "other")])
    sender.flush()
    reader([name]).drain()
    rows = database.query("""SELECT id, key, key_bytes, type, headers::jsonb, convert_from(headers_bytes, 'UTF8')::jsonb,
                             payload, payload_bytes, kafka_offset, extract(epoch FROM record_time)::float
                             FROM relay.inbox ORDER BY seq""")
    one, two, tomb, cloud = [list(row) for row in rows]
    assert one == ["one", "Zürich", None, "Placed", {"id": "one", "type": "Placed", "e": ""}, None, '{"a": 1}', None, 0,
                   1700000000.123]
    assert two[1] is None and bytes(two[2]) == b"\x00\xff" and two[6] == '"text"'
    assert tomb[1:4] == [None, None, None] and tomb[6:8] == [None, None]
    assert tomb[4] == {"id": "tomb", "x": "2"}
    assert tomb[5] == [["id", "dG9tYg=="], ["x", "/w=="], ["x", "Mg=="], ["n", None]]
    assert cloud[0] == "/shop 7" and cloud[1] == ""


def test_each_id_once(reader, database, topic, kafka):
    """Aborted transactions are not there; the same again, in another partition too, is counted; another payload is a
    conflict with both hashes."""
    name = topic(2)
    with judge.Sender(kafka, transactional_id=f"t-{uuid.uuid4()}") as sender:
        sender.begin()
        for partition in (0, 1, 0):
            sender.send(name, "k", '{"n": 1}', {"id": "same"}, partition=partition)
        sender.send(name, "k", '{"n": 2}', {"id": "same"}, partition=1)
        sender.send(name, "k", '{"n": 1}', {"id": "other"}, partition=1)
        sender.commit()
        sender.begin()
        sender.send(name, "k", "{}", {"id": "aborted"}, partition=0)
        sender.abort()
    relay = reader([name])
    relay.drain()
    assert sorted(ids(database)) == ["other", "same"]
    stored = database.query("SELECT payload FROM relay.inbox WHERE id = 'same'")[0][0]
    conflicts = database.query("SELECT class, message_id, convert_from(payload_bytes, 'UTF8'), reason "
                               "FROM relay.dead_letter")
    assert conflicts and {row[:2] for row in conflicts} == {("CONFLICT", "same")}
    assert all(row[2] != stored and row[3].count("-") == 8 for row in conflicts)
    assert len(conflicts) == (1 if stored == '{"n": 1}' else 3)
    # Again from Kafka's side: a producer that sends everything twice.
    with judge.Sender(kafka) as sender:
        for one in ("same", "other"):
            sender.send(name, "k", stored if one == "same" else '{"n": 1}', {"id": one}, partition=0)
        sender.flush()
    with relay.start():
        wait_until(lambda: relay.metric("boxrelay_inbox_duplicates_total") == 2, "both counted")
    assert sorted(ids(database)) == ["other", "same"]


def test_one_id_by_two_instances_at_once(reader, database, topic, sender, tmp_path):
    """The second waits for the first, and then finds it known."""
    name = topic(2)
    gate = tmp_path / "gate"
    first, second = reader([name]), reader([name])
    first.env.update(BOXRELAY_FAILPOINTS="before_store_commit=wait", BOXRELAY_FAILPOINT_GATE=str(gate))
    first.start(), second.start()
    mine, others = partition_of_each(database, [first, second])
    send(sender, name, ["a"], partition=mine)
    wait_until(lambda: database.query("SELECT 1 FROM pg_stat_activity WHERE state = 'idle in transaction'"), "stored")
    send(sender, name, ["a"], partition=others)
    wait_until(lambda: database.query("SELECT 1 FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND "
                                      "application_name LIKE 'boxrelay%%'"), "the second waits")
    gate.touch()
    wait_until(lambda: second.metric("boxrelay_inbox_duplicates_total") == 1, "it is known")
    assert ids(database) == ["a"] and dead(database) == []
    assert second.metric("boxrelay_transactions_total", result="failed") == 1


def test_messages_as_large_as_they_may_be(reader, database, topic, kafka):
    """One of 64 MiB is stored, a larger one is set aside alone."""
    name = topic(1, {"max.message.bytes": 100 << 20})
    limits = {"max.request.size": 100 << 20, "buffer.memory": 300 << 20, "compression.type": "zstd"}
    with judge.Sender(kafka, properties=limits) as sender:
        for number, size in enumerate((10, 64 << 20, (64 << 20) + 1, 10)):
            sender.send(name, "k", json.dumps("x" * (size - 2)), {"id": str(number)})
            sender.flush()
    reader([name]).drain()
    assert database.query("SELECT id, length(payload) FROM relay.inbox ORDER BY seq") == [
        ("0", 10), ("1", 64 << 20), ("3", 10)]
    assert database.query("SELECT class, message_id, length(payload_bytes) FROM relay.dead_letter") == [
        ("POISON", "2", (64 << 20) + 1)]


def test_ids_that_count_up_stay_together(reader, database, topic, sender):
    """Their index is written at one place: the longest number of an id stands first, by the thousand."""
    name = topic(1)
    sent = ["order-0", "order-1023", "order-1024", "/shops/17 order-5000", "/shops/18 order-5000", "none",
            "n18446744073709551615", "n18446744073709551616", "8-1024-9999"]
    send(sender, name, sent + sent)
    reader([name]).drain()
    assert ids(database) == sent
    found = sorted(row[0][:8] for row in database.query('SELECT id::text FROM relay."inbox#id"'))
    hashed = hashlib.sha256(b"none").hexdigest()[:8]
    assert found == sorted(["00000000", "00000000", "00000001", "00000004", "00000004", hashed, "ffffffff", "00000000",
                            "00000001"])


def test_a_known_id_after_many_new_ones(reader, database, topic, sender):
    """While nothing known comes, ids are stored without looking into the open generation. A known one is found all the
    same, by its unique index, and one of a closed generation is looked for always."""
    name = topic(1)
    with reader([name], batch_rows_max=1).start() as relay:
        def send_and_wait(offset, *messages):
            for one, value in messages:
                send(sender, name, [one], "k", value)
            wait_until(lambda: database.query("SELECT next FROM relay.source_offset") == [(offset,)], f"offset {offset}")
        send_and_wait(30, *((f"n{i}", "1") for i in range(30)))
        send_and_wait(33, ("n3", "1"), ("n4", "2"), ("n30", "1"))
        assert relay.metric("boxrelay_transactions_total", result="failed") == 1
        send_and_wait(60, *((f"n{i}", "1") for i in range(31, 58)))
        database.query("UPDATE relay.ring SET generation = 1, generation_since = clock_timestamp()")
        send_and_wait(63, ("n5", "1"), ("n6", "2"), ("n58", "1"))
        database.query("UPDATE relay.ring SET generation = 2, generation_since = clock_timestamp()")
        send_and_wait(66, ("n58", "1"), ("n7", "1"), ("n59", "1"))
        assert relay.metric("boxrelay_inbox_duplicates_total") == 4
    assert ids(database) == [f"n{i}" for i in range(60)]
    assert dead(database) == [("CONFLICT", 31), ("CONFLICT", 61)]
    assert database.query('SELECT generation, count(*) FROM relay."inbox#id" GROUP BY 1 ORDER BY 1') == \
        [(0, 58), (1, 1), (2, 1)]


BAD = [
    ("not json", '{"a": ', {"id": "b1"}, "POISON"),
    ("a NUL", b'"a\x00b"', {"id": "b2"}, "POISON"),
    ("a NUL in an escape", '"a\\u0000b"', {"id": "b3"}, "POISON"),
    ("no UTF-8", b"\xff\xfe", {"id": "b4"}, "POISON"),
    ("empty", "", {"id": "b5"}, "POISON"),
    ("no id", "{}", {}, "NO_ID"),
    ("an empty id", "{}", {"id": ""}, "NO_ID"),
    ("a long id", "{}", {"id": "x" * 2000}, "POISON"),
    ("an id of bytes", "{}", {"id": b"\xff"}, "POISON"),
    ("nested too deeply", "[" * 100_000 + "]" * 100_000, {"id": "b7"}, "POISON"),
    ("many headers", "{}", [("id", "b6")] + [(f"h{i}", "v") for i in range(1000)], "POISON"),
]


def test_bad_ones_alone_are_set_aside(reader, database, topic, sender):
    """Each bad message is a dead letter, once, with all it had; its neighbours pass, in their order."""
    name = topic(1)
    expected, offset = [], 0
    for number, (_, value, headers, kind) in enumerate(BAD):
        sender.send(name, "k", f"{number}", {"id": f"good{number}"})
        sender.send(name, "k", value, headers)
        expected.append((kind, offset + 1))
        offset += 2
    sender.send(name, "k", "99", {"id": "last"})
    sender.flush()
    relay = reader([name])
    relay.drain()
    assert ids(database) == [f"good{i}" for i in range(len(BAD))] + ["last"]
    assert dead(database) == expected
    rows = database.query("SELECT payload_bytes, key, topic, partition FROM relay.dead_letter ORDER BY kafka_offset")
    assert [bytes(row[0]) for row in rows] == [v.encode() if isinstance(v, str) else v for _, v, _, _ in BAD]
    assert {row[1:] for row in rows} == {("k", name, 0)}
    relay.drain()
    assert len(dead(database)) == len(BAD)


def test_many_bad_ones_do_not_hold_up_the_rest(reader, database, topic, sender):
    """Each is found by itself, not by halving a batch over and over, and the log sums them up."""
    name = topic(1)
    for number in range(3000):
        sender.send(name, "k", "garbage", {"id": f"bad{number}"})
        sender.send(name, "k", "12345678901234567890123", {"id": f"good{number}"})  # too large for most programs
    sender.flush()
    relay = reader([name])
    relay.start()
    wait_stored(database, 3000)
    assert len(dead(database)) == 3000
    assert relay.metric("boxrelay_transactions_total", result="failed") < 50
    assert sum("message set aside" in line.get("msg", "") for line in relay.lines()) < 200
    (reason,), = database.query("SELECT DISTINCT reason FROM relay.dead_letter")
    assert reason.startswith("the payload is no JSON: ")


def test_bytes_and_text_inboxes(reader, database, topic, sender, kafka, tmp_path):
    """An inbox of bytes takes whatever comes; several inboxes of one relay do not know each other's ids."""
    name = topic(1)
    reader([name])
    database.query("SELECT relay.create_inbox('raw', 'bytes'), relay.create_inbox('words', 'text')")
    sender.send(name, "k", b"\xff\x00", {"id": "1"})
    sender.send(name, "k", "{not json", {"id": "2"})
    sender.flush()
    config = {"outbox": {}, "inbox": {one: {"topics": [name]} for one in ("main", "raw", "words")}}
    with Relay(database.dsn, kafka.bootstrap, tmp_path, config=config) as relay:
        relay.name  # a name of its own is claimed by the first that runs
        wait_until(lambda: len(ids(database, "inbox_raw")) == 2 and len(ids(database, "inbox_words")) == 1
                   and len(dead(database)) == 3, "all three inboxes")
    assert [bytes(row[0]) for row in database.query("SELECT payload_bytes FROM relay.inbox_raw ORDER BY seq")] == [
        b"\xff\x00", b"{not json"]
    assert database.query("SELECT payload FROM relay.inbox_words") == [("{not json",)]
    assert ids(database) == []


@pytest.mark.parametrize("start,expected", [("earliest", ["a", "b", "c"]), ("latest", ["c"]),
                                            ("2023-11-14T22:13:30Z", ["b", "c"])])
def test_first_start(reader, database, topic, sender, start, expected):
    """The policy holds for the first start alone, and is stored before anything is read."""
    name = topic(1)
    send(sender, name, ["a"], timestamp=1700000000000)
    send(sender, name, ["b"], timestamp=1700000020000)
    relay = reader([name], start=start).start()
    wait_until(lambda: database.query("SELECT started_at FROM relay.subscription WHERE started_at IS NOT NULL"),
               "the first start")
    send(sender, name, ["c"])
    wait_until(lambda: "c" in ids(database), "the message after the start")
    relay.stop()
    assert ids(database) == expected
    # Later starts go on from the stored offset, whatever the policy says.
    send(sender, name, ["d"])
    reader([name], start="latest").drain()
    assert ids(database) == expected + ["d"]


def test_refused_first_start(reader, database, topic, sender):
    """start: refuse says what to do and reads nothing."""
    name = topic(1)
    send(sender, name, ["a"])
    done = reader([name], start="refuse").command("run", "--once", "--timeout", "20s")
    assert done.returncode != 0 and "start is refuse" in done.stderr
    assert ids(database) == []


def test_status_says_why_an_inbox_stopped(reader, database, topic):
    """All the time that it waits for people, not only while it reads."""
    relay = reader([topic(1)], start="refuse").start()
    wait_until(lambda: relay.command("status").returncode == 4, "the status says so")
    time.sleep(31)  # longer than a report counts
    done = relay.command("status")
    row = next(line for line in done.stdout.splitlines() if line.startswith("inbox/main"))
    assert done.returncode == 4 and " stopped " in row and "[NOT_STARTED]" in done.stdout


def test_times_that_postgres_does_not_take(reader, database, topic, sender):
    """Nanoseconds where milliseconds belong: stored without a time, or set aside without one."""
    name = topic(1, {"message.timestamp.after.max.ms": 2**63 - 1})
    far = 1_700_000_000_000_000_000
    sender.send(name, "k", "1", {"id": "a"}, timestamp=far)
    sender.send(name, "k", "no json", {"id": "b"}, timestamp=far)
    sender.send(name, "k", "2", {"id": "c"}, timestamp=253402300799999)
    sender.flush()
    reader([name]).drain()
    assert database.query("SELECT id, record_time IS NULL, extract(year FROM record_time AT TIME ZONE 'UTC')::int "
                          "FROM relay.inbox ORDER BY seq") == [("a", True, None), ("c", False, 9999)]
    assert database.query("SELECT message_id, record_time FROM relay.dead") == [("b", None)]


def test_cleaning_that_fails_does_not_stop_storing(reader, database, topic, sender):
    """It is tried again later."""
    name = topic(1)
    relay = reader([name])
    database.query("""CREATE OR REPLACE FUNCTION relay.clean_inbox(stream uuid, retention interval, id_retention interval)
        RETURNS text LANGUAGE plpgsql AS $$ BEGIN RAISE 'too slow' USING ERRCODE = 'query_canceled'; END $$""")
    send(sender, name, ["a"])
    with relay.start():
        wait_stored(database, 1)
        assert "too slow" in relay.wait_log("too slow")["msg"]


def test_what_is_found_later_is_read_from_its_beginning(reader, database, topic, kafka, sender):
    """Partitions and topics that come later, also for a policy of latest; Kafka's own and the relay's are left out."""
    prefix = f"later-{uuid.uuid4().hex[:8]}"
    topic(1, name=f"{prefix}-one")
    send(sender, f"{prefix}-one", ["before"])
    relay = reader([f"^{prefix}", "^__", "^boxrelay"], start="latest").start()
    wait_until(lambda: database.query("SELECT 1 FROM relay.source_offset WHERE epoch > 0"), "the first partition")
    kafka.admin.create_partitions(f"{prefix}-one", 2)
    send(sender, f"{prefix}-one", ["new partition"], partition=1)
    topic(1, name=f"{prefix}-two")
    send(sender, f"{prefix}-two", ["new topic"])
    wait_stored(database, 2)
    assert sorted(ids(database)) == ["new partition", "new topic"]
    assert {row[0] for row in database.query("SELECT DISTINCT topic FROM relay.source")} == {
        f"{prefix}-one", f"{prefix}-two"}
    assert relay.logged("UNKNOWN_TOPIC_OR_PART") == []
    relay.kill()


def test_a_missing_topic_is_waited_for(reader, database, topic, sender):
    """It is said which one, and it goes on by itself."""
    name = f"missing-{uuid.uuid4().hex[:8]}"
    relay = reader([name]).start()
    relay.wait_log("UNKNOWN_TOPIC_OR_PART")
    topic(1, name=name)
    send(sender, name, ["a"])
    wait_stored(database, 1)
    assert ids(database) == ["a"]


def test_a_reload_tries_a_stopped_inbox_again(reader, database, topic, sender):
    """Its minute is not waited for."""
    name = topic(1)
    relay = reader([name]).start()
    send(sender, name, ["a"])
    wait_stored(database, 1)
    database.query("ALTER TABLE relay.dead RENAME TO gone")
    sender.send(name, "k", "no json", {"id": "b"})
    send(sender, name, ["c"])
    line = relay.wait_log("42P01")
    assert line["state"] == "stopped" and line["next_ms"] > 40_000
    database.query("ALTER TABLE relay.gone RENAME TO dead")
    relay.signal(signal.SIGHUP)
    wait_stored(database, 2, 20)
    assert dead(database) == [("POISON", 1)]


def test_a_missing_inbox_is_waited_for(reader, database, kafka, topic, sender, tmp_path):
    """Not made yet: it is said how, and goes on by itself."""
    name = topic(1)
    send(sender, name, ["a"])
    first = reader([name])
    config = {"outbox": {}, "inbox": {"billing": {"topics": [name]}}}
    with Relay(database.dsn, kafka.bootstrap, tmp_path, first.name, config) as relay:
        line = relay.wait_log("NO_INBOX")
        assert "relay.create_inbox('billing')" in line["hint"]
        database.query("SELECT relay.create_inbox('billing')")
        wait_until(lambda: ids(database, "inbox_billing") == ["a"], "the message")


def test_kill_and_share(reader, database, topic, sender):
    """Two instances share the partitions, one is killed, another comes: each id once, in the order of its key."""
    name = topic(6)
    sent = [f"m{i}" for i in range(4000)]
    one, two = reader([name]).start(), reader([name]).start()
    wait_until(lambda: len(database.query("SELECT DISTINCT owner FROM relay.source_offset")) == 2, "both read", 60)
    send(sender, name, sent[:1000])
    one.kill()
    send(sender, name, sent[1000:2000])
    three = reader([name]).start()
    send(sender, name, sent[2000:3000])
    two.signal(signal.SIGSTOP)
    send(sender, name, sent[3000:])
    wait_stored(database, len(sent), 90)
    two.signal(signal.SIGCONT)  # a zombie: its partitions are somebody else's
    send(sender, name, ["end"])
    wait_stored(database, len(sent) + 1)
    assert sorted(ids(database)) == sorted(sent + ["end"])
    out_of_order = database.query("""SELECT count(*) FROM (SELECT kafka_offset, lag(kafka_offset) OVER
        (PARTITION BY source ORDER BY seq) AS before FROM relay.inbox) AS m WHERE kafka_offset <= before""")
    assert out_of_order == [(0,)]
    assert dead(database) == []
    three.kill()


def test_a_stranger_in_the_group(reader, database, kafka, topic, sender):
    """A member that shares partitions in another way keeps the inbox out: it says so, and goes on when that has left."""
    name = topic(1)
    send(sender, name, ["a"])
    relay = reader([name])
    with judge.Member(kafka, f"boxrelay.{relay.name}.inbox-main", name):
        relay.start()
        line = relay.wait_log("consumer group: ")
        assert line["error.code"] == "INCONSISTENT_GROUP_PROTOCOL" and "stop one kind" in line["hint"]
        wait_until(lambda: "INCONSISTENT_GROUP_PROTOCOL" in relay.command("status").stdout, "the status says so")
    wait_stored(database, 1)
    wait_until(lambda: "INCONSISTENT" not in relay.command("status").stdout, "the status shows it mended")


def test_partitions_that_stay_are_read_on(reader, database, topic, kafka, sender):
    """Instances come and go: what an instance keeps it reads on while the others move, each id once, in its order."""
    name = topic(6)
    sent, relays = [], []
    for number in range(4):
        relays.append(reader([name]).start())
        wait_until(lambda: len(database.query("SELECT DISTINCT owner FROM relay.source_offset")) == number + 1,
                   f"{number + 1} read", 60)
        more = [f"join{number}-{i}" for i in range(200)]
        send(sender, name, more)
        sent += more
    library = json.loads(relays[0].command("version", "--json").stdout)["librdkafka"]
    cooperative = tuple(map(int, library.split("-")[0].split("."))) >= (2, 6, 1)
    wait_until(lambda: kafka.admin.assignor(f"boxrelay.{relays[0].name}.inbox-main") ==
               ("cooperative-sticky" if cooperative else "range"), "the group shares as it should")
    for number, relay in enumerate(relays[:3]):
        relay.stop()
        more = [f"leave{number}-{i}" for i in range(200)]
        send(sender, name, more)
        sent += more
        wait_stored(database, len(sent))
    assert sorted(ids(database)) == sorted(sent) and dead(database) == []
    assert database.query("SELECT count(DISTINCT owner) FROM relay.source_offset") == [(1,)]


def test_postgres_away(reader, topic, sender, tmp_path, kafka):
    """Restarted at once, and stopped for a while: the membership is kept, reading goes on from the table."""
    name = topic(2)
    with Postgres() as postgres:
        dsn = postgres.dsn(postgres.create_database("one"))
        config = {"inbox": {"main": {"topics": [name]}}, "outbox": {}}
        relay = Relay(dsn, kafka.bootstrap, tmp_path, config=config).migrate().start()

        def count():
            return postgres.query("SELECT count(*), count(DISTINCT id) FROM relay.inbox", database="one")[0]
        send(sender, name, [f"a{i}" for i in range(500)])
        wait_until(lambda: count()[0] == 500, "the first messages")
        postgres.restart("immediate")
        send(sender, name, [f"b{i}" for i in range(500)])
        wait_until(lambda: count()[0] == 1000, "those after the crash")
        rebalances = len(relay.logged("partitions taken over"))
        postgres.stop("immediate")
        send(sender, name, [f"c{i}" for i in range(500)])
        relay.wait_log("CONNECT_FAILED")
        postgres.start()
        wait_until(lambda: count()[0] == 1500, "those of the outage")
        assert count() == (1500, 1500)
        assert len(relay.logged("partitions taken over")) > rebalances
        relay.kill()


def test_broker_away(topic, database, tmp_path):
    """Killed and started again: nothing is lost or stored twice, and the outage is said and its end too."""
    with Kafka() as kafka:
        kafka.create_topic("in", 2)
        config = {"inbox": {"main": {"topics": ["in"]}}, "outbox": {}}
        with Relay(database.dsn, kafka.bootstrap, tmp_path, config=config).migrate() as relay:
            with judge.Sender(kafka) as sender:
                send(sender, "in", [f"a{i}" for i in range(500)])
            wait_stored(database, 500)
            kafka.kill()
            relay.wait_log("no broker has answered")
            kafka.restart()
            with judge.Sender(kafka) as sender:
                send(sender, "in", [f"b{i}" for i in range(500)])
            wait_stored(database, 1000)
            relay.wait_log("Kafka answers again")
            assert len(set(ids(database))) == len(ids(database)) == 1000


def test_a_topic_made_again_is_not_read_on(reader, database, topic, kafka, sender):
    """With more records than before, where every client reads on silently: its partition stops and says so [I5]."""
    name, other = topic(1), topic(1)
    relay = reader([name, other])
    send(sender, name, ["a", "b"])
    send(sender, other, ["x"])
    relay.drain()
    kafka.delete_topic(name)
    topic(1, name=name)
    with judge.Sender(kafka) as again:
        send(again, name, [f"new{i}" for i in range(5)])
    relay.start()
    line = relay.wait_log("partition stopped")
    assert line["error.code"] == "OTHER_RECORD" and line["topic"] == name and "rebase" in line["hint"]
    send(sender, other, ["y"])
    wait_stored(database, 4)
    assert sorted(ids(database)) == ["a", "b", "x", "y"]
    wait_until(lambda: relay.command("status").returncode == 4, "the status says so")
    shown = relay.command("status").stdout
    assert "[OTHER_RECORD]" in shown and f"--topic {name} --partition 0" in " ".join(shown.split())
    # The command that it names goes on: a new generation of the partition, behind the messages of the old one.
    done = relay.command("rebase", "inbox/main", "--to", "start", "--topic", name, "--partition", "0")
    assert done.returncode == 0, done.stderr
    wait_stored(database, 9)
    assert sorted(ids(database)) == ["a", "b"] + [f"new{i}" for i in range(5)] + ["x", "y"]
    taken = database.query("SELECT id, relay.done('main', seq) FROM relay.take('main', 10) WHERE topic = %s", (name,))
    wait_until(lambda: "OTHER_RECORD" not in relay.command("status").stdout, "the status shows it mended")
    assert relay.metric("boxrelay_inbox_partition_stopped") == 0
    assert "new0" not in [row[0] for row in taken] or [row[0] for row in taken][:2] == ["a", "b"]


def test_another_instance_does_not_hide_an_error(reader, database, topic, kafka, sender):
    """Two instances share an inbox, and one has a partition that stopped: the status says so all the time."""
    name = topic(2)
    one, two = reader([name]), reader([name])
    send(sender, name, ["a"], partition=0)
    one.drain()
    kafka.delete_topic(name)
    topic(2, name=name)
    with judge.Sender(kafka) as again:
        send(again, name, ["new0", "new1"], partition=0)
        one.start(), two.start()
        send(again, name, ["b"], partition=1)
    wait_until(lambda: len(database.query("SELECT DISTINCT owner FROM relay.source_offset")) == 2, "both read")
    wait_until(lambda: one.command("status").returncode == 4, "it is shown")
    seen = [one.metric("boxrelay_inbox_partition_stopped"), two.metric("boxrelay_inbox_partition_stopped")]
    assert sorted(seen) == [0, 1]
    shown = set()
    for _ in range(30):
        shown.add(one.command("status").returncode)
        time.sleep(0.2)
    assert shown == {4}


def test_a_shorter_topic_and_lost_records(reader, database, topic, kafka, sender):
    """Made again with fewer records; or records deleted by retention before they were stored."""
    name = topic(1)
    relay = reader([name])
    send(sender, name, ["a", "b", "c"])
    relay.drain()
    kafka.delete_topic(name)
    topic(1, name=name)
    with judge.Sender(kafka) as again:
        send(again, name, ["new"])
    once = relay.command("run", "--once", "--timeout", "60s")
    assert once.returncode == 4 and "[SHORTER]" in once.stderr
    with relay.start():
        assert relay.wait_log("partition stopped")["error.code"] == "SHORTER"
    assert ids(database) == ["a", "b", "c"]


def test_listeners_are_notified(reader, database, topic, sender):
    """On channel relay_inbox with the inbox's name, at most ten times a second, the last one never dropped."""
    name = topic(1)
    connection = database.connect()
    connection.cursor().execute("LISTEN relay_inbox")
    reader([name]).start()
    for number in range(30):
        send(sender, name, [f"m{number}"])

    def seen():
        connection.poll()
        return ids(database)[-1:] == ["m29"] and connection.notifies
    wait_until(seen, "a notification")
    assert {notify.payload for notify in connection.notifies} == {"main"}
    last = len(connection.notifies)
    send(sender, name, ["after"])
    wait_until(lambda: connection.poll() or len(connection.notifies) > last, "a notification of the last one")


def test_lag_tools_see_offsets(reader, topic, kafka, sender):
    """Kafka's committed offsets follow, for lag tools."""
    name = topic(1)
    relay = reader([name]).start()
    send(sender, name, ["a", "b"])
    wait_until(lambda: kafka.admin.committed(f"boxrelay.{relay.name}.inbox-main", name).get(0) == 2, "the offset", 30)


def test_paused_and_resumed(reader, database, topic, sender):
    """A paused inbox keeps its membership and stores nothing."""
    name = topic(1)
    relay = reader([name]).start()
    send(sender, name, ["a"])
    wait_stored(database, 1)
    database.query("SELECT relay.pause('inbox/main', 'a reason')")
    wait_until(lambda: relay.metric("boxrelay_stream_state", stream="inbox/main", state="paused") == 1, "paused")
    send(sender, name, ["b"])
    assert ids(database) == ["a"]
    database.query("SELECT relay.resume('inbox/main')")
    wait_stored(database, 2)


def test_a_full_inbox_pauses(reader, database, topic, sender):
    """More waits than the bound: nothing more is stored, the metric says so; done messages make room [I6]."""
    name = topic(2)
    relay = reader([name], waiting_rows_max=100, batch_rows_max=10).start()
    sent = [f"m{i}" for i in range(3000)]
    send(sender, name, sent[:200])
    wait_until(lambda: relay.metric("boxrelay_inbox_full") == 1, "full")
    wait_until(lambda: (relay.metric("boxrelay_inbox_pending_rows") or 0) >= 100, "what waits")
    send(sender, name, sent[200:])
    before = len(ids(database))
    assert before < 3000
    wait_until(lambda: database.query("SELECT state FROM relay.status WHERE stream = 'inbox/main'") == [("full",)],
               "the status says so")
    wait_until(lambda: sum([relay.metric("boxrelay_inbox_lag_records") or 0, len(ids(database))]) == 3000,
               "the lag is known though nothing is fetched")
    connection = database.connect()
    cursor = connection.cursor()

    def work():
        cursor.execute("SELECT relay.done('main', t.seq) FROM relay.take('main', 100) AS t")
        return cursor.rowcount == 0 and len(ids(database)) == 3000
    wait_until(work, "all stored and taken", 120, every=0)
    wait_until(lambda: relay.metric("boxrelay_inbox_pending_rows") == 0, "nothing waits")
    assert sorted(ids(database)) == sorted(sent)


def test_partitions_that_moved_while_full_are_read_on(reader, database, topic, sender):
    """A pause belongs to a partition in the library, also while it is another's: it does not come back with it."""
    name = topic(2)
    one = reader([name], waiting_rows_max=10).start()
    for partition in range(2):
        send(sender, name, [f"{partition}-{i}" for i in range(50)], partition=partition)
    wait_until(lambda: one.metric("boxrelay_inbox_full") == 1, "full")
    two = reader([name], waiting_rows_max=10).start()
    owners = "SELECT DISTINCT owner FROM relay.source_offset"
    wait_until(lambda: len(database.query(owners)) == 2, "both read")
    taken = []

    def take(count):
        taken.extend(database.query("SELECT id, relay.done('main', seq) FROM relay.take('main', 100)"))
        return len(taken) == count
    wait_until(lambda: take(100), "all taken")
    two.stop()
    wait_until(lambda: len(database.query(owners)) == 1, "one has both again")
    for partition in range(2):
        send(sender, name, [f"{partition}-more"], partition=partition)
    wait_until(lambda: take(102), "what came since")


def test_a_take_over_during_a_rebase(reader, database, topic, sender):
    """An instance that waits for a rebase to commit reads the new generation, not the one from before [I7]."""
    name = topic(1)
    relay = reader([name])
    send(sender, name, ["a"])
    relay.drain()
    send(sender, name, ["b"])
    rebase = database.connect(autocommit=False)
    cursor = rebase.cursor()
    cursor.execute("SELECT relay.make_source(uuid, %s, 0, 1, 1) FROM relay.stream WHERE name = 'inbox/main'", (name,))
    relay.start()
    wait_until(lambda: database.query("SELECT 1 FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND "
                                      "application_name LIKE 'boxrelay%%'"), "it waits for the rebase")
    rebase.commit()
    wait_stored(database, 2)
    assert database.query("SELECT m.id, s.generation FROM relay.inbox m JOIN relay.source s ON s.id = m.source "
                          "ORDER BY m.seq") == [("a", 0), ("b", 1)]


def test_a_replay_older_than_the_ids_is_refused(reader, database, topic, sender):
    """Ids that are forgotten cannot keep a message from being stored again: no rebase to there, unless it is forced."""
    name = topic(1)
    relay = reader([name], retention="1s", id_retention="2s").start()
    taken = []

    def rebase(*args):
        return relay.command("rebase", "inbox/main", *args)

    def take():
        taken.extend(row[0] for row in database.query(
            "SELECT id, relay.done('main', seq) FROM relay.take('main', 10)"))
        return sorted(taken)
    send(sender, name, ["a", "b"], timestamp=round(1000 * (time.time() - 7200)))
    wait_until(lambda: take() == ["a", "b"], "both")
    database.query("UPDATE relay.ring SET ids_since = clock_timestamp() - interval '3 hours'")
    younger = rebase("--to", "start")  # than the oldest ids
    assert younger.returncode == 0, younger.stderr
    database.query("UPDATE relay.ring SET ids_since = NULL")
    wait_until(lambda: database.query("SELECT ids_since FROM relay.ring") != [(None,)], "ids are forgotten")
    database.query("UPDATE relay.ring SET ids_since = clock_timestamp() - interval '1 hour'")
    refused = rebase("--to", "start")
    assert (refused.returncode, refused.stdout) == (4, "") and "[IDS_FORGOTTEN]" in refused.stderr
    assert f"{name}/0 would be read from offset 0" in refused.stderr
    since = refused.stderr.split("--to ")[1].split(" ")[0]
    younger = rebase("--to", since)
    assert younger.returncode == 0 and f"read anew from {since}" in younger.stdout
    assert rebase("--to", "now").returncode == 0
    send(sender, name, ["c"])
    wait_until(lambda: len(take()) > 2, "what is new")
    assert taken[2:] == ["c"]
    assert rebase("--to", "start", "--force").returncode == 0
    wait_until(lambda: len(take()) > 4, "what was done before comes again")
    assert {"a", "b"} <= set(taken[3:])
    audit = database.query("SELECT detail FROM relay.audit WHERE action = 'rebase' ORDER BY at DESC LIMIT 1")
    assert audit == [({"to": "start", "force": True},)]


def slots(database):
    """Messages in each slot of the ring."""
    return [database.query(f'SELECT count(*) FROM relay."inbox#{n}"')[0][0] for n in range(4)]


def test_finished_messages_and_old_ids_go(reader, database, topic, sender):
    """Messages go a retention after they were finished, held ones never; ids outlive them, and go by their own [I4]."""
    name = topic(1)
    relay = reader([name], retention="2s", id_retention="4s").start()
    send(sender, name, ["a", "b", "c"], key="k")
    wait_stored(database, 3)
    # a is done, b is delayed for long, c waits behind it.
    connection = database.connect(autocommit=False)
    cursor = connection.cursor()
    cursor.execute("SELECT id, seq FROM relay.take('main', 2) ORDER BY seq")
    (_, first), (_, second) = cursor.fetchall()
    cursor.execute("SELECT relay.done('main', %s)", (first,))
    cursor.execute("SELECT relay.retry('main', %s, interval '1 hour', 'not now')", (second,))
    connection.commit()
    cursor.execute("SELECT id FROM relay.take('main', 2)")
    assert cursor.fetchall() == []  # c leaves its lane too
    connection.commit()
    wait_until(lambda: sum(slots(database)) == 0, "the slot is emptied")
    held = database.query("SELECT id, payload FROM relay.held ORDER BY kafka_offset")
    assert held == [("b", '{"id": "b"}'), ("c", '{"id": "c"}')]
    assert database.query('SELECT count(*) FROM relay."inbox#id"') == [(3,)]
    send(sender, name, ["a", "b"], key="k")  # still known
    wait_until(lambda: relay.metric("boxrelay_inbox_duplicates_total") == 2, "both counted")
    wait_until(lambda: database.query('SELECT count(*) FROM relay."inbox#id"') == [(0,)], "ids are forgotten")
    send(sender, name, ["a"], key="k")
    wait_stored(database, 1)
    # What was held comes back as it was.
    database.query("UPDATE relay.held_key SET due_at = clock_timestamp() WHERE due_at IS NOT NULL")
    database.query("UPDATE relay.lane SET due_from = '-infinity'")

    def come():
        cursor.execute("SELECT id, payload, attempts, relay.done('main', seq) FROM relay.take('main', 10)")
        found = [row[:3] for row in cursor.fetchall()]
        connection.commit()
        return found
    seen = []
    wait_until(lambda: seen.extend(come()) or len(seen) == 3, "held ones")
    assert seen == [("b", '{"id": "b"}', 1), ("c", '{"id": "c"}', 0), ("a", '{"id": "a"}', 0)]
