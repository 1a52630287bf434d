"""What an operator sees: health, metrics, logs, status, what the service manager is told, and signals."""
import json
import os
import pty
import re
import select
import signal
import socket
import subprocess
import threading
import time

import judge
import pytest
from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse_openmetrics
from prometheus_client.parser import text_string_to_metric_families as parse_text
from relay import Relay, binary, wait_until
from servers.promtool import promtool
from test_cli import get

TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"
TRACEPARENT = f"00-{TRACE}-00f067aa0ba902b7-01"
INSERT = "INSERT INTO relay.outbox (topic, key, payload) VALUES (%s, 'k', %s)"
OPENMETRICS = "application/openmetrics-text;version=1.0.0;q=0.5,text/plain;version=0.0.4;q=0.3,*/*;q=0.2"


def feeding(database, kafka, tmp_path, *topics, **config):
    """A migrated relay with inbox main on these topics, not started; it publishes outboxes too."""
    return Relay(database.dsn, kafka.bootstrap, tmp_path, config={"inbox": {"main": {"topics": list(topics)}}, **config}).migrate()


@pytest.fixture
def relay(database, kafka, tmp_path):
    """A migrated relay, not started; killed after the test."""
    made = Relay(database.dsn, kafka.bootstrap, tmp_path).migrate()
    yield made
    made.kill()


def published(relay, count):
    """Until so many rows are."""
    wait_until(lambda: relay.metric("boxrelay_outbox_published_total") == count, f"{count} rows published")


# --- inboxes -------------------------------------------------------------------------------------


def test_an_inbox_is_seen(database, kafka, topic, tmp_path):
    """What goes out comes in again: every page, the log, status and the metrics know of it."""
    name = topic()
    relay = feeding(database, kafka, tmp_path, name)
    database.query(INSERT, (name, "1"))
    database.query(INSERT, (name, "2"))
    with relay:
        wait_until(lambda: relay.metric("boxrelay_inbox_stored_total") == 2, "2 messages stored")
        wait_until(lambda: relay.metric("boxrelay_inbox_lag_records") == 0, "nothing behind")
        assert relay.wait_log("boxrelay starts")["inboxes"] == "main"
        assert relay.wait_log("storing messages in the inbox")["stream"] == "inbox/main"
        text = get(relay.port, "/metrics")[2]
        done = subprocess.run([promtool(), "check", "metrics"], input=text, capture_output=True, text=True, check=False)
        assert (done.returncode, done.stdout + done.stderr) == (0, "")
        listed = {line.split()[0] for line in relay.command("help", "metrics").stdout.splitlines() if line[:1].isalpha()}
        counted = {"boxrelay_inbox_pending_rows", "boxrelay_inbox_oldest_age_seconds"}  # known after a look at the table
        missing = {family for family in listed if family.startswith("boxrelay_inbox_") and f"\n{family}{{" not in text}
        assert missing <= counted
        (inbox,) = [stream for stream in json.loads(relay.get("/status")[1])["streams"] if stream["stream"] == "inbox/main"]
        assert (inbox["stored_rows"], inbox["duplicates"], inbox["full"], inbox["error"]) == (2, 0, False, None)
        assert {partition["topic"] for partition in inbox["partitions"]} == {name}
        checks = [check["name"] for check in json.loads(relay.get("/health/live")[1])["checks"]]
        assert "inbox/main" in checks and relay.get("/health/ready")[0] == 200
        wait_until(lambda: "inbox/main" in relay.command("status").stdout and relay.command("status").returncode == 0, "status")
        (row,) = [row for row in json.loads(relay.command("status", "--json").stdout) if row["stream"] == "inbox/main"]
        assert row["state"] not in ("unused", "unknown")
        assert relay.stop() == 0
    assert database.query("SELECT payload FROM relay.inbox ORDER BY kafka_offset") == [("1",), ("2",)]


def test_an_inbox_pauses_and_resumes(database, kafka, topic, tmp_path):
    """By command and by signal, as an outbox does."""
    name = topic()
    with feeding(database, kafka, tmp_path, name) as relay:
        wait_until(lambda: relay.metric("boxrelay_stream_state", stream="inbox/main", state="fetch") == 1, "reading")
        assert relay.command("pause", "inbox/main", "--reason", "upgrade").returncode == 0
        database.query(INSERT, (name, "1"))
        published(relay, 1)
        wait_until(lambda: relay.metric("boxrelay_stream_paused", stream="inbox/main") == 1, "paused")
        assert database.query("SELECT count(*) FROM relay.inbox")[0][0] == 0
        assert "inbox/main: paused by" in relay.command("status").stdout
        assert relay.command("resume", "inbox/main").returncode == 0
        wait_until(lambda: relay.metric("boxrelay_inbox_stored_total") == 1, "stored")


def test_inboxes_come_and_go_by_a_reload(database, kafka, topic, tmp_path):
    """A relay that had none gets one, then another instead, then none; the outbox goes on."""
    first, second = topic(), topic()
    database_ready = Relay(database.dsn, kafka.bootstrap, tmp_path).migrate()
    assert database_ready
    database.query("SELECT relay.create_inbox('billing')")
    relay = Relay(database.dsn, kafka.bootstrap, tmp_path)

    def reload(inbox):
        settings = {**json.loads(relay.config.read_text()), "inbox": inbox}
        relay.config.write_text(json.dumps(settings))
        before = len(relay.logged("configuration read again"))
        relay.signal(signal.SIGHUP)
        wait_until(lambda: len(relay.logged("configuration read again")) > before, "reloaded")
    with relay:
        relay.wait_log("publishing the stream")
        assert "inbox/" not in relay.get("/metrics")[1]
        reload({"main": {"topics": [first]}})
        database.query(INSERT, (first, "1"))
        wait_until(lambda: database.query("SELECT count(*) FROM relay.inbox")[0][0] == 1, "stored in main")
        reload({"billing": {"topics": [first, second]}})
        wait_until(lambda: database.query("SELECT count(*) FROM relay.inbox_billing")[0][0] == 1, "stored in billing")
        database.query(INSERT, (second, "2"))
        wait_until(lambda: database.query("SELECT count(*) FROM relay.inbox_billing")[0][0] == 2, "and again")
        wait_until(lambda: "inbox/main" not in relay.get("/metrics")[1], "main ended")
        reload({})
        wait_until(lambda: "inbox/" not in relay.get("/metrics")[1], "none")
        database.query(INSERT, (second, "3"))
        published(relay, 3)
        assert relay.metric("boxrelay_config_reload_success") == 1
        assert relay.stop() == 0
    assert database.query("SELECT count(*) FROM relay.inbox")[0][0] == 1


def test_a_reload_does_not_turn_the_outbox_off(database, kafka, topic, tmp_path):
    relay = feeding(database, kafka, tmp_path, topic())
    with relay:
        relay.wait_log("publishing the stream")
        relay.config.write_text(json.dumps({**json.loads(relay.config.read_text()), "outbox": {}}))
        relay.signal(signal.SIGHUP)
        wait_until(lambda: relay.metric("boxrelay_config_reload_success") == 0, "refused")
        assert any("cannot turn its outbox off" in line.get("error", "") for line in relay.logged("configuration"))
        assert relay.metric("boxrelay_leader") == 1


def test_a_relay_that_only_stores(database, kafka, topic, tmp_path):
    """No outbox: nothing is published, the servers' states come from the inbox, and --once waits for what is there."""
    name = topic()
    writer = Relay(database.dsn, kafka.bootstrap, tmp_path, name="writer").migrate()
    database.query(INSERT, (name, "1"))
    assert writer.command("run", "--once").returncode == 0
    database.query("UPDATE relay.identity SET name = NULL")
    relay = feeding(database, kafka, tmp_path, name, outbox={})
    database.query(INSERT, (name, "2"))
    done = relay.command("run", "--once")
    assert done.returncode == 0 and "all stored" in done.stderr and "all published" not in done.stderr, done.stderr
    assert database.query("SELECT payload FROM relay.inbox") == [("1",)]
    with relay:
        wait_until(lambda: relay.get("/health/ready")[0] == 200, "ready")
        wait_until(lambda: (relay.metric("boxrelay_postgres_up"), relay.metric("boxrelay_kafka_up")) == (1, 1), "both up")
        assert relay.get("/health/live")[0] == 200 and "registry" not in relay.get("/health/live")[1]
        assert "outbox/" not in relay.get("/status")[1] and relay.stop() == 0


# --- metrics -------------------------------------------------------------------------------------


def samples(families):
    """{(name, labels): value} of what does not change by itself."""
    return {(sample.name, tuple(sorted(sample.labels.items()))): sample.value for family in families
            for sample in family.samples if not sample.name.startswith("process_") and "_age_" not in sample.name}


def floats_alike(found):
    """OpenMetrics writes the bounds of a histogram as floats."""
    return {(name, tuple((label, str(float(value)) if label == "le" else value) for label, value in labels)): value
            for (name, labels), value in found.items()}


def test_metrics_pass_public_checkers(relay, database, topic):
    """promtool's lint, Prometheus' text parser, and the one of OpenMetrics: the same samples in both formats."""
    database.query(INSERT, (topic(), "0"))
    with relay:
        published(relay, 1)
        wait_until(lambda: relay.metric("boxrelay_outbox_pending_rows") == 0, "counted")
        database.query("SELECT relay.pause('outbox/main', 'nothing moves')")
        wait_until(lambda: relay.metric("boxrelay_stream_state", state="paused") == 1, "paused")
        text, headers = get(relay.port, "/metrics")[2], get(relay.port, "/metrics")[1]
        _, open_headers, open_text = get(relay.port, "/metrics", headers={"Accept": OPENMETRICS})
    assert headers["Content-Type"] == "text/plain; version=0.0.4; charset=utf-8"
    assert open_headers["Content-Type"] == "application/openmetrics-text; version=1.0.0; charset=utf-8"
    done = subprocess.run([promtool(), "check", "metrics"], input=text, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout + done.stderr) == (0, "")
    found = samples(parse_text(text))
    assert floats_alike(found) == floats_alike(samples(parse_openmetrics(open_text)))
    assert found[("boxrelay_outbox_end_to_end_seconds_count", (("stream", "outbox/main"),))] == 1
    listed = {line.split()[0] for line in relay.command("help", "metrics").stdout.splitlines() if line[:1].isalpha()}
    shown = {re.sub(r"_(bucket|sum|count)$", "", line.split("{")[0].split()[0])
             for line in text.splitlines() if not line.startswith("#")}
    absent = {name for name in listed - shown if not name.startswith("boxrelay_inbox_")}
    assert absent == {"boxrelay_certificate_expiry_seconds"} and shown <= listed


def test_expiry_of_certificates(database, kafka, tmp_path):
    """Of the files that the configuration names, as they are now."""
    def make(days):
        subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes",
                        "-keyout", tmp_path / "key", "-out", tmp_path / "cert", "-days", str(days), "-subj", "/CN=a"],
                       check=True, capture_output=True)
    make(30)
    with Relay(f"{database.dsn} sslcert={tmp_path / 'cert'}", kafka.bootstrap, tmp_path) as relay:
        for days in (30, 90):
            make(days)
            seconds = wait_until(lambda: relay.metric("boxrelay_certificate_expiry_seconds", file=tmp_path / "cert"),
                                 "the metric") - time.time()
            assert abs(seconds - days * 86400) < 3600


# --- health --------------------------------------------------------------------------------------

READY = ("/health/ready", "/readyz", "/actuator/health/readiness")
LIVE = ("/health/live", "/livez", "/actuator/health/liveness")


def test_readiness_outlives_postgres_and_kafka(database, kafka, postgres_proxy, kafka_proxy, tmp_path):
    """A sidecar that is not ready takes its pod out of service: an outage of either is no reason, in any dialect."""
    relay = Relay(database.dsn_via_proxy, kafka.bootstrap_via_proxy, tmp_path).migrate()
    with relay:
        relay.wait_log("publishing the stream")
        for proxy, up in ((postgres_proxy, "boxrelay_postgres_up"), (kafka_proxy, "boxrelay_kafka_up")):
            proxy.refuse()
            proxy.cut()
            wait_until(lambda name=up: relay.metric(name) == 0, f"{up} 0")
            assert {page: relay.get(page)[0] for page in READY + LIVE} == dict.fromkeys(READY + LIVE, 200)
            assert relay.metric("boxrelay_schema_version") >= 2
            assert relay.command("health", "--ready").returncode == 0
            proxy.refuse(False)
            wait_until(lambda name=up: relay.metric(name) == 1, f"{up} 1")


def test_ready_requires_kafka(database, tmp_path):
    """Only by the option; and the reason is on every page."""
    config = {"health": {"ready_requires_kafka": True, "format": "spring"}}
    with Relay(database.dsn, "127.0.0.1:1", tmp_path, config=config).migrate() as relay:
        wait_until(lambda: "bootstrap.servers" in relay.get("/health/ready")[1], "the reason on the page")
        status, body = relay.get("/health/ready")
        parts = json.loads(body)["components"]
        assert (status, parts["schema"]["status"], parts["kafka"]["status"]) == (503, "UP", "DOWN")
        status, text = relay.get("/readyz")
        assert status == 503 and "[+]schema ok\n[-]kafka failed: " in text and text.endswith("readyz check failed\n")
        probe = relay.command("health", "--ready")
        assert probe.returncode == 1 and probe.stdout.startswith("not ready: kafka: ") and probe.stdout.count("\n") == 1


@pytest.mark.parametrize("listen", ["0.0.0.0:{}", "[::]:{}", "{}", "*:{}", "localhost:{}", "[::1]:{}"])
def test_probe_finds_the_relay_wherever_it_listens(listen, tmp_path):
    """By the same /http/listen."""
    if ":" in listen.format("") and "[" in listen and not socket.has_ipv6:
        pytest.skip("no IPv6")
    relay = Relay("host=/nonexistent dbname=x", "127.0.0.1:1", tmp_path)
    relay.env["BOXRELAY_HTTP_LISTEN"] = listen.format(relay.port)
    with relay:
        probe = wait_until(lambda: (lambda done: done if done.returncode == 0 else None)(relay.command("health", "--live")),
                           "up", 10)
        assert probe.stdout == "up\n"


def test_probe_without_a_page():
    """Says what to do."""
    done = subprocess.run([binary(), "health", "--live"], env={"BOXRELAY_HTTP_LISTEN": "off"}, capture_output=True,
                          text=True, check=False)
    assert done.returncode == 2 and "what to do: set /http/listen" in done.stderr and "boxrelay status" in done.stderr


# --- logs ----------------------------------------------------------------------------------------

NOISE = os.urandom(4000).hex()  # not to be compressed below the limit
SECRETS = ("sEcReTkEy", "sEcReTpAyLoAd", "sEcReThEaDeR")


def test_logs_name_the_row_and_show_nothing_of_it(database, kafka, topic, tmp_path):
    """Whatever is wrong with a row, at any level: id, seq, topic and trace, never key, payload or another header."""
    small, compacted = topic(1, {"max.message.bytes": "2000"}), topic(1, {"cleanup.policy": "compact"})
    rows = {"large": (small, "sEcReTkEy", NOISE + "sEcReTpAyLoAd", None), "partition": (small, "sEcReTkEy", "sEcReTpAyLoAd", 7),
            "keyless": (compacted, None, "sEcReTpAyLoAd", None), "reserved": ("__x", "sEcReTkEy", "sEcReTpAyLoAd", None),
            "missing": (f"{small}-not", "sEcReTkEy", "sEcReTpAyLoAd", None)}
    relay = Relay(database.dsn, kafka.bootstrap, tmp_path, config={"log": {"format": "json", "level": "debug"}}).migrate()
    headers = json.dumps({"traceparent": TRACEPARENT, "tracestate": "sEcReThEaDeR", "x": "sEcReThEaDeR"})
    for name, (to, key, payload, partition) in rows.items():
        database.query("SELECT relay.create_outbox(%s)", (name,))
        database.query(f"INSERT INTO relay.outbox_{name} (topic, key, payload, partition, headers) "
                       "VALUES (%s, %s, %s, %s, %s)", (to, key, payload, partition, headers))
    with relay:
        for name, (to, _, _, partition) in rows.items():
            line = wait_until(lambda stream=f"outbox/{name}": [
                found for found in relay.logged("cannot be published") if found["stream"] == stream], name)[0]
            ((row_id, seq),) = database.query(f"SELECT id::text, seq FROM relay.outbox_{name}")
            assert [line.get(field) for field in ("level", "state", "topic", "partition", "id", "seq", "trace_id")] == [
                "error", "stopped", to, partition, row_id, seq, TRACE]
            assert line["error.class"] and line["error.code"] and "rebase" in line["hint"]
        wait_until(lambda: database.query("SELECT count(*) FROM relay.status WHERE error_code <> ''")[0][0] == len(rows),
                   "all in relay.status")
        seen = (relay.log.read_text() + relay.command("status").stdout + relay.command("status", "--json").stdout +
                relay.get("/status")[1] + relay.get("/metrics")[1] + relay.get("/health")[1])
    assert [secret for secret in SECRETS if secret in seen] == []


def age(relay, name="registry"):
    """Seconds since it made progress."""
    checks = json.loads(relay.get("/health/live")[1])["checks"]
    return next(check["data"]["seconds_since_progress"] for check in checks if check["name"] == name)


def test_a_failure_that_stays_is_said_once(database, kafka, postgres_proxy, tmp_path):
    """And its end; the other looks only count."""
    relay = Relay(database.dsn_via_proxy, kafka.bootstrap, tmp_path).migrate()
    postgres_proxy.refuse()
    with relay:
        relay.wait_log("CONNECT_FAILED")
        ages, looks = [], 0
        while looks < 3:  # each look of the registry sets the age back
            wait_until(lambda: ages.append(age(relay)) or len(ages) < 2 or ages[-1] < ages[-2], "a look", 30)
            looks, ages = looks + 1, ages[-1:]
        assert len(relay.logged("CONNECT_FAILED")) == 1
        postgres_proxy.refuse(False)
        relay.wait_log("PostgreSQL answers and the schema fits again")


def test_trace_context_passes_through_untouched(relay, database, kafka, topic):
    """Every header that tracing systems use, byte for byte and in the row's order."""
    name = topic()
    headers = {"traceparent": TRACEPARENT, "tracestate": "rojo=00f067aa0ba902b7,congo=t61rcWkgMzE",
               "baggage": "userId=Am%C3%A9lie,serverNode=DF%2028;ttl=1", "b3": f"{TRACE}-00f067aa0ba902b7-1",
               "X-B3-TraceId": TRACE, "uber-trace-id": "a:b:0:1", "sentry-trace": f"{TRACE}-0-1", "Traceparent": "mine",
               "x-datadog-trace-id": "1", "grpc-trace-bin": "\x00\u00ff\n\"".replace("\x00", "")}
    database.query("INSERT INTO relay.outbox (topic, key, payload, headers) VALUES (%s, 'k', 'v', %s)",
                   (name, json.dumps(headers)))
    relay.drain()
    (record,) = judge.read(kafka, [name])
    assert record.headers[:len(headers)] == [(key, value.encode()) for key, value in headers.items()]
    assert [key for key, _ in record.headers[len(headers):]] == ["id", "relay"]


# --- status --------------------------------------------------------------------------------------


def test_status_tells_why_nobody_leads(database, tmp_path):
    """Kafka was never reached: a newcomer's first mistake shows where he looks."""
    with Relay(database.dsn, "127.0.0.1:1", tmp_path).migrate() as relay:
        done = wait_until(lambda: (lambda done: done if "bootstrap.servers" in done.stdout else None)(
            relay.command("status")), "the reason", 20)
        assert done.returncode == 3 and "[_TRANSPORT]" in done.stdout
        assert all(len(line) <= 80 for line in done.stdout.splitlines()), done.stdout
        assert relay.wait_log("_TRANSPORT")["hint"]


def test_a_new_leader_shows_at_once(relay, database):
    """Not after the seconds that pass between two reports."""
    relay.start()
    relay.wait_log("publishing the stream")
    wait_until(lambda: database.query("SELECT leader IS NOT NULL FROM relay.status WHERE stream = 'outbox/main'")[0][0], "a leader", 3)


class Terminal:
    """A command on a terminal of 100 columns."""

    def __init__(self, *args, **env):
        self.seen = ""
        child, self.fd = pty.fork()
        if child == 0:
            os.execve(binary(), [binary(), *args], {"TERM": "xterm", **env})
        self.pid = child

    def wait(self, text, timeout=20):
        """Until it has printed that; what was printed up to there is forgotten."""
        def found():
            if select.select([self.fd], [], [], 0)[0]:
                self.seen += os.read(self.fd, 65536).decode()
            return text in self.seen
        wait_until(found, f"{text!r} on the terminal", timeout)
        before, _, self.seen = self.seen.partition(text)
        return before + text

    def end(self, number):
        """The exit status after that signal."""
        os.kill(self.pid, number)
        status = os.waitpid(self.pid, 0)[1]
        os.close(self.fd)
        return os.waitstatus_to_exitcode(status)


def test_status_watch_redraws_and_outlives_postgres(database, postgres_proxy, relay):
    """In place, what was known stays on the screen, and Ctrl-C ends it well."""
    assert relay
    terminal = Terminal("status", "--watch=200ms", BOXRELAY_POSTGRES=database.dsn_via_proxy)
    first = terminal.wait("outbox/main")
    assert "\033[H\033[J" in first and "\033[1m" in first
    terminal.wait("\033[H\033[J")
    postgres_proxy.refuse()
    postgres_proxy.cut()
    away = terminal.wait("As it was at ")
    assert "cannot read the status" in away and "what to do: " in away
    terminal.wait("outbox/main")
    postgres_proxy.refuse(False)
    while "cannot read" in terminal.wait("outbox/main"):
        pass
    assert terminal.end(signal.SIGINT) == 0


def test_status_watch_into_a_pipe(database, relay):
    """One status after the other, nothing for terminals; with --json an object a line."""
    assert relay
    env = {"BOXRELAY_POSTGRES": database.dsn}

    def lines(count, *args):
        with subprocess.Popen([binary(), "status", *args], env=env, stdout=subprocess.PIPE, text=True) as watch:
            found = [watch.stdout.readline() for _ in range(count)]
            watch.send_signal(signal.SIGTERM)
            assert watch.wait(10) == 0
        return found
    text = lines(16, "--watch=100ms")
    assert sum("boxrelay status at" in line for line in text) >= 2 and "\033" not in "".join(text)
    for line in lines(3, "--watch=100ms", "--json"):
        assert [stream["stream"] for stream in json.loads(line)["streams"]] == ["inbox/main", "outbox/main"]
    for args, said in ((["--watch=5"], "--watch=5s"), (["--watch=1ms"], "100ms or more")):
        done = subprocess.run([binary(), "status", *args], env=env, capture_output=True, text=True, check=False)
        assert done.returncode == 2 and said in done.stderr


def test_colours_only_on_a_terminal_that_wants_them(database, relay):
    """NO_COLOR and TERM=dumb turn them off."""
    assert relay
    for env in ({"NO_COLOR": "1"}, {"TERM": "dumb"}):
        terminal = Terminal("status", BOXRELAY_POSTGRES=database.dsn, **env)
        assert "\033" not in terminal.wait("what to do")
        terminal.end(0)


# --- service manager and signals -----------------------------------------------------------------


class Manager:
    """A service manager's end of sd_notify."""

    def __init__(self, folder):
        self.path = str(folder / "notify")
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.bind(self.path)
        self.heard = []  # (time, message)
        self.thread = threading.Thread(target=self._run, daemon=True)
        self.thread.start()

    def _run(self):
        while (message := self.socket.recv(4096).decode()) != "end":
            self.heard.append((time.monotonic(), message))

    def listen(self):
        """All messages so far."""
        return [message for _, message in self.heard]

    def wait(self, text, timeout=30):
        """Until a message has the text."""
        return wait_until(lambda: next((m for m in self.listen() if text in m), None), f"notification {text!r}", timeout)

    def close(self):
        """Ends it."""
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as own:
            own.sendto(b"end", self.path)
        self.thread.join()
        self.socket.close()


@pytest.fixture
def manager(tmp_path):
    """A fake service manager."""
    made = Manager(tmp_path)
    yield made
    made.close()


def test_watchdog_tells_of_real_progress(database, kafka, topic, manager, tmp_path):
    """A worker that hangs (its main loop does not) ends the messages when liveness ends, and not before."""
    env = {"NOTIFY_SOCKET": manager.path, "WATCHDOG_USEC": "400000", "BOXRELAY_STUCK_MS": "2000",
           "BOXRELAY_FAILPOINTS": "before_tick=sleep:7000@1"}
    relay = Relay(database.dsn, kafka.bootstrap, tmp_path, env=env).migrate()
    name = topic()
    with relay:
        manager.wait("READY=1")
        manager.wait("1 publishing")
        # For longer than a worker may be stuck: idling is no hang.
        wait_until(lambda: manager.listen().count("WATCHDOG=1") > 13, "three seconds of messages")
        assert relay.get("/livez")[0] == 200
        database.query(INSERT, (name, "0"))
        relay.wait_health("/livez", 503)
        down = time.monotonic()
        assert relay.wait_log("NOT_LIVE")["msg"].startswith("not live: outbox/main: no progress for ")
        relay.wait_health("/livez", 200)
        published(relay, 1)
        count = manager.listen().count("WATCHDOG=1")
        wait_until(lambda: manager.listen().count("WATCHDOG=1") > count + 3, "messages again")
        times = [t for t, m in list(manager.heard) if m == "WATCHDOG=1"]
        gaps = [(b - a, a) for a, b in zip(times, times[1:])]
        length, begin = max(gaps)
        assert length > 2 and abs(begin - down) < 1, "the one long silence began when liveness ended"
        assert sorted(gaps)[len(gaps) // 2][0] < 0.4, "twice in each period"
        assert relay.stop() == 0
        manager.wait("STOPPING=1")


def test_the_manager_s_status_line_changes(database, kafka, manager, topic, tmp_path):
    """It says what happens now."""
    relay = Relay(database.dsn, kafka.bootstrap, tmp_path, env={"NOTIFY_SOCKET": manager.path})
    with relay:
        manager.wait("STATUS=this database has no schema relay yet, ")
        assert "[SCHEMA_MISSING]" in manager.wait("0001_relay.sql")
        probe = relay.command("health", "--ready")
        assert probe.returncode == 1 and probe.stdout.startswith("not ready: schema: this database has no schema relay yet, ")
        relay.migrate()
        manager.wait("STATUS=1 stream: 1 publishing")
        database.query(INSERT, (f"{topic()}-not", "0"))
        manager.wait("STATUS=1 stream: 1 failing (outbox/main: UNKNOWN_TOPIC_OR_PART)")
        database.query("SELECT relay.pause('outbox/main', 'x')")
        manager.wait("STATUS=1 stream: 1 paused")
        assert "WATCHDOG=1" not in manager.listen()  # nobody asked


def test_a_second_signal_stops_at_once(database, kafka, postgres_proxy, topic, tmp_path):
    """A drain waits for PostgreSQL; the second TERM does not. Nothing is lost or doubled by it."""
    relay = Relay(database.dsn_via_proxy, kafka.bootstrap, tmp_path).migrate()
    name = topic()
    with relay:
        relay.wait_log("publishing the stream")
        postgres_proxy.freeze()
        database.query(INSERT, (name, "0"))
        wait_until(lambda: age(relay, "outbox/main") > 1, "the worker waits for PostgreSQL")
        relay.signal(signal.SIGTERM)
        assert relay.wait_log("finishing the batches in flight")["signal"] == "SIGTERM"
        begin = time.monotonic()
        relay.signal(signal.SIGINT)
        assert relay.process.wait(10) == 0
        assert time.monotonic() - begin < 6  # a drain alone waits 7.5 s
        assert relay.logged("stopping at once")[0]["signal"] == "SIGINT"
    postgres_proxy.thaw()
    relay.drain()
    assert [record.value for record in judge.read(kafka, [name])] == [b"0"]


def test_pause_and_resume_by_signal(relay, database, topic):
    """USR1 and USR2 as pgbouncer has them; the log says who and what."""
    name = topic()
    with relay:
        relay.wait_log("publishing the stream")
        relay.signal(signal.SIGUSR1)
        assert relay.wait_log("pausing all streams")["signal"] == "SIGUSR1"
        wait_until(lambda: relay.metric("boxrelay_stream_paused") == 1, "paused")
        database.query(INSERT, (name, "0"))
        assert "SIGUSR1" in relay.command("status").stdout
        relay.signal(signal.SIGUSR2)
        assert relay.wait_log("resuming all streams")["signal"] == "SIGUSR2"
        published(relay, 1)
