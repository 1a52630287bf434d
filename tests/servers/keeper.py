"""The keeper: a process that outlives the test process and clears up after it.

Its standard input is a pipe from the test process. When that ends, for whatever reason (kill -9
included), the keeper ends the servers named to it and removes their folders. PR_SET_PDEATHSIG
would not do: it follows the thread that started a server, and not its folders.

Lines: `pid PID STARTTIME SIGNAL`, `forget PID`, `dir PATH`. A process is known by its pid and its
start time, so that a pid handed out again is never hit.
"""
import os
import shutil
import signal
import sys
import time


def start_time(pid):
    """Field 22 of /proc/PID/stat, or None if there is no such process (a zombie counts as none)."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as stat:
            fields = stat.read().rsplit(b")", 1)[1].split()
    except (FileNotFoundError, ProcessLookupError):
        return None
    return None if fields[0] in b"ZX" else int(fields[19])


def send(pid, started, signum):
    """Signals the process if it is still the same one."""
    if start_time(pid) == started:
        try:
            os.kill(pid, signum)
        except ProcessLookupError:
            pass


def end_all(pids):
    """The named signal first (it lets PostgreSQL end its backends), then SIGKILL for the rest."""
    for pid, (started, signum) in pids.items():
        send(pid, started, signum)
        send(pid, started, signal.SIGCONT)
    deadline = time.monotonic() + 5
    while time.monotonic() < deadline:
        if all(start_time(pid) != started for pid, (started, _) in pids.items()):
            return
        time.sleep(0.02)
    for pid, (started, _) in pids.items():
        send(pid, started, signal.SIGKILL)


def main():
    for signum in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(signum, signal.SIG_IGN)
    pids, dirs = {}, []
    for line in sys.stdin:
        word, _, rest = line.rstrip("\n").partition(" ")
        if word == "pid":
            pid, started, signum = map(int, rest.split())
            pids[pid] = (started, signum)
        elif word == "forget":
            pids.pop(int(rest), None)
        elif word == "dir":
            dirs.append(rest)
    end_all(pids)
    for path in dirs:
        for _ in range(3):
            shutil.rmtree(path, ignore_errors=True)
            if not os.path.exists(path):
                break
            time.sleep(0.1)


if __name__ == "__main__":
    main()
