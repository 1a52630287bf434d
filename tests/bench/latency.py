"""How old a row is when a read_committed consumer sees it, against one-record transactions of librdkafka alone."""
import time

from .place import bare, finish, program
from .report import ratio_at_most, say

RATES = (100, 1000, 5000)
INTERVALS_MS = (0, 2, 5, 10, 20, 50)
WARM_SECONDS = 2
BARE_INTERVAL_MS = 20
PERCENTILES = ("p50", "p99", "max")


def latency_bare(place, seconds):
    """p50, p99 and the maximum in ms of librdkafka alone, one record every 20 ms."""
    count = seconds * 1000 // BARE_INTERVAL_MS
    with place.topic(1) as topic:
        watcher = bare("watch", place.kafka.bootstrap, topic, 1, count, WARM_SECONDS * 1000)
        finish(bare("send", place.kafka.bootstrap, topic, count, BARE_INTERVAL_MS * 1000))
        return dict(zip(PERCENTILES, finish(watcher)))


def latency_relay(place, relay, database, rate, seconds, partitions=1):
    """The same of a running relay at this rate, and CPU seconds a second of all parts once it is warm."""
    with place.topic(partitions) as topic:
        watcher = bare("watch", place.kafka.bootstrap, topic, partitions, rate * seconds, WARM_SECONDS * 1000)
        writer = program("writer", place.postgres.dsn(database), topic, rate, seconds)
        time.sleep(WARM_SECONDS)
        started, meter = time.monotonic(), place.meter(relay)
        reached, late_ms = finish(writer)
        used, span = meter.read(), time.monotonic() - started
        found = dict(zip(PERCENTILES, finish(watcher)))
        found.update({name: value / span for name, value in used.items()})
        if reached < 0.98 * rate or late_ms > 50:
            say(f"  the writer was late: {reached:.0f} rows/s of {rate}, once by {late_ms:.0f} ms")
        return found


def add_cpu(report, name, rate, found):
    """CPU of the parts beside a latency: in percent of a core, and a row."""
    for part, title in (("relay", "relay"), ("postgres", "PostgreSQL, the relay's sessions"), ("broker", "broker")):
        used = [one[part] for one in found]
        report.add(f"{name}: CPU of {title}", "% of a core", [100 * value for value in used])
        report.add(f"{name}: CPU of {title}", "us/row", [1e6 * value / rate for value in used])


def measure_rates(place, report, seconds):
    """The three rates, each beside a baseline of its own, in turn."""
    pairs = {rate: [] for rate in RATES}
    with place.running() as (relay, database):
        for _ in range(place.options.rounds):
            for rate in RATES:
                before = latency_bare(place, seconds)
                pairs[rate].append((before, latency_relay(place, relay, database, rate, seconds)))
        spread = latency_relay(place, relay, database, 1000, seconds, 6)
    for rate, found in pairs.items():
        for key, target in zip(PERCENTILES, (ratio_at_most(2), ratio_at_most(3), None)):
            report.add(f"{rate} rows/s: {key}", "ms", [ours[key] for _, ours in found],
                       [alone[key] for alone, _ in found], target)
        add_cpu(report, f"{rate} rows/s", rate, [ours for _, ours in found])
    for key in PERCENTILES:
        report.add(f"1000 rows/s over 6 partitions: {key}", "ms", [spread[key]])


def measure_curve(place, report, seconds):
    """What each commit interval costs and gives."""
    report.begin("commit interval", "the curve at 1,000 rows/s, from which the default is chosen", "none")
    rate = 1000
    for interval in INTERVALS_MS[::3] if place.options.quick else INTERVALS_MS:
        with place.running(outbox={"main": {"commit_interval_ms": interval}}) as (relay, database):
            found = latency_relay(place, relay, database, rate, seconds)
        for key in PERCENTILES:
            report.add(f"{interval} ms: {key}", "ms", [found[key]])
        for part in ("relay", "postgres", "broker"):
            report.add(f"{interval} ms: CPU of {part}", "% of a core", [100 * found[part]])


def run(place, report):
    """Rates, then the curve."""
    place.warm()
    report.begin("latency", "from writing a row to a read_committed consumer that sees it",
                 f"one-record transactions of librdkafka alone, one every {BARE_INTERVAL_MS} ms")
    measure_rates(place, report, 4 if place.options.quick else 8)
    measure_curve(place, report, 4 if place.options.quick else 7)
