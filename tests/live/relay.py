"""A relay process under test: started with a configuration of its own, watched through its JSON log, HTTP and exit.

    with Relay(dsn, bootstrap, folder=tmp_path) as relay:
        relay.wait_log("position read back")
        relay.wait_health("/health/ready")
"""
import json
import os
import signal
import subprocess
import time
import urllib.error
import urllib.request
import uuid
from pathlib import Path

from servers.ports import free_ports
from servers.process import Timeout, end_with_us, stretched

REPOSITORY = Path(__file__).resolve().parents[2]


def binary():
    """The program under test: TEST_BOXRELAY, else the debug build, which has failpoints."""
    return os.environ.get("TEST_BOXRELAY", str(REPOSITORY / "build" / "debug" / "boxrelay"))


def wait_until(condition, what, timeout=60, every=0.05):
    """The condition's first true value; Timeout naming what was waited for."""
    begin = time.monotonic()
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() - begin > stretched(timeout):
            raise Timeout(f"{what}: not within {timeout} s")
        time.sleep(every)


def wait_queries(query, application_name, count=3, pattern="."):
    """Until a session of that name was seen to begin so many queries like the pattern from now on."""
    seen = set()

    def enough():
        seen.update(query("SELECT query_start FROM pg_stat_activity WHERE application_name = %s AND query ~ %s",
                          (application_name, pattern)))
        return len(seen) > count
    wait_until(enough, f"{count} queries of {application_name}", every=0.01)


def partition_of_each(database, relays):
    """The partition that each of two instances reads, of a topic that has two; once both do."""
    def owners():
        return {owner.rpartition("/")[2]: partition for partition, owner in database.query(
            "SELECT s.partition, o.owner FROM relay.source s JOIN relay.source_offset o ON o.source = s.id "
            "WHERE o.owner IS NOT NULL")}
    pids = [str(relay.process.pid) for relay in relays]
    wait_until(lambda: set(pids) <= set(owners()), "both read")
    return [owners()[pid] for pid in pids]


class Relay:
    """One boxrelay process. A second instance of the same relay is another Relay with the same `name`."""

    def __init__(self, dsn, bootstrap, folder, name=None, config=None, env=None):
        self.name = name or f"r{uuid.uuid4().hex[:10]}"
        self.port = free_ports(1)[0]
        self.folder = Path(folder) / f"relay-{uuid.uuid4().hex[:8]}"
        self.folder.mkdir(parents=True)
        self.log = self.folder / "relay.log"
        self.config = self.folder / "boxrelay.json"
        settings = {"name": self.name, "postgres": dsn, "kafka": {"bootstrap.servers": bootstrap},
                    "http": {"listen": f"127.0.0.1:{self.port}"}, "log": {"format": "json"}}
        settings.update(config or {})
        self.config.write_text(json.dumps(settings))
        self.env = {**os.environ, **(env or {}), "BOXRELAY_CONFIG": str(self.config)}
        self.process = None

    def __enter__(self):
        return self.start()

    def __exit__(self, *_):
        self.kill()

    def command(self, *args, timeout=90):
        """A command with the same configuration; the finished process with text stdout and stderr."""
        return subprocess.run([binary(), *args], env=self.env, capture_output=True, text=True,
                              timeout=stretched(timeout), check=False)

    def migrate(self):
        """Makes the schema."""
        done = self.command("migrate", "up")
        assert done.returncode == 0, done.stderr
        return self

    def start(self, *args):
        """Runs the service."""
        with self.log.open("ab") as log:
            self.process = subprocess.Popen([binary(), "run", *args], env=self.env, stdin=subprocess.DEVNULL,
                                            stdout=log, stderr=log)
        end_with_us(self.process.pid)
        return self

    def running(self):
        """Is the process there?"""
        return self.process is not None and self.process.poll() is None

    def signal(self, number):
        """Sends a signal."""
        self.process.send_signal(number)

    def kill(self):
        """kill -9."""
        if self.running():
            self.process.send_signal(signal.SIGKILL)
        if self.process is not None:
            self.process.wait()

    def stop(self, timeout=30):
        """TERM; the exit status."""
        self.signal(signal.SIGTERM)
        return self.process.wait(stretched(timeout))

    def lines(self):
        """The log's lines as dictionaries; a line that is no JSON as {"raw": line}."""
        found = []
        for line in self.log.read_text(errors="replace").splitlines():
            try:
                found.append(json.loads(line))
            except ValueError:
                found.append({"raw": line})
        return found

    def logged(self, text, after=0):
        """Lines from number `after` on whose message or code contains the text."""
        return [line for line in self.lines()[after:]
                if text in line.get("msg", "") or text in line.get("error.code", "") or text in line.get("raw", "")]

    def wait_log(self, text, timeout=60, after=0):
        """The first such line, once it is there."""
        return wait_until(lambda: self.logged(text, after), f"log line with {text!r} in {self.log}", timeout)[0]

    def get(self, path):
        """(status, body) of an HTTP GET; (0, "") when nobody answers."""
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.port}{path}", timeout=5) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as error:
            return error.code, error.read().decode()
        except OSError:
            return 0, ""

    def wait_health(self, path, status=200, timeout=60):
        """Waits until the page has that status; its body."""
        return wait_until(lambda: self.get(path)[0] == status and (self.get(path)[1] or " "),
                          f"{path} with {status}", timeout)

    def metric(self, name, **labels):
        """A metric's value now, summed over the series with these labels; None when there is none."""
        total = None
        for line in self.get("/metrics")[1].splitlines():
            series, _, value = line.rpartition(" ")
            if series.split("{")[0] == name and all(f'{k}="{v}"' in series for k, v in labels.items()):
                total = (total or 0) + float(value)
        return total

    def drain(self, timeout=60):
        """Everything committed until now is published, whoever leads."""
        timeout = round(stretched(timeout))
        done = self.command("run", "--once", "--timeout", f"{timeout}s", timeout=timeout + 30)
        assert done.returncode == 0, f"run --once ended with {done.returncode}: {done.stderr}"
