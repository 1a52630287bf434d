"""What other services send: messages of all kinds, all from the seed.

Each message says in headers of its own what it is, for the judge alone, who reads them from Kafka: `tx`
(sender.transaction) and `kind`; good and reject ones also in their payload what business code has to do.
"""
import json
import uuid

TOPICS = {"orders": 6, "bills": 6}
ADDED = 2  # partitions that each topic gets while the campaign runs
HOT_KEYS = 8
COLD_KEYS = 20_000
RECENT = 400  # how far back a message is sent again

NO_ID = "noid"
POISON = "poison"
REJECT = "reject"
GOOD = "good"

BAD_JSON = ['{"n": ', "", b'"a\x00b"', b"\xff\xfe\x00", b"{}\xff", "nul"]


class Message:
    """One message to be sent. partition None: by its key."""
    __slots__ = ("topic", "partition", "key", "value", "kind", "id", "retries")

    def __init__(self, **fields):
        for name, value in fields.items():
            setattr(self, name, value)

    def again(self, **changed):
        """A copy with some of it changed."""
        return Message(**{**{name: getattr(self, name) for name in self.__slots__}, **changed})

    def headers(self, transaction):
        """[(name, value), ...]; a missing id is no header."""
        found = [("kind", self.kind), ("tx", transaction), ("retries", str(self.retries))]
        return found + ([("id", self.id)] if self.id is not None else [])


class Source:
    """Random messages of one sender."""

    def __init__(self, random, run, sender):
        self.random, self.run, self.sender = random, run, sender
        self.number = 0
        self.recent = []

    def key(self):
        """One key, or None."""
        dice = self.random.random()
        if dice < 0.25:
            return f"hot-{int(HOT_KEYS * self.random.random() ** 2)}"
        if dice < 0.75:
            return f"cold-{self.random.randrange(COLD_KEYS)}"
        if dice < 0.85:
            return f"schlüssel-鍵-{self.random.randrange(COLD_KEYS)}"
        if dice < 0.93:
            return b"\x00\xff" + self.random.randrange(500).to_bytes(2, "big")
        return "" if dice < 0.94 else None

    def value(self, kind, retries):
        """The payload of a good message: JSON, now and then a tombstone."""
        if kind == GOOD and not retries and self.random.random() < 0.02:
            return None
        what = {"n": self.number, "näme": "x" * self.random.randrange(100)}
        if retries:
            what["retry"] = retries
        if kind == REJECT:
            what["reject"] = True
        return json.dumps(what, ensure_ascii=False)

    def fresh(self):
        """A message that was not there before."""
        self.number += 1
        dice, retries, kind = self.random.random(), 0, GOOD
        if dice < 0.004:
            kind = POISON
        elif dice < 0.008:
            kind = NO_ID
        elif dice < 0.014:
            kind = REJECT
        elif dice < 0.03:
            retries = self.random.choice([1, 1, 2])
        value = self.random.choice(BAD_JSON) if kind == POISON else self.value(kind, retries)
        identity = uuid.UUID(int=self.run << 96 | self.sender << 80 | self.number)
        name = str(identity) if self.number % 3 else f"{self.run}/{self.sender}/nr {self.number}"
        return Message(topic=self.random.choice(list(TOPICS)), partition=None, key=self.key(), value=value, kind=kind,
                       id=None if kind == NO_ID else name, retries=retries)

    def repeated(self):
        """One of the last again: as it was, in another partition, or with another payload."""
        old = self.random.choice(self.recent)
        dice = self.random.random()
        if dice < 0.5:
            return old
        other = old.again(topic=self.random.choice(list(TOPICS)), partition=self.random.randrange(min(TOPICS.values())))
        if dice < 0.9 or old.value is None:
            return other
        self.number += 1
        return (old if dice < 0.95 else other).again(value=self.value(old.kind, old.retries) or '{"other": true}')

    def message(self):
        """The next one."""
        if self.recent and self.random.random() < 0.04:
            return self.repeated()
        made = self.fresh()
        if made.kind in (GOOD, REJECT):
            self.recent = self.recent[-RECENT:] + [made]
        return made

    def transaction(self, size_max):
        """(messages, is committed)"""
        size = self.random.choice([1, self.random.randint(1, 20), self.random.randint(1, size_max)])
        return [self.message() for _ in range(size)], self.random.random() >= 0.1
