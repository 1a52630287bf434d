"""Databases with the schema of the migrations, on every server version that is asked for.

    from schema import cluster, migrated, empty   # pytest fixtures

The default tier runs on the shared cluster, --full also on the other versions.
"""
import subprocess
import time
from pathlib import Path

import psycopg2
import pytest
from servers import Postgres
from servers.process import wait_until

SQL = Path(__file__).resolve().parents[2] / "sql"
MIGRATIONS = sorted((SQL / "migrations").glob("*.sql"))
GRANTS = SQL / "grants.sql"
TEMPLATE = "schema_template"
WRITTEN = ["topic", "key", "key_bytes", "payload", "payload_bytes", "type", "headers", "id", "partition", "created_at"]


class Schema:
    """A database, and short ways to ask it things."""

    def __init__(self, server, name):
        self.server, self.name = server, name
        self._connections = []

    def connect(self, user="postgres", autocommit=True, **options):
        """A connection, closed after the test."""
        connection = self.server.connect(self.name, user=user, autocommit=autocommit,
                                         options="-c lock_timeout=30s", **options)
        self._connections.append(connection)
        return connection

    def run(self, sql, args=None, user="postgres"):
        """One statement on a connection of its own: its rows."""
        return rows(self.connect(user), sql, args)

    query = run  # as a scene and a cluster call it

    def value(self, sql, args=None, user="postgres"):
        """The only value that a statement gives."""
        ((found,),) = self.run(sql, args, user)
        return found

    def refused(self, sql, args=None, user="postgres"):
        """What a person reads when the statement fails; it must fail."""
        return refused(self.connect(user), sql, args)

    def psql(self, *files, user="postgres"):
        """Runs files as a team would, one transaction; what psql says."""
        done = subprocess.run(
            ["psql", "-X", "-q", "-1", "-v", "ON_ERROR_STOP=1", "-d", self.server.dsn(self.name, user=user),
             *(word for file in files for word in ("-f", file))],
            capture_output=True, text=True, timeout=60, check=False)
        assert done.returncode == 0, done.stderr
        return done.stderr

    def disconnect(self):
        """Ends its sessions, and what they hold; by the server, since one may be waiting in another thread."""
        self.server.kill_backends(database=self.name)
        while self._connections:
            self._connections.pop().close()

    def close(self):
        """Drops it."""
        self.disconnect()
        self.server.drop_database(self.name)


def rows(connection, sql, args=None):
    """Runs a statement; rows, or [] if it has none."""
    with connection.cursor() as cursor:
        cursor.execute(sql, args)
        return cursor.fetchall() if cursor.description else []


def refused(connection, sql, args=None):
    """The message and hint of a statement that must fail."""
    with pytest.raises(psycopg2.Error) as caught:
        rows(connection, sql, args)
    hint = caught.value.diag.message_hint
    return caught.value.diag.message_primary + (f" | {hint}" if hint else "")


def waits_for_lock(schema, connection, timeout=20):
    """Until that session waits for a lock."""
    pid = connection.info.backend_pid
    wait_until(lambda: schema.query("SELECT 1 FROM pg_stat_activity WHERE pid = %s AND wait_event_type = 'Lock'", (pid,)),
               timeout, f"session {pid} waiting for a lock")


class Background:
    """A statement that is running on its connection: psycopg2 connections block, so it needs a thread."""

    def __init__(self, connection, sql, args=None):
        import threading
        self.result = self.error = None
        self._thread = threading.Thread(target=self._run, args=(connection, sql, args), daemon=True)
        self._thread.start()

    def _run(self, connection, sql, args):
        try:
            self.result = rows(connection, sql, args)
        except psycopg2.Error as error:
            self.error = error

    def wait(self, timeout=30):
        """Its rows; its error is raised."""
        self._thread.join(timeout)
        assert not self._thread.is_alive(), "the statement did not end"
        if self.error is not None:
            raise self.error
        return self.result


LOGINS = "app_login:relay_app daemon_login:relay_daemon stranger_login:"


def make_template(server):
    """One migrated database a cluster, copied for each test: a copy is faster than the migrations."""
    if server.query("SELECT 1 FROM pg_database WHERE datname = %s", (TEMPLATE,)):
        return
    schema = Schema(server, server.create_database(TEMPLATE))
    schema.psql(*MIGRATIONS, GRANTS)
    for login in LOGINS.split():
        user, _, role = login.partition(":")
        server.query(f"CREATE ROLE {user} LOGIN" + (f" IN ROLE {role}" if role else ""))


@pytest.fixture(scope="session", params=[None, *(pytest.param(v, marks=pytest.mark.full) for v in (14, 16, 17, 18))],
                ids=lambda version: f"postgres{version or ''}")
def cluster(request):
    """A server of each version; the default one is shared with the other tests."""
    if request.param is None:
        shared = request.getfixturevalue("postgres")
        make_template(shared)
        yield shared
        return
    with Postgres(request.param) as server:
        make_template(server)
        yield server


@pytest.fixture
def empty(cluster):
    """A database without the schema."""
    schema = Schema(cluster, cluster.create_database())
    yield schema
    schema.close()


def copy_of_template(cluster):
    """A database with the migrations and the grants. Its ticks name the template: a copy has an oid of its own."""
    deadline = time.monotonic() + 20
    while True:
        try:
            return Schema(cluster, cluster.create_database(template=TEMPLATE))
        except psycopg2.errors.ObjectInUse:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.1)


@pytest.fixture
def migrated(cluster):
    """A migrated database of the test's own."""
    schema = copy_of_template(cluster)
    yield schema
    schema.close()


@pytest.fixture(scope="module")
def common(cluster):
    """A migrated database for tests that need only empty tables."""
    schema = copy_of_template(cluster)
    yield schema
    schema.close()


@pytest.fixture
def blank(common):
    """The module's database with an empty outbox."""
    common.run("SET lock_timeout = '20s'; TRUNCATE relay.outbox")
    yield common
    common.disconnect()
