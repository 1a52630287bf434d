"""Which machine, which versions, and whether anybody else is at work on it."""
import json
import os
import platform
import subprocess
import sys

from live.relay import binary

LOAD_MAX_A_CORE = 0.5


def cpu_model():
    """As the kernel names it."""
    with open("/proc/cpuinfo", encoding="utf-8", errors="replace") as file:
        names = [text.partition(":")[2].strip() for text in file if text.startswith("model name")]
    return names[0] if names else platform.machine()


def describe(place):
    """Facts for the report."""
    version = json.loads(subprocess.run([binary(), "version", "--json"], capture_output=True, check=True).stdout)
    (server,), = place.postgres.query("SHOW server_version")
    return {"cores": os.cpu_count(), "cpu": cpu_model(), "kernel": platform.release(),
            "memory_gib": round(os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / 2**30, 1),
            "postgresql": server, "kafka": place.kafka.version, "librdkafka": version["librdkafka"],
            "boxrelay": version["version"]}


def load():
    """The load average of the last minute; a warning when the machine is not idle."""
    now = os.getloadavg()[0]
    if now > LOAD_MAX_A_CORE * os.cpu_count():
        print(f"warning: the load is {now:.1f} on {os.cpu_count()} cores; other work disturbs these figures",
              file=sys.stderr)
    return round(now, 2)
