"""What processes use, from /proc: CPU seconds, memory, and the difference between two looks."""
import os

TICK = 1 / os.sysconf("SC_CLK_TCK")


def stat(pid):
    """The fields of /proc/PID/stat from the third on; [] when it is gone."""
    try:
        with open(f"/proc/{pid}/stat", encoding="ascii", errors="replace") as file:
            return file.read().rpartition(")")[2].split()
    except OSError:
        return []


def cpu(pid):
    """User and system seconds of a process, all its threads, also those that ended."""
    fields = stat(pid)
    return (int(fields[11]) + int(fields[12])) * TICK if fields else 0.0


def cpu_exact(pid):
    """The same of a process of one thread, by the scheduler's nanoseconds where it has them."""
    try:
        with open(f"/proc/{pid}/schedstat", encoding="ascii") as file:
            return int(file.read().split()[0]) / 1e9
    except OSError:
        return cpu(pid)


def cpu_tree(pid):
    """Seconds of a process, of its children, and of its children that ended: a whole PostgreSQL."""
    fields = stat(pid)
    if not fields:
        return 0.0
    with open(f"/proc/{pid}/task/{pid}/children", encoding="ascii") as file:
        children = file.read().split()
    return sum(int(field) for field in fields[11:15]) * TICK + sum(cpu_exact(child) for child in children)


def memory_mb(pid, name):
    """VmRSS or VmHWM in MB."""
    with open(f"/proc/{pid}/status", encoding="ascii", errors="replace") as file:
        for text in file:
            if text.startswith(name + ":"):
                return int(text.split()[1]) / 1024
    return 0.0


class Meter:
    """CPU seconds of named parts since it was made: Meter(relay=lambda: cpu(pid), ...)."""

    def __init__(self, **parts):
        self.parts = parts
        self.before = {name: look() for name, look in parts.items()}

    def read(self):
        """{name: seconds}."""
        return {name: look() - self.before[name] for name, look in self.parts.items()}
