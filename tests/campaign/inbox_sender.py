#!/usr/bin/python3
"""One other service: transactions to Kafka by Java's producer, each intent logged before it begins and its outcome after.

    inbox_sender.py BOOTSTRAP SEED RUN NUMBER SIZE SHARED LOG

SHARED is as that of writer.py, SIZE the most messages of a transaction. Lines of the log:

    I <transaction> <messages>
    O <transaction> committed|aborted|unknown
"""
import os
import random
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import judge  # noqa: E402
from campaign import inbox_workload as workload  # noqa: E402
from campaign.writer import Shared  # noqa: E402

PROPERTIES = {"transaction.timeout.ms": 20_000, "delivery.timeout.ms": 15_000, "request.timeout.ms": 5_000,
              "max.block.ms": 60_000, "metadata.max.age.ms": 2_000}


class Sender:
    """One producer after the other, all with one transactional id; one that failed is never used again."""

    def __init__(self, bootstrap, seed, run, number, size_max, shared, log):
        self.bootstrap, self.number, self.size_max, self.shared = bootstrap, number, size_max, shared
        self.random = random.Random(f"{seed}/sender/{number}")
        self.source = workload.Source(self.random, run, number)
        self.log = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
        self.producer = None
        self.sent = 0

    def note(self, *words):
        """One line, in the file before this returns."""
        os.write(self.log, (" ".join(map(str, words)) + "\n").encode())

    def allowed(self):
        """Waits for its share; False at the end."""
        while (budget := self.shared.get(2 * self.number)) >= 0:
            if self.sent < budget:
                return True
            time.sleep(0.02)
        return False

    def open(self):
        """A producer, whose initTransactions has ended what the last one left."""
        while self.producer is None:
            try:
                self.producer = judge.Sender(self.bootstrap, f"sender-{self.number}", PROPERTIES, start=False)
                self.producer.init()
            except (judge.SendFailed, OSError) as error:
                print(f"no producer: {error}", flush=True)
                self.drop()

    def drop(self):
        """Ends the producer."""
        self.producer.child.kill()
        self.producer.close()
        self.producer = None

    def run(self):
        """All its transactions; the last open one is ended by a new producer."""
        number = 0
        while self.allowed():
            self.open()
            number += 1
            messages, commit = self.source.transaction(self.size_max)
            self.note("I", number, len(messages))
            outcome = self.carry_out(number, messages, commit)
            self.note("O", number, outcome)
            if outcome == "committed":
                self.sent += len(messages)
                self.shared.put(2 * self.number + 1, self.sent)
        if self.producer is None:
            self.open()
        self.producer.close()

    def carry_out(self, number, messages, commit):
        """One transaction; what became of it, as far as its sender can know."""
        committing = False
        try:
            self.producer.begin()
            for message in messages:
                self.producer.send(message.topic, message.key, message.value, message.headers(f"{self.number}.{number}"),
                                   partition=message.partition)
            if self.random.random() < 0.02:
                self.producer.flush()
                time.sleep(self.random.random() * 2)
            committing = commit
            if commit:
                self.producer.commit()
                return "committed"
            self.producer.abort()
            return "aborted"
        except (judge.SendFailed, OSError) as error:
            print(f"transaction {number}: {error}", flush=True)
            self.drop()
            return "unknown" if committing else "aborted"


def main():
    bootstrap, seed, run, number, size_max, shared, log = sys.argv[1:]
    Sender(bootstrap, seed, int(run), int(number), int(size_max), Shared(shared), log).run()


if __name__ == "__main__":
    main()
