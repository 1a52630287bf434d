"""boxrelay migrate verify: finds what somebody changed in the schema, and what it prints mends it."""
import json
import sys
from pathlib import Path

import pytest
from relay import Relay
from schema import GRANTS, MIGRATIONS, Schema, cluster, copy_of_template, empty, migrated, rows  # noqa: F401

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import objects  # noqa: E402

LISTED = sorted(int(path.stem) for path in (objects.SQL / "objects").glob("*.txt"))


def relay_of(schema, folder, user="postgres"):
    """A relay that is only asked for commands."""
    return Relay(schema.server.dsn(schema.name, user=user), "127.0.0.1:1", folder)


def differences(relay):
    """What verify finds, as (difference, kind, name): its line; the exit code fits."""
    done = relay.command("migrate", "verify", "--json")
    assert done.returncode in (0, 3), done.stderr
    found = json.loads(done.stdout)
    assert found["objects"] > 200 and (done.returncode == 3) == bool(found["differences"])
    return {(line["difference"], line["kind"], line["name"]): line for line in found["differences"]}


def apply(schema, last, *more):
    """Migrations to that number."""
    schema.psql(*[file for file in MIGRATIONS if objects.version_of(file) <= last], *more)


def test_the_list_is_what_the_migrations_make(empty):
    """On every server; if not: /usr/bin/python3 tests/objects.py, and look at what changed in sql/objects/."""
    newest = objects.version_of(MIGRATIONS[-1])
    path = objects.list_of(newest)
    assert path.exists(), f"no {path.name}: run /usr/bin/python3 tests/objects.py"
    apply(empty, newest, GRANTS)
    connection = empty.connect()
    assert objects.objects(lambda sql: rows(connection, sql)) == path.read_text(), "run /usr/bin/python3 tests/objects.py"


@pytest.mark.parametrize("version", LISTED)
def test_a_schema_as_migrated_is_as_it_should_be(version, empty, tmp_path):
    """Without the roles' rights, with outboxes, made with an empty search_path; also after an upgrade from there."""
    relay, newest = relay_of(empty, tmp_path), objects.version_of(MIGRATIONS[-1])
    connection = empty.connect()
    rows(connection, "SET search_path = ''")
    for file in MIGRATIONS[:version]:
        rows(connection, file.read_text())
    rows(connection, "SELECT relay.create_outbox('audit'); SELECT relay.create_outbox(repeat('x', 40))")
    assert differences(relay) == {}
    said = relay.command("migrate", "verify")
    assert f"schema version {version}: all " in said.stdout
    assert ("was not applied yet" in said.stderr) == (version < newest)
    for file in MIGRATIONS[version:]:
        rows(connection, file.read_text())
    assert differences(relay) == {}


@pytest.fixture(scope="module")
def played(postgres, tmp_path_factory):
    """A schema with grants and a second outbox, and its relay."""
    from schema import make_template
    make_template(postgres)
    schema = copy_of_template(postgres)
    schema.run("SELECT relay.create_outbox('audit')")
    yield schema, relay_of(schema, tmp_path_factory.mktemp("verify"))
    schema.disconnect()


PAUSE = "relay.pause(text,text)"
PLANTED = [
    ('DROP INDEX relay."outbox#order"', "missing", "index", 'relay."outbox#order"'),
    ('DROP INDEX relay."outbox_audit#xid"', "missing", "index", 'relay."outbox_audit#xid"'),
    ("CREATE INDEX mine ON relay.outbox (topic)", "unexpected", "index", "relay.mine"),
    ("CREATE OR REPLACE FUNCTION relay.pause(stream text, reason text) RETURNS void LANGUAGE plpgsql SECURITY DEFINER "
     "SET search_path TO pg_catalog, pg_temp AS 'BEGIN END'", "changed", "function", PAUSE),
    (f"ALTER FUNCTION {PAUSE} SECURITY INVOKER", "changed", "function", PAUSE),
    (f"ALTER FUNCTION {PAUSE} RESET search_path", "changed", "function", PAUSE),
    ("ALTER FUNCTION relay.outbox_row_is_good STABLE", "changed", "function",
     "relay.outbox_row_is_good(record)"),
    ("DROP FUNCTION relay.resume(text)", "missing", "function", "relay.resume(text)"),
    (f"ALTER FUNCTION {PAUSE} OWNER TO stranger_login", "changed", "owner", f"FUNCTION {PAUSE}"),
    ("ALTER TABLE relay.tick OWNER TO stranger_login", "changed", "owner", "TABLE relay.tick"),
    ('DROP TRIGGER append_only ON relay."outbox#3"', "missing", "trigger", "append_only"),
    ('ALTER TABLE relay."outbox#3" DISABLE TRIGGER append_only', "changed", "trigger state", "append_only"),
    ("CREATE TRIGGER mine AFTER INSERT ON relay.audit EXECUTE FUNCTION relay.refuse_change()", "unexpected", "trigger",
     "mine"),
    ("ALTER TABLE relay.tick DROP COLUMN known_at", "missing", "column", "known_at"),
    ("ALTER TABLE relay.tick ALTER COLUMN timeline TYPE bigint", "changed", "column", "timeline"),
    ("ALTER TABLE relay.outbox ALTER COLUMN type SET NOT NULL", "unexpected", "not null", "type"),
    ('ALTER TABLE relay."outbox#5" ALTER COLUMN key SET NOT NULL', "unexpected", "not null", "key"),
    ("ALTER TABLE relay.tick ALTER COLUMN number DROP NOT NULL", "missing", "not null", "number"),
    ("ALTER TABLE relay.stream ALTER COLUMN generation DROP DEFAULT", "missing", "default", "generation"),
    ('ALTER TABLE relay."outbox#5" DROP CONSTRAINT row_is_good', "missing", "constraint", "row_is_good"),
    ('ALTER TABLE relay."outbox#5" ADD CONSTRAINT mine CHECK (key IS NULL)', "unexpected", "constraint", "mine"),
    ('ALTER TABLE relay.outbox DETACH PARTITION relay."outbox#3"', "missing", "partition", 'relay."outbox#3"'),
    ("ALTER TABLE relay.tick RESET (fillfactor)", "missing", "option", "fillfactor"),
    ("ALTER TABLE relay.stream_state SET UNLOGGED", "changed", "persistence", "relay.stream_state"),
    ("ALTER TABLE relay.outbox ENABLE ROW LEVEL SECURITY", "changed", "row security", "relay.outbox"),
    ("CREATE RULE mine AS ON INSERT TO relay.audit DO INSTEAD NOTHING", "unexpected", "rule", "mine"),
    ('ALTER SEQUENCE relay."outbox#seq" CACHE 20', "changed", "sequence", 'relay."outbox#seq"'),
    ("CREATE OR REPLACE VIEW relay.status AS SELECT name AS stream, NULL::text AS state, NULL::bigint AS pending, "
     "NULL::boolean AS pending_is_bound, NULL::interval AS oldest_age, NULL::float AS rows_per_second, "
     "1::bigint AS dead, 1::bigint AS parked, paused_at, paused_by, paused_reason, NULL::text AS leader, "
     "NULL::text AS error_class, NULL::text AS error_code, NULL::text AS error_text, NULL::text AS error_hint, "
     "NULL::timestamptz AS updated_at FROM relay.stream", "changed", "view", "relay.status"),
    ("REVOKE INSERT ON TABLE relay.outbox FROM relay_app", "changed", "privilege", "relay_app"),
    ("REVOKE EXECUTE ON FUNCTION relay.header_count(text) FROM PUBLIC", "missing", "privilege", "PUBLIC"),
    ("GRANT EXECUTE ON FUNCTION relay.drop_outbox(text) TO PUBLIC", "unexpected", "privilege", "PUBLIC"),
    ("CREATE TABLE relay.mine (a int)", "unexpected", "table", "relay.mine"),
    ("DROP TABLE relay.outbox_audit CASCADE", "missing", "table", "relay.outbox_audit"),
]


@pytest.mark.parametrize("change, difference, kind, name", PLANTED, ids=lambda value: str(value)[:40])
def test_a_change_is_found_and_mended(change, difference, kind, name, played):
    """By the statements that verify prints; a function or view by its migration, as verify says."""
    schema, relay = played
    schema.run(change)
    found = differences(relay)
    assert (difference, kind, name) in found, found
    said = relay.command("migrate", "verify")
    assert said.returncode == 3 and f"{difference}  {kind} {name}" in said.stdout and "what to do" in said.stderr
    mends = [line["mend"] for line in found.values()]
    for mend in mends:
        if mend.endswith(";"):
            schema.run(mend)
        elif kind in ("function", "view"):
            assert mend.endswith(tuple(file.name for file in MIGRATIONS)), mend
            schema.psql(*MIGRATIONS, GRANTS)
        elif difference == "unexpected":
            assert "not ours" in mend
            schema.run(f"DROP TABLE {name}")
        elif name.startswith("relay.outbox_audit"):
            schema.run("UPDATE relay.stream SET dropped_at = now() WHERE name = 'outbox/audit'")
    assert differences(relay) == {}, mends


def test_rights_of_roles_count_only_where_they_were_granted(empty, tmp_path):
    """The roles belong to the cluster: another database may have asked for them."""
    apply(empty, len(MIGRATIONS))
    empty.run("DO $$ BEGIN CREATE ROLE relay_app; EXCEPTION WHEN duplicate_object THEN NULL; END $$")
    empty.run("GRANT ALL ON ALL TABLES IN SCHEMA relay TO relay_app")
    assert differences(relay_of(empty, tmp_path)) == {}


def test_a_user_with_few_rights_may_look(migrated, tmp_path):
    """The relay's own user; a stranger reads what is missing."""
    assert differences(relay_of(migrated, tmp_path, "daemon_login")) == {}
    done = relay_of(migrated, tmp_path, "stranger_login").command("migrate", "verify")
    assert done.returncode == 1 and "permission denied" in done.stderr


@pytest.mark.parametrize("change, code, said", [
    ("DROP SCHEMA relay CASCADE", 1, "SCHEMA_MISSING"),
    ("DELETE FROM relay.schema_version WHERE version > 1", 1, "SCHEMA_TOO_OLD"),
    ("INSERT INTO relay.schema_version VALUES (9, 'future')", 4, "SCHEMA_TOO_NEW")], ids=["missing", "old", "new"])
def test_versions_without_a_list_are_named(migrated, change, code, said, tmp_path):
    migrated.run(change)
    done = relay_of(migrated, tmp_path).command("migrate", "verify")
    assert (done.returncode, done.stdout) == (code, "") and said in done.stderr and "what to do" in done.stderr
