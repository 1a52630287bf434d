"""Documentation that has drifted from the program fails here. Needs the program, no server."""
import json
import os
import re
import shutil
import subprocess

import pytest

from live.relay import REPOSITORY, binary
from servers.promtool import promtool

README, HANDBOOK, OPERATIONS, DESIGN, WRITING, CONFIGURATION = (REPOSITORY / name for name in (
    "README.md", "docs/handbook.md", "docs/operations.md", "docs/design.md", "docs/writing.md", "docs/configuration.md"))
DUMP = '#include "core/publisher.h"\nint main(void) { publisher_table_dump(stdout); }\n'
RULE = re.compile(r"\[([A-Z]\d+)(?:, ?([A-Z]\d+))*\]")


def run(*args):
    """What the program prints."""
    done = subprocess.run([binary(), *args], env={"PATH": os.environ["PATH"]}, capture_output=True, text=True, check=True)
    return done.stdout


def sources(*folders, suffixes=(".c", ".h", ".py", ".sql", ".cmake", ".sh")):
    """The project's own text files below these folders."""
    for folder in folders:
        for path in sorted((REPOSITORY / folder).rglob("*")):
            if path.suffix in suffixes:
                yield path


def blocks(path, language):
    """The fenced blocks of one language."""
    found = re.findall(r"^ *```(\w*)\n(.*?)^ *```$", path.read_text(), re.M | re.S)
    return [text for name, text in found if name == language]


@pytest.mark.parametrize("path", [README, HANDBOOK, CONFIGURATION], ids=lambda path: path.name)
def test_configuration_examples_pass_check(path, tmp_path):
    found = blocks(path, "json")
    assert found, f"no configuration example in {path.name}"
    for text in found:
        example = tmp_path / "boxrelay.json"
        example.write_text(text)
        done = subprocess.run([binary(), "check", "--config", example], env={"PATH": os.environ["PATH"]},
                              capture_output=True, text=True, check=False)
        assert (done.returncode, "warning" in done.stderr) == (0, False), done.stderr + text


@pytest.mark.parametrize("page, command", [(CONFIGURATION, "help options --markdown"), (OPERATIONS, "help metrics --markdown")],
                         ids=["options", "metrics"])
def test_tables_of_the_documentation_are_the_program_s(page, command):
    made = f"<!-- made by: boxrelay {command} -->\n{run(*command.split())}<!-- end -->"
    assert made in page.read_text(), f"put the output of boxrelay {command} into {page.name} again"


def test_output_shown_of_the_configuration_is_the_program_s(tmp_path):
    """Each block that begins with a command is what it prints, with the page's own files."""
    (tmp_path / "boxrelay.json").write_text(blocks(CONFIGURATION, "json")[1])
    (tmp_path / "wrong.json").write_text(blocks(CONFIGURATION, "jsonc")[0])
    env = {"PATH": f"{os.path.dirname(os.path.abspath(binary()))}:{os.environ['PATH']}", "RELAY_PASSWORD": "s3cret"}
    shown = [block for block in blocks(CONFIGURATION, "") if block.startswith("$ boxrelay")]
    assert len(shown) >= 3
    for block in shown:
        command = block.splitlines()[0][2:]
        done = subprocess.run(command, shell=True, cwd=tmp_path, env=env, capture_output=True, text=True, check=False)
        assert done.stdout + done.stderr == block.split("\n", 1)[1], command


def test_every_command_is_in_the_handbook():
    listed = run("help").split("Commands\n")[1].split("\n\n")[0]
    text = HANDBOOK.read_text()
    missing = [line.split()[0] for line in listed.splitlines() if not re.search(rf"[`,] ?(boxrelay )?{line.split()[0]}\b", text)]
    assert missing == []


def test_every_error_code_is_explained():
    called = re.compile(r'error_set\(\s*&?[\w>.-]+,\s*(?:ERROR_\w+|\w+),\s*"([A-Z_]+)"')
    codes = {code for path in sources("relay", suffixes=(".c",)) for code in called.findall(path.read_text())}
    assert len(codes) > 40
    assert sorted(code for code in codes - {"FAULT"} if f"`{code}`" not in OPERATIONS.read_text()) == []


def test_every_log_field_is_explained():
    called = re.compile(r'LOG_(?:STR|INT|INT_IF)\("([^"]+)"')
    fields = {name for path in sources("relay", "include", suffixes=(".c", ".h")) for name in called.findall(path.read_text())}
    text = OPERATIONS.read_text().split("## Logs")[1].split("\n## ")[0]
    assert len(fields) > 30 and sorted(name for name in fields if f"`{name}`" not in text) == []


def test_alerts_are_valid_and_use_metrics_that_exist(tmp_path):
    (rules,) = [block for block in blocks(OPERATIONS, "yaml") if block.startswith("groups:")]
    (tmp_path / "rules.yml").write_text(rules)
    done = subprocess.run([promtool(), "check", "rules", tmp_path / "rules.yml"], capture_output=True, text=True, check=False)
    assert done.returncode == 0 and "SUCCESS" in done.stdout, done.stdout + done.stderr
    named = {re.sub("_bucket$", "", name) for name in re.findall(r"boxrelay_\w+", rules)}
    assert len(named) > 6 and named <= set(re.findall(r"^boxrelay_\w+", run("help", "metrics"), re.M))


def test_the_unit_file_is_valid(tmp_path):
    if not shutil.which("systemd-analyze"):
        pytest.skip("no systemd-analyze")
    (unit,) = blocks(OPERATIONS, "ini")
    (tmp_path / "boxrelay.service").write_text(unit.replace("/usr/local/bin/boxrelay", binary()))
    done = subprocess.run(["systemd-analyze", "verify", tmp_path / "boxrelay.service"], capture_output=True, text=True,
                          check=False)
    assert [line for line in done.stderr.splitlines() if "boxrelay" in line] == []


def test_pages_named_in_the_documentation_exist():
    served = set(re.findall(r'"(/[a-z/]+)"', (REPOSITORY / "relay/app/http.c").read_text().split("routes[] = {")[1].split("};")[0]))
    named = set(re.findall(r"`(/(?:health|livez|readyz|actuator|metrics|status)[a-z/]*)", OPERATIONS.read_text()))
    probed = set(re.findall(r"path: (/[a-z/]+)", OPERATIONS.read_text()))
    assert served == named and len(probed) == 3 and probed <= served


@pytest.mark.parametrize("machine, count", [("publisher", 16), ("subscriber", 10)])
def test_every_state_is_explained(machine, count):
    source = (REPOSITORY / f"relay/core/{machine}.c").read_text()
    source = source.split(f"*{machine}_state_name(", 1)[1].split(f"*{machine}_event_name(", 1)[0]
    names = re.findall(rf'\[{machine.upper()}_\w+\]\s*= "([a-z]+)"', source)
    text = OPERATIONS.read_text()
    assert len(names) == count and [name for name in names if f"`{name}`" not in text] == []


def test_every_column_is_in_the_page_on_writing():
    table = (REPOSITORY / "sql/migrations/0002_outbox.sql").read_text().split("CREATE TABLE relay.%1$I (", 1)[1]
    columns = re.findall(r"^ {12}([a-z_]+) (?:xid8|bigint|text|bytea|uuid|integer|timestamptz)", table, re.M)
    assert len(columns) == 12
    rows = WRITING.read_text().split("\n| column | type", 1)[1].split("\n\n", 1)[0]
    assert [name for name in columns if f"`{name}`" not in rows] == []


def test_every_rule_named_in_code_is_in_the_design():
    described = set(re.findall(r"\*\*\[([A-Z]\d+)\]", DESIGN.read_text()))
    named = {}
    for path in sources("relay", "include", "sql", "cmake", "tests"):
        for match in RULE.finditer(path.read_text(errors="replace")):
            for rule in re.findall(r"[A-Z]\d+", match.group()):
                named.setdefault(rule, path.relative_to(REPOSITORY))
    families = {rule[0] for rule in described}
    assert {rule: str(path) for rule, path in named.items() if rule[0] in families and rule not in described} == {}


def test_every_test_named_in_the_documentation_exists():
    for path in (README, *sorted((REPOSITORY / "docs").glob("*.md"))):
        for name, test in re.findall(r"(tests/[\w/]+\.(?:py|c))::(\w+)", path.read_text()):
            text = (REPOSITORY / name).read_text() if (REPOSITORY / name).exists() else ""
            assert re.search(rf"^(?:def|static void) {test}\(", text, re.M), f"{path.name}: {name}::{test}"


def test_files_and_links_named_in_the_documentation_exist():
    for path in (README, *sorted((REPOSITORY / "docs").glob("*.md"))):
        for target in re.findall(r"\]\(([^)#:]+)(?:#[\w-]+)?\)", path.read_text()):
            assert (path.parent / target).exists(), f"{path.name}: {target}"
        for target in re.findall(r"\]\(#([\w-]+)\)", path.read_text()):
            heads = [re.sub(r"[^\w -]", "", head).lower().replace(" ", "-")
                     for head in re.findall(r"^#+ (.+)$", path.read_text(), re.M)]
            assert target in heads, f"{path.name}: #{target}"


def test_the_state_table_of_the_design_is_the_publisher_s(tmp_path):
    (tmp_path / "dump.c").write_text(DUMP)
    rooms = [REPOSITORY / "relay/core/publisher.c", REPOSITORY / "relay/core/backoff.c"]
    subprocess.run(["gcc", "-D_GNU_SOURCE", f"-I{REPOSITORY}/include", "-o", tmp_path / "dump", tmp_path / "dump.c", *rooms],
                   check=True)
    table = subprocess.run([tmp_path / "dump"], capture_output=True, text=True, check=True).stdout
    wanted = [line.rstrip() for line in table.splitlines()
              if line.split()[1] in ("done", "nothing", "no", "is") and line.split()[0] != "idle"]
    shown = next(block for block in blocks(DESIGN, "") if block.startswith("connect "))
    assert shown.splitlines() == wanted


def test_the_four_lines_are_the_same_everywhere():
    """README's configuration is what the playground shows: the least that runs."""
    assert set(json.loads(blocks(README, "json")[0])) == {"name", "postgres", "kafka"}
