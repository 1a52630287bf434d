"""One run: servers, writers, faults, quiet, judgement."""
import os
import platform
import random
import shutil
import struct
import subprocess
import threading
import time
from collections import Counter
from pathlib import Path

import psycopg2

from servers import Kafka, Postgres
from servers.paths import BUILD
from servers.process import PYTHON, Child, Timeout, wait_until

from . import faults, verdict, workload
from .fleet import Fleet
from .writer import Shared

WRITERS = 8
DATABASE = "campaign"
QUIET_S_MAX = 240
END = -1

# Rows of transactions that are not done in the position that PostgreSQL knows to be in Kafka.
DRAINED = """
SELECT NOT EXISTS (SELECT FROM {table} AS o, (SELECT t.known_snapshot AS known FROM relay.tick t JOIN relay.stream s
                   ON s.uuid = t.stream WHERE s.name = %s ORDER BY t.number DESC LIMIT 1) AS k
    WHERE k.known IS NULL OR (o.xid >= pg_snapshot_xmin(k.known) AND NOT pg_visible_in_snapshot(o.xid, k.known)))
"""

# Asynchronous commits stay in memory for long, so that a crash really takes some of them.
POSTGRES_SETTINGS = {"wal_writer_delay": "2s", "wal_writer_flush_after": "0", "deadlock_timeout": "300ms"}


class Resolver(threading.Thread):
    """Another session ends the prepared transactions, at once or late, across any crash."""

    def __init__(self, postgres):
        super().__init__(daemon=True)
        self.postgres, self.resolved = postgres, {}
        self._first_seen, self._hurry, self._end = {}, False, threading.Event()

    def run(self):
        while not self._end.wait(0.05):
            try:
                self.look()
            except psycopg2.Error:
                pass

    def look(self):
        """One look at what is prepared."""
        connection = self.postgres.connect(DATABASE, application_name="resolver")
        try:
            with connection.cursor() as cursor:
                while not self._end.is_set():
                    cursor.execute("SELECT gid FROM pg_prepared_xacts WHERE gid LIKE 'campaign:%'")
                    for (gid,) in cursor.fetchall():
                        self._resolve(cursor, gid)
                    self._end.wait(0.05)
        finally:
            connection.close()

    def _resolve(self, cursor, gid):
        _, writer, number, verb, delay_ms = gid.split(":")
        first = self._first_seen.setdefault(gid, time.monotonic())
        if self._hurry or time.monotonic() >= first + int(delay_ms) / 1000:
            cursor.execute(f"{verb.upper()} PREPARED %s", (gid,))
            self.resolved[int(writer), int(number)] = verb

    def finish(self):
        """Ends all that is left."""
        self._hurry = True
        wait_until(lambda: not self.postgres.query("SELECT FROM pg_prepared_xacts"), 60, "prepared transactions ended")
        self._end.set()
        self.join()


class Bench:
    """What the faults work on. sessions: whose names begin so are those of business code."""
    sessions = "writer"

    def __init__(self, folder, seed, name):
        self.folder, self.name = folder, name
        self.transactional = f"boxrelay-{name}".encode()
        self.log = open(folder / "campaign.log", "a", encoding="utf-8")
        self.began = time.monotonic()
        self.random = random.Random(f"{seed}/faults")
        self.notes = Counter()
        self.postgres = self.kafka = self.relays = self.pg_proxy = self.kafka_proxy = None

    def say(self, text):
        """A line of the run's own log."""
        self.log.write(f"{time.strftime('%H:%M:%S')} {time.monotonic() - self.began:8.2f} {text}\n")
        self.log.flush()

    def note(self, what):
        """A detail that was really reached, for the summary."""
        self.notes[what] += 1
        self.say(f"    {what}")

    def pause(self, seconds):
        """The length of a fault, which is random and no wait for a condition."""
        time.sleep(seconds)

    def wait_hit(self, rule, timeout):
        """Whether the proxy's rule took a request within the time."""
        try:
            rule.wait_hit(timeout)
            return True
        except Timeout:
            self.say("    no such request came")
            return False

    def published(self):
        """How far read_committed readers of the topics can see, summed."""
        return sum(self.kafka.admin.offsets("three", timeout=2).values())

    def wait_progress(self, timeout, idle=lambda: False):
        """Until something more is published, or the writers are idle; False after the time-out."""
        try:
            before = wait_until(lambda: (self.published(),), timeout, "offsets")[0]
            wait_until(lambda: idle() or self.published() > before, timeout, "progress", interval=0.1)
            return True
        except Timeout:
            return False

    def end_sessions(self, pattern):
        """Ends the sessions of these names; soon after a crash, once the server lets it."""
        wait_until(lambda: (self.postgres.kill_backends(pattern),), 60, f"sessions {pattern} end", interval=0.2)

    def heal(self):
        """Everything runs, nothing is in the way."""
        self.kafka_proxy.heal()
        self.pg_proxy.heal()
        for one in self.relays.instances:
            if one.frozen:
                one.resume()
        self.kafka.brokers[0].start()
        self.postgres.start()
        self.relays.alive()


class Campaign:
    """rows and faults: how much; seed: which; minutes: after which no more is broken."""
    writer_count = WRITERS
    make_bench = Bench
    what = "rows"

    def __init__(self, seed, rows, fault_count, say=print, minutes=None):
        self.seed, self.rows_wanted, self.fault_count, self.say = seed, rows, fault_count, say
        self.minutes = minutes
        self.folder = BUILD / "campaign" / f"{seed}-{os.getpid()}"
        shutil.rmtree(self.folder, ignore_errors=True)
        self.folder.mkdir(parents=True)
        self.run_id = random.Random(f"{seed}/run").getrandbits(32)
        # Small batches make many windows larger than one, which are then read in slices.
        self.batch_rows_max = random.Random(f"{seed}/batch").choice([200, 1000, 5000])
        self.bench = self.make_bench(self.folder, seed, "campaign")
        self.writers, self.shared, self.kinds = [], None, Counter()
        self.resolver = None
        self.stuck = 0
        self.kept = False
        self.figures = {}

    def run(self):
        """All of it; the result as a dict for summary()."""
        began = time.monotonic()
        self.say(f"campaign: seed {self.seed}, {self.rows_wanted} {self.what}, {self.fault_count} faults, logs in {self.folder}")
        try:
            self.prepare()
            self.break_things()
            self.finish_writers()
            self.become_quiet()
            self.say("quiet; judging")
            return self.result(self.judge(), time.monotonic() - began)
        except BaseException:
            self.save_logs()
            raise
        finally:
            self.close()

    def prepare_servers(self, topics, streams, setup):
        """Servers, schema, one relay."""
        bench = self.bench
        bench.postgres = Postgres(settings=POSTGRES_SETTINGS).start()
        bench.kafka = Kafka().start()
        bench.postgres.create_database(DATABASE)
        for topic, partitions in topics.items():
            bench.kafka.create_topic(topic, partitions)
        bench.pg_proxy, bench.kafka_proxy = bench.postgres.proxy, bench.kafka.proxy
        bench.relays = Fleet(self.folder, bench.name, bench.postgres.dsn(DATABASE, via_proxy=True),
                             bench.kafka.bootstrap_via_proxy, streams)
        done = subprocess.run(bench.relays.command("migrate", "up"), capture_output=True, text=True, check=False)
        if done.returncode != 0:
            raise RuntimeError(f"boxrelay migrate up: {done.stderr}")
        bench.postgres.query(setup, database=DATABASE)
        bench.relays.start()

    def share(self, count):
        """A file of so many numbers, which other processes see too; its path."""
        path = self.folder / "shared"
        path.write_bytes(struct.pack("<q", 0) * count)
        self.shared = Shared(path)
        return path

    def prepare(self):
        """Servers, schema, one relay, the writers."""
        bench = self.bench
        streams = {"outbox": {name: {"batch_rows_max": self.batch_rows_max} for name in workload.OUTBOXES}}
        self.prepare_servers(workload.TOPICS, streams, workload.SETUP)
        path = self.share(2 * WRITERS)
        script = Path(__file__).with_name("writer.py")
        for number in range(WRITERS):
            self.writers.append(Child([PYTHON, script, bench.postgres.dsn(DATABASE), self.seed, self.run_id, number,
                                       path, self.folder / f"writer-{number}.log"],
                                      self.folder / f"writer-{number}.err"))
        self.resolver = Resolver(bench.postgres)
        self.resolver.start()
        self.allow(0)
        if not bench.wait_progress(60):
            raise RuntimeError("nothing was published before the first fault")

    def allow(self, done):
        """The writers' share after so many faults."""
        share = self.rows_wanted * (done + 2) // (self.fault_count + 2) // self.writer_count
        for number in range(self.writer_count):
            self.shared.put(2 * number, share)

    def written(self):
        """Rows that the writers know to be committed."""
        return sum(self.shared.get(2 * number + 1) for number in range(self.writer_count))

    def idle(self):
        """Whether every writer has written its share, so that there may be nothing to publish."""
        return all(self.shared.get(2 * number + 1) >= self.shared.get(2 * number) for number in range(self.writer_count))

    def schedule(self):
        """The faults, in their order."""
        return faults.schedule(self.bench.random, self.fault_count)

    def after_fault(self, _random):
        """At least one relay runs."""
        self.bench.relays.alive()

    def break_things(self):
        """The schedule. Most faults come when publishing has gone on since the last; some follow at once."""
        bench = self.bench
        bench.began = time.monotonic()
        for number, fault in enumerate(self.schedule()):
            if self.minutes and time.monotonic() - bench.began > 60 * self.minutes:
                bench.say(f"{self.minutes} minutes are over")
                break
            own = random.Random(f"{self.seed}/fault/{number}")
            self.allow(number)
            bench.pause(own.choice([0, own.uniform(0, 1.5)]))
            if own.random() < 0.7 and not bench.wait_progress(90, self.idle):
                self.stuck += 1
                bench.say("    no progress for 90 s")
            bench.say(f"{number + 1:4} {fault.__name__}")
            fault(bench, own)
            self.kinds[fault.__name__] += 1
            self.after_fault(own)
            if (number + 1) % 25 == 0:
                self.say(f"{number + 1} faults, {self.written()} {self.what}, {time.monotonic() - bench.began:.0f} s")

    def finish_writers(self):
        """The rest of the rows, without faults; then no open transaction is left."""
        bench = self.bench
        bench.say("heal")
        bench.heal()
        self.allow(self.fault_count)
        wait_until(lambda: self.written() >= self.rows_wanted - WRITERS, 1800, "writers done", interval=0.2)
        for number in range(WRITERS):
            self.shared.put(2 * number, END)
        for writer in self.writers:
            writer.wait(120)
        self.resolver.finish()

    def become_quiet(self):
        """Until PostgreSQL knows that all is in Kafka."""
        began = time.monotonic()
        for outbox, table in workload.OUTBOXES.items():
            wait_until(lambda s=DRAINED.format(table=table), o=outbox: self.bench.postgres.query(
                s, (f"outbox/{o}",), DATABASE)[0][0], QUIET_S_MAX, f"outbox/{outbox} drained", interval=0.2)
        self.figures["quiet_s"] = round(time.monotonic() - began, 1)

    def judge(self):
        """What became of it."""
        return verdict.judge_all(self.bench.postgres, self.bench.kafka, DATABASE, self.writer_logs(), self.resolver.resolved)

    def writer_logs(self):
        """Their intents and outcomes."""
        return [self.folder / f"writer-{number}.log" for number in range(WRITERS)]

    def result(self, judged, seconds):
        """Everything of the summary; logs are kept if anything is wrong."""
        aborts = [(log, status) for log, status in self.bench.relays.failed() if status < 0]
        good = judged.good and not aborts
        result = {
            "good": good, "seed": self.seed, "rows": judged.rows, "records": judged.records,
            "rows_wanted": self.rows_wanted, "faults": sum(self.kinds.values()), "fault_kinds": dict(self.kinds),
            "reached": dict(self.bench.notes), "transactions": dict(judged.transactions),
            "outcomes": dict(judged.outcomes), "taken_back": judged.taken_back,
            "batch_rows_max": self.batch_rows_max, **judged.counts, "longest_gap_s": judged.longest_gap_ms / 1000,
            "quiet_s": self.figures["quiet_s"], "stuck": self.stuck, "seconds": round(seconds),
            "relay_processes": len(self.bench.relays.instances), "own_exits": self.bench.relays.failed(),
            "versions": self.versions(), "machine": machine(), "examples": dict(judged.examples)}
        if not good:
            self.save_logs()
        result["logs"] = None if good else str(self.folder)
        return result

    def versions(self):
        """What ran."""
        (server,), = self.bench.postgres.query("SHOW server_version")
        relay = subprocess.run(self.bench.relays.command("version"), capture_output=True, text=True, check=False)
        return {"boxrelay": " ".join(relay.stdout.split()), "PostgreSQL": server, "Kafka": self.bench.kafka.version}

    def save_logs(self):
        """The servers' logs beside the relays'; the folder, which is removed after a good run, stays."""
        bench, self.kept = self.bench, True
        for server, paths in ((bench.postgres, ["log"]), (bench.kafka, [])):
            if server is None:
                continue
            logs = [getattr(server, name) for name in paths] or [broker.log for broker in server.brokers]
            for log in logs:
                if log.exists():
                    shutil.copy(log, self.folder)
        self.say(f"logs are kept in {self.folder}")

    def close(self):
        """Nothing is left running."""
        for writer in self.writers:
            if writer.alive:
                writer.kill()
        for server in (self.bench.relays, self.bench.kafka, self.bench.postgres):
            if server is not None:
                server.close()
        self.bench.log.close()
        if not self.kept and not os.environ.get("TEST_KEEP"):
            shutil.rmtree(self.folder, ignore_errors=True)


def machine():
    """What kind of machine."""
    model = next((line.partition(":")[2].strip() for line in Path("/proc/cpuinfo").read_text().splitlines()
                  if line.startswith("model name")), platform.machine())
    memory = int(Path("/proc/meminfo").read_text().split()[1]) // 1024 // 1024
    return f"{os.cpu_count()} cores ({model}), {memory + 1} GiB, {platform.system()} {platform.release()}"


def summary(result):
    """The block that is printed at the end."""
    def listed(counts):
        return ", ".join(f"{name} {count}" for name, count in sorted(counts.items(), key=lambda p: -p[1]))
    lines = [
        ("result", "good" if result["good"] else "BAD"), ("seed", result["seed"]),
        ("versions", ", ".join(f"{name} {value}" for name, value in result["versions"].items())),
        ("machine", result["machine"]),
        ("rows", f"{result['rows']} committed, {result['records']} records read"),
        ("transactions", listed(result["transactions"])), ("outcomes", listed(result["outcomes"])),
        ("taken back", f"{result['taken_back']} asynchronous commits, by crashes of PostgreSQL"),
        ("batches", f"of at most {result['batch_rows_max']} rows"),
        ("faults", f"{result['faults']}: {listed(result['fault_kinds'])}"), ("of these", listed(result["reached"])),
        *((name.replace("_", " "), result[name]) for name in (
            "lost", "duplicated", "phantom", "out_of_order", "unequal", "wrong_partition", "writers_disagree")),
        ("longest gap", f"{result['longest_gap_s']:.1f} s"), ("time to quiet", f"{result['quiet_s']:.1f} s"),
        ("relay processes", f"{result['relay_processes']}, ended by themselves: {result['own_exits'] or 'none'}"),
        ("whole run", f"{result['seconds']} s"),
    ]
    text = "\n".join(f"{name:>17}: {value}" for name, value in lines)
    for what, examples in result["examples"].items():
        text += "\n" + "\n".join(f"  {what}: {example}" for example in examples)
    return text + (f"\nlogs: {result['logs']}" if result["logs"] else "")
