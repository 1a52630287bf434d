"""docs/reading.md as its readers use it: messages of Java's producer, some sent twice, come through a relay to each of
the page's workers, which process them exactly once and in order."""
import re
import subprocess
import time
import uuid
from decimal import Decimal

import judge
import pytest
from examples import Service, own_folder, prepared  # noqa: F401
from live.relay import wait_until
from page import ADMINISTRATOR, READING, Page
from schema import rows
from servers.process import end_with_us

SERVICE = "payments_service"
OPERATIONS = Page("operations.md")
COUNT = 20  # as the page says to the programs
PROGRAMS = [(language, line) for language, lines in READING.commands("run") for line in lines.splitlines()]
NAMES = [f"{language}-{re.sub('[^a-z]+', '-', line.lower().split('payments')[1]).strip('-')}" for language, line in PROGRAMS]


class Reader(Service):
    """The page's service, with a relay that runs, and what is sent to it."""

    def __init__(self, postgres, kafka, folder, topic):
        super().__init__(postgres, kafka, folder, SERVICE, {"outbox": {}, "inbox": {"main": {"topics": [topic]}}})
        self.make(block for block in READING.sql_blocks() if block.startswith(ADMINISTRATOR[:2]))
        self.topic, self.sent = topic, []
        self.connection = self.schema.connect()
        self.sender = judge.Sender(kafka)
        self.relay.start()

    def send(self, order, amount, times=1):
        """A payment."""
        headers = {"id": str(uuid.uuid4()), "type": "PaymentReceived"}
        for _ in range(times):
            self.sender.send(self.topic, order, f'{{"order": "{order}", "amount": {amount}}}', headers)
        self.sender.flush()
        self.sent.append((order, Decimal(amount)))

    def run(self, sql, args=None):
        """A statement's rows."""
        return rows(self.connection, sql, args)

    def order(self, name):
        """The order that payments wait for."""
        self.run("INSERT INTO orders (id, total) VALUES (%s, 100)", (name,))

    def paid(self):
        """{order: [amount, ...]} as they were written."""
        found = {}
        for order, amount in self.run("SELECT order_id, amount FROM payments ORDER BY number"):
            found.setdefault(order, []).append(amount)
        return found

    def close(self):
        self.sender.close()
        super().close()


@pytest.fixture
def service(postgres, kafka, topic, tmp_path):
    """A fresh one."""
    made = Reader(postgres, kafka, tmp_path, topic(2))
    yield made
    made.close()


def by_order(sent):
    """{order: [amount, ...]} of what can be processed."""
    found = {}
    for order, amount in sent:
        if amount > 0:
            found.setdefault(order, []).append(amount)
    return found


def rounds(service, rejects):
    """Four payments of each of three orders, the last of which is not there; every third record comes twice."""
    for number in range(12):
        service.send(f"order-{number % 3}", number + 1, 2 if number % 4 == 0 else 1)
        if number == 6 and rejects:
            service.send("order-0", -1)
    service.order("order-0")
    service.order("order-1")


def one_at_a_time(service):
    """The rest up to COUNT, each sent when the one before is processed: how long the fastest took."""
    seconds = []
    while len(service.sent) < COUNT:
        service.send("order-1", len(service.sent) + 1)
        begin = time.monotonic()
        wait_until(lambda: service.paid() == by_order(service.sent), "the payment", every=0.01)
        seconds.append(time.monotonic() - begin)
    return min(seconds)


class Program:
    """A worker of the page, as a person would start it, until so many messages are finished."""

    def __init__(self, line, folder, env):
        self.line, self.folder, self.env = line, folder, env
        self.out = folder / "out"
        self.process = None

    def start(self, count):
        """Begins."""
        with self.out.open("a") as out:
            self.process = subprocess.Popen(["bash", "-euc", "exec " + self.line.replace(str(COUNT), str(count))],
                                            cwd=self.folder, env=self.env, stdin=subprocess.DEVNULL, stdout=out,
                                            stderr=subprocess.STDOUT)
        end_with_us(self.process.pid)

    def said(self):
        """All that it printed."""
        return self.out.read_text()

    def wait_for(self, condition, what):
        """Waits for it while the program runs."""
        wait_until(lambda: self.process.poll() is not None or condition(), what, 120)
        assert self.process.poll() is None and condition(), self.said()


def lose_connection(service, program):
    """It dies while the payment is being written, after the take: started again, it gets the message at once."""
    lock = service.schema.connect(autocommit=False)
    rows(lock, "LOCK TABLE payments IN SHARE MODE")
    service.send("order-1", 13)
    program.wait_for(lambda: service.run("SELECT pid FROM pg_locks WHERE NOT granted AND relation = 'payments'::regclass"),
                     "the worker at its payment")
    service.run("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = %s", (SERVICE,))
    assert program.process.wait(60) != 0
    lock.rollback()
    program.start(COUNT + 1 - len(service.sent))


@pytest.mark.seconds(600)  # on a fresh machine the first ones wait for downloads
@pytest.mark.parametrize("language, line", PROGRAMS, ids=NAMES)
def test_worker(service, prepared, tmp_path, language, line):  # noqa: F811
    """Exactly once and in order for each key, also when a connection dies; what cannot be done yet waits and holds up
    nobody; what never can is rejected; a notification wakes it, where it listens."""
    takes = "claim" not in line
    rounds(service, rejects=takes)
    program = Program(line, own_folder(language, prepared(language), tmp_path / language), service.environment())
    program.start(COUNT)
    ready = {order: amounts for order, amounts in by_order(service.sent).items() if order != "order-2"}
    program.wait_for(lambda: service.paid() == ready, "the orders that are there")
    program.wait_for(lambda: "later order-2" in program.said(), "the order that is not there")
    assert service.paid() == ready
    held, dead = [service.run(query) for query in OPERATIONS.sql_blocks()]  # what operators look at
    assert [(row[0], row[3] > 0, "payments_order_id_fkey" in row[4]) for row in held] == [(service.topic, True, True)]
    assert [(row[1], row[2], row[8]) for row in dead] == [("inbox/main", "REJECTED", "order-0")] * takes
    service.order("order-2")
    program.wait_for(lambda: service.paid() == by_order(service.sent), "the order that came")
    if takes:
        lose_connection(service, program)
        program.wait_for(lambda: service.paid() == by_order(service.sent), "what was given back")
    fastest = one_at_a_time(service)
    said = program.process.wait(60), program.said()
    assert said[0] == 0, said[1]
    assert service.paid() == by_order(service.sent) and len(service.sent) == COUNT
    assert said[1].count("paid ") == sum(len(amounts) for amounts in by_order(service.sent).values())
    assert service.run("SELECT class, key FROM relay.dead_letter") == ([("REJECTED", "order-0")] if takes else [])
    assert said[1].count("rejected order-0") == takes
    assert service.run("SELECT count(*) FROM relay.inbox") == [(COUNT,)]
    assert service.run("SELECT seq FROM relay.take()") == []
    assert fastest < 0.5 or language == "psql", "polling alone takes a second"
