"""The benches run: every scenario ends, and what it prints has the promised form. The figures are not judged here."""
import json
import re
import subprocess

import pytest

from live.relay import REPOSITORY

RUN = REPOSITORY / "tests" / "bench" / "run.py"
SCENARIOS = ("drain", "latency", "producers", "idle", "polls", "cleanup", "takeover")
NAMED = ("indexes", "taking", "storing")


def test_every_scenario_is_in_the_documentation():
    modules = {path.stem for path in RUN.parent.glob("*.py") if "\ndef run(place, report):" in path.read_text()}
    listed = re.findall(r"^\| `(\w+)` \|", (REPOSITORY / "docs/bench.md").read_text().split("## Results")[0], re.M)
    assert sorted(modules) == sorted(listed)
    assert modules == {*SCENARIOS, *NAMED}


@pytest.mark.full
@pytest.mark.seconds(1200)
def test_the_bench_runs(tmp_path):
    done = subprocess.run([RUN, "--quick", "--rounds", "1", "--stored-ids", "100000", "--json", tmp_path / "bench.json", *SCENARIOS, *NAMED],
                          capture_output=True, text=True, timeout=1100, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    found = json.loads(done.stdout.splitlines()[-1])
    assert found == json.loads((tmp_path / "bench.json").read_text())
    assert {"cores", "cpu", "kernel", "postgresql", "kafka", "librdkafka", "boxrelay", "load_before"} <= found.keys()
    assert {figure["scenario"] for figure in found["figures"]} == {*SCENARIOS, "commit interval", *NAMED}
    for figure in found["figures"]:
        assert figure["value"] >= 0 and ("target" in figure) == ("met" in figure), figure
        assert figure["figure"] in done.stdout
