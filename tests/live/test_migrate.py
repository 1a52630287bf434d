"""boxrelay migrate up on a real server: two runners at once, a failure that names its line, versions out of reach."""
import json
import re
import subprocess
from concurrent.futures import ThreadPoolExecutor

import pytest
from relay import Relay, wait_until
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
    ("INSERT INTO relay.schema_version VALUES (9, 'future')", "is at version 9, this boxrelay works with 2 to 6")],
    ids=["missing", "old", "new"])
def test_a_schema_out_of_reach_is_refused(relay, database, change, said):
    """By a run, with what to do."""
    relay.migrate()
    database.query(change)
    with relay:
        line = relay.wait_log(said, timeout=30)
    assert line["level"] in ("error", "warning"), line


def apply(database, *files):
    """By psql, as a team's own runner would."""
    subprocess.run(["psql", "-X", "-q", "-1", "-v", "ON_ERROR_STOP=1", "-d", database.dsn,
                    *(word for file in files for word in ("-f", file))], check=True, timeout=60)


def schema_check(relay):
    """(status of /health/ready, its check of the schema)."""
    status, body = relay.get("/health/ready")
    checks = json.loads(body)["checks"] if body else []
    return status, next((check for check in checks if check["name"] == "schema"), {})


def test_a_relay_waits_for_the_schema_and_goes_on_by_itself(kafka, database, topic, tmp_path):
    """Started before the migrations: alive, not ready, names what is missing; the same when the schema gets too new."""
    name = topic()

    def waits_for(said, version):
        def told():
            status, check = schema_check(relay)
            return status == 503 and said in check.get("data", {}).get("error", "") and check
        data = wait_until(told, said)["data"]
        assert data["version"] == version and relay.get("/health/live")[0] == 200

    def publishes(rows):
        database.query("INSERT INTO relay.outbox (topic, payload) VALUES (%s, 'x')", (name,))
        relay.wait_health("/health/ready")
        wait_until(lambda: relay.metric("boxrelay_outbox_published_total") == rows, f"{rows} rows published")

    with Relay(database.dsn, kafka.bootstrap, tmp_path) as relay:
        waits_for("no schema relay yet, 0001_relay.sql is the first migration to apply", 0)
        assert relay.wait_log("SCHEMA_MISSING")["hint"].startswith("run boxrelay migrate up")
        apply(database, MIGRATIONS[0])
        waits_for("migration 0002_outbox.sql was not applied", 1)
        apply(database, *MIGRATIONS[1:])
        publishes(1)
        database.query("INSERT INTO relay.schema_version VALUES (9, 'future')")
        waits_for("is at version 9, this boxrelay works with 2 to", 9)
        database.query("DELETE FROM relay.schema_version WHERE version = 9")
        publishes(2)
        assert relay.logged("the schema fits again")
