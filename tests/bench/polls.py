"""What a poll costs with a million published rows behind and other transactions about, against one without them.

The statements run outside the relay, one poll after the other, because only so is it certain what finished between two
polls. One transaction stays open all the time; fifty others, each with an id, end and begin again between the polls.
"""
import statistics

from .reading import Reader
from .report import at_most, ratio_at_most

OTHERS, SMALL = 50, 10
TAKE_ID = "SELECT pg_current_xact_id()"
INSERT = ("INSERT INTO relay.outbox (topic, key, payload) SELECT 'orders', 'k' || i, repeat('x', 200) "
          "FROM generate_series(1, %s) AS i")


class Others:
    """Transactions of other sessions."""

    def __init__(self, place, database, count):
        self.connections = [place.postgres.connect(database, autocommit=False) for _ in range(count)]
        self.again()

    def again(self):
        """All end, and begin again."""
        for connection in self.connections:
            connection.commit()
            connection.cursor().execute(TAKE_ID)

    def close(self):
        """Ends them."""
        for connection in self.connections:
            connection.close()


def polls(place, database, others_count, rows, count):
    """Median CPU of the backend in us of a poll that finds so many new rows."""
    pinned = Others(place, database, 1 if others_count > 1 else 0)
    others, reader = Others(place, database, others_count), Reader(place.postgres, database)
    writer = place.postgres.connect(database)
    since, costs = reader.look(), []
    for number in range(count + 5):
        others.again()
        if rows:
            writer.cursor().execute(INSERT, (rows,))
        (now, found), cpu, _ = reader.timed(reader.poll, since)
        assert len(found) == rows, f"{len(found)} rows in a poll, expected {rows}"
        since = now if rows else since  # an empty poll does not move the position [T3]
        costs += [cpu] if number >= 5 else []
    for one in (pinned, others, reader, writer):
        one.close()
    return statistics.median(costs)


def run(place, report):
    """Empty and small polls, in two databases."""
    quick = place.options.quick
    behind, count = (100_000 if quick else 1_000_000), (30 if quick else 200)
    report.begin("polls", f"{behind:,} published rows behind, a transaction open all the time, {OTHERS} finishing each time",
                 "the same poll without them, one transaction finishing")
    (plain, bare_database), (loaded, database) = place.relay(), place.relay()
    assert plain.name != loaded.name
    place.load(database, "orders", behind, 200, False)
    place.postgres.query("ANALYZE relay.outbox", None, database)
    for name, rows, target in (("empty poll", 0, at_most(200, "us")), (f"poll with {SMALL} new rows", SMALL, None)):
        pairs = [(polls(place, bare_database, 1, rows, count), polls(place, database, OTHERS, rows, count))
                 for _ in range(place.options.rounds)]
        values, baselines = [ours for _, ours in pairs], [alone for alone, _ in pairs]
        report.add(name, "us of CPU", values, baselines, ratio_at_most(2))
        if target:
            report.add(f"{name}, for itself", "us of CPU", values, None, target)
    for name in (bare_database, database):
        place.postgres.drop_database(name)
