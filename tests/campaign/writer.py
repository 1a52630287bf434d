#!/usr/bin/python3
"""One writer: transactions from the seed, each intent logged before it begins and its outcome after.

    writer.py DSN SEED RUN NUMBER SHARED LOG

SHARED is a file of int64: at [2 * NUMBER] the rows that it may write (negative: end now), at
[2 * NUMBER + 1] the rows that it has committed. Lines of the log, space-separated:

    I <transaction> <kind> <rows written> <rows kept if it commits>
    O <transaction> committed|rolled_back|prepared|unknown
"""
import io
import mmap
import os
import random
import struct
import sys
import time
from collections import Counter
from pathlib import Path

import psycopg2
from psycopg2.extras import execute_values

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from campaign import workload  # noqa: E402

COUNT = """
INSERT INTO campaign.counter AS c (key, n) SELECT v.key, v.n FROM (VALUES %s) AS v (key, n) ORDER BY v.key
ON CONFLICT (key) DO UPDATE SET n = c.n + excluded.n RETURNING key, n"""


class Shared:
    """The numbers that the campaign and its writers share."""

    def __init__(self, path):
        with open(path, "r+b") as file:
            self.map = mmap.mmap(file.fileno(), 0)

    def get(self, at):
        """One number."""
        return struct.unpack_from("<q", self.map, at * 8)[0]

    def put(self, at, value):
        """Stores one; a slot has one writer."""
        struct.pack_into("<q", self.map, at * 8, value)


class Writer:
    """One session after the other; a dead one is opened again."""

    def __init__(self, dsn, seed, run, number, shared, log):
        self.dsn, self.number, self.shared = dsn, number, shared
        self.random = random.Random(f"{seed}/writer/{number}")
        self.source = workload.Source(self.random, run, number)
        self.run_id = run
        self.log = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
        self.connection = None
        self.written = 0

    def note(self, *words):
        """One line, in the file before this returns."""
        os.write(self.log, (" ".join(map(str, words)) + "\n").encode())

    def allowed(self):
        """Waits for its share; False at the end."""
        while (budget := self.shared.get(2 * self.number)) >= 0:
            if self.written < budget:
                return True
            time.sleep(0.02)
        return False

    def session(self):
        """An open connection; every other writer commits without waiting for the disk."""
        while self.connection is None and self.shared.get(2 * self.number) >= 0:
            try:
                made = psycopg2.connect(self.dsn, connect_timeout=5, application_name=f"writer-{self.number}")
                with made.cursor() as cursor:
                    cursor.execute("SET lock_timeout = '2s'; SET statement_timeout = '20s'; "
                                   f"SET synchronous_commit = {'off' if self.number % 2 else 'on'}")
                made.commit()
                self.connection = made
            except psycopg2.Error:
                time.sleep(0.05)
        return self.connection

    def drop(self):
        """Closes what is left of a session."""
        try:
            self.connection.close()
        except psycopg2.Error:
            pass
        self.connection = None

    def run(self):
        """All its transactions."""
        number = 0
        while self.allowed() and self.session() is not None:
            number += 1
            plan = workload.plan(self.source, number)
            self.note("I", number, plan.kind, plan.count, plan.kept)
            outcome = self.carry_out(plan)
            self.note("O", number, outcome)
            if outcome == "committed":
                self.written += plan.kept
                self.shared.put(2 * self.number + 1, self.written)
        if self.connection is not None:
            self.drop()

    def carry_out(self, plan):
        """One transaction; what became of it, as far as its writer can know."""
        committing = False
        try:
            with self.connection.cursor() as cursor:
                for piece in plan.pieces:
                    self.write(cursor, plan, piece)
                committing = plan.kind != "rollback"
                return self.finish(cursor, plan)
        except psycopg2.Error:
            if self.connection.closed == 0:
                try:
                    self.connection.rollback()
                    # The server said why it failed, so it was rolled back, and not prepared.
                    return "rolled_back"
                except psycopg2.Error:
                    pass
            self.drop()
            return "unknown" if committing else "rolled_back"

    def finish(self, cursor, plan):
        """Its last statement."""
        if plan.kind == "rollback":
            self.connection.rollback()
            return "rolled_back"
        if plan.kind == "two_phase":
            verb = "rollback" if self.random.random() < 0.25 else "commit"
            delay_ms = self.random.choice([0, 50, 500, 4000])
            cursor.execute(f"PREPARE TRANSACTION 'campaign:{self.number}:{plan.number}:{verb}:{delay_ms}'")
            self.connection.commit()
            return "prepared"
        self.connection.commit()
        return "committed"

    def write(self, cursor, plan, piece):
        """One step, inside a savepoint where the kind says so."""
        if plan.kind == "savepoint":
            cursor.execute("SAVEPOINT piece")
        if piece.by == "ordered":
            self.publish_ordered(cursor, piece)
        else:
            rows = numbered(cursor, piece)
            if piece.by == "copy":
                copy(cursor, piece, rows)
            else:
                execute_values(cursor, f"INSERT INTO {workload.OUTBOXES[piece.outbox]} ({workload.COLUMNS}) VALUES %s",
                               rows, page_size=500)
        if piece.pause_s:
            time.sleep(piece.pause_s)
        if plan.kind == "savepoint":
            cursor.execute("ROLLBACK TO piece" if piece.undone else "RELEASE piece")

    def publish_ordered(self, cursor, piece):
        """The first call takes the key's lock; numbers drawn from then on have the order of the commits."""
        for at, row in enumerate(piece.rows):
            n = None
            if at > 0:
                cursor.execute("SELECT nextval('campaign.ordered')")
                n = cursor.fetchone()[0]
            topic, key, _, payload, payload_bytes, kind, headers, identity, _ = row.columns(n)
            value = payload if payload_bytes is None else psycopg2.Binary(payload_bytes)
            cast = "text" if payload_bytes is None else "bytea"
            cursor.execute(f"SELECT relay.publish_ordered(%s, %s, %s::{cast}, type => %s, headers => %s::text, "
                           "id => %s::uuid, outbox => %s)",
                           (topic, key, value, kind, headers, identity, piece.outbox))


def numbered(cursor, piece):
    """The rows' values with their numbers; takes the locks of all keys of the piece, in order."""
    prefix = piece.outbox + "/"
    wanted = Counter(prefix + row.order_key for row in piece.rows if row.key is not None)
    last = {}
    if wanted:
        rows = execute_values(cursor, COUNT, sorted(wanted.items()), page_size=len(wanted), fetch=True)
        last = {key: n - wanted[key] for key, n in rows}
    values = []
    for row in piece.rows:
        n = None
        if row.key is not None:
            key = prefix + row.order_key
            n = last[key] = last[key] + 1
        values.append(row.columns(n))
    return values


def copy(cursor, piece, rows):
    """COPY FROM STDIN, text format."""
    lines = io.StringIO()
    for row in rows:
        lines.write("\t".join(map(copied, row)) + "\n")
    lines.seek(0)
    cursor.copy_expert(f"COPY {workload.OUTBOXES[piece.outbox]} ({workload.COLUMNS}) FROM STDIN", lines)


def copied(value):
    """One value in COPY's text format."""
    if value is None:
        return "\\N"
    if isinstance(value, bytes):
        return "\\\\x" + value.hex()
    return str(value).replace("\\", "\\\\").replace("\t", "\\t").replace("\n", "\\n").replace("\r", "\\r")


def main():
    dsn, seed, run, number, shared, log = sys.argv[1:]
    Writer(dsn, seed, int(run), int(number), Shared(shared), log).run()


if __name__ == "__main__":
    main()
