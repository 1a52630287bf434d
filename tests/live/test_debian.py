"""The program on Debian 13 (librdkafka 2.8, gcc 14, clang 19, PostgreSQL 17), and on Debians that have nothing yet.

Needs root and debootstrap: see tests/servers/debian.py.
"""
import re

import pytest
from servers.debian import Debian

pytestmark = pytest.mark.full

LIVE = ["test_outbox", "test_kafka_room", "test_planted", "test_slices", "test_limits", "test_migrate", "test_cli",
        "test_campaign", "test_inbox", "test_inbox_planted", "test_inbox_campaign", "test_taking"]


@pytest.fixture(scope="module")
def trixie():
    """Debian 13 with all that tests/install.sh installs. Kept: only the first run makes and fills it."""
    with Debian("trixie", keep=True) as debian:
        debian.run("tests/install.sh", "test", seconds=1800)
        debian.run("cmake", "--preset", "debug")
        debian.run("cmake", "--build", "--preset", "debug", seconds=1200)
        yield debian


@pytest.mark.seconds(5400)
def test_it_is_the_newer_library(trixie):
    """Else all that follows would show nothing."""
    said = trixie.run("build/debug/boxrelay", "version")
    found = re.search(r"librdkafka (\d+)\.(\d+)", said)
    assert (int(found[1]), int(found[2])) >= (2, 8), said


@pytest.mark.seconds(1800)
@pytest.mark.parametrize("preset", ["release", "clang"])
def test_newer_compilers_have_nothing_to_say(trixie, preset):
    """Warnings are errors in every preset; the fixture builds debug."""
    trixie.run("cmake", "--preset", preset)
    trixie.run("cmake", "--build", "--preset", preset, seconds=1200)


@pytest.mark.seconds(900)
def test_unit_tests(trixie):
    trixie.run("ctest", "--test-dir", "build/debug", "--output-on-failure", "--no-tests=error", seconds=600)


@pytest.mark.seconds(3000)
@pytest.mark.parametrize("module", LIVE)
def test_live_tests(trixie, module):
    """As a whole run of pytest in there, with servers of its own."""
    said = trixie.run("/usr/bin/python3", "-B", "-m", "pytest", "-p", "no:cacheprovider", "--tb=short",
                      f"tests/live/{module}.py", seconds=2400)
    assert re.search(r"[1-9]\d* passed", said), said


@pytest.mark.seconds(5400)
@pytest.mark.parametrize("suite", ["bookworm", "trixie"])
def test_the_two_commands_of_the_readme_need_nothing(suite):
    """On the smallest Debian there is they install all that they use; the second for one test of each kind only."""
    with Debian(suite, keep=False) as debian:
        assert "Every step was seen to work." in debian.run("docker/playground.sh", "--once", seconds=1800)
        debian.run("tests/run.sh", "--only", "test_a_row_goes_out_as_it_is", seconds=2400)
