"""The benches: one module a scenario, `run(place, report)` in each. See docs/bench.md and tests/bench/run.py."""
