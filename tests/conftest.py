"""Fixtures: servers of the whole run, started when first needed, and fresh names in them.

kafka, postgres: shared by all tests of the run; a test that stops or breaks servers starts its
own with `with Kafka() as kafka:`. database, topic: fresh ones. kafka_proxy, postgres_proxy: the
shared servers' fault proxies, healed before and after the test.
"""
import contextlib
import ctypes
import signal
import sys
import threading
import time
import uuid
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parent))

from servers import Kafka, Postgres  # noqa: E402
from servers.process import stretched  # noqa: E402


class Lazy:
    """A server that is started once, in the background, by whoever asks first."""

    def __init__(self, make):
        self._make, self._lock = make, threading.Lock()
        self._thread = self._server = self._error = None

    def begin(self):
        """Starts it without waiting."""
        with self._lock:
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, daemon=True)
                self._thread.start()

    def _run(self):
        try:
            self._server = self._make()
        except BaseException as error:  # pylint: disable=broad-except
            self._error = error

    def get(self):
        """The running server, or what went wrong."""
        self.begin()
        self._thread.join()
        if self._error is not None:
            raise RuntimeError("the server did not start") from self._error
        return self._server

    def close(self):
        """Ends it if it ever began."""
        if self._thread is not None:
            self._thread.join()
        if self._server is not None:
            self._server.close()


SERVERS = {"kafka": Lazy(lambda: Kafka().start()), "postgres": Lazy(lambda: Postgres().start())}


def pytest_addoption(parser):
    parser.addoption("--full", action="store_true", help="also the long tests")


def pytest_configure(config):
    config.addinivalue_line("markers", "seconds(n): the test may take so long; default 300")
    config.addinivalue_line("markers", "full: long; runs only with --full")


# Files that take longest come first, so that workers end together.
LONG_FILES = ("test_campaign", "test_inbox_campaign", "test_runners", "test_reading", "test_planted", "test_inbox",
              "test_taking", "test_inbox_planted", "test_examples", "test_outbox", "test_cleanup")


def pytest_collection_modifyitems(config, items):
    """Long tests are taken out, not skipped, so that a count of the default tier is honest."""
    ranks = {name: rank for rank, name in enumerate(LONG_FILES)}
    items.sort(key=lambda item: ranks.get(item.path.stem, len(ranks)))
    if config.getoption("--full"):
        return
    long_ones = [item for item in items if item.get_closest_marker("full")]
    if long_ones:
        config.hook.pytest_deselected(items=long_ones)
        items[:] = [item for item in items if item not in long_ones]


def pytest_runtestloop(session):
    """The servers that the chosen tests need start together, not one after the other."""
    items = getattr(session, "items", [])  # whoever deals the files out to several workers has none
    if not session.config.option.collectonly:
        for name, server in SERVERS.items():
            if any(name in item.fixturenames for item in items):
                server.begin()


def pytest_sessionfinish():
    """Ends the servers."""
    for server in SERVERS.values():
        server.close()


TEST_SECONDS_MAX = 300


@contextlib.contextmanager
def alarm(seconds, expire):
    """Calls expire() after so long, and then each 10 s, in a way that ends what runs by its exception."""
    if threading.current_thread() is threading.main_thread():
        before = signal.signal(signal.SIGALRM, lambda *_: expire())
        signal.setitimer(signal.ITIMER_REAL, seconds, 10)
        try:
            yield
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)
            signal.signal(signal.SIGALRM, before)
        return
    # Now and then pytest-xdist has a worker's tests run beside its main thread, where no signal can be had.
    over, runs = threading.Event(), threading.get_ident()

    def watch():
        wait = seconds
        while not over.wait(wait):
            wait = 10
            try:
                expire()
            except TimeoutError:
                ctypes.pythonapi.PyThreadState_SetAsyncExc(ctypes.c_ulong(runs), ctypes.py_object(TimeoutError))
    threading.Thread(target=watch, daemon=True).start()
    try:
        yield
    finally:
        over.set()


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_protocol(item):
    """No test may hang the run: after its time (marker `seconds`, default 300) it fails where it stands."""
    marker = item.get_closest_marker("seconds")
    seconds = marker.args[0] if marker else TEST_SECONDS_MAX
    begin = time.monotonic()

    def expire():
        if time.monotonic() - begin >= stretched(seconds):  # others use the machine: a little more
            raise TimeoutError(f"the test took longer than {seconds} s")
    with alarm(seconds, expire):
        yield


@pytest.fixture(scope="session")
def kafka():
    """One broker, shared."""
    return SERVERS["kafka"].get()


@pytest.fixture(scope="session")
def postgres():
    """One cluster, shared."""
    return SERVERS["postgres"].get()


class Database:
    """A fresh database of the shared cluster."""

    def __init__(self, postgres, name):
        self.postgres, self.name = postgres, name
        self._connections = []

    @property
    def dsn(self):
        """libpq conninfo, direct."""
        return self.postgres.dsn(self.name)

    @property
    def dsn_via_proxy(self):
        """libpq conninfo through the fault proxy."""
        return self.postgres.dsn(self.name, via_proxy=True)

    def connect(self, **options):
        """A psycopg2 connection (autocommit), closed after the test."""
        connection = self.postgres.connect(self.name, **options)
        self._connections.append(connection)
        return connection

    def query(self, sql, args=None):
        """One statement on a connection of its own."""
        return self.postgres.query(sql, args, self.name)

    def close(self):
        """Closes what connect() gave and drops the database."""
        for connection in self._connections:
            connection.close()
        self.postgres.drop_database(self.name)


@pytest.fixture
def database(postgres):
    """A fresh, empty database."""
    made = Database(postgres, postgres.create_database())
    yield made
    made.close()


@pytest.fixture
def topic(kafka):
    """topic(partitions=1, config=None) makes a topic with a fresh name and returns the name."""
    made = []

    def make(partitions=1, config=None, name=None):
        made.append(kafka.create_topic(name or f"t-{uuid.uuid4().hex[:12]}", partitions, config))
        return made[-1]
    yield make
    for name in made:
        try:
            kafka.delete_topic(name)
        except Exception:  # pylint: disable=broad-except
            pass  # the test may have deleted it


@pytest.fixture
def kafka_proxy(kafka):
    """The shared broker's fault proxy, without faults; clients use kafka.bootstrap_via_proxy."""
    kafka.proxy.heal()
    yield kafka.proxy
    kafka.proxy.heal()


@pytest.fixture
def postgres_proxy(postgres):
    """The shared cluster's fault proxy, without faults; clients use database.dsn_via_proxy."""
    postgres.proxy.heal()
    yield postgres.proxy
    postgres.proxy.heal()
