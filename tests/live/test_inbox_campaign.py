"""The campaign of the inbox path, short by default and long with --full; and that its judge can find something wrong."""
import os
import time

import pytest
from relay import REPOSITORY

from campaign import inbox_faults, inbox_verdict
from campaign.campaign import DATABASE
from campaign.inbox_campaign import InboxCampaign, details, line

# What somebody might have done wrong: one statement on the tables of a good run, and the checks that must find it.
SABOTAGE = {
    "an effect is missing": (
        "DELETE FROM campaign.effect WHERE at = (SELECT min(at) FROM campaign.effect WHERE fate = 'done' AND id IN "
        "(SELECT id FROM campaign.truth GROUP BY id HAVING count(*) = 1))", {"lost"}),
    "an effect is there twice": (
        "INSERT INTO campaign.effect (fate, tx, topic, partition, kafka_offset, key, id, hash, attempts, held_from) "
        "SELECT fate, -1, topic, partition, kafka_offset, key, id, hash, attempts, held_until FROM campaign.effect "
        "WHERE fate = 'done' AND key IS NULL LIMIT 1", {"doubled"}),
    "an effect of an aborted message": (
        "INSERT INTO campaign.effect (fate, tx, topic, partition, kafka_offset, id, attempts, held_from) "
        "VALUES ('done', -1, 'orders', 0, 1000000000, 'aborted', 0, now())", {"phantom"}),
    "an effect with another payload": (
        "UPDATE campaign.effect SET hash = 'x' WHERE at = (SELECT min(at) FROM campaign.effect WHERE fate = 'done')",
        {"unequal", "dead_letters"}),
    "a rejected message was done": (
        "UPDATE campaign.effect SET fate = 'done' WHERE at = (SELECT min(at) FROM campaign.effect WHERE fate = 'rejected')",
        {"unequal", "dead_letters"}),
    "two effects of a key in the wrong order": (
        "WITH two AS (SELECT at, lag(at) OVER (PARTITION BY topic, partition, key ORDER BY at) AS before "
        "FROM campaign.effect WHERE key IS NOT NULL), pair AS (SELECT * FROM two WHERE before IS NOT NULL LIMIT 1) "
        "UPDATE campaign.effect e SET at = CASE WHEN e.at = p.at THEN p.before ELSE p.at END FROM pair p "
        "WHERE e.at IN (p.at, p.before)", {"out_of_order"}),
    "two transactions had one key": (
        "INSERT INTO campaign.hold SELECT -1, topic, partition, key, held_until - interval '1 microsecond', "
        "held_until + interval '1 microsecond' FROM campaign.effect WHERE key IS NOT NULL LIMIT 1", {"held_by_two"}),
    "the second of two copies has the effect": (
        "UPDATE campaign.effect e SET kafka_offset = t.kafka_offset, key = NULL FROM campaign.truth t WHERE t.id = e.id "
        "AND t.topic = e.topic AND t.partition = e.partition AND t.kafka_offset > e.kafka_offset AND t.hash = e.hash "
        "AND e.fate = 'done'", {"not_the_first", "unequal"}),
    "attempts are forgotten": (
        "UPDATE campaign.effect e SET attempts = 0 FROM campaign.truth t WHERE t.retries > 0 AND (t.topic, t.partition, "
        "t.kafka_offset) = (e.topic, e.partition, e.kafka_offset)", {"retries_forgotten"}),
    "a dead letter is missing": (
        "DELETE FROM relay.dead WHERE id = (SELECT id FROM relay.dead WHERE class = 'POISON' LIMIT 1)", {"dead_letters"}),
    "a dead letter is there twice": (
        "INSERT INTO relay.dead (stream, class, reason, topic, partition, kafka_offset, key, key_bytes, payload_bytes) "
        "SELECT stream, class, reason, topic, partition, kafka_offset, key, key_bytes, payload_bytes FROM relay.dead "
        "WHERE class = 'NO_ID' LIMIT 1", {"dead_letters"}),
    "a conflict passed for a duplicate": (
        "DELETE FROM relay.dead WHERE id = (SELECT id FROM relay.dead WHERE class = 'CONFLICT' LIMIT 1)", {"dead_letters"}),
    "a message is held": (
        "INSERT INTO relay.held (source, key_hash, kafka_offset, lane, seq) SELECT id, 0, 0, 0, 0 FROM relay.source LIMIT 1",
        {"stuck"}),
    "a partition was not read to its end": (
        "UPDATE relay.source_offset SET next = 0 WHERE source = (SELECT min(source) FROM relay.source_offset)", {"stuck"}),
}


class Sabotaged(InboxCampaign):
    """A campaign whose tables are then spoiled, each time in a transaction that is rolled back."""

    def judge(self):
        judged = super().judge()
        self.found = {}
        connection = self.bench.postgres.connect(DATABASE, autocommit=False)
        for name, (sql, _) in SABOTAGE.items():
            with connection.cursor() as cursor:
                cursor.execute(sql)
                assert cursor.rowcount > 0, name
            verdict = inbox_verdict.check_all(connection)
            self.found[name] = {what for what, count in verdict.counts.items() if count}
            connection.rollback()
        connection.close()
        return judged


def seed():
    """From the clock, or that of BOXRELAY_SEED to see it again."""
    return os.environ.get("BOXRELAY_SEED") or str(int(time.time()))


@pytest.mark.seconds(600)
def test_ten_kinds_of_faults_and_then_every_kind_of_damage_is_found():
    campaign = Sabotaged(seed(), 12_000, 10, workers=3)
    result = campaign.run()
    print(details(result), line(result), sep="\n")
    assert result["good"], details(result)
    assert result["faults"] == 10
    assert all(result["dead"].get(kind) for kind in ("POISON", "NO_ID", "CONFLICT", "REJECTED")), result["dead"]
    assert campaign.found == {name: checks for name, (_, checks) in SABOTAGE.items()}


NO_LOCK = """CREATE OR REPLACE FUNCTION relay.lane_lock(source bigint, lane bigint) RETURNS bigint
LANGUAGE sql VOLATILE AS 'SELECT (random() * 1000000000000)::bigint'"""


class Wrong(InboxCampaign):
    """A campaign of the given faults, where SQL may be wrong, which then may never become quiet."""
    quiet_s_max = 10

    def __init__(self, faults, sql):
        super().__init__(seed(), 3_000, len(faults), workers=3)
        self.chosen, self.sql = faults, sql

    def schedule(self):
        return self.chosen

    def save_logs(self):
        """Nobody wants them: it is expected to be bad."""

    def prepare_servers(self, *args):
        super().prepare_servers(*args)
        if self.sql:
            self.bench.postgres.query(self.sql, database=DATABASE)


@pytest.mark.full  # each takes a minute; test_inbox_planted.py shows them by schedules
@pytest.mark.seconds(600)
@pytest.mark.parametrize("bug, faults, sql, found", [
    ("dedup_per_partition", [], None, "doubled"),
    ("latest_after_data", [inbox_faults.add_partitions] * 2, None, "lost"),
    ("", [], NO_LOCK, "held_by_two")], ids=["dedup_per_partition", "latest_after_data", "lanes_without_locks"])
def test_a_planted_bug_is_found(bug, faults, sql, found, monkeypatch):
    monkeypatch.setenv("BOXRELAY_PLANTED", bug)
    monkeypatch.setenv("TEST_BOXRELAY", str(REPOSITORY / "build" / "debug" / "boxrelay"))
    result = Wrong(faults, sql).run()
    print(details(result), line(result), sep="\n")
    assert not result["good"] and result["wrong"][found] > 0, line(result)


@pytest.mark.full
@pytest.mark.seconds(7200)
def test_hundreds_of_faults_and_a_million_messages():
    result = InboxCampaign(seed(), 1_000_000, 200).run()
    assert result["good"], details(result)
    assert result["messages"] >= 1_000_000
