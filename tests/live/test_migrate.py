"""boxrelay migrate up on a real server: two runners at once, a failure that names its line, versions out of reach."""
import re
from concurrent.futures import ThreadPoolExecutor

import pytest
from relay import Relay
from schema import MIGRATIONS


@pytest.fixture
def relay(database, tmp_path):
    """A relay that is only asked for commands; no Kafka is needed."""
    return Relay(database.dsn, "127.0.0.1:1", tmp_path)


def test_runners_at_once_apply_each_migration_once(relay, database):
    """All of them succeed; between them each file was applied once."""
    with ThreadPoolExecutor(6) as pool:
        done = list(pool.map(lambda _: relay.command("migrate", "up"), range(6)))
    assert [one.returncode for one in done] == [0] * 6, [one.stderr for one in done]
    said = "".join(one.stdout + one.stderr for one in done)
    assert [said.count(file.stem) for file in MIGRATIONS] == [1] * len(MIGRATIONS), said
    assert database.query("SELECT version FROM relay.schema_version ORDER BY 1") == [
        (number,) for number in range(1, len(MIGRATIONS) + 1)]


def test_a_failure_names_file_and_line_and_leaves_nothing(relay, database):
    """A table of somebody else's in the way: the view that needs its column does not compile."""
    database.query("CREATE SCHEMA relay; CREATE TABLE relay.stream_state (stream uuid)")
    done = relay.command("migrate", "up")
    assert done.returncode != 0
    found = re.search(r"0001_relay\.sql:(\d+): PostgreSQL: column r\.updated_at does not exist", done.stderr)
    assert found, done.stderr
    assert "r.updated_at" in MIGRATIONS[0].read_text().splitlines()[int(found[1]) - 1]
    assert database.query("SELECT to_regclass('relay.stream')") == [(None,)]


def test_a_lock_held_by_another_runner_is_waited_for_and_named(relay, database):
    """For some seconds; then it is to be tried again."""
    holder = database.connect(autocommit=False)
    with holder.cursor() as cursor:
        cursor.execute("SELECT pg_advisory_xact_lock(7426000)")
    done = relay.command("migrate", "up")
    assert done.returncode != 0 and "another migration of this database is running" in done.stderr
    holder.rollback()
    assert relay.command("migrate", "up").returncode == 0


@pytest.mark.parametrize("change, said", [
    ("DROP SCHEMA relay CASCADE", "this database has no schema relay yet"),
    ("DELETE FROM relay.schema_version WHERE version = 2", "migration 0002_outbox.sql was not applied"),
    ("INSERT INTO relay.schema_version VALUES (9, 'future')", "is at version 9, this boxrelay works with 2 to 4")],
    ids=["missing", "old", "new"])
def test_a_schema_out_of_reach_is_refused(relay, database, change, said):
    """By a run, with what to do."""
    relay.migrate()
    database.query(change)
    with relay:
        line = relay.wait_log(said, timeout=30)
    assert line["level"] in ("error", "warning"), line
