#!/usr/bin/python3
"""The campaign of the inbox path as a command.

    tests/campaign/inbox_run.py                                       # 10 faults, a seed from the clock
    tests/campaign/inbox_run.py --faults 200 --messages 1000000       # the long one
    tests/campaign/inbox_run.py --seed 42 --faults 30 --minutes 5     # again; after 5 minutes nothing more is broken

Exit status: 0 good, 1 something was lost, doubled, invented, changed, out of order, held by two, wrongly
set aside or never finished; the logs are then kept, and their folder is printed.
"""
import argparse
import json
import os
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from campaign.inbox_campaign import InboxCampaign, details, line  # noqa: E402
from servers.paths import BUILD  # noqa: E402

RESULTS = BUILD / "campaign" / "inbox-results.jsonl"


def arguments():
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seed", help="of senders, workers and faults (default: from the clock)")
    parser.add_argument("--faults", type=int, default=10)
    parser.add_argument("--messages", type=int, help="that the senders commit (default: 2000 a fault)")
    parser.add_argument("--minutes", type=float, help="of breaking things; what is left is then finished in peace")
    parser.add_argument("--workers", type=int, default=4, help="of business code")
    return parser.parse_args()


def main():
    options = arguments()
    result = InboxCampaign(options.seed or str(int(time.time())), options.messages or 2000 * max(options.faults, 1),
                           options.faults, workers=options.workers, minutes=options.minutes,
                           say=lambda text: print(text, flush=True)).run()
    print(details(result))
    print(line(result), flush=True)
    if not os.environ.get("BOXRELAY_PLANTED"):  # a relay that was made wrong is no result
        with open(RESULTS, "a", encoding="utf-8") as out:
            out.write(json.dumps(result) + "\n")
    return 0 if result["good"] else 1


if __name__ == "__main__":
    sys.exit(main())
