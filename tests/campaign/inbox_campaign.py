"""One run of the inbox campaign: senders, relays, business workers, faults, quiet, judgement."""
import json
import random
import time
from collections import Counter
from pathlib import Path

from servers.process import PYTHON, Child, Timeout, wait_until

from . import inbox_faults, inbox_verdict
from . import inbox_workload as workload
from .campaign import DATABASE, END, QUIET_S_MAX, Bench, Campaign, machine

SENDERS = 2
WORKERS_SLOT = 2 * SENDERS
# Long runs send and take more at once; small transactions stay among them.
BULK_FROM = 100_000
SIZES_MAX = [300, 2_000]
PLACES = """SELECT DISTINCT ON (source) source, next, epoch FROM relay.source_offset ORDER BY source, next DESC"""
INSTANCES = [1, 2, 2, 3]


class InboxBench(Bench):
    """Business code is workers; progress is what relays store and workers finish."""
    sessions = "worker"

    def __init__(self, *args):
        super().__init__(*args)
        self.grown = set()

    def published(self):
        """How far all partitions are stored and all lanes are finished. Nothing that grows with the run is counted."""
        return self.postgres.query(f"SELECT coalesce(sum(o.next), 0) + ({inbox_verdict.FINISHED}) FROM ({PLACES}) o",
                                   database=DATABASE)[0][0]

    def owned(self):
        """Epochs of all partitions; a Counter that is empty while PostgreSQL is away."""
        try:
            return {source: epoch for source, _, epoch in self.postgres.query(PLACES, database=DATABASE)}
        except Exception:  # pylint: disable=broad-except
            return {}

    def wait_moved(self, before, timeout):
        """Until some partition was taken over."""
        try:
            wait_until(lambda: any(epoch > before.get(source, epoch) for source, epoch in self.owned().items()), timeout,
                       "partitions moved", interval=0.1)
            return True
        except Timeout:
            return False


class InboxCampaign(Campaign):
    """messages and faults: how much; seed: which."""
    writer_count = SENDERS
    make_bench = InboxBench
    what = "messages"
    quiet_s_max = QUIET_S_MAX

    def __init__(self, seed, messages, fault_count, workers=4, **options):
        super().__init__(seed, messages, fault_count, **options)
        self.worker_count, self.workers = workers, []

    def options(self):
        """Of the inbox, from the seed: batches, how much may wait, and how soon what is done is cleaned away.

        A copy is sent soon after its message but may be stored much later, after outages: ids are kept longer.
        """
        chance = random.Random(f"{self.seed}/options")
        return {"topics": list(workload.TOPICS), "batch_rows_max": self.batch_rows_max,
                "waiting_rows_max": chance.choice([2_000, 20_000, 1_000_000]),
                "retention": chance.choice(["1s", "4s", "20s"]), "id_retention": "10m"}

    def prepare(self):
        """Servers, schema, relays, senders, workers."""
        bench = self.bench
        self.prepare_servers(workload.TOPICS, {"outbox": {}, "inbox": {"main": self.options()}}, inbox_verdict.SETUP)
        path = self.share(WORKERS_SLOT + 1)
        bulk = int(self.rows_wanted >= BULK_FROM)
        here, dsn = Path(__file__).parent, bench.postgres.dsn(DATABASE)
        for number in range(SENDERS):
            self.writers.append(Child([PYTHON, here / "inbox_sender.py", bench.kafka.bootstrap, self.seed, self.run_id, number,
                                       SIZES_MAX[bulk], path, self.folder / f"sender-{number}.log"], self.folder / f"sender-{number}.err"))
        for number in range(self.worker_count):
            self.workers.append(Child([PYTHON, here / "inbox_worker.py", dsn, self.seed, number, bulk, path,
                                       WORKERS_SLOT, self.folder / f"worker-{number}.json"], self.folder / f"worker-{number}.err"))
        bench.relays.start()
        self.allow(0)
        if not bench.wait_progress(60):
            raise RuntimeError("nothing was stored before the first fault")

    def schedule(self):
        return inbox_faults.schedule(self.bench.random, self.fault_count)

    def after_fault(self, random):  # pylint: disable=redefined-outer-name
        """One to three instances run."""
        wanted, relays = random.choice(INSTANCES), self.bench.relays
        relays.keep(max(wanted, 1), random)
        while len(relays.alive()) < wanted:
            relays.start()
        for what, children in (("sender", self.writers), ("worker", self.workers)):
            for child in children:
                if not child.alive:
                    raise RuntimeError(f"a {what} has ended: {child.log_tail()}")

    def finish_writers(self):
        """The rest of the messages, without faults; then no open transaction is left."""
        bench = self.bench
        bench.say("heal")
        bench.heal()
        self.allow(self.fault_count)
        wait_until(lambda: self.written() >= self.rows_wanted - SENDERS, 1800, "senders done", interval=0.2)
        for number in range(SENDERS):
            self.shared.put(2 * number, END)
        for sender in self.writers:
            sender.wait(120)

    def become_quiet(self):
        """Until all is stored and finished; or that time is over, which the judgement then tells."""
        bench, began = self.bench, time.monotonic()
        connection = bench.postgres.connect(DATABASE)
        with connection.cursor() as cursor:
            self.by_transaction = inbox_verdict.Truth(cursor).read(bench.kafka)
        connection.close()
        try:
            self.wait_going_on(inbox_verdict.UNREAD, "the relays do not store all that was sent")
            self.wait_going_on(inbox_verdict.UNFINISHED, "the workers do not finish all that is stored")
        except Timeout as error:
            self.say(str(error))
        self.figures["quiet_s"] = round(time.monotonic() - began, 1)
        self.shared.put(WORKERS_SLOT, END)
        for worker in self.workers:
            worker.wait(60)

    def wait_going_on(self, left, otherwise):
        """Until the query finds nothing left, as long as it goes on: a backlog that had to wait may be long."""
        def over():
            return not self.bench.postgres.query(left, database=DATABASE)
        while not over():
            if not self.bench.wait_progress(self.quiet_s_max / 2, over):
                raise Timeout(otherwise)
            time.sleep(0.2)

    def judge(self):
        """The tables against Kafka, and the senders' logs."""
        verdict = inbox_verdict.Verdict()
        inbox_verdict.check_senders(verdict, [self.folder / f"sender-{n}.log" for n in range(SENDERS)], self.by_transaction)
        connection = self.bench.postgres.connect(DATABASE, autocommit=False)
        try:
            return inbox_verdict.check_all(connection, verdict)
        finally:
            connection.close()

    def result(self, judged, seconds):
        """Everything of the summary; logs are kept if anything is wrong."""
        aborts = [(log, status) for log, status in self.bench.relays.failed() if status < 0]
        good = judged.good and not aborts
        did = Counter()
        for number in range(self.worker_count):
            did.update(json.loads((self.folder / f"worker-{number}.json").read_text()))
        result = {
            "good": good, "seed": self.seed, "messages": judged.messages, "effects": judged.effects,
            "duplicates": judged.duplicates, "dead": judged.dead, "partitions": judged.partitions, "kept": judged.kept,
            "faults": sum(self.kinds.values()), "fault_kinds": dict(self.kinds), "reached": dict(self.bench.notes),
            "workers": dict(did), "holds": judged.holds, "wrong": dict(judged.counts), "aborts": aborts,
            "options": self.options(), "quiet_s": self.figures["quiet_s"], "stuck": self.stuck, "seconds": round(seconds),
            "relay_processes": len(self.bench.relays.instances), "own_exits": self.bench.relays.failed(),
            "versions": self.versions(), "machine": machine(), "examples": dict(judged.examples)}
        if not good:
            self.save_logs()
        result["logs"] = None if good else str(self.folder)
        return result

    def close(self):
        """Nothing is left running."""
        for worker in self.workers:
            if worker.alive:
                worker.kill()
        super().close()


def line(result):
    """All counts in one line."""
    words = [f"inbox campaign {'good' if result['good'] else 'BAD'}:", f"seed={result['seed']}"]
    words += [f"{name}={result[name]}" for name in ("faults", "messages", "effects", "duplicates")]
    words += [f"{name.lower()}={count}" for name, count in sorted(result["dead"].items())]
    words += [f"{name}={count}" for name, count in result["wrong"].items()]
    return " ".join(words + [f"quiet_s={result['quiet_s']}", f"seconds={result['seconds']}"])


def details(result):
    """What was done and reached, and examples of what is wrong."""
    def listed(counts):
        return ", ".join(f"{name} {count}" for name, count in sorted(counts.items(), key=lambda p: -p[1]))
    lines = [f"faults: {listed(result['fault_kinds'])}", f"of these: {listed(result['reached'])}",
             f"workers: {listed(result['workers'])}; {result['holds']} holds of rolled back transactions and leases",
             f"inbox: {result['options']}; {result['partitions']} partitions; still in the table: {result['kept']}",
             f"relay processes: {result['relay_processes']}, ended by themselves: {result['own_exits'] or 'none'}",
             f"without progress for 90 s: {result['stuck']} times"]
    lines += [f"versions: {result['versions']}", f"machine: {result['machine']}"]
    lines += [f"{what}: {example}" for what, examples in result["examples"].items() for example in examples]
    return "\n".join(lines + ([f"logs: {result['logs']}"] if result["logs"] else []))
