"""kill -9 of the relay, a new process at once: until a consumer sees a row that was written after the kill."""
import random
import statistics
import time

from .place import Lines, bare, program, wait_until
from .report import at_most

RATE = 100
SESSION_SECONDS = 6
PARTITIONS = 1


def kill_once(relay, seen):
    """Seconds from the kill to the next delivery of a row written after it."""
    time.sleep(random.uniform(1, 2))
    killed_us = time.time() * 1e6
    relay.kill()
    relay.start()
    after = len(seen.pairs)

    def next_seen():
        return [at for written, at in seen.pairs[max(0, after - 100):] if written > killed_us][:1]
    return (wait_until(next_seen, f"delivery after a kill, see {relay.log}", every=0.02)[0] - killed_us) / 1e6


def measure(place, kills, **config):
    """Seconds of each kill."""
    with place.running(**config) as (relay, database), place.topic(PARTITIONS) as topic:
        seen = Lines(bare("follow", place.kafka.bootstrap, topic, PARTITIONS))
        writer = program("writer", place.postgres.dsn(database), topic, RATE, 3600)
        try:
            wait_until(lambda: len(seen.pairs) > RATE, "the first rows")
            return [kill_once(relay, seen) for _ in range(kills)]
        finally:
            writer.kill()
            writer.wait()
            seen.close()


def run(place, report):
    """With and without a static member of the group."""
    quick = place.options.quick
    place.warm()
    report.begin("takeover", f"kill -9, a new process at once, until a row written after the kill is seen, at {RATE} rows/s",
                 "none")
    static = measure(place, 3 if quick else 10, instance_id="one")
    report.add("with instance_id: p50", "s", static, None, at_most(1, "s"))
    report.add("with instance_id: max", "s", [max(static)])
    dynamic = measure(place, 1 if quick else 5)
    report.add("without: max", "s", [max(dynamic)], None, at_most(SESSION_SECONDS + 1.5, "s"))
    report.add("without: p50", "s", [statistics.median(dynamic)])
