"""Writing to an outbox on a real server: what a row may be, publish in all its forms, order, append only."""
import io
import json
import uuid

import psycopg2
import psycopg2.extensions
import pytest
from schema import Background, blank, cluster, common, migrated, rows, waits_for_lock  # noqa: F401

CHECKED = "INSERT INTO relay.outbox (topic, key, key_bytes, payload, payload_bytes, headers, partition, created_at) " \
          "VALUES (%(topic)s, %(key)s, %(key_bytes)s, %(payload)s, %(payload_bytes)s, %(headers)s, %(partition)s, " \
          "coalesce(%(created_at)s, now()))"
NOTHING = dict.fromkeys(("key", "key_bytes", "payload", "payload_bytes", "headers", "partition", "created_at"))


def row(**columns):
    """Arguments of CHECKED."""
    return {**NOTHING, "topic": "t", **columns}


def headers(count):
    """So many, as short as they can be."""
    return json.dumps({f"{n:x}": "" for n in range(count)}, separators=(",", ":"))


NAME = "is not a name that a Kafka topic can have | A name has 1 to 249 of the characters"
FLAT = "headers are not a flat JSON object of strings | As in"


@pytest.mark.parametrize("columns, said", [
    ({"topic": ""}, f'"" {NAME}'), ({"topic": "a b"}, f'"a b" {NAME}'), ({"topic": "a" * 250}, NAME),
    ({"topic": "ä"}, f'"ä" {NAME}'), ({"topic": "a\n"}, NAME), ({"topic": "."}, f'"." {NAME}'),
    ({"topic": ".."}, NAME), ({"topic": "a" * 4000}, NAME),
    ({"topic": None}, 'null value in column "topic" of relation "outbox#0" violates not-null constraint'),
    ({"key": "", "key_bytes": b""}, "key and key_bytes are both set | A record has one key"),
    ({"payload": "", "payload_bytes": b""}, "payload and payload_bytes are both set | A record has one value"),
    ({"partition": -1}, "partition -1 is negative | Leave it NULL"),
    ({"created_at": "-infinity"}, "created_at is not finite"),
    ({"headers": "[]"}, FLAT), ({"headers": '["a"]'}, FLAT), ({"headers": '"a"'}, FLAT), ({"headers": "null"}, FLAT),
    ({"headers": '[{"a": "b"}]'}, FLAT), ({"headers": '{"a": 1}'}, FLAT), ({"headers": '{"a": null}'}, FLAT),
    ({"headers": '{"a": "b", "c": {"d": "e"}}'}, FLAT), ({"headers": '{"a": ["b"]}'}, FLAT),
    ({"headers": '{"a": true}'}, FLAT),
    ({"headers": ""}, "invalid input syntax for type json"), ({"headers": "{'a': 'b'}"}, "invalid input syntax"),
    ({"headers": '{"a": "\\u0000"}'}, "unsupported Unicode escape sequence"),
    ({"headers": headers(101)}, "a row has 101 headers, at most 100 can be sent"),
], ids=lambda value: str(value)[:40])
def test_rows_that_could_never_be_published_are_refused(blank, columns, said):
    """At the INSERT, with what is wrong; nothing of a row's content beyond that."""
    assert said in blank.refused(CHECKED, row(**columns), user="app_login")
    assert blank.value("SELECT count(*) FROM relay.outbox") == 0


@pytest.mark.parametrize("columns", [
    {}, {"topic": "a" * 249}, {"topic": "A.b_c-9"}, {"topic": "..."}, {"key": ""}, {"key_bytes": b""},
    {"payload": ""}, {"payload_bytes": b"\x00\xff"}, {"partition": 0}, {"partition": 2 ** 31 - 1},
    {"headers": "{}"}, {"headers": ' { "a" : "" , "ü" : "\\u00e9\\ud83d\\ude00" } '}, {"headers": headers(100)},
    {"headers": '{"a": "1", "a": "2"}'}, {"headers": json.dumps({"long": "x" * 5000})},
    {"created_at": "1970-01-01"}, {"payload": "x" * 1_000_000},
], ids=lambda value: str(value)[:40])
def test_rows_that_can_be_published_are_taken(blank, columns):
    """And stored as they were written."""
    blank.run(CHECKED, row(**columns), user="app_login")
    for column, value in columns.items():
        if column != "created_at":
            found = blank.value(f"SELECT {column} FROM relay.outbox")
            assert (bytes(found) if isinstance(value, bytes) else found) == value


def test_columns_are_the_documented_ones(blank):
    """In their order: xid before seq is what makes the windows right."""
    assert blank.run("""SELECT attname, format_type(atttypid, NULL), attnotnull FROM pg_attribute
        WHERE attrelid = 'relay.outbox'::regclass AND attnum > 0 ORDER BY attnum""") == [
            ("xid", "xid8", True), ("seq", "bigint", True), ("topic", "text", True), ("key", "text", False),
            ("key_bytes", "bytea", False), ("payload", "text", False), ("payload_bytes", "bytea", False),
            ("type", "text", False), ("headers", "text", False), ("id", "uuid", True),
            ("partition", "integer", False), ("created_at", "timestamp with time zone", True)]
    assert blank.run("SELECT seqcache, seqcycle, seqincrement FROM pg_sequence "
                        "WHERE seqrelid = 'relay.\"outbox#seq\"'::regclass") == [(1, False, 1)]


def test_json_is_taken_as_it_is_and_bytea_belongs_into_payload_bytes(blank):
    """An assignment makes json text of itself; bytea becomes its hex text."""
    blank.run("""INSERT INTO relay.outbox (topic, payload, headers) VALUES
        ('1', '{"b":1,  "a":"ü"}'::json, '{"x": "y"}'::json), ('2', '{"b":1,  "a":"ü"}'::jsonb, '{"x":"y"}'::jsonb),
        ('3', '\\x00ff'::bytea, NULL), ('4', E' \\t"ü€😀\\n', NULL)""", user="app_login")
    assert blank.run("SELECT payload, headers FROM relay.outbox ORDER BY topic") == [
        ('{"b":1,  "a":"ü"}', '{"x": "y"}'), ('{"a": "ü", "b": 1}', '{"x": "y"}'), ("\\x00ff", None),
        (' \t"ü€😀\n', None)]


# --- publish -------------------------------------------------------------------------------------

ID = "6f1f9a53-5f1c-4b7e-9a0e-0c5d7f1f2a11"
CALLS = [  # arguments, (key, payload, payload_bytes, type, headers)
    ("'t', 'k', 'v'", ("k", "v", None, None, None)),
    ("'t', 'k', '{\"b\":1}'", ("k", '{"b":1}', None, None, None)),
    ("'t', 'k', NULL", ("k", None, None, None, None)),
    ("'t', NULL, NULL", (None, None, None, None, None)),
    ("'t', NULL, NULL, NULL, NULL, NULL", (None, None, None, None, None)),
    ("'t', 'k', 'v', 'Placed'", ("k", "v", None, "Placed", None)),
    ("'t', 'k', 'v', 'Placed', '{}'", ("k", "v", None, "Placed", "{}")),
    ("'t', 'k', 'v', type => 'Placed'", ("k", "v", None, "Placed", None)),
    ("'t', 'k', 'v', headers => '{\"a\":\"b\"}'", ("k", "v", None, None, '{"a":"b"}')),
    ("'t', 'k', 'v', headers => NULL", ("k", "v", None, None, None)),
    ("'t', 'k', 'v'::varchar, 'Placed'::varchar", ("k", "v", None, "Placed", None)),
    ("'t'::varchar, 'k'::varchar, 'v'::text", ("k", "v", None, None, None)),
    ("'t', 42::text, 'v'", ("42", "v", None, None, None)),
    ("'t', 'k', '{\"b\":1}'::json", ("k", '{"b":1}', None, None, None)),
    ("'t', 'k', '{\"b\":1}'::jsonb", ("k", '{"b": 1}', None, None, None)),
    ("'t', 'k', NULL::jsonb", ("k", None, None, None, None)),
    ("'t', 'k', 'null'::jsonb", ("k", "null", None, None, None)),
    ("'t', 'k', jsonb_build_object('a', 1), type => 'P'", ("k", '{"a": 1}', None, "P", None)),
    ("'t', 'k', row_to_json(row(1)), 'P', '{}'", ("k", '{"f1":1}', None, "P", "{}")),
    ("'t', 'k', '\\x00ff'::bytea", ("k", None, b"\x00\xff", None, None)),
    ("'t', 'k', NULL::bytea", ("k", None, None, None, None)),
    ("'t', 'k', '\\x00ff'::bytea, headers => '{}', type => 'P'", ("k", None, b"\x00\xff", "P", "{}")),
] + [(f"'t', 'k', '1'::{payload}, headers => '{{\"a\":\"b\"}}'::{header}, type => 'P'",
      ("k", None if payload == "bytea" else "1", b"1" if payload == "bytea" else None, "P",
       '{"a": "b"}' if header == "jsonb" else '{"a":"b"}'))
     for payload in ("text", "json", "jsonb", "bytea") for header in ("text", "json", "jsonb")]


@pytest.mark.parametrize("function", ["publish", "publish_ordered"])
def test_publish_takes_every_form(migrated, function):
    """One function is found for each call; the row is what an INSERT would have written."""
    migrated.run("SELECT relay.create_outbox('audit')")
    connection = migrated.connect("app_login")
    for outbox, table in (("main", "outbox"), ("audit", "outbox_audit")):
        for arguments, expected in CALLS:
            if function == "publish_ordered" and expected[0] is None:
                continue
            ((made,),) = rows(connection, f"SELECT relay.{function}({arguments}, outbox => '{outbox}')")
            ((key, payload, payload_bytes, *rest),) = rows(
                connection, f"SELECT key, payload, payload_bytes, type, headers FROM relay.{table} WHERE id = %s", (made,))
            found = (key, payload, None if payload_bytes is None else bytes(payload_bytes), *rest)
            assert found == expected, arguments


def test_publish_keeps_a_given_id(blank):
    """It is what a receiver deduplicates by."""
    assert blank.value("SELECT relay.publish('t', 'k', 'v', id => %s)", (ID,)) == ID
    assert blank.run("SELECT id::text, created_at > now() - interval '1 minute' FROM relay.outbox") == [(ID, True)]
    assert uuid.UUID(blank.value("SELECT relay.publish('t', 'k', 'v')")).version == 4


def test_publish_with_the_types_that_drivers_send(blank):
    """Prepared on the server: with declared types, and with types left to the server."""
    connection = blank.connect("app_login")
    for number, (types, payload) in enumerate([("text, text, text", "'v'"), ("varchar, varchar, varchar", "'v'"),
                                               ("text, text, jsonb", "'{}'"), ("text, text, bytea", "'x'"),
                                               ("unknown, unknown, unknown", "'v'"), ("text, text", "NULL")]):
        third = "$3" if types.count(",") == 2 else "NULL"
        rows(connection, f"PREPARE p{number} ({types}) AS SELECT relay.publish($1, $2, {third})")
        values = f"'t', 'k', {payload}" if third == "$3" else "'t', 'k'"
        assert rows(connection, f"EXECUTE p{number} ({values})")[0][0] is not None


def test_publish_to_an_unknown_outbox_is_refused(blank):
    """With what makes it. No name reaches the statement unchecked."""
    assert blank.refused("SELECT relay.publish('t', 'k', 'v', outbox => 'audit')", user="app_login") == \
        "there is no outbox \"audit\" | SELECT relay.create_outbox('audit') in a migration makes it."
    for name in ("x\"; DROP TABLE relay.outbox", "", "MAIN"):
        assert f'"{name}" cannot be the name of an outbox' in blank.refused(
            "SELECT relay.publish('t', 'k', 'v', outbox => %s)", (name,), user="app_login")
    assert "cannot be the name of an outbox" in blank.refused("SELECT relay.publish('t', 'k', 'v', outbox => NULL)")


def test_publish_refuses_what_an_insert_refuses(blank):
    """The same words."""
    assert f'"a b" {NAME}' in blank.refused("SELECT relay.publish('a b', 'k', 'v')", user="app_login")
    assert FLAT in blank.refused("SELECT relay.publish('t', 'k', 'v', headers => '[]'::jsonb)", user="app_login")
    assert 'null value in column "topic"' in blank.refused("SELECT relay.publish(NULL, 'k', 'v')", user="app_login")


def test_publish_needs_no_search_path(blank):
    """Of whatever service."""
    connection = blank.connect("app_login")
    rows(connection, "SET search_path TO ''")
    for function in ("publish", "publish_ordered"):
        assert rows(connection, f"SELECT relay.{function}('t', 'k', '1'::jsonb, headers => '{{}}')")[0][0]


# --- publish_ordered -----------------------------------------------------------------------------


@pytest.mark.parametrize("isolation", ["READ COMMITTED", "REPEATABLE READ"])
def test_publish_ordered_has_one_writer_of_a_key_at_a_time(migrated, isolation):
    """The second waits for the first one's commit, so seq has the order of the commits. Other keys do not wait."""
    migrated.run("SELECT relay.create_outbox('audit')")
    first, second, other = (migrated.connect("app_login", autocommit=False) for _ in range(3))
    for connection in (first, second, other):
        connection.set_session(isolation_level=isolation)
        rows(connection, "SELECT 1")
    rows(first, "SELECT relay.publish_ordered('t', 'k', 'first')")
    waiting = Background(second, "SELECT relay.publish_ordered('t', 'k', 'second')")
    waits_for_lock(migrated, second)
    rows(other, "SELECT relay.publish_ordered('t', 'other key', 'x')")
    rows(other, "SELECT relay.publish_ordered('t', 'k', 'x', outbox => 'audit')")
    rows(other, "SELECT relay.publish('t', 'k', 'without a lock')")
    other.rollback()
    rows(first, "SELECT relay.publish_ordered('t', 'k', 'first again')")
    first.commit()
    waiting.wait()
    second.commit()
    assert migrated.run("SELECT payload FROM relay.outbox ORDER BY seq") == [("first",), ("first again",), ("second",)]


def test_publish_ordered_gives_the_key_back_with_a_savepoint(blank):
    """And with a rollback."""
    first, second = (blank.connect("app_login", autocommit=False) for _ in range(2))
    rows(first, "SAVEPOINT s")
    rows(first, "SELECT relay.publish_ordered('t', 'k', 'undone')")
    rows(first, "ROLLBACK TO s")
    rows(second, "SELECT relay.publish_ordered('t', 'k', 'v')")
    second.rollback()
    rows(first, "SELECT relay.publish_ordered('t', 'k', 'v')")


def test_publish_ordered_needs_a_key(blank):
    """There is nothing to order without."""
    assert blank.refused("SELECT relay.publish_ordered('t', NULL, 'v')") == \
        "relay.publish_ordered needs a key | Order is per key. relay.publish takes rows without one."


# --- what the windows rest on --------------------------------------------------------------------

WRITES = {"values": "INSERT INTO relay.outbox (topic) VALUES ('t')",
          "select": "INSERT INTO relay.outbox (topic) SELECT 't' FROM generate_series(1, 3)",
          "publish": "SELECT relay.publish('t', 'k', 'v')", "copy": None}


@pytest.mark.parametrize("how", WRITES)
def test_the_transaction_has_its_id_before_the_number_is_drawn(blank, how):
    """The sequence is held, so the writer stands between its two columns: it must have an xid by then."""
    holder = blank.connect(autocommit=False)
    rows(holder, 'ALTER SEQUENCE relay."outbox#seq" INCREMENT BY 1')
    writer = blank.connect()

    class Copy(psycopg2.extensions.cursor):
        """Runs COPY where others run a statement."""

        def execute(self, *_):
            self.copy_expert("COPY relay.outbox (topic) FROM STDIN", io.StringIO("t\n"))
    if how == "copy":
        writer.cursor_factory = Copy
    writing = Background(writer, WRITES[how])
    waits_for_lock(blank, writer)
    assert blank.value("SELECT backend_xid IS NOT NULL FROM pg_stat_activity WHERE pid = %s",
                          (writer.info.backend_pid,))
    holder.rollback()
    writing.wait()
    assert blank.value("SELECT count(*) > 0 FROM relay.outbox")


def test_rows_of_savepoints_have_the_top_level_xid(blank):
    """Released or nested: a snapshot knows only top-level transactions."""
    connection = blank.connect("app_login", autocommit=False)
    rows(connection, "SAVEPOINT a")
    rows(connection, "SELECT relay.publish('t', 'k', '1')")
    rows(connection, "SAVEPOINT b")
    rows(connection, "INSERT INTO relay.outbox (topic, payload) VALUES ('t', '2')")
    rows(connection, "RELEASE SAVEPOINT b")
    rows(connection, "SAVEPOINT c")
    rows(connection, "SELECT relay.publish('t', 'k', 'undone')")
    rows(connection, "ROLLBACK TO c")
    rows(connection, "DO $t$ BEGIN PERFORM relay.publish('t', 'k', '3'); EXCEPTION WHEN OTHERS THEN NULL; END $t$")
    ((xid,),) = rows(connection, "SELECT pg_current_xact_id()::text")
    connection.commit()
    assert blank.run("SELECT payload, xid::text FROM relay.outbox ORDER BY seq") == [
        ("1", xid), ("2", xid), ("3", xid)]


def test_prepared_transactions_are_open_until_committed(blank):
    """Their xid is in the snapshot's list; the row then belongs to a later window."""
    connection = blank.connect("app_login", autocommit=False)
    name = f"p_{blank.name}"
    rows(connection, "SELECT relay.publish_ordered('t', 'k', 'v')")
    ((xid,),) = rows(connection, "SELECT pg_current_xact_id()::text")
    rows(connection, f"PREPARE TRANSACTION '{name}'")
    connection.commit()
    seen = "SELECT pg_visible_in_snapshot(%s::xid8, pg_current_snapshot()), (SELECT count(*) FROM relay.outbox)"
    assert blank.run(seen, (xid,)) == [(False, 0)]
    blank.run(f"COMMIT PREPARED '{name}'")
    assert blank.run(seen, (xid,)) == [(True, 1)]
    assert blank.value("SELECT xid::text FROM relay.outbox") == xid


def test_copy_fills_the_columns_of_the_relay(migrated):
    """By the columns that a writer may write, in one transaction."""
    connection = migrated.connect("app_login")
    with connection.cursor() as cursor:
        cursor.copy_expert("COPY relay.outbox (topic, key, payload) FROM STDIN", io.StringIO("t\tk\t1\nt\tk\t2\n"))
        with pytest.raises(psycopg2.errors.CheckViolation, match="is not a name that a Kafka topic can have"):
            cursor.copy_expert("COPY relay.outbox (topic) FROM STDIN", io.StringIO("t\na b\n"))
    assert migrated.run("SELECT payload, xid IS NOT NULL, seq FROM relay.outbox ORDER BY seq") == [
        ("1", True, 1), ("2", True, 2)]


def test_numbers_rotate_through_the_ring(migrated):
    """A slot is 2^32 numbers wide; after the eighth comes the first again."""
    for turn in (0, 1, 7, 8, 2 ** 31 - 1):
        migrated.run("SELECT setval('relay.\"outbox#seq\"', %s)", ((turn << 32) + 1,))
        migrated.run("INSERT INTO relay.outbox (topic, payload) VALUES ('t', %s)", (str(turn),), user="app_login")
    assert migrated.run("SELECT tableoid::regclass::text, payload FROM relay.outbox ORDER BY seq") == [
        (f'relay."outbox#{turn & 7}"', str(turn)) for turn in (0, 1, 7, 8, 2 ** 31 - 1)]


@pytest.mark.parametrize("table", ["relay.outbox", 'relay."outbox#0"'])
@pytest.mark.parametrize("sql", ["UPDATE {} SET payload = 'x'", "DELETE FROM {}", "DELETE FROM {} WHERE false"])
def test_an_outbox_is_append_only(blank, table, sql):
    """For its owner too, by either name, and even where no row is met."""
    blank.run("SELECT relay.publish('t', 'k', 'v')")
    said = blank.refused(sql.format(table))
    assert said.endswith("refused: an outbox is append only | Write another row instead. Published rows are removed "
                         "by the relay, by age.")
    assert said.startswith(("UPDATE of relay.outbox", "DELETE of relay.outbox"))
    assert blank.value("SELECT payload FROM relay.outbox") == "v"


def test_errors_of_an_insert_do_not_show_the_row(blank):
    """A payload has no business in the server's log."""
    with pytest.raises(psycopg2.errors.CheckViolation) as caught:
        blank.run("SELECT relay.publish('a b', 'k', 'the secret')", user="app_login")
    assert caught.value.diag.column_name == "topic"
    assert "the secret" not in str(caught.value)
