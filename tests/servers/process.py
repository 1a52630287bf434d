"""Child processes of the tests: started with a log file, ended by pid, and never left behind."""
import atexit
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

from . import keeper as keeper_module

PYTHON = "/usr/bin/python3"


class Timeout(Exception):
    """A condition did not come true before its deadline."""


class Ended(Exception):
    """What was waited for can no longer come true, because a process has ended."""


STRETCH_MAX = 10


def stretched(limit):
    """An upper limit of time as it holds now: on a machine with more to run than it has cores, all takes longer."""
    return limit * min(STRETCH_MAX, max(1, os.getloadavg()[0] / (os.cpu_count() or 1)))


def wait_until(condition, timeout, what, interval=0.02):
    """Polls until condition() is true and returns its value; raises Timeout naming `what`.

    An exception of the condition counts as "not yet", but for Ended; the last one is told.
    """
    begin = time.monotonic()
    last = None
    while True:
        try:
            value = condition()
            if value:
                return value
        except Ended:
            raise
        except Exception as error:  # pylint: disable=broad-except
            last = error
        if time.monotonic() - begin > stretched(timeout):
            raise Timeout(f"not within {timeout} s: {what}" + (f" (last: {last!r})" if last else ""))
        time.sleep(interval)


class _Keeper:
    """Our end of the keeper's pipe; the keeper is started with the first line."""

    def __init__(self):
        self._lock = threading.Lock()
        self._process = None
        self._owner = None

    def tell(self, line):
        """Sends one line; a forked child gets a keeper of its own."""
        with self._lock:
            if self._owner != os.getpid():
                self._start()
            self._process.stdin.write(line + "\n")
            self._process.stdin.flush()

    def _start(self):
        self._process = subprocess.Popen([sys.executable, keeper_module.__file__], stdin=subprocess.PIPE,
                                         text=True, start_new_session=True)
        self._owner = os.getpid()
        atexit.register(self._finish)

    def _finish(self):
        if self._owner == os.getpid():
            self._process.stdin.close()
            self._process.wait(timeout=30)


_keeper = _Keeper()


def remove_at_end(path):
    """The folder goes when this process ends, unless TEST_KEEP is set."""
    if not os.environ.get("TEST_KEEP"):
        _keeper.tell(f"dir {path}")


def end_with_us(pid, last_signal=signal.SIGKILL):
    """The keeper ends that process of ours when we end in whatever way."""
    started = keeper_module.start_time(pid)
    if started is not None:
        _keeper.tell(f"pid {pid} {started} {int(last_signal)}")


class Child:
    """One process that we started. `last_signal` is what the keeper ends it with."""

    def __init__(self, argv, log, last_signal=signal.SIGKILL, **popen):
        self.argv = [str(arg) for arg in argv]
        self.log = Path(log)
        with open(self.log, "ab") as out:
            popen.setdefault("stdin", subprocess.DEVNULL)
            popen.setdefault("stdout", out)
            self._popen = subprocess.Popen(self.argv, stderr=out, start_new_session=True, **popen)
        self.pid = self._popen.pid
        self.stdin, self.stdout = self._popen.stdin, self._popen.stdout
        end_with_us(self.pid, last_signal)

    @property
    def alive(self):
        """True until it was seen to have ended."""
        return self._popen.poll() is None

    @property
    def returncode(self):
        """As subprocess: negative for a signal, None while it runs."""
        return self._popen.poll()

    def send(self, signum):
        """Signals it; nothing happens if it has ended."""
        self._popen.send_signal(signum)

    def pause(self):
        """SIGSTOP, as a stopped container or a lost host looks to the others."""
        self.send(signal.SIGSTOP)

    def resume(self):
        """SIGCONT."""
        self.send(signal.SIGCONT)

    def kill(self):
        """SIGKILL, and waits."""
        self.send(signal.SIGKILL)
        return self.wait(10)

    def stop(self, timeout=30, signum=signal.SIGTERM):
        """Signals (SIGTERM) and waits; raises Timeout after killing what did not end."""
        self.send(signum)
        try:
            return self.wait(timeout)
        except Timeout:
            self.kill()
            raise

    def wait(self, timeout):
        """The exit status; raises Timeout."""
        try:
            code = self._popen.wait(timeout)
        except subprocess.TimeoutExpired as error:
            raise Timeout(f"{self.argv[0]} (pid {self.pid}) still runs after {timeout} s") from error
        _keeper.tell(f"forget {self.pid}")
        return code

    def log_tail(self, lines=30):
        """The last lines of its log, for messages about failures."""
        return "\n".join(self.log.read_text(errors="replace").splitlines()[-lines:])
