"""docs/writing.md as its readers use it: each program runs as the page says, its rows are published, and Java's own
consumer reads them; the page's SQL runs; the errors it names are PostgreSQL's."""
import json
import re
import subprocess

import judge
import psycopg2
import pytest
from examples import Service, own_folder, prepared, shell  # noqa: F401
from page import ADMINISTRATOR, EXAMPLES, PAGES, SOURCES, TEXT_ONLY, WRITING

TOPIC = "orders.events.v1"
TRACE = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
SERVICE = "orders_service"
UUID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}")
PROGRAMS = WRITING.commands("run")


# --- the pages ------------------------------------------------------------------------------------

def test_the_pages_quote_every_example_as_it_is():
    for page in PAGES:
        assert page.with_files() == page.text(), "run /usr/bin/python3 tests/live/page.py"
    files = {path for pattern in ("*", "*/*", "go/*/*") for path in EXAMPLES.glob(pattern) if path.suffix in SOURCES}
    assert files == set.union(*(page.quoted_files() for page in PAGES))


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.path.name)
def test_every_program_is_run(page):
    programs = [path for path in page.quoted_files() if path.parent != EXAMPLES and path.parent.name not in TEXT_ONLY]
    assert len(programs) > 5
    ran = [(language, re.findall(r"[\w.]+", lines)) for language, lines in page.commands("run")]
    for path in programs:
        language, *folders = path.parent.relative_to(EXAMPLES).parts
        name = folders[-1] if folders else "." if path.name == "main.go" else path.name
        assert any(language == one and name in words for one, words in ran), path


# --- the programs ---------------------------------------------------------------------------------

@pytest.fixture(scope="module")
def topic(kafka):
    """The topics of the page, one partition each."""
    names = [TOPIC, "orders.audit.v1"]
    for name in names:
        kafka.create_topic(name, 1)
    yield TOPIC
    for name in names:
        kafka.delete_topic(name)


class Writer(Service):
    """The page's service, and what is published of it."""

    def __init__(self, postgres, kafka, folder):
        super().__init__(postgres, kafka, folder, SERVICE, {})
        self.make(block for block in WRITING.sql_blocks() if block.startswith(ADMINISTRATOR[:2]))
        self.begin = {name: kafka.admin.offsets(name, "read_committed")[0] for name in (TOPIC, "orders.audit.v1")}

    def records(self):
        """What is published from here on, once all is."""
        self.relay.drain()
        return [record for record in judge.read(self.kafka, list(self.begin))
                if record.offset >= self.begin[record.topic]]


@pytest.fixture
def service(postgres, kafka, topic, tmp_path):  # pylint: disable=redefined-outer-name,unused-argument
    """A fresh one."""
    made = Writer(postgres, kafka, tmp_path)
    yield made
    made.close()


@pytest.mark.seconds(600)  # on a fresh machine the first ones wait for downloads
@pytest.mark.parametrize("language, lines", PROGRAMS, ids=[lines.split()[-1] for _, lines in PROGRAMS])
def test_program(service, prepared, tmp_path, language, lines):  # noqa: F811
    """Three records in order, the two known ids, and nothing of what was rolled back."""
    folder = own_folder(language, prepared(language), tmp_path / language)
    printed = shell(lines, folder, service.environment())
    records = service.records()
    ids = [record.header("id") for record in records]
    assert [record.header("type") for record in records] == ["OrderPlaced", "OrderPaid", "LabelPrinted"]
    assert [record.key for record in records] == [b"order-1"] * 3
    assert [json.loads(record.value) for record in records[:2]] == [{"order": "order-1", "total": 42.5},
                                                                   {"order": "order-1"}]
    assert records[2].value == b"\x0a\x00\xff"
    assert [record.header("traceparent") for record in records] == [TRACE, TRACE, None]
    assert [sorted(name for name, _ in record.headers) for record in records] == [
        ["id", "relay", "traceparent", "type"]] * 2 + [["id", "relay", "type"]]
    assert UUID.findall(printed)[:2] == ids[:2] and len(set(ids)) == 3
    assert service.schema.run("SELECT id::text FROM relay.outbox ORDER BY seq") == [(name,) for name in ids]
    assert service.schema.run("SELECT id, total::text, paid FROM orders") in (
        [("order-1", "42.5", True)], [("order-1", "42.50", True)])


# --- the SQL --------------------------------------------------------------------------------------

def test_the_sql_of_the_page_runs_in_its_order(service):
    """As whom it says: migrations by their owner, all else by the service's login."""
    server = service.schema.server
    for block in WRITING.sql_blocks():
        if block.startswith(ADMINISTRATOR[:2]):
            continue  # the fixture ran it
        user = "postgres" if block.startswith(ADMINISTRATOR) else SERVICE
        done = subprocess.run(["psql", "-X", "-q", "-v", "ON_ERROR_STOP=1", "-d", server.dsn(service.schema.name, user=user)],
                              input=block, capture_output=True, text=True, timeout=60, check=False)
        assert (done.returncode, done.stderr) == (0, ""), f"{block}\n{done.stderr}"
    records = service.records()
    assert [(record.topic, record.key, record.header("type")) for record in records if record.topic != TOPIC] == [
        ("orders.audit.v1", b"order-7", None)] * 2
    assert [(record.key, record.header("type")) for record in records if record.topic == TOPIC] == [
        (b"order-1", "OrderPlaced"), (b"order-1", "OrderPlaced"), (b"order-7", "OrderInsert"), (b"order-7", "OrderUpdate"),
        (b"order-7", "OrderChanged"), (b"customer-5", "PointsGiven")]


ERRORS = [  # SQLSTATE, statement; what PostgreSQL says to it is in the page's table
    ("23514", """INSERT INTO relay.outbox (topic, headers) VALUES ('t', '{"a": 1}')"""),
    ("23514", "INSERT INTO relay.outbox (topic, headers) VALUES ('t', 'null')"),
    ("23514", "INSERT INTO relay.outbox (topic, headers) SELECT 't', json_object_agg(n, '') FROM generate_series(1, 101) n"),
    ("23514", "INSERT INTO relay.outbox (topic) VALUES ('a b')"),
    ("23514", "INSERT INTO relay.outbox (topic, key, key_bytes) VALUES ('t', 'k', 'k')"),
    ("23514", "INSERT INTO relay.outbox (topic, payload, payload_bytes) VALUES ('t', 'k', 'k')"),
    ("23514", "INSERT INTO relay.outbox (topic, partition) VALUES ('t', -1)"),
    ("23502", "INSERT INTO relay.outbox (topic, created_at) VALUES ('t', NULL)"),
    ("22P02", "INSERT INTO relay.outbox (topic, headers) VALUES ('t', 'a=b')"),
    ("428C9", "INSERT INTO relay.outbox VALUES ('1', 2)"),
    ("42501", "INSERT INTO relay.outbox (topic, xid) VALUES ('t', '1')"),
    ("42501", "INSERT INTO relay.outbox (topic) VALUES ('t') RETURNING *"),
    ("42501", "SELECT * FROM relay.outbox"),
    ("42501", "UPDATE relay.outbox SET key = 'k'"),
    ("42501", "SET ROLE pg_monitor; INSERT INTO relay.outbox (topic) VALUES ('t')"),
    ("55000", "RESET ROLE; UPDATE relay.outbox SET key = 'k'"),
    ("42883", "SELECT relay.publish('t', 42, 'v')"),
    ("42P18", "PREPARE p AS SELECT relay.publish('t', 'k', jsonb_build_object('a', $1))"),
    ("42804", "INSERT INTO relay.outbox (topic, id) VALUES ('t', ''::varchar)"),
    ("42P01", "SELECT relay.publish('t', 'k', 'v', outbox => 'audit2')"),
    ("22004", "SELECT relay.publish_ordered('t', NULL, 'v')"),
    ("42P10", "INSERT INTO relay.outbox (topic) VALUES ('t') ON CONFLICT (id) DO NOTHING"),
]


def named_errors():
    """[(SQLSTATE, message)] of the page's table."""
    table = WRITING.text().split("\n| error | SQLSTATE", 1)[1].split("\n\n", 1)[0]
    return [(code, text) for cells, code in re.findall(r"^\| (.*?) \| (\w{5}) \|", table, re.M)
            for text in re.findall(r"`([^`]+)`", cells)]


def test_the_errors_of_the_page_are_postgresql_s(service):
    """Each named one is provoked, and each provoked one is named with its SQLSTATE."""
    named, seen = named_errors(), set()
    for code, statement in ERRORS:
        administrator = statement.startswith(("SET ROLE", "RESET ROLE"))
        connection = service.schema.connect("postgres" if administrator else SERVICE)
        with pytest.raises(psycopg2.Error) as caught, connection.cursor() as cursor:
            cursor.execute(statement)
        connection.close()
        said = caught.value.diag.message_primary
        found = [(code, text) for name, text in named if name == code and text in said]
        assert caught.value.pgcode == code and found, f"{statement}: {caught.value.pgcode} {said}"
        seen.update(found)
    assert set(named) - seen == set()
