#!/usr/bin/python3
"""The show of docker/playground.sh: servers, migrations, the relay, one message out and one in, status, traffic.

Everything it starts is known to the keeper of tests/servers, which ends it by pid however this process ends.
"""
import argparse
import itertools
import json
import os
import random
import shlex
import signal
import socket
import subprocess
import sys
import time
import urllib.request
import uuid
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

REPO = Path(__file__).resolve().parents[1]
os.environ.setdefault("TEST_DIR", str(REPO / "build" / "playground"))
sys.path.insert(0, str(REPO / "tests"))

import judge  # noqa: E402
from servers import Kafka, Postgres  # noqa: E402
from servers.kafka import DEFAULT_VERSION  # noqa: E402
from servers.paths import cache_dir, run_dir  # noqa: E402
from servers.ports import free_ports  # noqa: E402
from servers.process import Child, Timeout, wait_until  # noqa: E402

BOXRELAY = REPO / "build" / "release" / "boxrelay"
TOPIC = "orders.event.order-placed.v1"
PAYMENTS = "payments.event.payment-received.v1"
PATIENCE_S = 60
# The relay must not take options from whatever the caller has set.
ENVIRONMENT = {name: value for name, value in os.environ.items() if not name.startswith("BOXRELAY_")}

ORDERS = "CREATE TABLE orders (id text PRIMARY KEY, customer text NOT NULL, total numeric NOT NULL, " \
         "paid boolean NOT NULL DEFAULT false)"
INSERT = "INSERT INTO orders (id, customer, total) VALUES ('{id}', '{customer}', {total});"
PUBLISH = """SELECT relay.publish('{topic}', '{id}',
           '{payload}'::json,
           type => 'OrderPlaced',
           headers => '{headers}');"""

TAKE = "SELECT seq, id, key, payload FROM relay.take('main');"
PAY = "UPDATE orders SET paid = true WHERE id = '{id}';"
DONE = "SELECT relay.done('main', {seq});"


class Failed(Exception):
    """A step was not seen to work: what and why; next is what to do."""

    def __init__(self, what, next_step):
        super().__init__(what)
        self.next_step = next_step


class Stopped(BaseException):
    """Ctrl-C, or a signal that means the same; no handler of failures on the way may take it."""


BOLD, OFF = ("\033[1m", "\033[0m") if sys.stdout.isatty() and "NO_COLOR" not in os.environ else ("", "")


def say(text=""):
    """One line to stdout, at once."""
    print(text, flush=True)


def begin(title):
    """The left half of a step's line; when it began."""
    print(f"  {title:<10} ", end="", flush=True)
    return time.monotonic()


def done(text, begun):
    """The right half, once it was seen to work."""
    say(f"{text} ({time.monotonic() - begun:.1f} s)")


def head(text):
    """A headline."""
    say(f"\n{BOLD}{text}{OFF}")


def indented(text, by="    "):
    """A block as it is, moved to the right."""
    say("\n".join(by + line if line else line for line in text.rstrip("\n").split("\n")))


def short(path):
    """Below the checkout: the path that somebody in it would type."""
    return os.path.relpath(path, REPO) if str(path).startswith(f"{REPO}/") else str(path)


class Playground:
    """The servers, the relay, and what was seen of them."""

    def __init__(self):
        self.postgres = self.kafka = self.relay = self.connection = None
        self.config = run_dir() / "boxrelay.json"
        self.http = None

    # ---- set-up ----

    def start_servers(self):
        """Both at once; the first start of a checkout fetches Kafka's jars."""
        if not (cache_dir() / f"kafka-{DEFAULT_VERSION}").exists():
            say("  kafka      fetching its jars from Maven Central, once: a minute or two")
        begun = begin("servers")
        self.postgres, self.kafka = Postgres(), Kafka()
        with ThreadPoolExecutor(3) as pool:
            for started in [pool.submit(work) for work in (self.postgres.start, self.kafka.start, judge.prepare)]:
                started.result()
        self.postgres.create_database("orders")
        self.kafka.create_topic(TOPIC, 3)
        self.kafka.create_topic(PAYMENTS, 3)
        done(f"PostgreSQL {self.postgres.version} on 127.0.0.1:{self.postgres.port}, "
             f"Kafka {self.kafka.version} on {self.kafka.bootstrap}", begun)

    def configure(self):
        """The configuration; another port for health and metrics if the usual one is taken."""
        options = {"name": "orders", "postgres": self.postgres.dsn("orders"),
                   "kafka": {"bootstrap.servers": self.kafka.bootstrap},
                   "inbox": {"main": {"topics": [PAYMENTS]}}}
        self.http = "127.0.0.1:8090"
        if not port_is_free(8090):
            self.http = f"127.0.0.1:{free_ports(1)[0]}"
            options["http"] = {"listen": self.http}
        lines = (f'"{key}": {json.dumps(value)}' for key, value in options.items())
        self.config.write_text("{ " + ",\n  ".join(lines) + " }\n")

    def boxrelay(self, *words, codes=(0,)):
        """Runs a command to its end; its output."""
        ended = subprocess.run([BOXRELAY, *words, "--config", self.config], capture_output=True, text=True,
                              timeout=PATIENCE_S, check=False, stdin=subprocess.DEVNULL, env=ENVIRONMENT)
        if ended.returncode not in codes:
            raise Failed(f"boxrelay {' '.join(words)} ended with exit code {ended.returncode}:\n"
                         f"{ended.stdout}{ended.stderr}", "please report it")
        return ended.stdout

    def migrate(self):
        """Schema relay, by the program itself."""
        begun = begin("schema")
        done("boxrelay migrate up: " + ", ".join(self.boxrelay("migrate", "up").strip().splitlines()), begun)

    def start_relay(self):
        """boxrelay run, until it leads the outbox."""
        begun = begin("relay")
        log = run_dir() / "relay.log"
        self.relay = Child([BOXRELAY, "run", "--config", self.config], log,
                           env={**ENVIRONMENT, "BOXRELAY_LOG_FORMAT": "text"})
        self.seen("the relay to be ready", lambda: self.fetch("/health/ready") and self.leads())
        done(f"boxrelay run: ready on http://{self.http}", begun)

    def seen(self, what, condition):
        """Waits for it; a relay that has ended is a failure at once."""
        def look():
            if not self.relay.alive:
                return "ended"
            return condition()
        try:
            value = wait_until(look, PATIENCE_S, what, interval=0.1)
        except Timeout as error:
            raise Failed(f"waited {PATIENCE_S} s for {what}, in vain ({error})",
                         "read the end of the relay's log below\n" + self.relay.log_tail(10)) from error
        if value == "ended":
            raise self.ended()
        return value

    def ended(self):
        """What to raise when the relay is gone."""
        return Failed(f"the relay ended with exit code {self.relay.returncode}",
                      "read the end of its log below\n" + self.relay.log_tail(10))

    def fetch(self, path):
        """A page of the relay's; None while there is none."""
        try:
            with urllib.request.urlopen(f"http://{self.http}{path}", timeout=5) as page:
                return page.read().decode()
        except OSError:
            return None

    def leads(self):
        """Whether it has taken the outbox over; asked of the relay itself, which reports to PostgreSQL less often."""
        streams = json.loads(self.fetch("/status") or "{}").get("streams")
        return streams and streams[0]["leader"] and streams[0]["state"] == "poll"

    def status(self):
        """boxrelay status --json: {stream: its row}."""
        streams = json.loads(self.boxrelay("status", "--json", codes=(0, 3)))
        return {stream["stream"]: stream for stream in streams}

    def at_rest(self):
        """Is nothing pending, as the status shows it?"""
        streams = self.status()
        return streams["outbox/main"]["state"] == "poll" and all(stream["pending"] == 0 for stream in streams.values())

    # ---- the show ----

    def transaction(self, statements, end):
        """One transaction of the business; what its last statement returned."""
        if self.connection is None:
            self.connection = self.postgres.connect("orders", autocommit=True, application_name="orders-service")
        with self.connection.cursor() as cursor:
            cursor.execute("BEGIN")
            for statement in statements:
                cursor.execute(statement)
            value = cursor.fetchone()[0]
            cursor.execute(end)
        return value

    def show_out(self):
        """One transaction that is rolled back, one that commits; then what an independent reader finds."""
        self.postgres.query(ORDERS, database="orders")
        payload = json.dumps({"order": "order-1", "total": 42.5})
        headers = json.dumps({"traceparent": "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"})
        insert = INSERT.format(id="order-1", customer="Ada", total=42.5)
        publish = PUBLISH.format(topic=TOPIC, id="order-1", payload=payload, headers=headers)
        self.transaction([insert, publish], "ROLLBACK")
        head("One business transaction (the same one was rolled back just before)")
        indented(f"BEGIN;\n{insert}\n{publish}\nCOMMIT;")
        event = self.transaction([insert, publish], "COMMIT")
        self.show_row(event)
        self.show_record(event, payload, headers)

    def show_row(self, event):
        """The row as PostgreSQL has it."""
        rows = self.postgres.query("SELECT xid::text, seq, topic, key, type, id::text FROM relay.outbox",
                                   database="orders")
        if [row[5] for row in rows] != [event]:
            raise Failed(f"relay.outbox holds {len(rows)} rows, not the one that was committed", "please report it")
        head("The row in relay.outbox")
        for name, value in zip(("xid", "seq", "topic", "key", "type", "id"), rows[0]):
            say(f"    {name:<13} {value}")

    def show_record(self, event, payload, headers):
        """The record as Java's consumer reads it from Kafka, compared with what was written."""
        records = self.seen("the record on Kafka", lambda: judge.read(self.kafka, [TOPIC]))
        head("The record on Kafka, as Java's own consumer reads it (read_committed)")
        record = records[0]
        facts = {"topic": f"{record.topic}, partition {record.partition}, offset {record.offset}",
                 "key": record.key.decode(), "value": record.value.decode(), "headers": ""}
        for name, value in facts.items():
            say(f"    {name:<13} {value}".rstrip())
        for name, value in record.headers:
            say(f"      {name:<11} {value.decode()}")
        wanted = {**json.loads(headers), "id": event, "type": "OrderPlaced"}
        wrong = [name for name in wanted if record.header(name) != wanted[name]]
        if len(records) != 1 or record.key != b"order-1" or record.value.decode() != payload or wrong:
            raise Failed(f"{len(records)} records were found, or they differ from the row ({', '.join(wrong)})",
                         "please report it")
        if record.partition != record.java_partition:
            raise Failed("the record is not in the partition where Java's producer puts this key", "please report it")
        say("\n    Once, after two transactions of which one committed; key, value and headers are the row's.")

    def show_in(self):
        """A message that its producer sends twice: the record, the row, and the business transaction that takes it."""
        payload = json.dumps({"payment": "payment-1", "order": "order-1"})
        headers = {"id": str(uuid.uuid4()), "type": "PaymentReceived"}
        with judge.Sender(self.kafka) as sender:
            for _ in range(2):
                sender.send(PAYMENTS, "order-1", payload, headers)
            sender.flush()
        head("One message coming in, sent twice by its producer: the record on Kafka")
        for name, value in {"topic": PAYMENTS, "key": "order-1", "value": payload, "headers": "", **{
                f"  {name}": value for name, value in headers.items()}}.items():
            say(f"    {name:<13} {value}".rstrip())
        self.seen("both records to be looked at", lambda: (
            self.count("boxrelay_inbox_stored_total"), self.count("boxrelay_inbox_duplicates_total")) == (1, 1))
        self.show_take(headers["id"], payload)

    def show_take(self, event, payload):
        """Takes it in one transaction with the business' own write; then nothing is left to take."""
        connection = self.postgres.connect("orders", application_name="orders-service")
        with connection, connection.cursor() as cursor:
            cursor.execute(TAKE)
            taken = cursor.fetchall()
            if [row[1:] for row in taken] != [(event, "order-1", payload)]:
                raise Failed(f"relay.take returned {len(taken)} messages, not the one that was sent", "please report it")
            statements = PAY.format(id="order-1"), DONE.format(seq=taken[0][0])
            for statement in statements:
                cursor.execute(statement)
        head("The business transaction that takes it")
        indented("\n".join(("BEGIN;", TAKE)))
        for name, value in zip(("seq", "id", "key", "payload"), taken[0]):
            say(f"      {name:<11} {value}")
        indented("\n".join((*statements, "COMMIT;")))
        with connection, connection.cursor() as cursor:
            cursor.execute(TAKE)
            left = cursor.fetchall()
            cursor.execute("SELECT paid FROM orders WHERE id = 'order-1'")
            paid = cursor.fetchone()[0]
        connection.close()
        if left or not paid:
            raise Failed(f"{len(left)} messages are left, and the order is {'' if paid else 'not '}paid", "please report it")
        say("\n    Once, after two records with one id: the second was counted as a duplicate, and nothing is left to take.")

    def count(self, metric):
        """The sum of a metric of ours over its series."""
        page = self.fetch("/metrics") or ""
        return sum(int(float(line.rsplit(" ", 1)[1])) for line in page.splitlines() if line.startswith(metric + "{"))

    def show_status(self):
        """The screen, as soon as the relay has reported the row as published and the message as taken."""
        self.seen("the status to show nothing pending", self.at_rest)
        head("boxrelay status")
        indented(self.boxrelay("status"))

    # ---- traffic ----

    def show_how(self):
        """What to try from another terminal."""
        head("Try it from another terminal")
        relay = f"{short(BOXRELAY)} --config {short(self.config)}" if Path.cwd() == REPO else \
            f"{BOXRELAY} --config {self.config}"
        say(f"    psql {shlex.quote(self.postgres.dsn('orders'))}")
        for line in ("status", "pause outbox/main --reason lunch", "resume outbox/main"):
            command, _, rest = relay.partition(" ")
            say(f"    {command} {line} {rest}")
        say(f"    curl -s http://{self.http}/metrics")

    def take_payments(self):
        """What an application's worker does, ten messages at a time; how many it took."""
        with self.connection.cursor() as cursor:
            cursor.execute("BEGIN")
            cursor.execute("SELECT seq, key FROM relay.take('main', 10)")
            taken = cursor.fetchall()
            for seq, order in taken:
                cursor.execute(PAY.format(id=order))
                cursor.execute(DONE.format(seq=seq))
            cursor.execute("COMMIT")
        return len(taken)

    def place_order(self, number, sender):
        """A new order goes out; a payment for it comes from somewhere else."""
        order = {"id": f"order-{number}", "customer": random.choice(("Ada", "Grace", "Edsger", "Barbara")),
                 "total": round(random.uniform(1, 500), 2)}
        payload = json.dumps({"order": order["id"], "total": order["total"]})
        self.transaction([INSERT.format(**order),
                          PUBLISH.format(topic=TOPIC, id=order["id"], payload=payload, headers="{}")], "COMMIT")
        sender.send(PAYMENTS, order["id"], json.dumps({"payment": f"payment-{number}", "order": order["id"]}),
                    {"id": str(uuid.uuid4()), "type": "PaymentReceived"})
        sender.flush()

    def traffic(self):
        """About ten orders a second and a payment for each, and a line about them."""
        head("Sample traffic until Ctrl-C")
        terminal = sys.stdout.isatty()
        begun, next_line, taken = time.monotonic(), 0.0, 1
        with judge.Sender(self.kafka) as sender:
            for number in itertools.count(2):
                self.place_order(number, sender)
                taken += self.take_payments()
                if not self.relay.alive:
                    raise self.ended()
                now = time.monotonic() - begun
                if now >= next_line:
                    line = f"    {number} orders written, {self.count('boxrelay_outbox_published_total')} published; " \
                           f"{self.count('boxrelay_inbox_stored_total')} payments stored, {taken} taken"
                    print(f"\r{line}" if terminal else line, end="" if terminal else "\n", flush=True)
                    next_line = now + (1 if terminal else 10)
                time.sleep(0.1)

    def close(self):
        """Ends the relay as an operator would, then the servers."""
        if self.connection is not None:
            self.connection.close()
        if self.relay is not None and self.relay.alive:
            self.relay.stop(20)
        for server in (self.kafka, self.postgres):
            if server is not None:
                server.close()


def port_is_free(port):
    """Whether nobody listens on it."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


def play(playground, once):
    """All steps in order; each raises if it was not seen to work."""
    playground.start_servers()
    playground.configure()
    playground.migrate()
    playground.start_relay()
    playground.show_out()
    playground.show_in()
    playground.show_status()
    if once:
        say("\nEvery step was seen to work.")
        return
    playground.show_how()
    playground.traffic()


def main():
    parser = argparse.ArgumentParser(description="The show of docker/playground.sh")
    parser.add_argument("--once", action="store_true", help="stop after the show")
    parser.add_argument("--keep", action="store_true", help="keep logs and data")
    options = parser.parse_args()
    once = options.once
    if options.keep:
        os.environ["TEST_KEEP"] = "1"

    def stop(*_):
        raise Stopped
    for signum in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(signum, stop)
    code, playground = 1, Playground()
    try:
        play(playground, once)
        code = 0
    except Stopped:
        say("\n\nStopping ...")
        code = 1 if once else 0
    except Failed as error:
        print(f"\nplayground: {error}\n  what to do: {error.next_step}", file=sys.stderr)
    except BrokenPipeError:  # nobody reads any more, as behind | head
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except Exception as error:  # pylint: disable=broad-except
        print(f"\nplayground: {error}\n  what to do: run it again with --keep, and read the logs", file=sys.stderr)
    finally:
        for signum in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(signum, signal.SIG_IGN)
        playground.close()
        if options.keep:
            say(f"The servers are stopped; their data and logs are in {short(run_dir())}.")
        elif code == 0 or once:
            say("The servers are stopped and their data is removed.")
    sys.exit(code)


if __name__ == "__main__":
    main()
