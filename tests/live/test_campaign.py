"""The crash campaign, short by default and long with --full; tests/campaign says what it does."""
import os
import time

import pytest

from campaign.campaign import Campaign, summary


def run(rows, faults):
    """One campaign with a seed from the clock, or that of BOXRELAY_SEED to see it again."""
    result = Campaign(os.environ.get("BOXRELAY_SEED") or str(int(time.time())), rows, faults).run()
    print(summary(result))
    assert result["good"], summary(result)
    assert result["faults"] == faults
    return result


@pytest.mark.seconds(900)
def test_a_dozen_kinds_of_crashes_lose_double_and_reorder_nothing():
    run(rows=20_000, faults=14)


@pytest.mark.full
@pytest.mark.seconds(7200)
def test_hundreds_of_crashes_and_a_million_rows():
    assert run(rows=1_000_000, faults=300)["rows"] >= 1_000_000
