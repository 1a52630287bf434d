"""What the writers write: topics, keys, rows and kinds of transactions, all from the seed.

An event id tells where its row came from: run (32 bits), writer (16), transaction (48), row in it (32).
Rows with a key carry the header `n`, drawn under the key's lock, so that the published sequence of a
key must rise; keys of outbox `audit` begin with "a/", as order is promised within one outbox only.
"""
import json
import uuid

TOPICS = {"one": 1, "three": 3, "five": 5, "dozen": 12}
OUTBOXES = {"main": "relay.outbox", "audit": "relay.outbox_audit"}
HOT_KEYS = 8
COLD_KEYS = 20_000
BINARY_KEYS = 200

KINDS = {"single": 18, "multi": 34, "copy": 8, "savepoint": 12, "rollback": 8, "two_phase": 8, "slow": 8, "ordered": 8}

SETUP = """
SELECT relay.create_outbox('audit');
CREATE SCHEMA campaign;
CREATE TABLE campaign.counter (key text PRIMARY KEY, n bigint NOT NULL) WITH (fillfactor = 50);
CREATE SEQUENCE campaign.ordered;
"""


def event_id(run, writer, transaction, row):
    """The id of one row."""
    return uuid.UUID(int=run << 96 | writer << 80 | transaction << 32 | row)


def origin(identity):
    """(run, writer, transaction, row) of an id given as 16 bytes."""
    number = int.from_bytes(identity, "big")
    return number >> 96, number >> 80 & 0xffff, number >> 32 & 0xffffffffffff, number & 0xffffffff


class Row:
    """One row to be; key and payload as str (text columns), bytes (the bytea columns) or None."""
    __slots__ = ("topic", "key", "payload", "type", "headers", "id", "partition")

    def __init__(self, **fields):
        for name, value in fields.items():
            setattr(self, name, value)

    @property
    def order_key(self):
        """What its order is counted by; None without a key."""
        if self.key is None:
            return None
        return self.key.hex() if isinstance(self.key, bytes) else self.key.encode().hex()

    def columns(self, n):
        """Values in the order of COLUMNS."""
        headers = dict(self.headers)
        if n is not None:
            headers["n"] = str(n)
        text = json.dumps(headers, ensure_ascii=False) if headers else None
        return (self.topic, *_split(self.key), *_split(self.payload), self.type, text, self.id, self.partition)


COLUMNS = "topic, key, key_bytes, payload, payload_bytes, type, headers, id, partition"


def _split(value):
    return (None, value) if isinstance(value, bytes) else (value, None)


class Source:
    """Random rows of one writer."""

    def __init__(self, random, run, writer):
        self.random, self.run, self.writer = random, run, writer
        self.noise = random.randbytes(400_000)

    def key(self, outbox, hot):
        """One key, or None; hot: the share of the hot ones."""
        dice, prefix = self.random.random(), "a/" if outbox == "audit" else ""
        if self.random.random() < hot:
            return f"{prefix}hot-{int(HOT_KEYS * self.random.random() ** 2)}"
        if dice < 0.55:
            return f"{prefix}cold-{self.random.randrange(COLD_KEYS)}"
        if dice < 0.70:
            return f"{prefix}schlüssel-鍵-{self.random.randrange(COLD_KEYS)}"
        if dice < 0.83:
            return prefix.encode() + b"\x00\xff" + self.random.randrange(BINARY_KEYS).to_bytes(2, "big")
        if dice < 0.88 and not prefix:
            return self.random.choice(["", b""])
        return None

    def payload(self):
        """One value: JSON mostly; tombstones, empty ones, bytes, and some large ones."""
        dice = self.random.random()
        if dice < 0.03:
            return None
        if dice < 0.04:
            return self.random.choice(["", b""])
        if dice < 0.10:
            return self._bytes(self.random.randrange(1, 600))
        if dice < 0.115:
            return self._bytes(self.random.randrange(1_000, 20_000))
        if dice < 0.1153:
            return self._bytes(self.random.randrange(50_000, 300_000))
        return '{"amount": %d, "näme": "%s"}' % (self.random.getrandbits(40), "x" * self.random.randrange(120))

    def _bytes(self, size):
        at = self.random.randrange(len(self.noise) - size)
        return self.noise[at:at + size]

    def headers(self):
        """The row's own headers; the relay leaves out those named as its own."""
        headers = {}
        if self.random.random() < 0.3:
            headers["traceparent"] = f"00-{self.random.getrandbits(64):x}"
        if self.random.random() < 0.03:
            headers.update({"id": "mine", "ünï": "çödé", "empty": "", "relay": "no"})
        return headers

    def rows(self, transaction, first, count, outbox, hot):
        """`count` rows over a few keys, so that writers meet on the hot ones and still run side by side."""
        keys = [self.key(outbox, hot) for _ in range(self.random.randint(1, min(6, count)))]
        made = []
        for number in range(first, first + count):
            topic = self.random.choice(list(TOPICS))
            made.append(Row(topic=topic, key=self.random.choice(keys), payload=self.payload(),
                            type=self.random.choice([None, "Placed", "Päid"]), headers=self.headers(),
                            id=str(event_id(self.run, self.writer, transaction, number)),
                            partition=self.random.randrange(TOPICS[topic]) if self.random.random() < 0.05 else None))
        return made


class Piece:
    """A step of a transaction: rows for one outbox, written by one statement."""

    def __init__(self, outbox, rows, undone=False, by="insert", pause_s=0.0):
        self.outbox, self.rows, self.undone, self.by, self.pause_s = outbox, rows, undone, by, pause_s


class Plan:
    """One transaction, decided before it begins."""

    def __init__(self, number, kind, pieces):
        self.number, self.kind, self.pieces = number, kind, pieces

    @property
    def count(self):
        """Rows written, undone ones included."""
        return sum(len(piece.rows) for piece in self.pieces)

    @property
    def kept(self):
        """Rows that are there if it commits."""
        return 0 if self.kind == "rollback" else sum(len(p.rows) for p in self.pieces if not p.undone)


def plan(source, number):
    """The next transaction of a writer."""
    random = source.random
    kind = random.choices(list(KINDS), list(KINDS.values()))[0]
    sizes, pauses, by = [random.randint(2, 60)], [0.0], "insert"
    if kind == "single":
        sizes = [1]
    elif kind == "copy":
        sizes, by = [random.randint(200, 1500)], "copy"
    elif kind in ("savepoint", "slow", "rollback"):
        sizes = [random.randint(1, 25) for _ in range(3)]
        longest = 1.0 if kind == "slow" else 0.05
        pauses = [random.random() * longest for _ in range(3)]
    elif kind == "ordered":
        sizes, by = [random.randint(2, 8)], "ordered"
    hot = 0.06 if kind in ("slow", "two_phase") else 0.3  # who holds a key for long holds up every other writer of it
    pieces, first = [], 0
    for at, size in enumerate(sizes):
        outbox = "audit" if random.random() < 0.12 else "main"
        undone = kind == "savepoint" and at == 1 and random.random() < 0.8
        pieces.append(Piece(outbox, source.rows(number, first, size, outbox, hot), undone, by, pauses[at % len(pauses)]))
        first += size
    if by == "ordered":
        key = f"{'a/' if pieces[0].outbox == 'audit' else ''}ordered-{random.randrange(6)}"
        for row in pieces[0].rows:
            row.key, row.partition = key, None
    return Plan(number, kind, pieces)
