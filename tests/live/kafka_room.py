"""The test's side of kafka_driver: one command, one answer."""
import json
import os
import subprocess
import threading
from pathlib import Path

from servers.paths import BUILD, run_dir

# The same build as the relay's that the other tests run.
BUILD_DIR = Path(os.environ.get("TEST_BOXRELAY") or BUILD / "debug" / "boxrelay").parent


def text(value):
    """Bytes as the driver reads them; None is NULL."""
    if value is None:
        return "-"
    return "x" + (value.encode() if isinstance(value, str) else value).hex()


class Driver:
    """One process with one producer and one group. Calls return the answer; see kafka_driver.c."""

    def __init__(self, bootstrap, properties=None, environment=None):
        self.log = run_dir() / f"kafka_driver-{id(self)}.log"
        self._lock = threading.Lock()
        with open(self.log, "ab") as log:
            self.process = subprocess.Popen([BUILD_DIR / "tests" / "kafka_driver"], stdin=subprocess.PIPE,
                                            stdout=subprocess.PIPE, stderr=log, text=True,
                                            env={**os.environ, **(environment or {})})
        self.ok("set", "bootstrap.servers", bootstrap)
        for name, value in (properties or {}).items():
            self.ok("set", name, value)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.kill()
        self.process.wait()
        self.process.stdin.close()
        self.process.stdout.close()

    def __call__(self, *words):
        with self._lock:
            self.process.stdin.write(" ".join(str(word) for word in words) + "\n")
            self.process.stdin.flush()
            line = self.process.stdout.readline()
        if not line:
            raise RuntimeError(f"the driver has ended with {self.process.wait()}:\n{self.log.read_text()[-4000:]}")
        return json.loads(line)

    def ok(self, *words):
        """A call that has to succeed."""
        answer = self(*words)
        assert answer["class"] == "none", (words, answer)
        return answer

    def open(self, transactional_id, timeout_ms=20000, isolate=0, topics=()):
        """A producer."""
        return self.ok("open", transactional_id, timeout_ms, isolate, ",".join(topics) or "-")

    def send(self, topic, key, value, partition=-1, tag=0, headers=()):
        """One record; any answer."""
        return self("send", topic, partition, text(key), text(value), tag,
                    *(f"{name}={text(header)}" for name, header in headers))
