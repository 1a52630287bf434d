"""The migrations on real servers: any runner can apply them, and what they make keeps its rules."""
import io
import re
import subprocess
import time
from concurrent.futures import ThreadPoolExecutor

import psycopg2
import psycopg2.extensions
import pytest
from schema import (GRANTS, MIGRATIONS, SQL, Background, blank, cluster, common, empty, migrated,  # noqa: F401
                    refused, rows, waits_for_lock)
from servers.process import stretched

ALL_SQL = [*MIGRATIONS, GRANTS]

# --- the text: what some runner would take for its own -------------------------------------------


def forbidden(text):
    """Everything in a migration that one of the runners does not take as plain SQL."""
    found = []
    for number, line in enumerate(text.splitlines(), 1):
        comment = line[line.index("--"):] if "--" in line else ""
        for what, pattern, where in (
                ("? is a parameter", r"\?", line),
                ("${ is a variable", r"\$\{", line),
                (":word is a parameter", r"(?<!:):[A-Za-z0-9_\"']", line),
                ("psql command", r"^\s*\\", line),
                ("transaction control", r"^\s*(BEGIN|COMMIT|ROLLBACK|START\s+TRANSACTION|SAVEPOINT)\b.*;", line),
                ("CONCURRENTLY", r"(?i)\bconcurrently\b", line),
                ("untagged dollar quote", r"\$\$", line),
                ("; or quote in a comment splits statements", r"[;']", comment),
                ("a line with / alone ends a statement", r"^/$", line),
                ("not ASCII", r"[^\x00-\x7f]", line)):
            if re.search(pattern, where):
                found.append(f"{number}: {what}: {line.strip()}")
    return found


@pytest.mark.parametrize("line", ["SELECT a ?| b", "-- ${name}", "-- at :name", "  \\set x 1", "COMMIT;", "BEGIN ;",
                                  "CREATE INDEX CONCURRENTLY i", "AS $$", "-- don't", "-- a; b", "/"])
def test_the_scan_of_texts_sees(line):
    """Each rule of the scan itself."""
    assert forbidden(f"SELECT 1;\n{line}\n")


@pytest.mark.parametrize("file", ALL_SQL, ids=lambda file: file.name)
def test_text_is_plain_sql(file):
    """No runner finds anything of its own in it."""
    assert forbidden(file.read_text()) == []


@pytest.mark.parametrize("number, file", list(enumerate(MIGRATIONS, 1)), ids=lambda value: str(value)[-12:])
def test_migrations_are_numbered_without_gaps(number, file):
    """And each one writes its own row."""
    version, _, name = file.stem.partition("_")
    assert int(version) == number
    assert f"INSERT INTO relay.schema_version (version, name) VALUES ({number}, '{name}')" in file.read_text()


# --- applying ------------------------------------------------------------------------------------

SHAPE = """
SELECT c.relname, c.relkind::text, c.reloptions::text, c.relacl::text, obj_description(c.oid)
    FROM pg_class c WHERE relnamespace = 'relay'::regnamespace
UNION ALL SELECT attrelid::regclass::text, attname, format_type(atttypid, atttypmod) || attnotnull::text || attcompression::text,
        attacl::text, pg_get_expr(adbin, adrelid)
    FROM pg_attribute a LEFT JOIN pg_attrdef d ON adrelid = attrelid AND adnum = attnum
    WHERE attnum > 0 AND attrelid::regclass::text LIKE 'relay.%%'
UNION ALL SELECT conrelid::regclass::text, conname, pg_get_constraintdef(oid), NULL, NULL
    FROM pg_constraint WHERE connamespace = 'relay'::regnamespace
UNION ALL SELECT tgrelid::regclass::text, tgname, pg_get_triggerdef(oid), NULL, NULL
    FROM pg_trigger WHERE tgrelid::regclass::text LIKE 'relay.%%'
UNION ALL SELECT oid::regprocedure::text, pg_get_functiondef(oid), proacl::text, obj_description(oid), NULL
    FROM pg_proc WHERE pronamespace = 'relay'::regnamespace
UNION ALL SELECT 'stream', name, uuid::text, partition::text, generation::text FROM relay.stream
UNION ALL SELECT 'tick', slot::text, number::text, uuid::text, written_at::text FROM relay.tick
UNION ALL SELECT 'version', version::text, name, applied_at::text, NULL FROM relay.schema_version
ORDER BY 1, 2, 3, 4, 5"""


def shape(schema):
    """Everything that a second run could have changed. Debian's pg_dump where it takes the server."""
    if schema.server.version > 15:
        return rows(schema.connect(), SHAPE.replace("%%", "%"))
    done = subprocess.run(["pg_dump", "-d", schema.server.dsn(schema.name)], capture_output=True, text=True,
                          timeout=60, check=True)
    return [line for line in done.stdout.splitlines() if not line.startswith(("\\restrict", "\\unrestrict"))]


def test_psql_applies_them_twice_with_the_same_result(empty):
    """The second run only says that all is there."""
    empty.psql(*MIGRATIONS, GRANTS)
    once = shape(empty)
    said = empty.psql(*MIGRATIONS, GRANTS)
    assert shape(empty) == once
    assert all("already exists, skipping" in line for line in said.splitlines()), said


def test_simple_query_in_a_transaction_applies_them_twice(empty):
    """As the runners that send a whole file do. Rolled back, nothing is left."""
    connection = empty.connect(autocommit=False)
    for file in ALL_SQL:
        rows(connection, file.read_text())
    connection.rollback()
    assert empty.value("SELECT to_regnamespace('relay')") is None
    for _ in range(2):
        for file in ALL_SQL:
            rows(connection, file.read_text())
            connection.commit()
    assert empty.run("SELECT version, name FROM relay.schema_version ORDER BY 1") == [
        (int(file.stem[:4]), file.stem[5:]) for file in MIGRATIONS]


def test_a_hostile_search_path_changes_nothing(empty):
    """Everything is qualified: objects go into relay, whatever the runner's search_path says."""
    connection = empty.connect()
    rows(connection, "CREATE SCHEMA other; SET search_path TO other, pg_catalog")
    for file in ALL_SQL:
        rows(connection, file.read_text())
    assert empty.value("SELECT count(*) FROM pg_class WHERE relnamespace = 'other'::regnamespace") == 0
    assert empty.value("SELECT relay.publish('t', 'k', 'v') IS NOT NULL")


def test_a_restored_dump_refuses_the_same_rows(migrated, empty):
    """Each slot has its own check of the row as a whole."""
    if migrated.server.version > 15:
        pytest.skip("Debian's pg_dump takes no server newer than itself")
    dump = subprocess.run(["pg_dump", "-d", migrated.server.dsn(migrated.name)], capture_output=True, timeout=60, check=True)
    subprocess.run(["psql", "-qX", "-v", "ON_ERROR_STOP=1", "-d", empty.server.dsn(empty.name)], input=dump.stdout,
                   capture_output=True, timeout=60, check=True)
    for turn in range(8):
        for schema in (migrated, empty):
            schema.run("SELECT setval('relay.\"outbox#seq\"', %s)", ((turn << 32) + 1,))
            assert "is not a name that a Kafka topic can have" in schema.refused("SELECT relay.publish('a b', 'k', 'v')")
            schema.run("SELECT relay.publish('t', 'k', 'v')")


def test_they_work_without_the_roles_and_without_superuser(empty):
    """A plain owner of the database migrates; grants.sql then needs CREATEROLE, and leaves the owner able to."""
    name = f"migrator_{empty.name}"
    empty.run(f"CREATE ROLE {name} LOGIN CREATEROLE; ALTER DATABASE {empty.name} OWNER TO {name}")
    for role in ("relay_owner", "relay_app", "relay_daemon"):
        empty.run(f"GRANT {role} TO {name} WITH ADMIN OPTION")
    try:
        empty.psql(*MIGRATIONS, user=name)
        assert empty.run("SELECT relay.publish('t', 'k', 'v') IS NOT NULL", user=name) == [(True,)]
        empty.psql(GRANTS, user=name)
        empty.psql(*MIGRATIONS, GRANTS, user=name)
        assert empty.run("SELECT relay.create_outbox('audit') IS NOT NULL", user=name) == [(True,)]
        assert empty.value("SELECT pg_get_userbyid(relowner) FROM pg_class "
                           "WHERE oid = 'relay.outbox_audit'::regclass") == "relay_owner"
    finally:
        empty.run(f"ALTER DATABASE {empty.name} OWNER TO postgres")
        empty.run(f"DROP OWNED BY {name}; DROP ROLE {name}")


# --- streams -------------------------------------------------------------------------------------


def test_a_stream_starts_with_its_ring_of_ticks(migrated):
    """Slot 0 is tick 0, the others never were; all name this server and database."""
    migrated.run("SELECT relay.create_outbox('audit')")
    ticks = migrated.run("""
        SELECT slot, number, known_number, system_identifier = (SELECT system_identifier FROM pg_control_system()),
               database_oid = (SELECT oid FROM pg_database WHERE datname = current_database()), timeline, format
        FROM relay.tick JOIN relay.stream s ON s.uuid = stream WHERE name = 'outbox/audit' ORDER BY slot""")
    assert ticks == [(slot, slot - 16 if slot else 0, None, True, True, 1, 1) for slot in range(16)]
    assert migrated.value("SELECT count(DISTINCT uuid) = 32 FROM relay.tick")


def test_ticks_stay_in_their_pages(migrated):
    """Updates are HOT: a thousand ticks do not grow the table."""
    migrated.run("""DO $test$ BEGIN FOR n IN 1..1000 LOOP
        UPDATE relay.tick SET number = n, uuid = gen_random_uuid(), known_number = n - 1, known_uuid = uuid,
            known_snapshot = pg_current_snapshot(), known_offset = n, known_at = now(), written_at = now()
            WHERE slot = n % 16; COMMIT; END LOOP; END $test$""")
    assert migrated.value("SELECT pg_relation_size('relay.tick') <= 4 * 8192")
    assert "slot_is_number_modulo_16" in migrated.refused("UPDATE relay.tick SET number = 5 WHERE slot = 4")


def test_create_again_leaves_it_as_it_is(migrated):
    """A NOTICE, the same stream."""
    connection = migrated.connect()
    made = rows(connection, "SELECT relay.create_outbox('audit')")
    migrated.run("SELECT relay.publish('t', 'k', 'v', outbox => 'audit')")
    assert rows(connection, "SELECT relay.create_outbox('audit')") == made
    assert 'outbox "audit" exists already, left as it is' in connection.notices[-1]
    assert migrated.value("SELECT count(*) FROM relay.outbox_audit") == 1
    assert migrated.run("SELECT name, kind, short_name, relation, partition FROM relay.stream ORDER BY partition") == [
        ("outbox/main", "outbox", "main", "relay.outbox", 0),
        ("outbox/audit", "outbox", "audit", "relay.outbox_audit", 1),
        ("inbox/main", "inbox", "main", "relay.inbox", None)]


@pytest.mark.parametrize("name", ["", "Audit", "1st", "a-b", "a" * 41, "_x", "ä", "a\n", "a b", 'x"; DROP TABLE y'])
def test_bad_names_are_refused(blank, name):
    """With the rule in the hint."""
    for call in ("create_outbox", "drop_outbox", "create_inbox", "drop_inbox"):
        said = blank.refused(f"SELECT relay.{call}(%s)", (name,))
        assert said.startswith(f'"{name}" cannot be the name of an {call.split("_")[1]} | A name is a lower case letter')
    assert "cannot be the name of an outbox" in blank.refused("SELECT relay.create_outbox(NULL)")


def test_names_do_not_collide(migrated):
    """Whatever an outbox is called, its table, partitions, sequence and indexes are its own."""
    names = ["a", "seq", "a_seq", "a_seq_seq", "a_s0", "s0", "a_0", "xid", "order", "a" * 40, "select", "outbox"]
    for name in names:
        migrated.run("SELECT relay.create_outbox(%s)", (name,))
        assert migrated.value("SELECT relay.publish('t', 'k', %s, outbox => %s) IS NOT NULL", (name, name))
    assert migrated.value("SELECT count(*) FROM relay.stream WHERE kind = 'outbox' AND dropped_at IS NULL") == len(names) + 1
    assert migrated.value("SELECT max(partition) FROM relay.stream") == len(names)


def test_concurrent_creation_gives_distinct_partitions(migrated):
    """Also of one name at the same time, and with rollbacks between: no number twice, no gap."""
    def create(number):
        connection = migrated.connect(autocommit=False)
        made = rows(connection, "SELECT relay.create_outbox(%s)", (f"o{number % 6}" if number < 12 else "lost",))
        if number < 12:
            connection.commit()
        else:
            connection.rollback()
        return made
    with ThreadPoolExecutor(6) as pool:
        made = list(pool.map(create, [0, 6, 12, 1, 7, 13, 2, 8, 14, 3, 9, 15, 4, 10, 5, 11]))
    assert len({uuid for found in made for uuid in found}) == 6 + 4
    assert migrated.run("SELECT partition FROM relay.stream WHERE kind = 'outbox' ORDER BY 1") == [(n,) for n in range(7)]
    assert migrated.value("SELECT next_partition FROM relay.identity") == 7


def know(schema, outbox="main", snapshot="pg_current_snapshot()"):
    """As if the relay had published all that is there, and had stored that as known."""
    schema.run(f"""UPDATE relay.tick t SET number = 1, slot = 1, known_number = 0, known_snapshot = {snapshot}
        FROM relay.stream s WHERE t.slot = 1 AND s.uuid = t.stream AND s.name = %s AND s.dropped_at IS NULL""",
               (f"outbox/{outbox}",))


def test_dropped_and_made_again_is_another_stream(migrated):
    """New uuid, new partition; the old row stays, its partition stays taken."""
    first = migrated.value("SELECT relay.create_outbox('audit')")
    migrated.run("SELECT relay.drop_outbox('audit')")
    assert migrated.value("SELECT to_regclass('relay.outbox_audit')") is None
    assert migrated.value("SELECT count(*) FROM relay.tick WHERE stream = %s", (first,)) == 0
    assert migrated.value("SELECT relay.create_outbox('audit')") != first
    assert migrated.run("SELECT partition, dropped_at IS NULL, generation FROM relay.stream "
                        "WHERE name = 'outbox/audit' ORDER BY 1") == [(1, False, 1), (2, True, 0)]
    assert migrated.run("SELECT action, actor FROM relay.audit ORDER BY id DESC LIMIT 3") == [
        ("create_outbox", "postgres"), ("drop_outbox", "postgres"), ("create_outbox", "postgres")]


def test_drop_refuses_while_something_is_unpublished(migrated):
    """Never run, known too early, still open in the known position, being published; then it goes."""
    said = 'outbox "main" has rows that are not known to be published, it is not dropped | Let the relay publish ' \
           "them first, or give them up with boxrelay rebase outbox/main --to now."
    migrated.run("SELECT relay.publish('t', 'k', 'v')")
    assert migrated.refused("SELECT relay.drop_outbox('main')") == said
    writer = migrated.connect(autocommit=False)
    rows(writer, "SELECT relay.publish('t', 'k', 'open')")
    migrated.run("SELECT relay.publish('t', 'k', 'a later one, so that the open one is in the list of the snapshot')")
    know(migrated)
    writer.commit()
    assert migrated.refused("SELECT relay.drop_outbox('main')") == said
    know(migrated)
    migrated.run("INSERT INTO relay.stream_state (stream, state) SELECT uuid, 'tick' FROM relay.stream")
    assert 'outbox "main" is being published just now (state tick)' in migrated.refused(
        "SELECT relay.drop_outbox('main')")
    migrated.run("UPDATE relay.stream_state SET state = 'poll'")
    migrated.run("SELECT relay.drop_outbox('main')")
    assert migrated.refused("SELECT relay.publish('t', 'k', 'v')") == 'relation "relay.outbox" does not exist'


def test_drop_refuses_old_snapshots_and_unknown_names(migrated):
    """Under REPEATABLE READ the look for unpublished rows would see the past."""
    connection = migrated.connect(autocommit=False)
    connection.set_session(isolation_level="REPEATABLE READ")
    assert "relay.drop_outbox needs isolation level READ COMMITTED, this transaction has REPEATABLE READ" in refused(
        connection, "SELECT relay.drop_outbox('main')")
    assert migrated.refused("SELECT relay.drop_outbox('nope')") == \
        'there is no stream "outbox/nope" | Streams of this database are inbox/main, outbox/main.'


def test_drop_waits_for_writers_but_not_for_ever(migrated):
    """A writer that commits while it waits is seen; one that stays open ends it after 5 seconds."""
    writer = migrated.connect(autocommit=False)
    rows(writer, "SELECT relay.publish('t', 'k', 'v')")
    connection = migrated.connect()
    dropping = Background(connection, "SELECT relay.drop_outbox('main')")
    waits_for_lock(migrated, connection)
    writer.commit()
    with pytest.raises(psycopg2.errors.ObjectInUse):
        dropping.wait()
    rows(writer, "SELECT relay.publish('t', 'k', 'v')")
    begun = time.monotonic()
    assert migrated.refused("SELECT relay.drop_outbox('main')") == "canceling statement due to lock timeout"
    assert 4 < time.monotonic() - begun < stretched(15)


# --- operators -----------------------------------------------------------------------------------


def test_pause_and_resume(migrated):
    """Kept with who and why; a relay notices by the generation; each is in the audit."""
    migrated.run("SELECT relay.pause('outbox/main', 'topic is being moved')")
    migrated.run("SELECT relay.pause('outbox/main', reason => 'still')", user="daemon_login")
    assert migrated.run("SELECT stream, paused_by, paused_reason FROM relay.status WHERE paused_at IS NOT NULL") == [
        ("outbox/main", "daemon_login", "still")]
    migrated.run("SELECT relay.resume('outbox/main')")
    assert migrated.run("SELECT paused_at, paused_by, paused_reason, generation FROM relay.stream WHERE name = 'outbox/main'") == [
        (None, None, None, 3)]
    connection = migrated.connect()
    rows(connection, "SELECT relay.resume('outbox/main')")
    assert 'stream "outbox/main" is not paused' in connection.notices[-1]
    assert migrated.run("SELECT actor, action, stream, detail ->> 'reason', detail ->> 'application_name' "
                        "FROM relay.audit WHERE action IN ('pause', 'resume') ORDER BY id") == [
        ("postgres", "pause", "outbox/main", "topic is being moved", "test"),
        ("daemon_login", "pause", "outbox/main", "still", "test"),
        ("postgres", "resume", "outbox/main", "still", "test")]


def test_unknown_streams_are_refused_with_the_known_ones(migrated):
    """In pause and resume alike; a dropped one is unknown."""
    migrated.run("SELECT relay.create_outbox('b'), relay.create_outbox('a')")
    migrated.run("SELECT relay.drop_outbox('b')")
    for call in ("pause('outbox/b', 'x')", "resume('outbox/b')"):
        assert migrated.refused(f"SELECT relay.{call}") == \
            'there is no stream "outbox/b" | Streams of this database are inbox/main, outbox/a, outbox/main.'


def test_status_shows_a_row_for_each_stream(migrated):
    """What is old is unknown; the age of the oldest row goes on rising."""
    migrated.run("SELECT relay.create_outbox('audit')")
    migrated.run("""INSERT INTO relay.stream_state (stream, state, leader, pending, oldest_at, error_text)
        SELECT uuid, 'poll', 'here', 3, clock_timestamp() - interval '5 seconds', 'x' FROM relay.stream
        WHERE name = 'outbox/main'""")
    sql = """SELECT stream, state, pending, oldest_age BETWEEN '5 s' AND '60 s', dead, parked, leader, error_text
        FROM relay.status WHERE stream LIKE 'outbox/%%' ORDER BY 1"""
    assert migrated.run(sql) == [("outbox/audit", "unknown", None, None, 0, 0, None, None),
                                 ("outbox/main", "poll", 3, True, 0, 0, "here", "x")]
    migrated.run("UPDATE relay.stream_state SET updated_at = clock_timestamp() - interval '31 seconds'")
    assert migrated.run(sql)[1][:3] == ("outbox/main", "unknown", 3)
    migrated.run("UPDATE relay.stream_state SET pending = 0")
    assert migrated.value("SELECT oldest_age FROM relay.status WHERE stream = 'outbox/main'") is None


# --- roles ---------------------------------------------------------------------------------------

APP_MAY = ["INSERT INTO relay.outbox (topic, key, payload, headers, partition, created_at) "
           "VALUES ('t', 'k', 'v', '{\"a\": \"b\"}', 1, now()) RETURNING id, topic, payload, created_at",
           "SELECT relay.publish('t', 'k', 'v')",
           "SELECT relay.publish('t', 'k', '\\x00'::bytea, headers => '{}'::jsonb, outbox => 'audit')",
           "SELECT relay.publish_ordered('t', 'k', '{}'::jsonb)",
           "INSERT INTO relay.outbox_audit (topic) VALUES ('t') RETURNING id",
           "SELECT id, payload FROM relay.outbox"]
APP_MAY_NOT = [("INSERT INTO relay.outbox (topic, xid) VALUES ('t', '5')", "table outbox"),
               ("INSERT INTO relay.outbox (topic, seq) OVERRIDING SYSTEM VALUE VALUES ('t', 5)", "table outbox"),
               ("COPY relay.outbox (seq, topic) FROM STDIN", "table outbox"),
               ("INSERT INTO relay.outbox (topic) VALUES ('t') RETURNING seq", "table outbox"),
               ("SELECT xid FROM relay.outbox", "table outbox"),
               ('INSERT INTO relay."outbox#0" (topic) VALUES (\'t\')', "table outbox#0"),
               ("UPDATE relay.outbox SET topic = 'x'", "table outbox"),
               ("DELETE FROM relay.outbox", "table outbox"),
               ("TRUNCATE relay.outbox", "table outbox"),
               ("SELECT setval('relay.\"outbox#seq\"', 1)", "sequence outbox#seq"),
               ("SELECT nextval('relay.\"outbox#seq\"')", "sequence outbox#seq"),
               ("SELECT 1 FROM relay.tick", "table tick"),
               ("UPDATE relay.stream SET paused_at = now()", "table stream"),
               ("SELECT relay.pause('outbox/main', 'x')", "function pause"),
               ("SELECT relay.create_outbox('x')", "function create_outbox"),
               ("SELECT relay.drop_outbox('main')", "function drop_outbox"),
               ("SELECT relay.clean(gen_random_uuid(), '0')", "function clean"),
               ("CREATE TABLE relay.x ()", "schema relay")]
DAEMON_MAY = ["UPDATE relay.identity SET name = 'orders' WHERE name IS NULL",
              "SELECT * FROM relay.outbox, relay.outbox_audit, relay.schema_version, relay.status",
              "UPDATE relay.stream SET generation = generation + 1",
              "INSERT INTO relay.audit (actor, action, stream, detail) VALUES ('a', 'b', 'c', '{}')",
              "SELECT relay.pause('outbox/main', 'x'), relay.resume('outbox/main')",
              "SELECT relay.clean(uuid, '1 day') FROM relay.stream WHERE name = 'outbox/main'",
              "SELECT * FROM relay.slot, relay.cleanup",
              "INSERT INTO relay.stream_state (stream, state) SELECT uuid, 'poll' FROM relay.stream "
              "ON CONFLICT (stream) DO UPDATE SET state = excluded.state"]
DAEMON_MAY_NOT = [("INSERT INTO relay.outbox (topic) VALUES ('t')", "table outbox"),
                  ("UPDATE relay.outbox SET topic = 'x'", "table outbox"),
                  ("DELETE FROM relay.outbox", "table outbox"),
                  ("TRUNCATE relay.outbox", "table outbox"),
                  ("UPDATE relay.stream SET partition = 7", "table stream"),
                  ("UPDATE relay.identity SET next_partition = 7", "table identity"),
                  ("DELETE FROM relay.tick", "table tick"),
                  ("UPDATE relay.slot SET covered_at = now()", "table slot"),
                  ("SELECT relay.empty_slot(s, 0::smallint) FROM relay.stream s", "function empty_slot"),
                  ("SELECT relay.take_step(s, '0') FROM relay.stream s", "function take_step"),
                  ("SELECT setval('relay.\"outbox#seq\"', 1)", "sequence outbox#seq"),
                  ("DELETE FROM relay.audit", "table audit"),
                  ("UPDATE relay.audit SET actor = 'x'", "table audit"),
                  ("INSERT INTO relay.schema_version VALUES (9, 'x')", "table schema_version"),
                  ("SELECT relay.drop_outbox('main')", "function drop_outbox"),
                  ("SELECT relay.register_stream('outbox', 'x', 'y')", "function register_stream"),
                  ("CREATE TABLE relay.x ()", "schema relay"),
                  ("CREATE SCHEMA x", "database")]
STRANGER_MAY_NOT = ["SELECT relay.publish('t', 'k', 'v')", "INSERT INTO relay.outbox (topic) VALUES ('t')",
                    "SELECT 1 FROM relay.status", "SELECT relay.create_outbox('x')"]


@pytest.mark.parametrize("user, may, may_not", [("app_login", APP_MAY, APP_MAY_NOT),
                                                ("daemon_login", DAEMON_MAY, DAEMON_MAY_NOT),
                                                ("stranger_login", [], [(s, "schema relay") for s in STRANGER_MAY_NOT])],
                         ids=["app", "daemon", "stranger"])
def test_roles_have_what_they_need_and_no_more(migrated, user, may, may_not):
    """Also on an outbox made after the grants."""
    migrated.run("SELECT relay.create_outbox('audit')")
    for sql in may:
        migrated.run(sql, user=user)
    for sql, what in may_not:
        assert f"permission denied for {what}" in migrated.refused(sql, user=user), sql
    if user != "stranger_login":
        assert "must be owner of table outbox" in migrated.refused("ALTER TABLE relay.outbox ADD x int", user=user)
        assert "must be owner" in migrated.refused("DROP TABLE relay.outbox", user=user)


STATEMENTS = sorted((SQL / "statements").glob("*.sql"))


def copy_nothing(connection, sql):
    """COPY cannot be prepared: runs it with no row."""
    empty = b"PGCOPY\n\xff\r\n\0" + bytes(8) + b"\xff\xff"
    with connection.cursor() as cursor:
        cursor.copy_expert(sql, io.BytesIO(empty))


def test_the_daemon_may_run_every_statement_of_the_relay(migrated):
    """EXPLAIN EXECUTE checks the rights without running it."""
    connection = migrated.connect("daemon_login")
    for number, file in enumerate(STATEMENTS):
        sql = file.read_text()
        if sql.splitlines()[-1].endswith("FROM STDIN (FORMAT binary)"):
            copy_nothing(connection, sql)
            continue
        count = max((int(found) for found in re.findall(r"\$(\d+)", sql)), default=0)
        rows(connection, f"PREPARE s{number} AS {sql}")
        rows(connection, f"EXPLAIN EXECUTE s{number}" + (f" ({', '.join(['NULL'] * count)})" if count else ""))


def test_owner_functions_do_not_run_as_the_migrating_superuser(migrated):
    """Everything in the schema belongs to relay_owner, who is no superuser and cannot log in."""
    assert migrated.run("""
        SELECT DISTINCT pg_get_userbyid(owner) FROM (SELECT relowner AS owner FROM pg_class
            WHERE relnamespace = 'relay'::regnamespace UNION ALL SELECT proowner FROM pg_proc
            WHERE pronamespace = 'relay'::regnamespace UNION ALL SELECT nspowner FROM pg_namespace
            WHERE nspname = 'relay') AS all_of_it""") == [("relay_owner",)]
    assert migrated.run("SELECT bool_or(rolsuper OR rolcanlogin OR rolreplication OR rolcreaterole OR rolcreatedb "
                        "OR rolbypassrls) FROM pg_roles WHERE rolname LIKE 'relay%'") == [(False,)]
    assert migrated.run("SELECT proname FROM pg_proc WHERE pronamespace = 'relay'::regnamespace AND prosecdef "
                        "AND NOT 'search_path=pg_catalog, pg_temp' = ANY (proconfig)") == []
