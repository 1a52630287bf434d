#!/usr/bin/python3
"""The benches: what boxrelay costs and how fast it is, beside the same without it.

    tests/bench/run.py                       all of the default scenarios, about 20 minutes on 2 idle cores
    tests/bench/run.py drain latency         only these
    tests/bench/run.py --quick --rounds 1    to see that they run; the figures then mean little

Scenarios: drain latency producers idle polls cleanup takeover; and, only when named, indexes, taking and storing.
Each figure is measured in turn with its baseline, and the ratio of such pairs is what counts: machines are shared and
noisy. Prints a table with the targets, and one JSON object as the last line. Read docs/bench.md.
"""
import argparse
import importlib
import json
import os
import sys
import tempfile
import time
from pathlib import Path

TESTS = Path(__file__).resolve().parents[1]
sys.path[:1] = [str(TESTS), str(TESTS / "live")]  # in place of this folder, which is the package `bench`

from bench import machine, place as places  # noqa: E402
from bench.report import Report, say  # noqa: E402

DEFAULT = ("drain", "latency", "producers", "idle", "polls", "cleanup", "takeover")
SCENARIOS = (*DEFAULT, "indexes", "taking", "storing")


def arguments():
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("scenarios", nargs="*", metavar="scenario", help="default: all but indexes, taking and storing")
    parser.add_argument("--rounds", type=int, default=3, help="pairs of each measure (default 3)")
    parser.add_argument("--quick", action="store_true", help="fewer rows, shorter measures")
    parser.add_argument("--stored-ids", type=int, metavar="COUNT", help="storing: ids in the inbox that is not empty "
                                                                        "(default 10,000,000)")
    parser.add_argument("--json", metavar="FILE", type=Path, help="write the JSON object there too")
    options = parser.parse_args()
    unknown = [name for name in options.scenarios if name not in SCENARIOS]
    if unknown:
        parser.error(f"no such scenario: {', '.join(unknown)}; there are {', '.join(SCENARIOS)}")
    if options.rounds < 1:
        parser.error("--rounds: at least 1")
    options.scenarios = options.scenarios or list(DEFAULT)
    return options


def measure(options):
    """(The facts of the run, its report)."""
    report = Report()
    facts = {"load_before": machine.load(), "options": {"rounds": options.rounds, "quick": options.quick}}
    began = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        place = places.Place(options, folder)
        try:
            facts.update(machine.describe(place))
            say(", ".join(f"{name} {value}" for name, value in facts.items() if name != "options"))
            for name in options.scenarios:
                importlib.import_module(f"bench.{name}").run(place, report)
        finally:
            place.close()
    facts["seconds"] = round(time.monotonic() - began)
    return facts, report


def main():
    """The command."""
    options = arguments()
    os.environ.setdefault("TEST_BOXRELAY", str(places.BUILD / "boxrelay"))
    facts, report = measure(options)
    print(f"{facts['cores']} cores ({facts['cpu']}), {facts['memory_gib']} GiB, Linux {facts['kernel']}; boxrelay "
          f"{facts['boxrelay']}, PostgreSQL {facts['postgresql']}, Kafka {facts['kafka']}, librdkafka "
          f"{facts['librdkafka']}; load {facts['load_before']} before, {facts['seconds']} s")
    print(report.table() + "\n")
    text = json.dumps({**facts, "scenarios": report.scenarios, "figures": report.figures})
    if options.json:
        options.json.write_text(text + "\n")
    print(text)


if __name__ == "__main__":
    main()
