"""An inbox whose messages the test stores itself, as the relay does by contract; and a plain model of what taking promises."""
import zlib
from collections import defaultdict

from schema import rows


def hash_of(key):
    """31 bits, as the relay's hash of a key has."""
    return zlib.crc32(key.encode()) & 0x7FFFFFFF


class Inbox:
    """Stores messages: offsets by compare and swap, rows into the open slot, all in one transaction a batch."""

    def __init__(self, schema, name="main", partitions=1, lanes=4, topic="payments", hashed=hash_of, **options):
        self.schema, self.name, self.topic, self.lanes, self.hashed = schema, name, topic, lanes, hashed
        self.table = "inbox" if name == "main" else f"inbox_{name}"
        self._connection = schema.connect(autocommit=False)
        if name != "main":
            given = "".join(f", {option} => {value}" for option, value in options.items())
            schema.run(f"SELECT relay.create_inbox(%s, lanes => %s{given})", (name, lanes))
        self.uuid = schema.value("SELECT uuid FROM relay.stream WHERE name = %s AND dropped_at IS NULL",
                                 (f"inbox/{name}",))
        schema.run("UPDATE relay.subscription SET lanes = %s WHERE stream = %s", (lanes, self.uuid))
        self.sources = [self.make_source(partition) for partition in range(partitions)]

    def make_source(self, partition, generation=0, first=0):
        """As the relay does when it is assigned a partition."""
        return self.schema.value("SELECT relay.make_source(%s, %s, %s, %s, %s)",
                                 (self.uuid, self.topic, partition, generation, first))

    def store(self, keys, partition=0, payloads=None, source=None, skip=0):
        """A batch of messages with these keys (None: no key); the offsets that they got. skip: a gap before it."""
        source = source or self.sources[partition]
        run = lambda sql, args: rows(self._connection, sql, args)  # noqa: E731
        ((slot,),) = run("SELECT slot FROM relay.ring WHERE stream = %s FOR SHARE", (self.uuid,))
        ((first,),) = run("SELECT next FROM relay.source_offset WHERE source = %s ORDER BY next DESC LIMIT 1", (source,))
        first += skip
        moved = run("UPDATE relay.source_offset SET next = %s WHERE source = %s AND next = %s RETURNING 1",
                    (first + len(keys), source, first - skip))
        assert moved, "the offset of the source has moved"
        with self._connection.cursor() as cursor:
            for number, key in enumerate(keys):
                offset = first + number
                hashed = offset & 0x7FFFFFFF if key is None else self.hashed(key)
                payload = payloads[number] if payloads else '{"n": %d}' % offset
                cursor.execute(
                    f"INSERT INTO relay.{self.table} (slot, source, lane, kafka_offset, key_hash, record_time, id, key, type, "
                    "headers, payload) VALUES (%s, %s, %s, %s, %s, now(), %s, %s, 'PaymentReceived', %s, %s)",
                    (slot, source, hashed % self.lanes, offset, hashed, f"{source}/{offset}", key, '{"a": "b"}', payload))
        run("SELECT pg_notify('relay_inbox', %s)", (self.name,))
        self._connection.commit()
        return list(range(first, first + len(keys)))

    def turn(self):
        """Later messages go into the next slot of the ring."""
        self.schema.run("UPDATE relay.ring SET slot = (slot + 1) %% 4 WHERE stream = %s", (self.uuid,))

    def all_due(self):
        """As if the longest delay and lease were over."""
        self.schema.run("UPDATE relay.held_key SET due_at = now() WHERE due_at > now(); "
                        "UPDATE relay.lane SET due_from = '-infinity' WHERE due_from < 'infinity'")


class Worker:
    """A session of business code."""

    def __init__(self, schema, name="main", user="app_login", application_name="worker"):
        self.name = name
        self.connection = schema.connect(user, autocommit=False, application_name=application_name)

    def run(self, sql, *args):
        """A statement in the open transaction: its rows."""
        return rows(self.connection, sql, args)

    def take(self, count=1):
        """[(seq, key, offset, attempts), ...]"""
        return self.run("SELECT seq, key, kafka_offset, attempts FROM relay.take(%s, %s)", self.name, count)

    def done(self, seq):
        """Processed."""
        self.run("SELECT relay.done(%s, %s)", self.name, seq)

    def retry(self, seq, delay="1 hour", reason="not now"):
        """Again later."""
        self.run("SELECT relay.retry(%s, %s, %s, %s)", self.name, seq, delay, reason)

    def reject(self, seq, reason="never"):
        """A dead letter."""
        self.run("SELECT relay.reject(%s, %s, %s)", self.name, seq, reason)

    def claim(self, count=1, lease="1 hour"):
        """[(seq, key, offset, attempts, token), ...]"""
        return self.run("SELECT seq, key, kafka_offset, attempts, token FROM relay.claim(%s, %s, %s)", self.name, count,
                        lease)

    def commit(self):
        """The end."""
        self.connection.commit()

    def rollback(self):
        """The other end."""
        self.connection.rollback()

    def drain(self, count=1):
        """Takes and finishes all there is, a transaction each; (key, offset) in order."""
        found = []
        while True:
            taken = self.take(count)
            for seq, *_ in taken:
                self.done(seq)
            self.commit()
            if not taken:
                return found
            found += [(key, offset) for _, key, offset, _ in taken]


def by_key(pairs):
    """{key: [offset, ...]} in the order of the pairs."""
    found = defaultdict(list)
    for key, offset in pairs:
        found[key].append(offset)
    return dict(found)


def damage(stored, effects, overlaps):
    """What is wrong with a run: stored {key: [offset, ...]}, effects [(key, offset), ...] in the order of their commits
    within each key, overlaps: how often two transactions had one key at the same time."""
    done, wrong = by_key(effects), []
    for key, offsets in stored.items():
        got = done.get(key, [])
        if got != offsets:
            wrong.append(f"{key}: {len(set(offsets) - set(got))} lost, {len(got) - len(set(got))} twice, "
                         f"{sum(a > b for a, b in zip(got, got[1:]))} out of order")
    if overlaps:
        wrong.append(f"{overlaps} times two transactions had one key")
    return wrong
