#!/usr/bin/python3
"""One worker of business code: takes, writes effects and finishes, in one transaction; fails in every way it can.

    inbox_worker.py DSN SEED NUMBER BULK SHARED SLOT COUNTS

Ends when SHARED at SLOT is negative. BULK: 1 takes up to a hundred messages at once. COUNTS: where it leaves, as JSON, how often it did what.
"""
import hashlib
import json
import random
import sys
import time
from collections import Counter
from pathlib import Path

import psycopg2
from psycopg2.extras import execute_values

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from campaign.writer import Shared  # noqa: E402

COLUMNS = "seq, topic, partition, kafka_offset, coalesce(key_bytes, convert_to(key, 'UTF8')), id, payload, attempts"
TAKE = f"SELECT {COLUMNS}, NULL::bigint, clock_timestamp() FROM relay.take('main', %s)"
CLAIM = (f"SELECT {COLUMNS}, token, clock_timestamp(), now() + %s::interval "
         "FROM relay.claim('main', %s, %s::interval)")
EFFECT = """INSERT INTO campaign.effect (fate, tx, topic, partition, kafka_offset, key, id, hash, attempts, held_from)
VALUES %s"""
HOLD = "INSERT INTO campaign.hold (tx, topic, partition, key, held_from, held_until) VALUES %s"
TAKES = {"0": [1, 1, 2, 5, 10, 10, 10], "1": [1, 2, 5, 10, 10, 50, 100, 100]}
LOST = (psycopg2.OperationalError, psycopg2.InterfaceError)
# Two keys with one hash wait for each other, which this worker does not know.
REFUSED = psycopg2.errors.ObjectNotInPrerequisiteState


class Crash(Exception):
    """This worker's session ends here."""


class Message:
    """One that was taken or claimed."""

    def __init__(self, seq, topic, partition, offset, key, identity, payload, attempts, token, held_from, lease_end=None):
        self.seq, self.attempts, self.token = seq, attempts, token
        self.place, self.key, self.id = (topic, partition, offset), None if key is None else bytes(key), identity
        self.payload, self.held_from, self.lease_end = payload, held_from, lease_end
        what = {} if payload is None else json.loads(payload)
        self.is_rejected, self.retries = "reject" in what, what.get("retry", 0)

    @property
    def order_key(self):
        """What its order is counted by; those without a key are each on their own."""
        return self.place if self.key is None else (*self.place[:2], self.key)

    def effect(self, transaction, held_from):
        """A row of campaign.effect."""
        digest = None if self.payload is None else hashlib.sha256(self.payload.encode()).hexdigest()
        return ("rejected" if self.is_rejected else "done", transaction, *self.place, self.key, self.id, digest, self.attempts,
                held_from)


class Worker:
    """One session after the other."""

    def __init__(self, dsn, seed, number, takes, shared, slot):
        self.dsn, self.number, self.takes, self.shared, self.slot = dsn, number, takes, shared, slot
        self.random = random.Random(f"{seed}/worker/{number}")
        self.connection = self.cursor = None
        self.transactions, self.counts, self.holds = 0, Counter(), []

    def run_sql(self, sql, *args):
        """A statement: its rows."""
        self.cursor.execute(sql, args)
        return self.cursor.fetchall() if self.cursor.description else []

    def session(self):
        """An open connection; every other worker commits without waiting for the disk."""
        while self.connection is None and self.shared.get(self.slot) >= 0:
            try:
                self.connection = psycopg2.connect(self.dsn, connect_timeout=5, application_name=f"worker-{self.number}")
                self.cursor = self.connection.cursor()
                self.run_sql("SET statement_timeout = '20s'; "
                             f"SET synchronous_commit = {'off' if self.number % 2 else 'on'}")
                self.connection.commit()
            except psycopg2.Error:
                self.drop()
                time.sleep(0.05)
        return self.connection

    def drop(self):
        """Closes what is left of a session."""
        if self.connection is not None:
            try:
                self.connection.close()
            except psycopg2.Error:
                pass
        self.connection = None

    def run(self):
        """Until it is told to end."""
        while self.shared.get(self.slot) >= 0 and self.session() is not None:
            try:
                found = self.claimed() if self.random.random() < 0.04 else self.taken()
                if not found:
                    time.sleep(0.03)
            except (*LOST, REFUSED, psycopg2.IntegrityError) as error:
                self.counts["failed" if isinstance(error, LOST) else "refused"] += 1
                print(error, flush=True)
                self.recover()
            except Crash:
                self.counts["crashed"] += 1
                self.drop()
        self.drop()

    def recover(self):
        """The same session again, if it lives."""
        try:
            self.connection.rollback()
        except LOST:
            self.drop()

    def new_transaction(self):
        """A number of its own."""
        self.transactions += 1
        return self.number << 40 | self.transactions

    # ---- take ----

    def taken(self):
        """One business transaction around a take; whether there was anything."""
        number, chance = self.new_transaction(), self.random.random
        if chance() < 0.01:
            self.run_sql("SAVEPOINT before")
            if self.run_sql(TAKE, self.random.randint(1, 10)):
                self.counts["given up"] += 1
            self.run_sql("ROLLBACK TO before")
        rows = self.run_sql(TAKE, self.random.choice(self.takes))
        if rows and chance() < 0.03:
            rows += self.run_sql(TAKE, self.random.randint(1, 5))
        messages = [Message(*row) for row in rows]
        if not messages:
            self.connection.rollback()
            return False
        self.dawdle()
        rest = self.finish(number, messages)
        end = chance()
        if end < 0.03:
            self.roll_back(number, messages)
        elif end < 0.034:
            self.crash()
        else:
            self.keep_holds()
            self.connection.commit()
            self.holds = []
            self.counts["committed"] += 1
            self.counts["left open"] += len(rest)
        return True

    def dawdle(self):
        """Some transactions are long."""
        dice = self.random.random()
        if dice < 0.03:
            time.sleep(self.random.random() * (2 if dice < 0.001 else 0.1))

    def finish(self, number, messages):
        """Done, retry or reject for each, in the order of their keys; what was left open."""
        if self.random.random() < 0.02:
            place = {message.order_key: self.random.random() for message in messages}
            messages.sort(key=lambda message: place[message.order_key])  # between keys any order is good
        blocked, rest, good = set(), [], []
        for message in messages:
            if message.order_key in blocked or self.random.random() < 0.002:
                blocked.add(message.order_key)
                rest.append(message)
            elif message.attempts < message.retries or self.random.random() < 0.003:
                blocked.add(message.order_key)
                self.effects(number, good)  # those before it in its key first
                self.retry(number, message)
                good = []
            elif message.is_rejected:
                self.effects(number, good)
                self.effects(number, [message])
                good = []
            else:
                good.append(message)
        self.effects(number, good)
        return rest

    def effects(self, number, messages):
        """The business writes, and done or reject."""
        if not messages:
            return
        execute_values(self.cursor, EFFECT, [m.effect(number, m.held_from) for m in messages])
        call = "reject('main', s, 'as it says')" if messages[0].is_rejected else "done('main', s)"
        self.run_sql(f"SELECT relay.{call} FROM unnest(%s::bigint[]) AS s", [m.seq for m in messages])

    def retry(self, number, message):
        """The pattern with a savepoint: work that fails, and again later."""
        if self.random.random() < 0.5:
            self.run_sql("SAVEPOINT work")
            execute_values(self.cursor, EFFECT, [message.effect(number, message.held_from)])
            try:
                self.run_sql("SELECT 1 / 0")
            except psycopg2.DataError:
                self.run_sql("ROLLBACK TO work")
        delay = self.random.choice(["0", "20 milliseconds", "300 milliseconds", "2 seconds"])
        self.run_sql("SELECT relay.retry('main', %s, %s, 'not now')", message.seq, delay)
        self.counts["retried"] += 1

    def roll_back(self, number, messages):
        """Gives all back; that it had them until now is told later."""
        ((until,),) = self.run_sql("SELECT clock_timestamp()")
        self.connection.rollback()
        self.holds += [(number, *m.place[:2], m.key, m.held_from, until) for m in messages if m.key is not None]
        self.counts["rolled back"] += 1

    def keep_holds(self):
        """What earlier transactions that were rolled back had, and leases."""
        if self.holds:
            execute_values(self.cursor, HOLD, self.holds)

    def crash(self):
        """The session dies before its commit."""
        try:
            self.run_sql("SELECT pg_terminate_backend(pg_backend_pid())")
        except LOST:
            pass
        raise Crash

    # ---- claim ----

    def claimed(self):
        """Claims, commits, and acknowledges each in a transaction of its own, or not at all."""
        lease = self.random.choice(["200 milliseconds", "2 seconds", "5 seconds"])
        messages = [Message(*row) for row in self.run_sql(CLAIM, lease, self.random.randint(1, 5), lease)]
        if self.random.random() < 0.1:
            self.connection.rollback()
            return bool(messages)
        self.connection.commit()
        if self.random.random() < 0.1:
            if self.random.random() < 0.5:
                self.crash()
            time.sleep(self.random.random() * 0.3)
        for message in messages:
            self.one_claimed(message)
        return bool(messages)

    def one_claimed(self, message):
        """Acknowledged, given back, or forgotten."""
        dice, number = self.random.random(), self.new_transaction()
        if dice < 0.05:
            self.counts["lease forgotten"] += 1
            return
        try:
            if dice < 0.15 or message.attempts < message.retries or message.is_rejected:
                # Only a take can reject: back with it, and somebody will.
                self.run_sql("SELECT relay.nack('main', %s, %s, '30 milliseconds', 'busy')", message.seq, message.token)
                self.connection.commit()
                self.counts["nacked"] += 1
                return
            self.run_sql("SELECT relay.ack('main', %s, %s)", message.seq, message.token)
            ((since,),) = self.run_sql("SELECT clock_timestamp()")
            execute_values(self.cursor, EFFECT, [message.effect(number, since)])
            if message.key is not None:
                lease = (self.new_transaction(), *message.place[:2], message.key, message.held_from,
                         min(since, message.lease_end))
                execute_values(self.cursor, HOLD, [lease])
            if dice < 0.2:
                self.connection.rollback()
                return
            self.connection.commit()
            self.counts["acknowledged"] += 1
        except REFUSED:
            self.connection.rollback()
            self.counts["late ack refused"] += 1


def main():
    dsn, seed, number, bulk, shared, slot, counts = sys.argv[1:]
    worker = Worker(dsn, seed, int(number), TAKES[bulk], Shared(shared), int(slot))
    try:
        worker.run()
    finally:
        Path(counts).write_text(json.dumps(worker.counts))


if __name__ == "__main__":
    main()
