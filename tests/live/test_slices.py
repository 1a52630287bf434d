"""[W2] A window larger than a batch, read in slices, each slice a transaction of its own."""
import judge
import pytest
from proxy import END_TXN
from relay import REPOSITORY, Relay, wait_until

ROWS, KEYS, BATCH = 500, 7, 40


@pytest.fixture
def relay(database, kafka, tmp_path):
    """A migrated relay with small batches, not started; killed after the test."""
    made = Relay(database.dsn, kafka.bootstrap, tmp_path, config={"outbox": {"main": {"batch_rows_max": BATCH}}},
                 env={"BOXRELAY_FAILPOINTS": "after_commit=kill@4"}).migrate()
    yield made
    made.kill()


def insert(database, topic, first, count, table="relay.outbox"):
    """One transaction of many rows, the keys taking turns."""
    database.query(f"INSERT INTO {table} (topic, key, payload) SELECT %s, 'k' || i %% %s, i::text "
                   "FROM generate_series(%s, %s) AS i", (topic, KEYS, first, first + count - 1))


def test_a_relay_killed_between_two_slices_goes_on_at_the_next(relay, database, kafka, topic):
    """Nothing twice, nothing left out, and what came later stays behind the window that was begun."""
    name = topic(2)
    insert(database, name, 0, ROWS)
    relay.start()
    wait_until(lambda: not relay.running(), "the relay to be killed by its failpoint")
    between = len(judge.read(kafka, [name]))
    assert 0 < between < ROWS and between % BATCH == 0
    insert(database, name, ROWS, ROWS)
    relay.env["BOXRELAY_FAILPOINTS"] = ""
    relay.drain()
    found = {}
    for record in judge.read(kafka, [name]):
        found.setdefault(record.key.decode(), []).append(int(record.value))
    assert found == {f"k{key}": list(range(key, 2 * ROWS, KEYS)) for key in range(KEYS)}


def test_the_next_slice_is_read_while_kafka_commits(database, kafka, kafka_proxy, topic, tmp_path):
    """While the EndTxn of one slice is held, the transaction of the next is open, and its rows are there."""
    name = topic(1)
    reading = ("SELECT count(*) FROM pg_stat_activity WHERE application_name = %s AND state = 'idle in transaction' "
               "AND query LIKE 'COPY (%%'")
    relay = Relay(database.dsn, kafka.bootstrap_via_proxy, tmp_path,
                  config={"outbox": {"main": {"batch_rows_max": BATCH}}}).migrate()
    with relay:
        relay.wait_log("publishing the stream")
        held = kafka_proxy.hold(api_key=END_TXN, contains=relay.name.encode())
        insert(database, name, 0, ROWS)
        held.wait_holding()
        session = (f"boxrelay/{relay.name}/outbox/main",)
        wait_until(lambda: database.query(reading, session)[0][0] == 1, "a slice read ahead", 3)  # before a second EndTxn
        assert judge.read(kafka, [name], allow_open=True, deadline=2) == []
        held.release()
        relay.drain()
    assert [int(record.value) for record in judge.read(kafka, [name])] == list(range(ROWS))


@pytest.mark.parametrize("table", ["relay.outbox", "relay.outbox_audit"])
def test_late_rows_of_a_large_window_come_in_their_place(table, relay, database, kafka, topic):
    """A transaction that was open at the last window writes before and after others: by seq, where they belong [W1]."""
    name = topic(1)
    relay.env["BOXRELAY_FAILPOINTS"] = ""
    relay.env["BOXRELAY_OUTBOX_AUDIT_BATCH_ROWS_MAX"] = str(BATCH)
    database.query("SELECT relay.create_outbox('audit')")
    late = database.connect()
    late.autocommit = False
    cursor, row = late.cursor(), f"INSERT INTO {table} (topic, key, payload) VALUES (%s, 'late', %s)"
    cursor.execute(row, (name, "first"))
    with relay:
        insert(database, name, 0, ROWS, table)
        relay.drain()
        assert relay.stop() == 0
    insert(database, name, ROWS, ROWS, table)
    cursor.execute(row, (name, "middle"))
    insert(database, name, 2 * ROWS, ROWS, table)
    cursor.execute(row, (name, "last"))
    late.commit()
    relay.drain()
    values = [record.value.decode() for record in judge.read(kafka, [name])]
    assert values == [*map(str, range(ROWS)), "first", *map(str, range(ROWS, 2 * ROWS)), "middle",
                      *map(str, range(2 * ROWS, 3 * ROWS)), "last"]


def test_every_statement_fits_every_outbox(relay, database):
    """They are written for relay.outbox, and run on other tables of that shape; so do the names made from it."""
    database.query("SELECT relay.create_outbox('audit')")
    connection = database.connect()
    statements = [path for path in sorted((REPOSITORY / "sql/statements").glob("*.sql")) if "outbox" in path.read_text()]
    assert len(statements) > 8
    for path in statements:
        sql = path.read_text().replace("relay.outbox", "relay.outbox_audit").replace('relay."outbox#', 'relay."outbox_audit#')
        connection.cursor().execute(f"PREPARE relay_{path.stem} AS {sql}")
