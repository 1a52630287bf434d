"""boxrelay config show, explain and schema; and that the schema and `check` agree on what is right. No server."""
import json
import os
import subprocess

import jsonschema
import pytest

from live.relay import REPOSITORY, binary

WHOLE = {"name": "orders", "postgres": "dbname=orders", "kafka": {"bootstrap.servers": "b:9092"}}


def run(*args, env=None, cwd=None):
    """The finished process; nothing of our own environment but the path."""
    return subprocess.run([binary(), *args], env={"PATH": os.environ["PATH"], **(env or {})}, cwd=cwd,
                          capture_output=True, text=True, timeout=60, check=False)


@pytest.fixture(scope="module")
def schema():
    """A validator of the program's schema, by a public implementation of the standard."""
    made = json.loads(run("config", "schema").stdout)
    jsonschema.Draft202012Validator.check_schema(made)
    return jsonschema.Draft202012Validator(made)


def outbox(**options):
    """A configuration with these options of outbox main."""
    return {**WHOLE, "outbox": {"main": options}}


def inbox(**options):
    """A configuration with inbox main, of these options besides its topics."""
    return {**WHOLE, "inbox": {"main": {"topics": ["a"], **options}}}


def kafka(**properties):
    """A configuration with these properties, "_" for "."."""
    return {**WHOLE, "kafka": {"bootstrap.servers": "b:9092", **{k.replace("_", "."): v for k, v in properties.items()}}}


GOOD = [
    WHOLE,
    {**WHOLE, "$schema": "./s.json", "instance_id": "pod-1.a_B"},
    {**WHOLE, "name": "a" * 64, "postgres": "postgresql://u@h/d?sslmode=require"},
    {**WHOLE, "kafka": {"metadata.broker.list": "b:9092", "producer": {"linger.ms": 7}, "consumer": {"fetch.wait.max.ms": "5"}}},
    kafka(linger_ms=2.5, socket_keepalive_enable=True, client_id="me"),
    outbox(),
    outbox(commit_interval_ms=0, batch_rows_max=100000, batch_bytes_max=65536, retention="3650d"),
    outbox(commit_interval_ms="10", batch_rows_max="1", batch_bytes_max="256MiB", retention="1 h"),
    outbox(batch_bytes_max="100000", topics=["a", "^b.*"], on_unknown_topic="poison", on_poison="stop", headers="plain"),
    outbox(topics="a,^b"),
    {**WHOLE, "outbox": {"a" * 40: {}, "b_2": {"retention": "1500ms"}}},
    {**WHOLE, "positions": {"topic": "p.q", "replication_factor": 3, "accept_weak": True}},
    {**WHOLE, "positions": {"accept_weak": "false"}, "health": {"format": "microprofile", "ready_requires_kafka": False}},
    *({**WHOLE, "http": {"listen": listen}} for listen in
      ("off", "8090", ":8090", "localhost:0", "[::1]:8090", "0.0.0.0:65535", "*:1", "[]:1")),
    {**WHOLE, "log": {"format": "auto", "level": "debug"}, "on_failover": "stop"},
    {**WHOLE, "name": "${N:-orders}", "log": {"level": "${L:-warn}"}, "http": {"listen": "${H:-off}"}},
    outbox(retention="${R:-1h}", batch_rows_max="${B:-7}", topics=["${T:-a}"], on_unknown_topic="${U:-wait}"),
    {**WHOLE, "inbox": {}}, inbox(), inbox(topics=["a.b", "^c.*"]), inbox(topics="a,^b"), {**inbox(), "outbox": {}},
    {**WHOLE, "inbox": {"a" * 40: {"topics": ["a"]}, "b_2": {"topics": ["^b"]}}},
    *(inbox(start=start) for start in ("earliest", "latest", "refuse", "2030-01-31T12:00:00Z", "2030-01-31 12:00:00.25+01:00")),
    inbox(id_headers=["x+y", "z", "a b"], on_missing_id="coordinates", retention="2d", id_retention="2d"),
    inbox(id_headers="x+y,z", waiting_rows_max=1, waiting_bytes_max="1MiB", batch_rows_max="7", batch_bytes_max=65536),
    inbox(start="${S:-latest}", topics=["${T:-a}"], id_headers=["${H:-id}"], on_missing_id="${M:-dead_letter}"),
]

BAD = [
    {**WHOLE, "name": "Orders"}, {**WHOLE, "name": "a" * 65}, {**WHOLE, "name": 1}, {**WHOLE, "name": ""},
    {**WHOLE, "postgres": ""}, {**WHOLE, "postgres": None}, {**WHOLE, "naem": "x"}, {**WHOLE, "instance_id": "a b"},
    {**WHOLE, "kafka": []}, kafka(linger_ms=[]), kafka(linger_ms=None), kafka(acks="all"), kafka(transactional_id="x"),
    kafka(producer=7), kafka(producer={"acks": 1}), kafka(consumer={"group.id": "g"}),
    kafka(producer={"bootstrap.servers": "b"}), kafka(consumer={"x": {}}), kafka(test_mock_num_brokers=1),
    {**WHOLE, "outbox": []}, {**WHOLE, "outbox": {"main": True}}, {**WHOLE, "outbox": {"Main": {}}},
    {**WHOLE, "outbox": {"a" * 41: {}}},
    outbox(topik=[]), outbox(topics=[]), outbox(topics=[1]), outbox(topics=["__x"]), outbox(topics=["a b"]),
    outbox(topics=[".."]), outbox(topics={}), outbox(topics=""),
    outbox(retention=24), outbox(retention="24"), outbox(retention="1 week"), outbox(retention="-1h"),
    outbox(batch_rows_max=0), outbox(batch_rows_max=100001), outbox(batch_rows_max=1.5), outbox(batch_rows_max="many"),
    outbox(batch_rows_max=True), outbox(batch_bytes_max=1), outbox(batch_bytes_max="1TB"), outbox(batch_bytes_max="-1"),
    outbox(commit_interval_ms=-1), outbox(on_poison="park"), outbox(headers="cloudevents"), outbox(on_unknown_topic="x"),
    outbox(dead_letter_topic="d"), {**WHOLE, "on_failover": "recover"},
    {**WHOLE, "inbox": []}, {**WHOLE, "inbox": {"main": True}}, {**WHOLE, "inbox": {"Main": {"topics": ["a"]}}},
    {**WHOLE, "inbox": {"a" * 41: {"topics": ["a"]}}}, inbox(topics=[]), inbox(topics=["__x"]), inbox(topics=["a"] * 257),
    inbox(topics={}), inbox(topik=["a"]), inbox(lanes=4), inbox(on_poison="stop"), inbox(attempts_max=3),
    inbox(start="now"), inbox(start="2030-01-31"), inbox(start="2030-01-31T12:00:00"), inbox(start=0), inbox(start=None),
    inbox(id_headers=[]), inbox(id_headers=["a+b+c"]), inbox(id_headers=["+a"]), inbox(id_headers=["a"] * 17),
    inbox(id_headers=[""]), inbox(on_missing_id="skip"), inbox(retention=24), inbox(id_retention="1 month"),
    inbox(waiting_rows_max=0), inbox(waiting_bytes_max=1), inbox(batch_rows_max=100001), inbox(batch_bytes_max="1TB"),
    {**WHOLE, "positions": {"topic": "__x"}}, {**WHOLE, "positions": {"accept_weak": "yes"}},
    {**WHOLE, "positions": {"replication_factor": 32768}}, {**WHOLE, "positions": {"replication": 1}}, {**WHOLE, "positions": 1},
    *({**WHOLE, "http": {"listen": listen}} for listen in ("localhost", "a b:1", ":", "x:123456", "[::1]", 8090)),
    {**WHOLE, "log": {"level": "loud"}}, {**WHOLE, "log": {"format": None}}, {**WHOLE, "health": {"format": "quarkus"}},
]

# What only a compiler of regular expressions, libpq, librdkafka, a calendar, arithmetic or a second look at another
# option knows: the schema lets it pass.
BEYOND = [
    outbox(topics=["^(x"]), outbox(topics="a b"), outbox(retention="1ms"), outbox(batch_bytes_max="1GiB"),
    outbox(batch_rows_max="0"), outbox(batch_rows_max=5.0), outbox(retention="99999999999999999999d"),
    {**WHOLE, "postgres": "nonsense"}, kafka(no_such="x"), kafka(linger_ms="x"), {**WHOLE, "http": {"listen": ":65536"}},
    {**WHOLE, "outbox": {}}, {**WHOLE, "inbox": {"main": {}}}, {**WHOLE, "outbox": {}, "inbox": {}},
    inbox(topics=["^(x"]), inbox(topics=["boxrelay.orders.positions"]), inbox(start="2030-02-30T12:00:00Z"),
    inbox(retention="31d"), inbox(retention="5s", id_retention="4s"), inbox(id_headers=["é" * 200]),
    kafka(bootstrap_servers=""), {**WHOLE, "name": "$${x}"}, {**WHOLE, "name": "${BOXRELAY_TEST_NOT_SET}"},
]


def check(config, folder):
    """Does `boxrelay check` accept the file, alone?"""
    path = folder / "c.json"
    path.write_text(json.dumps(config))
    done = run("check", "--config", str(path))
    assert done.returncode in (0, 2), done.stderr
    return done.returncode == 0


@pytest.mark.parametrize("corpus, by_schema, by_check", [(GOOD, True, True), (BAD, False, False), (BEYOND, True, False)],
                         ids=["good", "bad", "beyond"])
def test_schema_and_check_agree(schema, tmp_path, corpus, by_schema, by_check):
    """A file that check accepts is never marked in an editor; what a schema can find is found."""
    found = {json.dumps(config): (schema.is_valid(config), check(config, tmp_path)) for config in corpus}
    assert {text: verdict for text, verdict in found.items() if verdict != (by_schema, by_check)} == {}


@pytest.mark.parametrize("path", ["README.md", "docs/handbook.md", "docs/configuration.md"])
def test_examples_of_the_documentation_are_valid(schema, path):
    """By the schema; test_docs.py has check read them."""
    import re
    found = re.findall(r"^ *```json\n(.*?)^ *```$", (REPOSITORY / path).read_text(), re.M | re.S)
    assert found
    for text in found:
        schema.validate(json.loads(text))


def test_schema_tells_what_the_table_knows(schema):
    """Descriptions, defaults, closed objects; properties of librdkafka open, the relay's own refused with the reason."""
    root = schema.schema
    assert root["$schema"].endswith("2020-12/schema") and root["additionalProperties"] is False
    main = root["properties"]["outbox"]["additionalProperties"]
    assert main["additionalProperties"] is False and main["properties"]["batch_rows_max"]["default"] == 5000
    assert main["properties"]["retention"]["default"] == "24h"
    for name, option in main["properties"].items():
        assert option.get("description"), name
    assert isinstance(root["properties"]["kafka"]["additionalProperties"], dict)
    assert "all in-sync replicas" in root["properties"]["kafka"]["properties"]["acks"]["description"]
    error = next(schema.iter_errors(outbox(batch_rows_max=0)))
    assert list(error.absolute_path) == ["outbox", "main", "batch_rows_max"]


def test_show_tells_value_and_origin(tmp_path):
    """Default, file, environment, flag; nothing secret in any of its forms."""
    (tmp_path / "key").write_text("hunter2\n")
    (tmp_path / "c.json").write_text(json.dumps({
        "name": "orders", "postgres": "postgresql://relay:hunter2@db/orders?sslpassword=hunter2",
        "kafka": {"bootstrap.servers": "b:1", "sasl.password": "hunter2", "ssl.key.password": "${file:key}",
                  "producer": {"ssl.keystore.password": "hunter2"}, "consumer": {"ssl.key.pem": "hunter2"}},
        "outbox": {"main": {"retention": "2d", "topics": ["a"]}}, "http": {"listen": "off"}}, indent=1))
    env = {"BOXRELAY_LOG_LEVEL": "warn", "BOXRELAY_OUTBOX_AUDIT_BATCH_ROWS_MAX": "7",
           "BOXRELAY_KAFKA_SASL_USERNAME_FILE": str(tmp_path / "key")}
    args = ("--config", "c.json", "--set", "/log/format=text")
    text = run("config", "show", *args, env=env, cwd=tmp_path)
    data = run("config", "show", "--json", *args, env=env, cwd=tmp_path)
    assert (text.returncode, text.stderr, data.returncode) == (0, "", 0)
    assert "hunter2" not in text.stdout + data.stdout and "password=***" in text.stdout
    rows = {row["path"]: row for row in json.loads(data.stdout)}
    assert [line.split()[0] for line in text.stdout.splitlines()[1:]] == [row["path"] for row in json.loads(data.stdout)]
    assert rows["/name"]["origin"] == {"kind": "file", "file": "c.json", "line": 2, "column": 10}
    assert rows["/log/level"] == {"path": "/log/level", "value": "warn",
                                  "origin": {"kind": "environment", "variable": "BOXRELAY_LOG_LEVEL"}}
    assert rows["/outbox/audit/batch_rows_max"]["value"] == 7
    assert rows["/outbox/main/batch_rows_max"] == {"path": "/outbox/main/batch_rows_max", "value": 5000,
                                                   "origin": {"kind": "default"}}
    assert rows["/outbox/main/topics"]["value"] == ["a"] and rows["/outbox/main/retention"]["value"] == "2d"
    assert rows["/log/format"]["origin"] == {"kind": "flag", "flag": "--set /log/format"}
    assert rows["/kafka/sasl.username"]["origin"]["variable"] == "BOXRELAY_KAFKA_SASL_USERNAME_FILE"
    assert rows["/kafka/producer/linger.ms"]["value"] == "5" and rows["/positions/accept_weak"]["value"] is False
    masked = {path for path, row in rows.items() if row.get("masked")}
    assert masked == {"/postgres", "/kafka/sasl.password", "/kafka/ssl.key.password", "/kafka/sasl.username",
                      "/kafka/producer/ssl.keystore.password", "/kafka/consumer/ssl.key.pem"}


def test_show_and_explain_of_an_inbox(tmp_path):
    """Lists in their JSON form, a time in one form whatever its zone was; required is said."""
    (tmp_path / "c.json").write_text(json.dumps(inbox(start="2030-01-31T13:00:00+01:00")))
    args = ("--config", "c.json")
    env = {"BOXRELAY_INBOX_MAIN_ID_RETENTION": "60d", "BOXRELAY_INBOX_BILLING_TOPICS": "b,^c"}
    rows = {row["path"]: row for row in json.loads(run("config", "show", "--json", *args, env=env, cwd=tmp_path).stdout)}
    assert rows["/inbox/main/topics"]["value"] == ["a"] and rows["/inbox/main/start"]["value"] == "2030-01-31T12:00:00Z"
    assert rows["/inbox/main/id_headers"]["value"] == ["ce_source+ce_id", "id", "idempotency-key"]
    assert rows["/inbox/main/id_headers"]["origin"] == {"kind": "default"}
    assert rows["/inbox/main/id_retention"]["value"] == "60d" and rows["/inbox/main/waiting_rows_max"]["value"] == 1000000
    assert rows["/inbox/billing/topics"]["value"] == ["b", "^c"]
    told = run("config", "explain", "inbox.main.start", *args, cwd=tmp_path).stdout
    assert "earliest|latest|refuse, or a time as" in told and "2030-01-31T12:00:00Z   (c.json:1:" in told
    assert "none, it is required" in run("config", "explain", "inbox.main.topics").stdout
    done = run("check", *args, env=env, cwd=tmp_path)
    assert done.returncode == 0 and done.stdout.endswith("options for outbox/main, inbox/main, inbox/billing\n"), done.stdout


def test_show_leaves_out_a_default_that_an_alias_changed(tmp_path):
    """linger.ms is librdkafka's other name of queue.buffering.max.ms."""
    (tmp_path / "c.json").write_text(json.dumps(kafka(queue_buffering_max_ms=20)))
    shown = run("config", "show", "--config", "c.json", cwd=tmp_path).stdout
    assert "/kafka/queue.buffering.max.ms " in shown and "linger.ms" not in shown


def test_show_of_a_wrong_file_says_what_is_wrong(tmp_path):
    """As check does; nothing is shown."""
    (tmp_path / "c.json").write_text('{ "naem": 1 }')
    done = run("config", "show", "--config", "c.json", cwd=tmp_path)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == ('c.json:1:3: /naem: unknown key, did you mean "name"?\n    1 | { "naem": 1 }\n'
                           "      |   ^\n")


@pytest.mark.parametrize("word, path", [
    ("/outbox/main/retention", "/outbox/main/retention"), ("outbox.main.retention", "/outbox/main/retention"),
    ("BOXRELAY_OUTBOX_MAIN_RETENTION", "/outbox/main/retention"), ("log.level", "/log/level"),
    ("BOXRELAY_LOG_LEVEL_FILE", "/log/level"), ("linger.ms", "/kafka/linger.ms"), ("acks", "/kafka/acks"),
    ("kafka.producer.linger.ms", "/kafka/producer/linger.ms"), ("name", "/name"),
])
def test_explain_understands_every_way_to_name_an_option(word, path):
    done = run("config", "explain", word)
    assert done.returncode == 0 and done.stdout.startswith(path + "\n"), done.stderr
    assert json.loads(run("config", "explain", word, "--json").stdout)["path"] == path


def test_explain_tells_everything(tmp_path):
    (tmp_path / "c.json").write_text(json.dumps(outbox(retention="2d")))
    done = run("config", "explain", "outbox.main.retention", "--config", "c.json", cwd=tmp_path)
    assert "1s to 3650d" in done.stdout and "24h" in done.stdout and "BOXRELAY_OUTBOX_MAIN_RETENTION," in done.stdout
    assert "at once" in done.stdout and "2d   (c.json:1:" in done.stdout
    both = run("config", "explain", "/outbox/*/retention", "--config", "c.json", cwd=tmp_path,
               env={"BOXRELAY_OUTBOX_AUDIT_RETENTION": "5h"})
    assert "/outbox/audit/retention 5h   (environment BOXRELAY_OUTBOX_AUDIT_RETENTION)" in both.stdout
    assert "refused: it needs a restart" in run("config", "explain", "positions.topic").stdout
    assert "all in-sync replicas" in run("config", "explain", "acks").stdout
    assert "not available in this version" in run("config", "explain", "outbox.main.dead_letter_topic").stdout
    group = run("config", "explain", "log").stdout
    assert "/log/format\n" in group and "/log/level\n" in group
    (tmp_path / "c.json").write_text("{")
    assert "the configuration has 1 error, see boxrelay check" in run(
        "config", "explain", "name", "--config", "c.json", cwd=tmp_path).stdout


@pytest.mark.parametrize("word, said", [
    ("retention", "did you mean /outbox/*/retention?"), ("outbox.main.topik", "did you mean /outbox/main/topics?"),
    ("xyzzy", "boxrelay help options lists them"), ("kafka.no.such.thing", "no option"),
    ("BOXRELAY_NONSENSE", "no option"),
])
def test_explain_of_nothing_says_what_may_be_meant(word, said):
    done = run("config", "explain", word)
    assert (done.returncode, done.stdout) == (2, "") and said in done.stderr


def test_places_are_marked_on_a_terminal_only(tmp_path):
    """Colours on a terminal, none with NO_COLOR or into a pipe."""
    import pty
    (tmp_path / "c.json").write_text('{ "naem": 1 }')

    def on_terminal(**env):
        master, slave = pty.openpty()
        done = subprocess.run([binary(), "check", "--config", "c.json"], cwd=tmp_path, stderr=slave, stdout=slave,
                              env={"PATH": os.environ["PATH"], "TERM": "xterm", **env}, check=False)
        os.close(slave)
        text = os.read(master, 65536).decode()
        os.close(master)
        assert done.returncode == 2
        return text
    assert "\033[31m^\033[0m" in on_terminal() and "\033" not in on_terminal(NO_COLOR="1")
    assert "\033" not in run("check", "--config", "c.json", cwd=tmp_path).stderr


def test_a_broken_file_shows_no_secret(tmp_path):
    """Where a file is no JSON nobody knows where a password ends, so nothing behind its key is shown."""
    for broken in ('{ "postgres": "password=hunter2 x" "kafka": {} }', '{ "postgres": "password=hun"ter2" }',
                   '{ postgres: password=hunter2 }', '{ "kafka": { "sasl.pasword": "hunter2", } }',
                   '{ "kafka": { "sasl.password": \n"hunter2" "x" } }', '{ "postgres": "\\qhunter2" }',
                   '{ "postgres": "${hunter2?}" }', '{ "postgres": "hunter2'):
        (tmp_path / "c.json").write_text(broken)
        done = run("check", "--config", "c.json", cwd=tmp_path)
        assert done.returncode == 2 and "ter2" not in done.stderr and "^" in done.stderr, broken + done.stderr
