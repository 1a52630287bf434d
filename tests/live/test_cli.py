"""The command line as a stranger meets it: messages, exit codes, streams."""
import json
import os
import re
import signal
import socket
import subprocess
import threading
import time
import urllib.error
import urllib.request

import pytest

from live.relay import binary, wait_until
from servers.ports import free_ports
from servers.process import stretched

NOWHERE = "127.0.0.1:1"


def run(*args, env=None, timeout=60):
    """The finished process; nothing of our own environment but the path."""
    return subprocess.run([binary(), *args], env={"PATH": os.environ["PATH"], **(env or {})}, capture_output=True,
                          text=True, timeout=stretched(timeout), check=False)


@pytest.fixture
def config(tmp_path):
    """config(changes) writes a configuration file and returns its path."""
    def write(postgres="host=/nonexistent dbname=x", **changes):
        path = tmp_path / "config.json"
        path.write_text(json.dumps({"name": "orders", "postgres": postgres,
                                    "kafka": {"bootstrap.servers": NOWHERE},
                                    "http": {"listen": "off"}, "log": {"format": "json"}, **changes}))
        return str(path)
    return write


@pytest.mark.parametrize("args, code, said", [
    (["statsu"], 2, 'boxrelay: unknown command "statsu", did you mean "status"?'),
    (["run", "--onec"], 2, "boxrelay: run: unknown flag --onec, did you mean --once?"),
    (["run", "--timeout", "5s"], 2, "boxrelay: run: --timeout belongs to --once"),
    (["run", "--once", "--timeout", "5"], 2, '--timeout has to be a duration with a unit, as 60s, not "5"'),
    (["run", "--config"], 2, "--config needs a value: --config FILE"),
    (["run", "--once=yes"], 2, "--once takes no value"),
    (["migrate"], 2, "boxrelay: migrate: needs one of up, print, status, verify"),
    (["migrate", "upp"], 2, 'did you mean "up"?'),
    (["migrate", "print", "--format", "flywya"], 2, 'there is no format "flywya", did you mean "flyway"?'),
    (["migrate", "print", "--format", "x"], 2, "there are plain, flyway, liquibase, golang-migrate, dbmate, sqitch"),
    (["migrate", "print", "--from", "0"], 2, "--from and --to are versions from 1 to "),
    (["migrate", "print", "--from", "2", "--to", "1"], 2, "the first not after the last"),
    (["migrate", "up", "x"], 2, '"x" is one argument too many'),
    (["pause"], 2, "boxrelay: pause: needs STREAM"),
    (["pause", "outbox/main"], 2, "needs --reason TEXT"),
    (["rebase", "outbox/main"], 2, "needs --to now"),
    (["rebase", "outbox/main", "--to", "yesterday"], 2, "needs --to now"),
    (["rebase", "inbox/main", "--to", "9999-01-31T12:00:00Z"], 2, "--to takes no time to come"),
    (["rebase", "inbox/main", "--to", "2030-01-31"], 2, "a time with its zone, as 2030-01-31T12:00:00Z"),
    (["rebase", "outbox/main", "--to", "2030-01-31T12:00:00Z"], 2, "are for streams named inbox/NAME"),
    (["rebase", "outbox/main", "--to", "start", "--topic", "t"], 2, "are for streams named inbox/NAME"),
    (["help", "nonsense"], 2, 'unknown command "nonsense"'),
    (["health", "--live", "--ready"], 2, "either --live or --ready"),
])
def test_usage_errors_say_what_to_do(args, code, said):
    done = run(*args)
    assert (done.returncode, done.stdout) == (code, "")
    assert said in done.stderr
    assert "what to do: see boxrelay help" in done.stderr


def test_help_of_every_command():
    whole = run("help")
    assert whole.returncode == 0 and whole.stderr == "" and whole.stdout == run("--help").stdout == run().stdout
    listed = whole.stdout.split("Commands\n")[1].split("\n\n")[0]
    names = [line.split()[0] for line in listed.splitlines()]
    assert names == ["run", "check", "config", "status", "migrate", "pause", "resume", "rebase", "health", "version",
                     "completion", "help"]
    for name in names:
        one = run("help", name)
        assert one.returncode == 0 and f"Usage\n  boxrelay {name}" in one.stdout
        assert one.stdout == run(name, "--help").stdout
    assert "--with-grants" in run("help", "migrate", "print").stdout
    assert "\033[" not in whole.stdout


SHELLS = {
    "bash": """source {script}
ask() {{ COMP_WORDS=(boxrelay "$@"); COMP_CWORD=$#; _boxrelay; printf '%s\\n' "${{COMPREPLY[@]}}"; }}
ask {words}""",
    "zsh": """compdef() {{ : }}; _files() {{ print files }}; _describe() {{ print -l -- "${{(@P)2%%:*}}" }}
source {script}; words=(boxrelay {words}); CURRENT=$#words; _boxrelay""",
    "fish": """source {script}; complete -C "boxrelay {line}" | string replace -r '\\t.*' ''""",
}


@pytest.mark.parametrize("shell", SHELLS)
@pytest.mark.parametrize("words, offered", [
    (["mi"], {"migrate"}), (["migrate", ""], {"up", "print", "status", "verify"}), (["--config", "x", "config", "s"], {"show", "schema"}),
    (["run", "--once", "--ti"], {"--timeout"}), (["config", "explain", "/log/"], {"/log/format", "/log/level"}),
], ids=lambda value: " ".join(value) if isinstance(value, list) else "")
def test_completion(shell, words, offered, tmp_path):
    """In the real shells; zsh is asked what it would offer, the others what they complete."""
    script = tmp_path / "script"
    script.write_text(run("completion", shell).stdout)
    text = SHELLS[shell].format(script=script, words=" ".join(f"'{word}'" for word in words), line=" ".join(words))
    flags = {"bash": ["--norc"], "zsh": ["-f"], "fish": ["--no-config"]}[shell]
    done = subprocess.run([shell, *flags, "-c", text], capture_output=True, text=True, timeout=30, check=False)
    found = {word for word in done.stdout.split() if word.startswith(words[-1]) and (words[-1] or word[0] != "-")}
    assert (found, done.stderr) == (offered, "")


def test_completion_of_an_unknown_shell():
    done = run("completion", "tcsh")
    assert done.returncode == 2 and '"tcsh" is none of bash, zsh, fish' in done.stderr


def test_help_options_lists_the_table():
    text, table = run("help", "options").stdout, run("help", "options", "--markdown").stdout
    for path in ("/name", "/postgres", "/kafka/*", "/outbox/*/batch_rows_max", "/http/listen", "/log/level"):
        assert f"{path}\n" in text and f"| `{path}` |" in table
    assert "BOXRELAY_OUTBOX_<NAME>_BATCH_ROWS_MAX" in text
    assert "default: 24h" in text


def test_help_metrics_lists_the_table():
    text, table = run("help", "metrics").stdout, run("help", "metrics", "--markdown").stdout
    for name in ("boxrelay_outbox_published_total", "boxrelay_outbox_end_to_end_seconds", "process_cpu_seconds_total"):
        assert f"{name} " in text and f"| `{name}` |" in table


def test_version():
    text, facts = run("version").stdout, json.loads(run("version", "--json").stdout)
    assert text == run("--version").stdout
    assert text == f"boxrelay {facts['version']} (librdkafka {facts['librdkafka']}, schema {facts['schema']})\n"


def test_check_reports_all_errors_at_once_in_order(tmp_path):
    path = tmp_path / "config.json"
    path.write_text('{ "name": "Orders",\n  "postgres": "password=hunter2 x",\n'
                    '  "kafka": { "bootstrap.servers": "b:1", "acks": 1 },\n'
                    '  "outbox": { "main": { "topik": [], "on_poison": "park" } },\n  "inbox": { "main": {} } }\n')
    done = run("check", "--config", str(path))
    lines = [line for line in done.stderr.splitlines() if not re.match(" +[0-9]* [|]", line)]
    assert done.returncode == 2 and done.stdout == "" and lines[-1] == "6 errors"
    assert [line.split(": ")[1] for line in lines[:-1]] == [
        "/name", "/postgres", "/kafka/acks", "/outbox/main/topik", "/outbox/main/on_poison", "/inbox/main/topics"]
    assert f'{path}:4:25: /outbox/main/topik: unknown key, did you mean "topics"?' in lines
    assert ("    4 |   \"outbox\": { \"main\": { \"topik\": [], \"on_poison\": \"park\" } },\n"
            "      |                         ^\n") in done.stderr
    assert "hunter2" not in done.stderr and '"postgres": ***,\n' in done.stderr
    found = json.loads(run("check", "--config", str(path), "--json").stdout)
    assert found["valid"] is False and len(found["errors"]) == 6
    assert (found["errors"][0]["line"], found["errors"][0]["column"]) == (1, 11)
    assert found["errors"][3]["suggestion"] == "topics" and found["errors"][3]["pointer"] == "/outbox/main/topik"
    assert found["errors"][3]["excerpt"][found["errors"][3]["caret"]:].startswith('"topik"')
    assert run("run", "--config", str(path)).stderr == done.stderr.removesuffix("6 errors\n")


def test_configuration_from_the_environment_alone(tmp_path):
    secret = tmp_path / "dsn"
    secret.write_text("dbname=x password=hunter2\n")
    env = {"BOXRELAY_NAME": "orders", "BOXRELAY_POSTGRES_FILE": str(secret),
           "BOXRELAY_KAFKA_BOOTSTRAP_SERVERS": "b:9092", "BOXRELAY_HTTP_LISTEN": "off", "BOXRELAY_LOG_LEVLE": "info"}
    done = run("check", "--set", "/positions/topic=elsewhere", env=env)
    assert done.returncode == 0
    assert done.stdout == ('environment: ok: relay "orders", Kafka at b:9092, positions in elsewhere, http off, '
                           "options for outbox/main\n")
    assert done.stderr == ("warning: environment: BOXRELAY_LOG_LEVLE is no option of boxrelay, did you mean "
                           "\"BOXRELAY_LOG_LEVEL\"?\n")


def test_nothing_configured_says_how():
    done = run("run")
    assert done.returncode == 2
    assert "/name: missing" in done.stderr and "--config FILE or BOXRELAY_CONFIG" in done.stderr


def test_postgres_away_is_try_again(config):
    for args in (["status"], ["migrate", "up"], ["pause", "outbox/main", "--reason", "x"], ["resume", "outbox/main"]):
        done = run(*args, "--config", config())
        assert (done.returncode, done.stdout) == (75, "")
        assert done.stderr.startswith("boxrelay: cannot ") and "what to do: " in done.stderr


def test_migrate_and_status_need_only_postgres(database):
    env = {"BOXRELAY_POSTGRES": database.dsn}
    before = run("migrate", "status", env=env)
    assert before.returncode == 3 and "boxrelay migrate up" in before.stderr
    missing = run("status", env=env)
    assert missing.returncode == 1 and "boxrelay migrate up" in missing.stderr
    done = run("migrate", "up", env=env)
    assert done.returncode == 0 and done.stdout.startswith("applied 0001_") and "schema version" in done.stdout
    assert json.loads(run("migrate", "up", "--json", env=env).stdout)["applied"] == []
    after = run("migrate", "status", "--json", env=env)
    assert after.returncode == 0 and all(row["applied_at"] for row in json.loads(after.stdout))
    assert run("migrate", "status", env=env).returncode == 0


def test_a_port_that_is_not_postgresql_says_what_to_do(kafka):
    """One of a server that answers something else, and Kafka's, which waits for more."""
    with socket.create_server(("127.0.0.1", 0)) as other:
        threading.Thread(target=lambda: other.accept()[0].sendall(b"HTTP/1.1 400 Bad Request\r\n"), daemon=True).start()
        done = run("status", env={"BOXRELAY_POSTGRES": f"host=127.0.0.1 port={other.getsockname()[1]}"})
    assert done.returncode == 1 and "that port is not PostgreSQL's" in done.stderr, done.stderr
    port = kafka.bootstrap.rpartition(":")[2]
    done = run("status", env={"BOXRELAY_POSTGRES": f"host=127.0.0.1 port={port}"})
    assert done.returncode == 75 and f"port {port}, does not answer" in done.stderr, done.stderr
    assert "that the port is its own" in " ".join(done.stderr.split())


def test_something_that_was_dropped_leads_to_verify(database):
    env = {"BOXRELAY_POSTGRES": database.dsn}
    assert run("migrate", "up", env=env).returncode == 0
    database.query("DROP VIEW relay.status")
    done = run("status", env=env)
    assert done.returncode == 1 and "boxrelay migrate verify" in done.stderr, done.stderr
    found = run("migrate", "verify", env=env)
    assert found.returncode != 0 and "relay.status" in found.stdout + found.stderr


def test_migrate_print_is_runnable_and_the_same(database):
    sql = run("migrate", "print", "--with-grants")
    assert sql.returncode == 0 and sql.stdout.startswith(run("migrate", "print").stdout)
    assert "CREATE ROLE" in sql.stdout and "CREATE ROLE" not in run("migrate", "print").stdout
    database.connect().cursor().execute(sql.stdout)
    assert run("migrate", "status", env={"BOXRELAY_POSTGRES": database.dsn}).returncode == 0


def test_status_pause_and_resume(database, tmp_path):
    env = {"BOXRELAY_POSTGRES": database.dsn}
    assert run("migrate", "up", env=env).returncode == 0
    idle = run("status", env=env)
    assert idle.returncode == 3 and "outbox/main: no relay has reported on it yet" in idle.stdout
    heads, *rows = idle.stdout.splitlines()[:3]
    assert heads.split()[:4] == ["STREAM", "STATE", "PENDING", "OLDEST"]
    assert [row.split()[:2] for row in rows] == [["inbox/main", "unused"], ["outbox/main", "unknown"]]
    assert "inbox/main: no relay" not in idle.stdout
    config = tmp_path / "off.json"
    config.write_text('{"outbox": {}}')
    unused = run("status", "--config", str(config), env=env)
    assert (unused.returncode, unused.stderr) == (0, "") and unused.stdout.count(" unused ") == 2

    def main():
        return next(stream for stream in json.loads(run("status", "--json", env=env).stdout) if stream["stream"] == "outbox/main")
    paused = run("pause", "outbox/main", "--reason", "upgrade of consumers", env=env)
    assert paused.returncode == 0 and paused.stdout.startswith("outbox/main: paused")
    stream = main()
    assert stream["paused_reason"] == "upgrade of consumers" and stream["paused_at"] and stream["dead"] == 0
    assert "upgrade of consumers" in run("status", env=env).stdout
    assert run("resume", "outbox/main", "--reason", "done", env=env).stdout == "outbox/main: resumed\n"
    assert database.query("SELECT count(*) FROM relay.audit WHERE detail->>'reason' = 'done'")[0][0] == 1
    assert main()["paused_at"] is None
    for command in (("pause", "inbox/main", "--reason", "x"), ("resume", "inbox/main")):
        done = run(*command, env=env)
        assert done.returncode == 0 and done.stdout.startswith(f"inbox/main: {command[0]}"), done.stderr
    unknown = run("pause", "outbox/nope", "--reason", "x", env=env)
    assert unknown.returncode == 1 and "outbox/main" in unknown.stderr


def test_status_exit_code_for_an_operators_choice(database):
    env = {"BOXRELAY_POSTGRES": database.dsn}
    assert run("migrate", "up", env=env).returncode == 0
    database.query("INSERT INTO relay.stream_state (stream, state, error_class, error_code, error_text, error_hint) "
                   "SELECT uuid, 'stopped', 'integrity', 'POSITION_LOST', 'the position is gone', 'boxrelay rebase' "
                   "FROM relay.stream")
    done = run("status", env=env)
    assert done.returncode == 4
    assert "outbox/main: integrity: the position is gone [POSITION_LOST]\n  what to do: boxrelay rebase" in done.stdout
    database.query("UPDATE relay.stream_state SET error_class = 'config'")
    assert run("status", env=env).returncode == 3


def test_health_of_nobody():
    done = run("health", env={"BOXRELAY_HTTP_LISTEN": NOWHERE})
    assert done.returncode == 1 and f"no relay answers at {NOWHERE}" in done.stderr and "what to do: " in done.stderr
    assert run("health", env={"BOXRELAY_HTTP_LISTEN": "off"}).returncode == 2


def test_once_gives_up_in_time(config):
    done = run("run", "--once", "--timeout", "1s", "--config", config())
    assert done.returncode == 75
    assert "not all was published in time" in done.stderr and "nothing could be published: PostgreSQL" in done.stderr


def test_once_says_what_is_missing_without_kafka(database, config):
    assert run("migrate", "up", env={"BOXRELAY_POSTGRES": database.dsn}).returncode == 0
    database.query("INSERT INTO relay.outbox (topic, key, payload) VALUES ('orders', 'k', 'v')")
    done = run("run", "--once", "--timeout", "3s", "--config", config(database.dsn))
    assert done.returncode == 75
    assert "boxrelay: outbox/main: " in done.stderr and " to go, state " in done.stderr


def test_once_without_schema_fails_at_once(database, config):
    done = run("run", "--once", "--config", config(database.dsn))
    assert done.returncode == 1 and "boxrelay migrate up" in done.stderr


def get(port, page, method="GET", headers=None):
    """(status, headers, body) of a page."""
    request = urllib.request.Request(f"http://127.0.0.1:{port}{page}", method=method, headers=headers or {})
    try:
        with urllib.request.urlopen(request, timeout=5) as answer:
            return answer.status, answer.headers, answer.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.headers, error.read().decode()


class Daemon:
    """`run` with a log file, on a port of its own."""

    def __init__(self, config_path, folder, **env):
        self.port, self.config, self.log = free_ports(1)[0], config_path, folder / "relay.log"
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                [binary(), "run", "--config", config_path], stdout=log, stderr=log, stdin=subprocess.DEVNULL,
                env={"PATH": os.environ["PATH"], "BOXRELAY_HTTP_LISTEN": f"127.0.0.1:{self.port}", **env})

    def __enter__(self):
        self.wait_line("boxrelay starts")
        return self

    def __exit__(self, *_):
        self.process.kill()
        self.process.wait()

    def lines(self):
        """The log so far."""
        return [json.loads(line) for line in self.log.read_text().splitlines() if line.endswith("}")]

    def wait_line(self, text):
        """The first line whose message has the text."""
        return wait_until(lambda: next((line for line in self.lines() if text in line["msg"]), None), text, 20)

    def stop(self, signum=signal.SIGTERM):
        """Exit code, and how long it took."""
        begin = time.monotonic()
        self.process.send_signal(signum)
        return self.process.wait(stretched(20)), time.monotonic() - begin


def test_daemon_stays_up_without_postgres_and_kafka(config, tmp_path):
    with Daemon(config(), tmp_path) as daemon:
        start = daemon.wait_line("boxrelay starts")
        assert start["name"] == "orders" and start["version"] and start["librdkafka"] and start["kafka"] == NOWHERE
        assert get(daemon.port, "/health/live")[0] == 200
        assert get(daemon.port, "/health/started")[0] == 200
        status, headers, body = get(daemon.port, "/health/ready")
        checks = {check["name"]: check["status"] for check in json.loads(body)["checks"]}
        assert status == 503 and checks == {"configuration": "UP", "postgres": "DOWN", "schema": "DOWN"}
        assert headers["Content-Type"] == "application/json"
        env = {"BOXRELAY_HTTP_LISTEN": f"127.0.0.1:{daemon.port}"}
        assert run("health", "--live", env=env).stdout == "up\n"
        ready = run("health", "--ready", env=env)
        assert ready.returncode == 1 and ready.stdout.startswith("not ready: postgres: PostgreSQL: connection to server ")
        assert "\nboxrelay_postgres_up 0\n" in get(daemon.port, "/metrics")[2]
        assert json.loads(get(daemon.port, "/status")[2])["postgres_up"] is False
        code, seconds = daemon.stop()
        assert code == 0 and seconds < stretched(10)
        assert daemon.lines()[-1]["msg"] == "boxrelay stopped"


def test_http_methods_and_formats(config, tmp_path):
    with Daemon(config(), tmp_path) as daemon:
        status, headers, _ = get(daemon.port, "/metrics", "POST")
        assert status == 405 and headers["Allow"] == "GET, HEAD"
        status, headers, body = get(daemon.port, "/metrics", "HEAD")
        assert status == 200 and body == "" and int(headers["Content-Length"]) > 100
        assert headers["Content-Type"].startswith("text/plain; version=0.0.4")
        _, headers, body = get(daemon.port, "/metrics", headers={"Accept": "application/openmetrics-text"})
        assert headers["Content-Type"].startswith("application/openmetrics-text") and body.endswith("# EOF\n")
        assert get(daemon.port, "/nothing")[0] == 404
        assert get(daemon.port, "/livez")[0] == 200 and get(daemon.port, "/readyz")[0] == 503


def test_port_in_use(config, tmp_path):
    with Daemon(config(), tmp_path) as daemon:
        done = run("run", "--config", daemon.config, env={"BOXRELAY_HTTP_LISTEN": f"127.0.0.1:{daemon.port}"})
        assert done.returncode == 1
        said = json.loads(done.stderr)
        assert "Address already in use" in said["error"] and "/http/listen" in said["hint"]


def test_signals_pause_and_resume_all_streams(database, config, tmp_path):
    assert run("migrate", "up", env={"BOXRELAY_POSTGRES": database.dsn}).returncode == 0
    database.query("SELECT relay.create_outbox('audit')")
    paused = "SELECT count(*) FROM relay.stream WHERE paused_at IS NOT NULL"
    with Daemon(config(database.dsn), tmp_path) as daemon:
        wait_until(lambda: get(daemon.port, "/health/ready")[0] == 200, "ready without Kafka", 20)
        daemon.process.send_signal(signal.SIGUSR1)
        assert daemon.wait_line("all streams paused")["streams"] == 3  # an inbox too
        assert database.query(paused)[0][0] == 3
        daemon.process.send_signal(signal.SIGUSR2)
        assert daemon.wait_line("all streams resumed")["streams"] == 3
        assert database.query(paused)[0][0] == 0
        code, seconds = daemon.stop(signal.SIGINT)
        assert code == 0 and seconds < stretched(10)


def test_service_manager_is_notified(config, tmp_path):
    import socket
    path = str(tmp_path / "notify")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listener:
        listener.bind(path)
        listener.settimeout(10)
        with Daemon(config(), tmp_path, NOTIFY_SOCKET=path, WATCHDOG_USEC="1000000") as daemon:
            heard = []
            while not {"READY=1", "WATCHDOG=1"} <= {part for message in heard for part in message.split("\n")}:
                heard.append(listener.recv(1024).decode())
            daemon.process.send_signal(signal.SIGTERM)
            while not any("STOPPING=1" in message for message in heard):
                heard.append(listener.recv(1024).decode())
