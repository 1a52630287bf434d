#!/usr/bin/python3
"""First figures: how fast the relay drains an outbox, and how old a row is when a consumer sees it.

Each figure stands beside librdkafka alone, measured in turn in the same run on the same broker: machines are shared
and noisy, so the ratio counts, not the figure. Prints a table and one JSON object.

    tests/bench/run.py [--rows 200000] [--bytes 512] [--rate 500] [--seconds 10] [--rounds 3]
"""
import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import threading
import time
import uuid
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

TESTS = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(TESTS), str(TESTS / "live")]

from relay import Relay, wait_until  # noqa: E402
from servers import Kafka, Postgres  # noqa: E402

BUILD = TESTS.parent / "build" / "release"
PARTITIONS, ROWS_PER_TRANSACTION = 6, 5000


def bare(*args):
    """Starts the baseline program."""
    return subprocess.Popen([BUILD / "tests" / "bench_bare", *map(str, args)], stdout=subprocess.PIPE, text=True)


def finish(process):
    """What it printed, as numbers."""
    output = process.communicate(timeout=300)[0]
    if process.returncode != 0:
        raise RuntimeError(f"the baseline ended with {process.returncode}")
    return [float(word) for word in output.split()]


class Bench:
    """Servers of one run."""

    def __init__(self, options, folder):
        self.options, self.folder = options, folder
        with ThreadPoolExecutor() as pool:
            kafka, postgres = pool.submit(lambda: Kafka().start()), pool.submit(lambda: Postgres().start())
            self.kafka, self.postgres = kafka.result(), postgres.result()

    def close(self):
        """Ends them."""
        self.kafka.close()
        self.postgres.close()

    def relay(self):
        """A relay on a fresh database."""
        self.database = self.postgres.create_database()
        return Relay(self.postgres.dsn(self.database), self.kafka.bootstrap, self.folder).migrate()

    def topic(self, partitions):
        """A fresh topic."""
        return self.kafka.create_topic(f"bench-{uuid.uuid4().hex[:8]}", partitions)

    def drain_bare(self):
        """Rows per second of librdkafka alone."""
        return finish(bare("drain", self.kafka.bootstrap, self.topic(PARTITIONS), self.options.rows,
                           self.options.bytes, ROWS_PER_TRANSACTION))[0]

    def drain_relay(self):
        """Rows per second from the first commit to the last, the backlog written before."""
        relay, topic = self.relay(), self.topic(PARTITIONS)
        self.postgres.query("SELECT relay.pause('outbox/main', 'bench')", None, self.database)
        self.postgres.query("INSERT INTO relay.outbox (topic, key, payload) SELECT %s, 'k' || i %% 1000, repeat('x', %s) "
                            "FROM generate_series(1, %s) AS i", (topic, self.options.bytes, self.options.rows),
                            self.database)
        published = "boxrelay_outbox_published_total"
        with relay:
            wait_until(lambda: relay.metric("boxrelay_stream_state", state="paused") == 1, "paused and ready")
            self.postgres.query("SELECT relay.resume('outbox/main')", None, self.database)
            wait_until(lambda: (relay.metric(published) or 0) > 0, "the first batch", every=0.002)
            first, started = relay.metric(published), time.monotonic()
            wait_until(lambda: relay.metric(published) == self.options.rows, "the last batch", 300, 0.005)
            return (self.options.rows - first) / (time.monotonic() - started)

    def write(self, topic, count):
        """One-row transactions at the wanted rate; the payload is the time just before the commit."""
        writer = self.postgres.connect(self.database)
        cursor = writer.cursor()
        cursor.execute("SET synchronous_commit = off")
        started = time.monotonic()
        for i in range(count):
            time.sleep(max(0.0, started + i / self.options.rate - time.monotonic()))
            cursor.execute("INSERT INTO relay.outbox (topic, key, payload) VALUES "
                           "(%s, 'k', (extract(epoch FROM clock_timestamp()) * 1000000)::bigint::text)", (topic,))
        writer.close()

    def latency_relay(self):
        """p50, p99 and the maximum in ms, INSERT to seen by a read_committed consumer."""
        relay, topic = self.relay(), self.topic(1)
        count = self.options.rate * self.options.seconds
        with relay:
            relay.wait_log("publishing the stream")
            watcher = bare("watch", self.kafka.bootstrap, topic, count)
            writer = threading.Thread(target=self.write, args=(topic, count))
            writer.start()
            writer.join()
            return finish(watcher)

    def latency_bare(self):
        """The same for one-record transactions of librdkafka alone, one after the other."""
        topic, count = self.topic(1), 100 * self.options.seconds
        watcher = bare("watch", self.kafka.bootstrap, topic, count)
        finish(bare("send", self.kafka.bootstrap, topic, count))
        return finish(watcher)


def measure(bench, rounds):
    """The pairs, alternating."""
    drains = [(bench.drain_bare(), bench.drain_relay()) for _ in range(rounds)]
    latencies = [(bench.latency_bare(), bench.latency_relay()) for _ in range(rounds)]
    return drains, latencies


def describe(options, drains, latencies):
    """Medians and ratios of pairs."""
    median = statistics.median
    found = {"machine": f"{platform.machine()}, {os.cpu_count()} cores, Linux {platform.release()}",
             "rows": options.rows, "bytes": options.bytes, "rounds": options.rounds,
             "drain_rows_per_second": {"librdkafka": round(median(b for b, _ in drains)),
                                       "relay": round(median(r for _, r in drains)),
                                       "ratio": round(median(r / b for b, r in drains), 3)}}
    for at, name in enumerate(("p50", "p99", "max")):
        found[f"latency_{name}_ms_at_{options.rate}_per_second"] = {
            "librdkafka": round(median(b[at] for b, _ in latencies), 1),
            "relay": round(median(r[at] for _, r in latencies), 1),
            "ratio": round(median(r[at] / b[at] for b, r in latencies), 2)}
    return found


def main():
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name, default in (("rows", 200000), ("bytes", 512), ("rate", 500), ("seconds", 10), ("rounds", 3)):
        parser.add_argument(f"--{name}", type=int, default=default)
    options = parser.parse_args()
    os.environ.setdefault("TEST_BOXRELAY", str(BUILD / "boxrelay"))
    with tempfile.TemporaryDirectory() as folder:
        bench = Bench(options, folder)
        try:
            found = describe(options, *measure(bench, options.rounds))
        finally:
            bench.close()
    print(f"{'figure':40} {'librdkafka':>12} {'relay':>12} {'ratio':>8}")
    for name, value in found.items():
        if isinstance(value, dict):
            print(f"{name:40} {value['librdkafka']:>12} {value['relay']:>12} {value['ratio']:>8}")
    print(json.dumps(found))


if __name__ == "__main__":
    main()
