"""The relay's own statements, in a session with the relay's settings: what PostgreSQL does for a poll or a slice.

The statements are the files that the program carries (sql/statements); settings are those of relay/pg/session.c. A poll
is what relay/pg/window.c sends: begin, snapshot, window. A slice comes by COPY. CPU is the backend's own, by the
scheduler, so that a busy machine disturbs it little.
"""
import io
import re
import time

from live.relay import REPOSITORY

from . import usage

STATEMENTS = REPOSITORY / "sql" / "statements"
SETTINGS = """SET plan_cache_mode = force_generic_plan; SET jit = off; SET max_parallel_workers_per_gather = 0;
    SET search_path = ''; SET enable_seqscan = off; SET enable_sort = off; SET enable_bitmapscan = off"""
ROWS_MAX = 5000
SLOT = (0, 0)  # first and last of those that a fresh outbox has rows in, and the relay knows it


def statement(name):
    """Its text, without the comment."""
    return re.sub("^--.*\n", "", (STATEMENTS / f"{name}.sql").read_text(), flags=re.M)


def with_values(sql, values):
    """The statement with its parameters written in."""
    return re.sub(r"\$(\d+)", lambda found: f"'{values[int(found[1]) - 1]}'", sql)


class Snapshot:
    """pg_snapshot's text, taken apart."""

    def __init__(self, text):
        xmin, xmax, xip = text.split(":")
        self.xmin, self.xmax = int(xmin), int(xmax)
        self.xip = [int(xid) for xid in xip.split(",") if xid]


def window(since, until):
    """The parameters $1 to $4 of a window, as include/core/snapshot.h, struct window."""
    late = [xid for xid in since.xip if xid not in set(until.xip)]
    return [str(since.xmax), str(until.xmax), *("{" + ",".join(map(str, xids)) + "}" for xids in (until.xip, late))]


class Reader:
    """One session."""

    def __init__(self, postgres, database, settings=SETTINGS):
        self.connection = postgres.connect(database)
        self.cursor = self.connection.cursor()
        self.cursor.execute(settings)
        self.pid = self.connection.get_backend_pid()
        self.cursor.execute(f"PREPARE relay_snapshot AS {statement('snapshot')}")
        self.cursor.execute("SELECT uuid::text FROM relay.stream WHERE name = 'outbox/main'")
        self.stream = self.cursor.fetchone()
        self.cursor.execute(f"PREPARE relay_window AS {statement('window')}")
        self.cursor.execute(f"PREPARE relay_window_late AS {statement('window_late')}")

    def close(self):
        """Ends it."""
        self.connection.close()

    def begin(self):
        """As batch_begin does; the transaction's snapshot."""
        self.cursor.execute("BEGIN ISOLATION LEVEL REPEATABLE READ READ WRITE; SET LOCAL synchronous_commit = on")
        self.cursor.execute("EXECUTE relay_snapshot (%s)", self.stream)
        return Snapshot(self.cursor.fetchone()[0])

    def rollback(self):
        """Ends the transaction."""
        self.cursor.execute("ROLLBACK")

    def look(self):
        """A snapshot of now."""
        now = self.begin()
        self.rollback()
        return now

    def window(self, parameters):
        """Its rows, one more than a batch at most."""
        *main, late = parameters
        values = [*main, ROWS_MAX + 1, *SLOT, *([] if late == "{}" else [late, *SLOT])]
        name = "relay_window" if late == "{}" else "relay_window_late"
        self.cursor.execute(f"EXECUTE {name} ({', '.join(['%s'] * len(values))})", [str(value) for value in values])
        return self.cursor.fetchall()

    def slice(self, parameters, behind, ceiling, sql=statement("slice")):
        """Bytes of the next rows behind that seq, by COPY."""
        out = io.BytesIO()
        values = (*parameters[:3], behind, ceiling, ROWS_MAX)
        self.cursor.copy_expert(f"COPY ({with_values(sql, values)}) TO STDOUT (FORMAT binary)", out)
        return out.tell()

    def poll(self, since):
        """(The snapshot, the rows)."""
        now = self.begin()
        rows = self.window(window(since, now))
        self.rollback()
        return now, rows

    def timed(self, call, *args):
        """(What the call returns, the backend's CPU in us, the time in us)."""
        before, began = usage.cpu_exact(self.pid), time.monotonic()
        found = call(*args)
        took = (time.monotonic() - began) * 1e6
        return found, (usage.cpu_exact(self.pid) - before) * 1e6, took
