"""The migrations' text keeps to what every runner can take. Needs no server and no program."""
import re

import pytest
from schema import GRANTS, MIGRATIONS

TAGGED = re.compile(r"\$([A-Za-z_]\w*)\$.*?\$\1\$", re.S)
FILES = pytest.mark.parametrize("path", [*MIGRATIONS, GRANTS], ids=lambda path: path.name)

# Anywhere, in comments and strings too: runners look for these without reading SQL.
FORBIDDEN = {
    "a command of psql": r"^\s*\\",
    "a placeholder of JDBC, knex": r"\?",
    "a placeholder of Flyway, JavaScript": r"\$\{",
    "a parameter of SQLAlchemy, psql": r"(?<!:):[A-Za-z_{]",
    "a parameter of .NET": r"(?<![\w@])@\w",
    "an untagged dollar quote": r"\$\$",
    "something outside a transaction": r"\b(CONCURRENTLY|VACUUM|ALTER\s+SYSTEM|(CREATE|DROP)\s+DATABASE)\b",
    "a quote of JavaScript or Python": r"`|\"\"\"",
    "a comment that is not a line's beginning": r"^\s*(?!--)\S.*--|/\*|\*/",
    "a mark of Liquibase or dbmate": r"(?i)^\s*--\s*(liquibase|changeset|rollback|comment|precondition|property|migrate):?\b",
    "a line that ends a heredoc or a batch": r"(?i)^\s*(SQL|GO|/)\s*$",
    "a tab or a carriage return": r"[\t\r]",
}


@FILES
@pytest.mark.parametrize("what", FORBIDDEN)
def test_no_runner_finds(what, path):
    found = [line for line in path.read_text().splitlines() if re.search(FORBIDDEN[what], line)]
    assert found == []


@FILES
def test_the_runner_has_the_transaction(path):
    """No statement begins or ends one; functions and DO blocks neither."""
    outside = re.sub(r"--.*|'[^']*'", "", TAGGED.sub("''", path.read_text()))
    words = "BEGIN|COMMIT|END|ROLLBACK|SAVEPOINT|START TRANSACTION|SET|RESET"
    assert [one.strip() for one in outside.split(";") if re.match(rf"(?i)\s*({words})\b", one)] == []
    assert re.findall(r"(?im)^\s*(COMMIT|ROLLBACK|SAVEPOINT)\b.*$", path.read_text()) == []


@FILES
def test_names_are_qualified(path):
    """What is made, changed or written; tests/live/test_verify.py also runs them with an empty search_path."""
    outside = TAGGED.sub("''", path.read_text())
    named = re.findall(
        r"\b(?:TABLE|VIEW|FUNCTION|SEQUENCE|TYPE|INSERT INTO|UPDATE|DELETE FROM|REFERENCES|FROM|JOIN)\s+"
        r"(?:IF (?:NOT )?EXISTS\s+|ONLY\s+)?([a-z_\"][\w.\"#]*)", re.sub(r"--.*|'[^']*'", "", outside))
    assert len(named) > 5 and [name for name in named if not name.startswith(("relay.", "pg_catalog."))] == []


@pytest.mark.parametrize("path", MIGRATIONS, ids=lambda path: path.name)
def test_each_writes_its_own_row(path):
    """The last statement, harmless when it runs again."""
    version, name = int(path.stem[:4]), path.stem[5:]
    last = path.read_text().rstrip().splitlines()[-1]
    assert last == (f"INSERT INTO relay.schema_version (version, name) VALUES ({version}, '{name}') "
                    "ON CONFLICT DO NOTHING;")
