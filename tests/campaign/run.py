#!/usr/bin/python3
"""The crash campaign as a command.

    tests/campaign/run.py                                  # 14 faults, a seed from the clock
    tests/campaign/run.py --faults 300 --rows 1000000      # the long one
    tests/campaign/run.py --seed 42 --faults 30            # again
    tests/campaign/run.py --report                         # results so far, as Markdown

Exit status: 0 good, 1 something was lost, doubled, invented, changed or out of order, or never became
quiet; the logs are then kept, and their folder is printed.
"""
import argparse
import json
import os
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from campaign.campaign import Campaign, summary  # noqa: E402
from servers.paths import BUILD  # noqa: E402

RESULTS = BUILD / "campaign" / "results.jsonl"


def arguments():
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seed", help="of writers and faults (default: from the clock)")
    parser.add_argument("--faults", type=int, default=14)
    parser.add_argument("--rows", type=int, help="that the writers commit (default: 2000 a fault)")
    parser.add_argument("--report", action="store_true", help="print the results of earlier runs and end")
    return parser.parse_args()


def report():
    """Earlier results as a Markdown table."""
    print("| seed | rows | faults | lost | duplicated | phantom | out of order | unequal | wrong partition | "
          "longest gap | time to quiet | run |\n|---|---|---|---|---|---|---|---|---|---|---|---|")
    for line in RESULTS.read_text().splitlines():
        one = json.loads(line)
        print(f"| {one['seed']} | {one['rows']} | {one['faults']} | {one['lost']} | {one['duplicated']} | "
              f"{one['phantom']} | {one['out_of_order']} | {one['unequal']} | {one['wrong_partition']} | "
              f"{one['longest_gap_s']:.1f} s | {one['quiet_s']:.1f} s | {one['seconds']} s |")


def main():
    options = arguments()
    if options.report:
        report()
        return 0
    seed = options.seed or str(int(time.time()))
    result = Campaign(seed, options.rows or 2000 * options.faults, options.faults,
                      lambda text: print(text, flush=True)).run()
    print(summary(result), flush=True)
    if not os.environ.get("BOXRELAY_PLANTED"):  # a relay that was made wrong is no result
        with open(RESULTS, "a", encoding="utf-8") as out:
            out.write(json.dumps(result) + "\n")
    return 0 if result["good"] else 1


if __name__ == "__main__":
    sys.exit(main())
