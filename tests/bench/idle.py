"""What a relay with nothing to do costs: with one outbox, with fifty, and with an inbox."""
import time

from live.relay import Relay

from . import usage
from .place import wait_until
from .report import at_most

OUTBOXES = 50
SETTLE_SECONDS = 5


def used_percent(meter, seconds):
    """{part: percent of a core} over so many seconds."""
    before = meter.read()
    time.sleep(seconds)
    after = meter.read()
    return {name: 100 * (after[name] - before[name]) / seconds for name in after}


def polling(relay):
    """How many streams look for rows and find none."""
    return relay.metric("boxrelay_stream_state", state="poll") or 0


def settled(place, relay, seconds):
    """(What a relay that waits for work uses, its RSS)."""
    time.sleep(SETTLE_SECONDS)
    meter = usage.Meter(relay=lambda: usage.cpu(relay.process.pid), postgres=place.cluster_cpu, broker=place.broker_cpu)
    return used_percent(meter, seconds), usage.memory_mb(relay.process.pid, "VmRSS")


def measure(place, outboxes, seconds):
    """Of a relay of so many outboxes."""
    relay, database = place.relay()
    for number in range(1, outboxes):
        place.postgres.query("SELECT relay.create_outbox(%s)", (f"o{number}",), database)
    with relay:
        wait_until(lambda: polling(relay) == outboxes, f"{outboxes} streams polling, see {relay.log}", 120, 0.5)
        found = settled(place, relay, seconds)
    place.postgres.drop_database(database)
    return found


def measure_inbox(place, seconds):
    """Of a relay of one inbox, which reads six partitions."""
    relay, database = place.relay()
    with place.topic(6) as topic:
        config = {"outbox": {}, "inbox": {"main": {"topics": [topic]}}}
        with Relay(place.postgres.dsn(database), place.kafka.bootstrap, place.folder, relay.name, config) as relay:
            wait_until(lambda: place.postgres.query("SELECT count(*) FROM relay.source_offset WHERE epoch > 0", None,
                                                    database)[0][0] == 6, f"six partitions read, see {relay.log}")
            found = settled(place, relay, seconds)
    place.postgres.drop_database(database)
    return found


def run(place, report):
    """The same servers without and with a relay."""
    seconds = 5 if place.options.quick else 20
    report.begin("idle", f"nothing to publish, over {seconds} s", "the same servers without a relay")
    without = used_percent(usage.Meter(postgres=place.cluster_cpu, broker=place.broker_cpu), seconds)
    for name, found, postgres_max, relay_max in (("1 outbox", measure(place, 1, seconds), 1, 0.5),
                                                 (f"{OUTBOXES} outboxes", measure(place, OUTBOXES, seconds), 5, 5),
                                                 ("1 inbox", measure_inbox(place, seconds), 1, 0.5)):
        used, memory = found
        report.add(f"{name}: CPU of PostgreSQL, all of it", "% of a core", [used["postgres"]], [without["postgres"]],
                   at_most(postgres_max, "%"))
        report.add(f"{name}: CPU of the relay", "% of a core", [used["relay"]], None, at_most(relay_max, "%"))
        report.add(f"{name}: CPU of the broker", "% of a core", [used["broker"]], [without["broker"]])
        report.add(f"{name}: relay memory, RSS", "MB", [memory], None,
                   at_most(32) if name == "1 outbox" else None)
