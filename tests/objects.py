#!/usr/bin/env python3
"""Lists what the newest version of schema relay consists of, for `boxrelay migrate verify`.

Usage: /usr/bin/python3 tests/objects.py

After a new migration, or a change of one that is not released yet: writes sql/objects/NNNN.txt of the newest
migration; the build embeds it. Lists of older versions stay as they were released.
tests/live/test_verify.py fails while the list is not what the migrations make.
"""
from pathlib import Path

SQL = Path(__file__).resolve().parents[1] / "sql"
MIGRATIONS = sorted((SQL / "migrations").glob("*.sql"))
VERIFY = SQL / "statements/verify.sql"
SAMPLES = {"outbox_sample": "outbox", "inbox_sample": "inbox"}


def version_of(migration):
    """2 of 0002_outbox.sql."""
    return int(migration.name.split("_")[0])


def list_of(version):
    """The file that lists the objects of a version."""
    return SQL / f"objects/{version:04}.txt"


def objects(run):
    """The list of a database with all migrations and the grants, by run(sql) -> rows; leaves two streams behind.

    An outbox and an inbox of a name that occurs nowhere else stand for all of them; the listing of main is left out.
    """
    run("SELECT relay.create_outbox('sample'), relay.create_inbox('sample')")
    run("SET search_path = ''")
    run("PREPARE verify(text) AS " + VERIFY.read_text())
    found = [(kind, place, name, definition) for kind, place, name, _, definition in run("EXECUTE verify('')")]
    def named(field, form):
        for sample, name in SAMPLES.items():
            field = field.replace(sample, form.format(name))
        return field

    sample = {tuple(named(field, "{}") for field in row) for row in found if any(name in "".join(row) for name in SAMPLES)}
    lines = []
    for row in found:
        assert not any("\t" in field or "\n" in field for field in row), row
        if row not in sample:
            lines.append(named("\t".join(row), "{{{}}}") + "\n")
    return "".join(lines)


def main():
    """Writes the list of the newest version."""
    from servers import Postgres
    with Postgres() as server:
        connection = server.connect()
        cursor = connection.cursor()

        def run(sql):
            cursor.execute(sql)
            return cursor.fetchall() if cursor.description else []
        for file in (*MIGRATIONS, SQL / "grants.sql"):
            run(file.read_text())
        path = list_of(version_of(MIGRATIONS[-1]))
        path.parent.mkdir(exist_ok=True)
        path.write_text(objects(run))
        connection.close()
        print(path)


if __name__ == "__main__":
    main()
