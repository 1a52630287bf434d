#include "core/start.h"

#include <assert.h>
#include <inttypes.h>
#include <string.h>

const struct tick *tick_ring_newest(const struct tick_ring *ring)
{
    const struct tick *newest = NULL;
    assert(ring->count <= TICK_RING_SLOTS);
    for (uint32_t i = 0; i < ring->count; i++)
        if (!newest || ring->ticks[i].name.number > newest->name.number)
            newest = &ring->ticks[i];
    return newest;
}

static bool same_tick(const struct tick_name *a, const struct tick_name *b)
{
    return a->number == b->number && uuid_equal(&a->uuid, &b->uuid);
}

bool tick_ring_holds(const struct tick_ring *ring, const struct tick_name *name)
{
    const struct tick *newest = tick_ring_newest(ring);
    if (newest && newest->known && same_tick(&newest->known_name, name))
        return true;
    for (uint32_t i = 0; i < ring->count; i++)
        if (same_tick(&ring->ticks[i].name, name))
            return true;
    return false;
}

/* The way out of every refusal. What it means for messages stands in front of it where it differs. */
static enum error_class hint_rebase(struct error *error, const char *stream, const char *before)
{
    return error_hint(error,
                      "%sboxrelay rebase %s --to now (publish only rows written from now on) or --to start (publish "
                      "every row the outbox still holds, again where it was published before)",
                      before, stream);
}

static enum error_class refuse_database(const char *stream, const char *what, const struct database_identity *then,
                                        const struct database_identity *now, struct error *error)
{
    error_set(error, ERROR_INTEGRITY, "OTHER_DATABASE",
              "%s: %s written in another database (system identifier %" PRIu64 ", database oid %" PRIu32
              ") than the one connected to (system identifier %" PRIu64 ", database oid %" PRIu32
              "): after a dump and restore, a copy or a new cluster its transaction ids mean nothing here",
              stream, what, then->system_identifier, then->database_oid, now->system_identifier, now->database_oid);
    return hint_rebase(error, stream,
                       "check that `postgres` names the right database; if this one has taken the other's place: ");
}

static enum error_class refuse_timeline(const char *stream, const char *what, const struct database_identity *then,
                                        const struct database_identity *now, struct error *error)
{
    error_set(error, ERROR_INTEGRITY, "TIMELINE_LOWER",
              "%s: %s written on timeline %" PRIu32 " of this database, but the server connected to is on timeline "
              "%" PRIu32 ": it is an old primary or was restored to an earlier time",
              stream, what, then->timeline, now->timeline);
    return hint_rebase(error, stream,
                       "connect to the current primary; if this server is meant to be the primary from now on: ");
}

/*
 * A record of `then` met in a session of `now`. The tick that the registration of a stream made knows no identity
 * (system identifier 0): it has the position's to be compared with, or nothing was published yet.
 */
static enum error_class check_identity(const char *stream, const char *what, const struct database_identity *then,
                                       const struct database_identity *now, struct error *error)
{
    if (then->system_identifier == 0)
        return ERROR_NONE;
    if (then->system_identifier != now->system_identifier || then->database_oid != now->database_oid)
        return refuse_database(stream, what, then, now, error);
    if (now->timeline < then->timeline)
        return refuse_timeline(stream, what, then, now, error);
    return ERROR_NONE;
}

enum error_class start_check_database(const char *stream, const struct tick_ring *ring,
                                      const struct database_identity *database, struct error *error)
{
    const struct tick *newest = tick_ring_newest(ring);
    if (!newest) {
        error_set(error, ERROR_INTEGRITY, "TICKS_MISSING",
                  "%s: PostgreSQL holds no tick of this stream; its registration made one, so rows of relay.tick were "
                  "deleted or not restored",
                  stream);
        return hint_rebase(error, stream, "restore table relay.tick, or: ");
    }
    return check_identity(stream, "the newest tick was", &newest->database, database, error);
}

static enum start_verdict refuse_missing(const struct start_facts *facts, const struct tick *newest,
                                         struct error *error)
{
    if (newest->known)
        error_set(error, ERROR_INTEGRITY, "POSITION_LOST",
                  "%s: PostgreSQL knows position %" PRId64 " committed in Kafka at offset %" PRId64
                  ", but the positions topic of cluster \"%s\" holds none of this stream: the topic was lost or made "
                  "again, or this is another Kafka cluster",
                  facts->stream, newest->known_name.number, newest->known_offset, facts->cluster_id);
    else
        error_set(error, ERROR_INTEGRITY, "POSITION_LOST",
                  "%s: PostgreSQL is at tick %" PRId64 " and Kafka cluster \"%s\" holds no position of this stream: a "
                  "rebase was not finished, or the positions topic was lost",
                  facts->stream, newest->name.number, facts->cluster_id);
    hint_rebase(error, facts->stream,
                "check that `kafka` and `positions.topic` name what they named before; if the position is lost: ");
    return START_REFUSED;
}

static enum start_verdict refuse_cluster(const struct start_facts *facts, struct error *error)
{
    error_set(error, ERROR_INTEGRITY, "OTHER_CLUSTER",
              "%s: its position was written in Kafka cluster \"%s\", but this is cluster \"%s\": the positions topic "
              "was copied, and what it says may not be true of the topics here",
              facts->stream, facts->position->cluster_id, facts->cluster_id);
    hint_rebase(error, facts->stream, "check `bootstrap.servers`; if this cluster has taken the other's place: ");
    return START_REFUSED;
}

static enum start_verdict refuse_older(const struct start_facts *facts, const struct tick *newest, struct error *error)
{
    error_set(error, ERROR_INTEGRITY, "POSITION_OLD",
              "%s: the last position in Kafka is %" PRId64 " (offset %" PRId64
              "), but PostgreSQL knows position %" PRId64 " committed at offset %" PRId64
              ": the positions topic lost records",
              facts->stream, facts->position->tick.number, facts->position_offset, newest->known_name.number,
              newest->known_offset);
    hint_rebase(error, facts->stream,
                "starting from the older position would publish rows twice; look what happened to the positions topic, "
                "then choose: ");
    return START_REFUSED;
}

static enum start_verdict refuse_lost_commits(const struct start_facts *facts, const struct tick *newest,
                                              struct error *error)
{
    const struct tick_name *tick = &facts->position->tick;
    if (!newest->known && newest->name.number > tick->number)
        error_set(error, ERROR_INTEGRITY, "REBASE_UNFINISHED",
                  "%s: Kafka's position is of tick %" PRId64 ", which PostgreSQL (at tick %" PRId64
                  ") keeps no more and no later one is known: a rebase was not finished",
                  facts->stream, tick->number, newest->name.number);
    else
        error_set(error, ERROR_INTEGRITY, "COMMITS_LOST",
                  "%s: Kafka's position is of tick %" PRId64 ", which this PostgreSQL (at tick %" PRId64
                  ") does not have: PostgreSQL lost commits, as after a failover to an asynchronous standby or a "
                  "restore to an earlier time; messages may be on Kafka whose rows are gone",
                  facts->stream, tick->number, newest->name.number);
    hint_rebase(error, facts->stream, "if the lost commits will not come back, choose: ");
    return START_REFUSED;
}

enum start_verdict start_decide(const struct start_facts *facts, struct error *error)
{
    const struct position *position = facts->position;
    const struct tick *newest = tick_ring_newest(facts->ring);
    if (start_check_database(facts->stream, facts->ring, &facts->database, error) != ERROR_NONE)
        return START_REFUSED;
    if (!position) {
        /* Tick numbers rise only by ticks, which follow position 0, and by rebase, which commits its own position:
         * after either a missing position is a lost one. */
        if (!newest->known && newest->name.number == 0)
            return START_FIRST;
        return refuse_missing(facts, newest, error);
    }
    assert(uuid_equal(&position->stream, &facts->stream_uuid));
    if (!position_in_cluster(position, facts->cluster_id))
        return refuse_cluster(facts, error);
    if (check_identity(facts->stream, "its position in Kafka was", &position->database, &facts->database, error) !=
        ERROR_NONE)
        return START_REFUSED;
    if (newest->known && position->tick.number < newest->known_name.number)
        return refuse_older(facts, newest, error);
    if (!tick_ring_holds(facts->ring, &position->tick))
        return refuse_lost_commits(facts, newest, error);
    return START_GO;
}

bool start_position_newer(const struct start_facts *facts)
{
    const struct tick *newest = tick_ring_newest(facts->ring);
    assert(newest && facts->position);
    return !newest->known || !same_tick(&newest->known_name, &facts->position->tick);
}
