"""The migrations, applied by other people's runners: all make the same schema, once, and leave nothing for ours.

EF Core has no tool here: its printed string is read back, as those of all are. Prisma's is a download from elsewhere:
its files are plain SQL, and psql applies them.
"""
import ast
import re
import subprocess

import pytest
import runners
from relay import REPOSITORY, Relay, binary
from schema import GRANTS, MIGRATIONS

FULL_ONLY = ["liquibase", "dbmate", "sqitch", "django", "rails", "prisma", "node-pg-migrate"]


def printed(relay, form, folder, *more):
    """The files that boxrelay makes for that runner."""
    done = relay.command("migrate", "print", "--format", form, "--dir", str(folder), *more)
    assert done.returncode == 0, done.stderr
    return done


def dump(database):
    """The schema as pg_dump writes it, without what differs from one dump to the next."""
    text = subprocess.run(["pg_dump", "--schema-only", "--schema=relay", "-d", database.dsn], capture_output=True,
                          text=True, check=True).stdout
    return [line for line in text.splitlines() if line and not re.match(r"--|SET |SELECT pg_catalog|\\", line)]


@pytest.fixture
def relay(database, tmp_path):
    """A relay that is only asked for commands."""
    return Relay(database.dsn, "127.0.0.1:1", tmp_path)


@pytest.fixture(scope="module")
def wanted(postgres):
    """The schema as psql makes it, with the rights of the roles."""
    from conftest import Database
    made = Database(postgres, postgres.create_database())
    for file in (*MIGRATIONS, GRANTS):
        made.query(file.read_text())
    lines = dump(made)
    made.close()
    return lines


@pytest.mark.seconds(1000)
@pytest.mark.parametrize("form", [
    "plain", "flyway", "golang-migrate", "alembic", "knex",
    *(pytest.param(form, marks=pytest.mark.full) for form in FULL_ONLY)])
def test_a_runner_makes_the_schema(form, relay, database, wanted, tmp_path):
    """Version 1 first, then the newer ones and the rights by --from, then all once more, which is nothing to do."""
    folder = tmp_path / "project/boxrelay/migrations"
    printed(relay, form, folder, "--to", "1")
    runners.apply(form, folder, database.dsn)
    assert database.query("SELECT version FROM relay.schema_version") == [(1,)]
    printed(relay, form, folder, "--from", "2", "--with-grants")
    runners.apply(form, folder, database.dsn)
    applied = database.query("SELECT version, applied_at FROM relay.schema_version ORDER BY 1")
    assert [version for version, _ in applied] == list(range(1, len(MIGRATIONS) + 1))
    said = runners.apply(form, folder, database.dsn)
    assert database.query("SELECT version, applied_at FROM relay.schema_version ORDER BY 1") == applied, said
    assert dump(database) == wanted
    verified = relay.command("migrate", "verify")
    assert verified.returncode == 0, verified.stdout + verified.stderr
    up = relay.command("migrate", "up")
    assert (up.returncode, up.stdout) == (0, f"schema version {len(MIGRATIONS)}\n"), up.stderr


def python_string(text):
    """The value of SQL in a module."""
    return next(ast.literal_eval(node.value) for node in ast.parse(text).body
                if isinstance(node, ast.Assign) and node.targets[0].id == "SQL")


def between(begin, end, *unescape):
    """What stands between two marks, its escapes undone."""
    def read(text):
        inner = text.split(begin, 1)[1].rsplit(end, 1)[0]
        for escaped, plain in unescape:
            inner = inner.replace(escaped, plain)
        return inner
    return read


def whole(text):
    """Plain SQL."""
    return text


JAVASCRIPT = between("const sql = `\n", "`;", ("\\`", "`"), ("\\${", "${"), ("\\\\", "\\"))
READ_BACK = {
    "plain": (whole, "{v:04}_{n}.sql"),
    "flyway": (whole, "V{v:04}__boxrelay_{n}.sql"),
    "liquibase": (between("stripComments:false\n", "--rollback"), "{v:04}_boxrelay_{n}.sql"),
    "golang-migrate": (whole, "{v:06}_boxrelay_{n}.up.sql"),
    "dbmate": (between("-- migrate:up\n", "\n-- migrate:down"), "{t}_boxrelay_{v:04}_{n}.sql"),
    "sqitch": (between("BEGIN;\n\n", "\nCOMMIT;"), "deploy/boxrelay_{v:04}_{n}.sql"),
    "alembic": (python_string, "boxrelay_{v:04}_{n}.py"),
    "django": (python_string, "{v:04}_{n}.py"),
    "rails": (between("<<~'SQL'\n", "    SQL\n"), "{t}_boxrelay_{v:04}_{n}.rb"),
    "prisma": (whole, "{t}_boxrelay_{v:04}_{n}/migration.sql"),
    "ef": (between('migrationBuilder.Sql(@"', '");\n        }\n\n        protected', ('""', '"')), "{t}_Boxrelay{v:04}{c}.cs"),
    "knex": (JAVASCRIPT, "{t}_boxrelay_{v:04}_{n}.cjs"),
    "node-pg-migrate": (JAVASCRIPT, "{t}000_boxrelay_{v:04}_{n}.cjs"),
}


@pytest.mark.parametrize("form", READ_BACK)
def test_printed_files_hold_the_very_text(form, tmp_path):
    """In the tool's own names, the same from stdout, and with the rights behind the last one."""
    read, pattern = READ_BACK[form]
    run("migrate", "print", "--format", form, "--dir", tmp_path / "a")
    run("migrate", "print", "--format", form, "--with-grants", "--dir", tmp_path / "b")
    printed_text = run("migrate", "print", "--format", form).stdout
    for number, file in enumerate(MIGRATIONS, 1):
        name = file.stem[5:]
        path = pattern.format(v=number, n=name, c=name.title().replace("_", ""), t=f"202501010000{number:02}")
        text = (tmp_path / "a" / path).read_text()
        assert read(text) == file.read_text() and text in printed_text and path in printed_text
        if number < len(MIGRATIONS):
            assert (tmp_path / "b" / path).read_text() == text
    last = file.read_text() if form == "plain" else file.read_text() + "\n-- grants.sql\n" + GRANTS.read_text()
    assert read((tmp_path / "b" / path).read_text()) == last
    if form == "plain":
        assert (tmp_path / "b/grants.sql").read_text() == GRANTS.read_text()


def run(*args, code=0):
    """The program without a configuration."""
    done = subprocess.run([binary(), *args], capture_output=True, text=True, check=False)
    assert done.returncode == code, done.stderr
    return done


def test_help_and_documentation_name_every_format():
    """And the program knows no other."""
    said = run("migrate", "print", "--format", "?", code=2).stderr
    assert said.split("there are ")[1].split("\n")[0].split(", ") == list(READ_BACK)
    shown = " ".join(run("help", "migrate", "print").stdout.split())
    page = (REPOSITORY / "docs/migrations.md").read_text()
    assert [form for form in READ_BACK if not re.search(rf"[ ]{form}[, .]", shown) or f"--format {form}" not in page] == []


def test_files_are_not_written_over(tmp_path):
    """The same again is nothing to do; a file that differs stops all, and nothing is written."""
    first = run("migrate", "print", "--format", "flyway", "--dir", tmp_path / "new" / "folder", "--to", "1")
    assert first.stdout == f"wrote {tmp_path}/new/folder/V0001__boxrelay_relay.sql\n"
    assert "what to do next: keep them in a location" in first.stderr
    again = run("migrate", "print", "--format", "flyway", "--dir", tmp_path / "new/folder", "--to", "1")
    assert again.stdout == first.stdout.replace("wrote", "unchanged")
    (tmp_path / "new/folder/V0001__boxrelay_relay.sql").write_text("SELECT 1;\n")
    refused = run("migrate", "print", "--format", "flyway", "--dir", tmp_path / "new/folder", code=1)
    assert "V0001__boxrelay_relay.sql is there and differs" in refused.stderr and "--from" in refused.stderr
    assert [path.name for path in (tmp_path / "new/folder").iterdir()] == ["V0001__boxrelay_relay.sql"]
    (tmp_path / "file").touch()
    assert "cannot" in run("migrate", "print", "--dir", tmp_path / "file", code=1).stderr


def test_a_plan_of_sqitch_is_added_to(tmp_path):
    """A team's plan keeps its lines; ours are added once."""
    plan = tmp_path / "sqitch.plan"
    plan.write_text("%syntax-version=1.0.0\n%project=orders\n\nusers 2024-01-01T00:00:00Z A <a@b.c> # users\n")
    for _ in range(2):
        run("migrate", "print", "--format", "sqitch", "--dir", tmp_path)
    lines = plan.read_text().splitlines()
    assert lines[3].startswith("users ") and [line.split()[0] for line in lines[4:]] == [
        f"boxrelay_{file.stem}" for file in MIGRATIONS]


def test_nothing_newer_is_no_error():
    done = run("migrate", "print", "--from", str(len(MIGRATIONS) + 1))
    assert done.stdout == "" and "no newer migration" in done.stderr
