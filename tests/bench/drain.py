"""How fast a backlog goes out, against a loop of librdkafka with the same records, partitions and transactions."""
import time

from . import usage
from .place import bare, finish, published, wait_published, wait_until
from .report import at_most, ratio_at_least

PARTITIONS, ROWS_A_TRANSACTION = 6, 5000
CASES = (("200 B", 200, False), ("512 B, two headers", 512, True))


def drain_bare(place, rows, size, headers):
    """rows/s, CPU and broker's CPU in us a row of librdkafka alone."""
    with place.topic(PARTITIONS) as topic:
        meter = usage.Meter(broker=place.broker_cpu)
        rate, cpu = finish(bare("drain", place.kafka.bootstrap, topic, rows, size, int(headers), ROWS_A_TRANSACTION))
        return {"rate": rate, "relay": cpu, "broker": meter.read()["broker"] * 1e6 / rows}


def drain_relay(place, rows, size, headers):
    """The same of a relay, from its first commit to its last, the backlog written before."""
    relay, database = place.relay()
    with place.topic(PARTITIONS) as topic:
        place.postgres.query("SELECT relay.pause('outbox/main', 'bench')", None, database)
        place.load(database, topic, rows, size, headers)
        with relay:
            wait_until(lambda: relay.metric("boxrelay_stream_state", state="paused") == 1, "paused and ready")
            place.postgres.query("SELECT relay.resume('outbox/main')", None, database)
            first = wait_until(lambda: published(relay), "the first batch", every=0.005)
            started, meter = time.monotonic(), place.meter(relay)
            seconds = wait_published(relay, rows) - started
            found = {name: value * 1e6 / (rows - first) for name, value in meter.read().items()}
            found.update(rate=(rows - first) / seconds, memory=usage.memory_mb(relay.process.pid, "VmHWM"))
    place.postgres.drop_database(database)
    return found


def run(place, report):
    """Both sizes."""
    rows = 200_000 if place.options.quick else 1_000_000
    place.warm()
    report.begin("drain", f"a backlog of {rows:,} rows, from the first commit to the last",
                 f"librdkafka alone, the same records, {ROWS_A_TRANSACTION:,} a transaction, {PARTITIONS} partitions")
    for name, size, headers in CASES:
        pairs = [(drain_bare(place, rows, size, headers), drain_relay(place, rows, size, headers))
                 for _ in range(place.options.rounds)]

        def both(key, pairs=pairs):
            return [ours[key] for _, ours in pairs], [bare_one[key] for bare_one, _ in pairs]
        report.add(f"{name}: rate", "rows/s", *both("rate"), ratio_at_least(0.75))
        report.add(f"{name}: relay CPU", "us/row", *both("relay"), at_most(5))
        report.add(f"{name}: PostgreSQL CPU, the relay's sessions", "us/row", [ours["postgres"] for _, ours in pairs],
                   None, at_most(3))
        report.add(f"{name}: broker CPU", "us/row", *both("broker"))
        report.add(f"{name}: relay memory, peak RSS", "MB", [ours["memory"] for _, ours in pairs], None, at_most(96))
