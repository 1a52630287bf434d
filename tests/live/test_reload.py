"""Reload by HUP with live servers: what is applied, how, and what is refused as a whole."""
import json
import signal
import socket
import threading
import time

import judge
import pytest
from relay import Relay, wait_queries, wait_until
from servers.ports import free_ports

NOWHERE = "127.0.0.1:1"


class Reloaded(Relay):
    """A relay whose configuration changes while it runs."""

    def write(self, **changes):
        """Writes the configuration as it was first, with these changes."""
        self.config.write_text(json.dumps({**self.first, **changes}))

    def hup(self, said="configuration read again", **changes):
        """A reload; the line of the log that it ends with."""
        self.write(**changes)
        before = len(self.lines())
        self.signal(signal.SIGHUP)
        return self.wait_log(said, 20, before)

    @property
    def first(self):
        """The configuration that it was made with."""
        if not hasattr(self, "_first"):
            self._first = json.loads(self.config.read_text())
        return self._first


@pytest.fixture
def relay(database, kafka, tmp_path):
    """A migrated relay, not started; killed after the test."""
    made = Reloaded(database.dsn, kafka.bootstrap, tmp_path, config={"log": {"format": "json", "level": "info"}}).migrate()
    assert made.first
    yield made
    made.kill()


def insert(database, topic, count, first=0, outbox="outbox"):
    """`count` rows, each in a transaction of its own; their payloads are first, first + 1, ..."""
    with database.connect().cursor() as cursor:
        for i in range(first, first + count):
            cursor.execute(f"INSERT INTO relay.{outbox} (topic, key, payload) VALUES (%s, 'k', %s)", (topic, str(i)))


def values(kafka, topic):
    """Payloads as a read_committed consumer sees them, by partition and offset."""
    return [record.value.decode() for record in judge.read(kafka, [topic])]


def wait_published(relay, count, stream="outbox/main", timeout=30):
    """Until so many rows of the stream were published, since the process started."""
    wait_until(lambda: (relay.metric("boxrelay_outbox_published_total", stream=stream) or 0) >= count,
               f"{count} rows of {stream} published", timeout)


def mistakes(relay):
    """The log's lines about what is wrong with the file."""
    return [line for line in relay.logged("configuration") if "source" in line and line["level"] == "error"]


def committed(relay):
    """Kafka transactions with rows, or of a producer's start, that were committed."""
    return relay.metric("boxrelay_transactions_total", result="committed") or 0


def test_options_of_one_stream_at_once(relay, database, kafka, topic):
    """The stream whose options changed goes on by the new ones, the others are not touched, and counters count on."""
    name = topic(1)
    database.query("SELECT relay.create_outbox('audit')")
    with relay:
        wait_until(lambda: len(relay.logged("publishing the stream")) == 2, "both streams run")
        insert(database, name, 1)
        wait_published(relay, 1)
        insert(database, name, 1, 1, "outbox_audit")
        wait_published(relay, 1, "outbox/audit")
        said = relay.hup(outbox={"main": {"batch_rows_max": 1, "commit_interval_ms": 1500}})
        assert said["changed"] == 2
        assert {line["option"]: line["applied"] for line in relay.logged("configuration changed")} == {
            "/outbox/main/batch_rows_max": "at once", "/outbox/main/commit_interval_ms": "at once"}
        relay.wait_log("stream goes on with its new options")
        assert [line["stream"] for line in relay.logged("stream goes on with its new options")] == ["outbox/main"]
        wait_until(lambda: relay.metric("boxrelay_leader", stream="outbox/main") == 1, "leads again")
        assert relay.metric("boxrelay_outbox_published_total", stream="outbox/main") == 1
        begin, before = time.monotonic(), committed(relay)
        insert(database, name, 1, 10)
        wait_published(relay, 2)
        insert(database, name, 2, 11)
        wait_published(relay, 4)
        assert time.monotonic() - begin >= 1.4 and committed(relay) - before == 3  # the second waited for the interval
        relay.hup(outbox={"main": {"batch_rows_max": 1, "commit_interval_ms": 10000}})
        wait_until(lambda: len(relay.logged("stream goes on with its new options")) == 2, "a new worker")
        insert(database, name, 1, 19)
        wait_published(relay, 5)
        relay.hup(outbox={"main": {"batch_rows_max": 1, "commit_interval_ms": 1}})  # not after another 10 s
        begin = time.monotonic()
        insert(database, name, 10, 20)
        wait_published(relay, 15)
        assert time.monotonic() - begin < 9
        assert {line["stream"] for line in relay.logged("position read back")} == {"outbox/main"}  # audit goes on
        assert relay.stop() == 0
    assert values(kafka, name) == [str(i) for i in (0, 1, *range(10, 13), *range(19, 30))]


def test_allow_list_and_unknown_topics(relay, database, kafka, topic):
    """A stream that a list of topics has stopped goes on when the list lets its row through."""
    name = topic(1)
    relay.write(outbox={"main": {"topics": ["other"]}})
    with relay:
        insert(database, name, 1)
        relay.wait_log("TOPIC_NOT_ALLOWED")
        relay.hup(outbox={"main": {"topics": ["other", f"^{name}"]}})
        wait_published(relay, 1)
        insert(database, f"{name}-missing", 1)
        relay.wait_log("UNKNOWN_TOPIC_OR_PART")
        relay.hup(outbox={"main": {"on_unknown_topic": "poison"}})  # and no list
        wait_until(lambda: any(line["error.class"] == "poison" for line in relay.logged("UNKNOWN_TOPIC_OR_PART")),
                   "the missing topic is poison now")
    assert values(kafka, name) == ["0"]


def test_kafka_properties_under_load(relay, database, kafka, topic):
    """Clients are made anew again and again while rows come in: nothing lost, doubled or out of order."""
    name, done = topic(1), threading.Event()
    written = []

    def write():
        with database.connect().cursor() as cursor:
            while not done.is_set():
                cursor.execute("INSERT INTO relay.outbox (topic, key, payload) VALUES (%s, 'k', %s)",
                               (name, str(len(written))))
                written.append(str(len(written)))
    with relay:
        relay.wait_log("publishing the stream")
        writer = threading.Thread(target=write)
        writer.start()
        try:
            for i in range(4):
                before = len(relay.lines())
                relay.hup(kafka={**relay.first["kafka"], "producer": {"linger.ms": i, "compression.type": "zstd"}},
                          outbox={"main": {"batch_rows_max": 50 + i}})
                relay.wait_log("position read back", after=before)
                wait_until(lambda rows=10 * (i + 1): len(written) >= rows, "rows after the reload")
        finally:
            done.set()
            writer.join()
        wait_published(relay, len(written))
        assert len(relay.logged("stream goes on with its new options")) == 4
        assert not relay.logged("given to another instance")  # only the group's own properties cost the leadership
        assert relay.stop() == 0
    assert values(kafka, name) == written


def test_other_brokers_and_back(relay, database, kafka, topic):
    """All clients, the group's member too, go where the new properties say."""
    name = topic(1)
    with relay:
        insert(database, name, 1)
        wait_published(relay, 1)
        relay.hup(kafka={"bootstrap.servers": NOWHERE})
        insert(database, name, 1, 1)
        wait_until(lambda: relay.metric("boxrelay_kafka_up") == 0, "Kafka is away")
        relay.hup()
        wait_published(relay, 2)
        relay.hup(instance_id="one")  # the member joins again under its name
        insert(database, name, 1, 2)
        wait_published(relay, 3)
        assert relay.stop() == 0
    assert values(kafka, name) == ["0", "1", "2"]


def test_a_reload_taken_back_at_once(relay, database, kafka, topic, tmp_path):
    """Back to what was, before the worker that was told to end has ended: the stream goes on all the same."""
    name, gate = topic(1), tmp_path / "gate"
    relay.env.update(BOXRELAY_FAILPOINTS="before_tick=wait@2", BOXRELAY_FAILPOINT_GATE=str(gate))
    with relay:
        insert(database, name, 1)
        wait_published(relay, 1)
        insert(database, name, 1, 1)
        wait_until(lambda: relay.metric("boxrelay_stream_state", stream="outbox/main", state="tick") == 1, "it waits")
        relay.hup(outbox={"main": {"batch_rows_max": 7}})
        wait_queries(database.query, f"boxrelay/{relay.name}/registry")  # it takes the configuration up before it asks
        relay.hup()
        wait_queries(database.query, f"boxrelay/{relay.name}/registry")  # it takes the configuration up before it asks
        gate.touch()
        relay.wait_log("stream goes on with its new options")
        insert(database, name, 1, 2)
        wait_published(relay, 3)
        assert relay.stop() == 0
    assert values(kafka, name) == ["0", "1", "2"]


def test_wrong_postgres_mended_by_a_reload(relay, database, kafka, topic):
    """No waiting for a back-off: the new connection string is tried at once."""
    name = topic(1)
    insert(database, name, 1)
    relay.write(postgres="host=127.0.0.1 port=1 dbname=x connect_timeout=2")
    with relay:
        wait_until(lambda: len(relay.logged("CONNECT_FAILED")) >= 1, "PostgreSQL is away")
        relay.hup()
        wait_published(relay, 1, timeout=15)
        relay.hup(postgres=f"{database.dsn} application_name=ignored connect_timeout=7")
        relay.wait_log("stream goes on with its new options")
        insert(database, name, 1, 1)
        wait_published(relay, 2)
    assert values(kafka, name) == ["0", "1"]


def test_a_wrong_file_is_kept_out(relay, database, kafka, topic):
    """All its mistakes are said, none of its right parts is applied, and the metric shows it until a good one comes."""
    name = topic(1)
    with relay:
        relay.wait_log("publishing the stream")
        said = relay.hup("configuration not applied", log={"level": "debug"}, outbox={"main": {"batch_rows_max": 0}},
                         nonsense=1)
        assert said["errors"] == 2
        assert {line["error"].split(":")[0] for line in mistakes(relay)} == {
            "/outbox/main/batch_rows_max", "/nonsense"}
        assert relay.metric("boxrelay_config_reload_success") == 0
        assert relay.get("/health/ready")[0] == 200
        insert(database, name, 1)
        wait_published(relay, 1)
        relay.config.write_text("{")
        relay.signal(signal.SIGHUP)
        wait_until(lambda: len(relay.logged("configuration not applied")) == 2, "no JSON")
        relay.config.unlink()
        relay.signal(signal.SIGHUP)
        wait_until(lambda: len(relay.logged("configuration not applied")) == 3, "no file")
        assert relay.hup()["changed"] == 0
        assert relay.metric("boxrelay_config_reload_success") == 1
        assert not relay.logged("stream goes on with its new options")
        assert not [line for line in relay.lines() if line.get("level") == "debug"]
        assert relay.stop() == 0


@pytest.mark.parametrize("changes, path", [
    ({"name": "other"}, "/name"),
    ({"positions": {"topic": "other"}}, "/positions/topic"),
    ({"positions": {"accept_weak": True}}, "/positions/accept_weak"),
])
def test_name_and_positions_are_refused(relay, changes, path):
    """[L5] The whole reload is refused, with where it stands and why; what else changed is not applied."""
    relay.write(postgres="host=/nonexistent dbname=x", kafka={"bootstrap.servers": NOWHERE})
    with relay:
        relay.wait_log("boxrelay starts")
        said = relay.hup("configuration not applied", log={"level": "debug"}, postgres="host=/nonexistent dbname=x",
                         kafka={"bootstrap.servers": NOWHERE}, **changes)
        assert said["errors"] == 1
        why, = mistakes(relay)
        assert why["error"].startswith(f"{path}: a running relay keeps its name") and why["line"] == 1
        assert why["source"] == str(relay.config) and "restart it" in why["error"]
        assert relay.metric("boxrelay_config_reload_success") == 0
        relay.stop()


def test_http_moves_or_stays(relay):
    """Another address is taken, or, where it cannot be had, the whole reload is refused."""
    relay.write(postgres="host=/nonexistent dbname=x", kafka={"bootstrap.servers": NOWHERE})
    same = {"postgres": "host=/nonexistent dbname=x", "kafka": {"bootstrap.servers": NOWHERE}}
    with relay:
        relay.wait_health("/health/live")
        with socket.socket() as taken:
            taken.bind(("127.0.0.1", 0))
            taken.listen()
            said = relay.hup("configuration not applied", **same, log={"level": "debug"},
                             http={"listen": "127.0.0.1:%d" % taken.getsockname()[1]})
            assert "Address already in use" in said["error"]
        assert relay.get("/health/live")[0] == 200 and relay.metric("boxrelay_config_reload_success") == 0
        before, relay.port = relay.port, free_ports(1)[0]
        relay.hup(**same, http={"listen": f"127.0.0.1:{relay.port}"}, health={"ready_requires_kafka": True})
        assert relay.get("/health/live")[0] == 200
        assert "kafka" in relay.get("/health/ready")[1]
        relay.hup(**same, http={"listen": "off"})
        assert relay.get("/health/live")[0] == 0
        relay.port = before
        relay.hup(**same)
        assert relay.get("/health/live")[0] == 200
        assert relay.stop() == 0


def test_the_service_manager_hears_of_a_reload(relay, tmp_path):
    """RELOADING=1 with the time of the reload, then READY=1, also when the file is wrong."""
    path = str(tmp_path / "notify")
    relay.write(postgres="host=/nonexistent dbname=x", kafka={"bootstrap.servers": NOWHERE})
    relay.env["NOTIFY_SOCKET"] = path
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listener:
        listener.bind(path)
        listener.settimeout(10)

        def heard(word):
            while True:
                message = listener.recv(1024).decode()
                if word in message:
                    return dict(line.split("=", 1) for line in message.splitlines())
        with relay:
            heard("READY=1")
            for text in (relay.config.read_text(), "{"):
                relay.config.write_text(text)
                asked = time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000
                relay.signal(signal.SIGHUP)
                assert asked <= int(heard("RELOADING=1")["MONOTONIC_USEC"]) <= asked + 10_000_000
                assert ("refused" in heard("READY=1")["STATUS"]) == (text == "{")


def test_reloads_without_end_and_a_stop_in_the_middle(relay, database, kafka, topic):
    """As fast as they come; a stop is not held up by a reload, and what was written is there once."""
    name = topic(1)
    with relay:
        relay.wait_log("publishing the stream")
        insert(database, name, 20)
        for i in range(20):
            relay.write(outbox={"main": {"batch_rows_max": 1 + i % 3}}, kafka={**relay.first["kafka"], "linger.ms": i % 2})
            relay.signal(signal.SIGHUP)
            time.sleep(0.02)  # a race is wanted here, with what the last one set in motion
        begin = time.monotonic()
        assert relay.stop() == 0
        assert time.monotonic() - begin < 8
    relay.drain()
    assert values(kafka, name) == [str(i) for i in range(20)]
