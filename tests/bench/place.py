"""The servers of one run, and what every scenario needs of them."""
import contextlib
import subprocess
import threading
import time
import uuid
from concurrent.futures import ThreadPoolExecutor

from live.relay import REPOSITORY, Relay, wait_until
from servers import Kafka, Postgres

from . import usage

BUILD = REPOSITORY / "build" / "release"
PUBLISHED = "boxrelay_outbox_published_total"
WAIT_SECONDS = 300
# Large enough that no checkpoint falls into one measure and not into its pair.
SETTINGS = {"shared_buffers": "512MB", "max_wal_size": "8GB", "checkpoint_timeout": "30min", "max_connections": 300}


COPIED = "topic, key, payload, type, headers, id"


def program(name, *args, text=True):
    """Starts bare.c's or writer.c's program."""
    return subprocess.Popen([BUILD / "tests" / f"bench_{name}", *map(str, args)], stdout=subprocess.PIPE, text=text)


def bare(*args):
    """Starts the baseline program."""
    return program("bare", *args)


def finish(process):
    """What a program printed, as numbers."""
    output = process.communicate(timeout=WAIT_SECONDS)[0]
    if process.returncode != 0:
        raise RuntimeError(f"{process.args[0]} ended with {process.returncode}")
    return [float(word) for word in output.split()]


class Place:
    """PostgreSQL, Kafka and the options of the run."""

    def __init__(self, options, folder):
        self.options, self.folder, self.warmed = options, folder, False
        with ThreadPoolExecutor() as pool:
            kafka = pool.submit(lambda: Kafka().start())
            postgres = pool.submit(lambda: Postgres(settings=SETTINGS).start())
            self.kafka, self.postgres = kafka.result(), postgres.result()

    def close(self):
        """Ends them."""
        self.kafka.close()
        self.postgres.close()

    def warm(self):
        """A JVM that has not compiled its hot code yet would cost the first measure dear."""
        if not self.warmed:
            with self.topic(6) as topic:
                rows = 20_000 if self.options.quick else 300_000
                finish(bare("drain", self.kafka.bootstrap, topic, rows, 200, 0, 1000))
            self.warmed = True

    # ---- fresh things ----

    def relay(self, **config):
        """(A relay on a fresh database with the schema, the database's name); not started."""
        database = self.postgres.create_database()
        return Relay(self.postgres.dsn(database), self.kafka.bootstrap, self.folder, None, config).migrate(), database

    @contextlib.contextmanager
    def running(self, **config):
        """The same, running, and gone afterwards."""
        relay, database = self.relay(**config)
        with relay:
            relay.wait_log("publishing the stream")
            yield relay, database
        self.postgres.drop_database(database)

    @contextlib.contextmanager
    def topic(self, partitions):
        """A fresh topic, gone afterwards."""
        name = self.kafka.create_topic(f"bench-{uuid.uuid4().hex[:8]}", partitions)
        yield name
        self.kafka.delete_topic(name)

    def load(self, database, topic, rows, size, headers, table="relay.outbox"):
        """Fills a table with the drain's records, in one transaction."""
        source = program("bare", "rows", topic, rows, size, int(headers), text=False)
        connection = self.postgres.connect(database, autocommit=False)
        with connection, connection.cursor() as cursor:
            cursor.copy_expert(f"COPY {table} ({COPIED}) FROM STDIN", source.stdout, 1 << 16)
        connection.close()
        source.wait()
        self.postgres.query("CHECKPOINT")

    # ---- what they use ----

    def backends(self, relay):
        """Pids of the relay's sessions."""
        return [pid for pid, in self.postgres.query("SELECT pid FROM pg_stat_activity WHERE application_name LIKE %s",
                                                    (f"boxrelay/{relay.name}%",))]

    def meter(self, relay):
        """CPU of the relay, its sessions in PostgreSQL, and the broker, from now on."""
        pids = self.backends(relay)
        return usage.Meter(relay=lambda: usage.cpu(relay.process.pid),
                           postgres=lambda: sum(usage.cpu_exact(pid) for pid in pids),
                           broker=self.broker_cpu)

    def broker_cpu(self):
        """CPU seconds of the broker."""
        return usage.cpu(self.kafka.brokers[0].child.pid)

    def cluster_cpu(self):
        """CPU seconds of all of PostgreSQL."""
        return usage.cpu_tree(self.postgres.child.pid)


def published(relay):
    """Rows published; 0 before the first."""
    return relay.metric(PUBLISHED) or 0


def wait_published(relay, rows):
    """Until so many are; seldom looks, since each costs the relay about a millisecond. When that was."""
    started, first = time.monotonic(), published(relay)
    done = first
    while done < rows:
        elapsed = time.monotonic() - started
        if elapsed > WAIT_SECONDS:
            raise RuntimeError(f"{done} of {rows} rows published after {WAIT_SECONDS} s, see {relay.log}")
        rate = (done - first) / elapsed if done > first else rows
        time.sleep(min(max((rows - done) / rate * 0.8, 0.01), 1.0))
        done = published(relay)
    return time.monotonic()


class Lines:
    """Pairs of numbers that a program prints while it runs, kept as they come."""

    def __init__(self, process):
        self.process, self.pairs = process, []
        self.thread = threading.Thread(target=self._read, daemon=True)
        self.thread.start()

    def _read(self):
        for text in self.process.stdout:
            first, second = text.split()
            self.pairs.append((int(first), int(second)))

    def close(self):
        """Ends the program."""
        self.process.kill()
        self.process.wait()
        self.thread.join()


__all__ = ["BUILD", "Lines", "Place", "bare", "finish", "program", "published", "wait_published", "wait_until"]
