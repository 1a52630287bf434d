#!/usr/bin/python3
"""Builds all presets and runs every test, then sums up.

The last line is always `N passed, N failed`: cmocka cases, the steps (builds, static checks) and
live tests together. Whatever could not run counts as failed: a build that breaks, a unit test
program that ends without its report, a test runner that found nothing. Skipped tests count as
failed too, because nothing here is optional.
"""
import argparse
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
import xml.etree.ElementTree as ElementTree
from pathlib import Path

REPO = Path(__file__).resolve().parents[1]
PRESETS = ("release", "clang", "debug", "asan", "tsan")
UNIT_PRESETS = ("debug", "asan", "tsan")
UNIT_SECONDS_MAX = 600
BUILD_SECONDS_MAX = 1200
LIVE_SECONDS_MAX = {False: 3600, True: 6 * 3600}
LIVE_WORKERS = 2  # a live test mostly waits; each worker has servers of its own and takes one file after the other
SANITIZERS = {"ASAN_OPTIONS": "detect_leaks=1:abort_on_error=0", "UBSAN_OPTIONS": "halt_on_error=1:print_stacktrace=1",
              "TSAN_OPTIONS": "halt_on_error=1"}


class Sum:
    """What has passed and what has failed so far, and the printing of it."""

    def __init__(self):
        self.passed, self.failed = 0, []

    def add(self, name, ok, detail=""):
        """One result."""
        if ok:
            self.passed += 1
        else:
            self.failed.append(name)
            print(f"  FAILED {name}" + (f"\n{detail}" if detail else ""), flush=True)

    def close(self):
        """The closing lines; the exit status."""
        for name in self.failed:
            print(f"failed: {name}")
        if not self.passed and not self.failed:
            self.failed.append("nothing ran")
        print(f"{self.passed} passed, {len(self.failed)} failed", flush=True)
        return 1 if self.failed else 0


class Section:
    """Prints a section's name, and its duration and counts when it ends."""

    def __init__(self, total, name):
        self.total, self.name = total, name

    def __enter__(self):
        print(f"== {self.name}", flush=True)
        self.begin, self.before = time.monotonic(), (self.total.passed, len(self.total.failed))

    def __exit__(self, kind, error, _):
        if kind is not None and issubclass(kind, Exception):
            self.total.add(self.name, False, f"{error!r}")
        passed, failed = self.total.passed - self.before[0], len(self.total.failed) - self.before[1]
        print(f"   {passed} passed, {failed} failed in {time.monotonic() - self.begin:.1f} s [{self.name}]", flush=True)
        return kind is not None and issubclass(kind, Exception)


def run(argv, log, seconds, **options):
    """Runs a command into a log file; its exit status, or None if it took too long."""
    log.parent.mkdir(parents=True, exist_ok=True)
    with open(log, "wb") as out, subprocess.Popen(argv, stdout=out, stderr=out, stdin=subprocess.DEVNULL, cwd=REPO,
                                                  start_new_session=True, **options) as process:
        try:
            return process.wait(seconds)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            return None


def tail(log, lines=40):
    """The end of a log, indented."""
    text = log.read_text(errors="replace").splitlines()
    return "\n".join("    " + line for line in text[-lines:])


def step(total, name, argv, log, seconds):
    """A command that counts as one test."""
    code = run(argv, log, seconds)
    total.add(name, code == 0, f"exit {code}, end of {log}:\n{tail(log)}" if code != 0 else "")
    return code == 0


def build(total, preset, out):
    """One preset."""
    return step(total, f"configure {preset}", ["cmake", "--preset", preset], out / f"configure-{preset}.log", 120) and \
        step(total, f"build {preset}", ["cmake", "--build", "--preset", preset], out / f"build-{preset}.log",
             BUILD_SECONDS_MAX)


def unit_programs(preset):
    """[(name, argv, folder, environment)] as registered with ctest."""
    text = subprocess.run(["ctest", "--test-dir", f"build/{preset}", "--show-only=json-v1"], cwd=REPO,
                          capture_output=True, text=True, timeout=60, check=True).stdout
    found = []
    for test in json.loads(text)["tests"]:
        facts = {p["name"]: p["value"] for p in test.get("properties", [])}
        extra = dict(pair.split("=", 1) for pair in facts.get("ENVIRONMENT", []))
        found.append((test["name"], test.get("command") or ["false"], facts.get("WORKING_DIRECTORY", REPO), extra))
    return found


def run_unit(total, preset, program, out):
    """One cmocka program; each of its cases counts, and so does its way to end."""
    name, argv, folder, extra = program
    label = f"{preset}: {name}"
    reports = out / f"unit-{preset}" / name.replace("/", "-")
    shutil.rmtree(reports, ignore_errors=True)
    reports.mkdir(parents=True)
    log = reports / "output.log"
    environment = {**os.environ, **SANITIZERS, **extra, "CMOCKA_MESSAGE_OUTPUT": "XML",
                   "CMOCKA_XML_FILE": str(reports / "%g.xml")}
    with open(log, "wb") as output:
        try:
            code = subprocess.run(argv, cwd=folder, env=environment, stdout=output, stderr=output, timeout=UNIT_SECONDS_MAX,
                                  stdin=subprocess.DEVNULL, check=False).returncode
        except subprocess.TimeoutExpired:
            code = None
    before = len(total.failed)
    cases = sum(read_report(total, label, report) for report in sorted(reports.glob("*.xml")))
    if cases == 0:
        total.add(label, False, f"no case was reported (exit {code}), end of {log}:\n{tail(log)}")
    elif code != 0 and len(total.failed) == before:
        total.add(label, False, f"exit {code}, end of {log}:\n{tail(log)}")


def read_report(total, label, report):
    """Adds the cases of one JUnit-like report; how many there were."""
    try:
        cases = list(ElementTree.parse(report).iter("testcase"))
    except ElementTree.ParseError as error:
        total.add(f"{label}: {report.name}", False, f"unreadable report: {error}")
        return 1
    for case in cases:
        bad = [child for child in case if child.tag in ("failure", "error", "skipped")]
        name = f"{label}: {case.get('classname') or ''}{'.' if case.get('classname') else ''}{case.get('name')}"
        text = "\n".join(f"{child.tag}: {child.get('message') or ''}\n{child.text or ''}" for child in bad)
        total.add(name, not bad, re.sub("^", "    ", text[-6000:], flags=re.M) if bad else "")
    return len(cases)


def live(total, options, out):
    """pytest over tests/live."""
    report, log = out / "live.xml", out / "live.log"
    report.unlink(missing_ok=True)
    argv = ["/usr/bin/python3", "-B", "-m", "pytest", "tests/live", "-v", "--tb=short", "-p", "no:cacheprovider",
            f"--junitxml={report}", "--durations=15", "-n", str(LIVE_WORKERS), "--dist", "loadfile"]
    argv += ["--full"] if options.full else []
    argv += ["-k", options.only] if options.only else []
    out.mkdir(parents=True, exist_ok=True)
    code = follow(argv, log, LIVE_SECONDS_MAX[options.full])
    if not report.exists():
        total.add("live tests", False, f"no report (exit {code}), end of {log}:\n{tail(log)}")
        return
    before = len(total.failed)
    cases = read_report(total, "live", report)
    if (cases == 0 and not options.only) or (code not in (0, 5) and len(total.failed) == before):
        total.add("live tests", False, f"{cases} ran, exit {code}, end of {log}:\n{tail(log)}")


def follow(argv, log, seconds):
    """Runs pytest into a log, printing each result line as it comes; its exit status."""
    deadline = time.monotonic() + seconds
    with open(log, "w", encoding="utf-8") as out, \
            subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL,
                             cwd=REPO, text=True, errors="replace", start_new_session=True) as process:
        signal.signal(signal.SIGALRM, lambda *_: os.killpg(process.pid, signal.SIGKILL))
        signal.alarm(int(deadline - time.monotonic()))
        for line in process.stdout:
            out.write(line)
            out.flush()
            if re.match(r"\[gw\d+\].*(PASSED|FAILED|ERROR|SKIPPED)", line) or re.match(r"\d+\.\d+s (call|setup)", line):
                print("  " + line.rstrip(), flush=True)
        code = process.wait()
        signal.alarm(0)
        return code


def arguments():
    """The command line."""
    parser = argparse.ArgumentParser(
        prog="tests/run.sh", formatter_class=argparse.RawDescriptionHelpFormatter,
        description="Installs what is missing, builds, and runs every test of the default tier.",
        epilog="Ends with the line 'N passed, N failed'; exit status 1 if anything failed or could not run.\n"
               "Logs and reports are in build/test-reports/.")
    parser.add_argument("--full", action="store_true",
                        help="also the long tests: campaigns, PostgreSQL 14 to 18, Kafka 3.9, three brokers, Debian 13 "
                             "(hours, root; docs/contributing.md)")
    parser.add_argument("--only", metavar="PATTERN",
                        help="only the release and debug builds and the live tests that match (pytest -k)")
    return parser.parse_args()


def main():
    options = arguments()
    total, out = Sum(), REPO / "build" / "test-reports"
    begin = time.monotonic()
    built = set()
    for preset in PRESETS if not options.only else ("release", "debug"):
        with Section(total, f"build {preset}"):
            if build(total, preset, out):
                built.add(preset)
    if not options.only:
        with Section(total, "static checks"):
            step(total, "tests/check.sh", ["bash", "tests/check.sh"], out / "check.log", 1200)
        for preset in UNIT_PRESETS:
            with Section(total, f"unit tests, {preset}"):
                programs = unit_programs(preset) if preset in built else []
                if not programs:
                    total.add(f"unit tests, {preset}", False, "    not built, or no unit test is registered")
                for program in programs:
                    run_unit(total, preset, program, out)
    with Section(total, "live tests"):
        live(total, options, out)
    print(f"all in {time.monotonic() - begin:.0f} s")
    return total.close()


if __name__ == "__main__":
    sys.exit(main())
