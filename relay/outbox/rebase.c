/*
 * boxrelay rebase: an operator's choice of a new position, where going on could lose or double messages.
 *
 * A crash in the middle leaves the stream paused, and refused until rebase runs again: the new ring of ticks does not
 * know the old position in Kafka, and the old ring would not know the new one.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "core/start.h"
#include "kafka/positions.h"
#include "kafka/producer.h"
#include "outbox/service.h"
#include "pg/catalog.h"
#include "pg/migrate.h"
#include "pg/tick.h"
#include "pg/window.h"

enum { REBASE_MS_MAX = 60000, COUNTED_ROWS_MAX = 1000000 };

struct rebase {
    const struct outbox_service_options *service;
    const struct outbox_rebase *wanted;
    struct catalog_stream stream;
    struct catalog_stream streams[OUTBOX_STREAMS_MAX];
    struct session *session;
    struct window_reader *reader;
    struct producer *producer;
    struct tick_ring ring;
    struct database_identity database;
    struct position position;
    struct snapshot snapshot;
    struct uuid barrier;
    char owner[128];
    char text[POSITION_TEXT_MAX];
};

static enum error_class unknown_stream(struct rebase *rebase, size_t count, struct error *error)
{
    char names[ERROR_HINT_MAX / 2] = "";
    for (size_t i = 0; i < count; i++)
        snprintf(names + strlen(names), sizeof names - strlen(names), "%s%s", i ? ", " : "", rebase->streams[i].name);
    error_set(error, ERROR_CONFIG, "UNKNOWN_STREAM", "there is no stream \"%s\" in this database",
              rebase->wanted->stream);
    return error_hint(error, "streams here: %s", names);
}

static enum error_class find_stream(struct rebase *rebase, struct error *error)
{
    const struct session_options options = {.conninfo = rebase->service->conninfo,
                                            .application_name = "boxrelay/rebase"};
    size_t count;
    if (session_open(&options, &rebase->session, error) || migrate_check(rebase->session, error) ||
        session_identity(rebase->session, &rebase->database, error))
        return error->class;
    if (catalog_claim(rebase->session, rebase->service->name, error) ||
        catalog_streams(rebase->session, rebase->streams, OUTBOX_STREAMS_MAX, &count, error))
        return error->class;
    for (size_t i = 0; i < count; i++)
        if (strcmp(rebase->streams[i].name, rebase->wanted->stream) == 0) {
            rebase->stream = rebase->streams[i];
            return ERROR_NONE;
        }
    return unknown_stream(rebase, count, error);
}

/* init_transactions fences whoever publishes the stream now. */
static enum error_class open_producer(struct rebase *rebase, struct error *error)
{
    char transactional_id[256];
    const char *topics[] = {rebase->service->positions_topic};
    bool warned = true;
    const struct positions_options positions = {
        .settings = rebase->service->kafka,
        .topic = rebase->service->positions_topic,
        .partitions = rebase->stream.partition + 1,
        .replication_factor = rebase->service->positions_replication_factor,
        .accept_weak = rebase->service->positions_accept_weak,
    };
    snprintf(transactional_id, sizeof transactional_id, "boxrelay-%s-outbox-%s", rebase->service->name,
             rebase->stream.short_name);
    const struct producer_options options = {
        .settings = rebase->service->kafka,
        .stream = rebase->stream.name,
        .transactional_id = transactional_id,
        .client_id = "boxrelay-rebase",
        .topics = topics,
        .topic_count = COUNT_OF(topics),
    };
    if (positions_ensure(&positions, &warned, error))
        return error->class;
    return producer_open(&options, clock_monotonic_ms() + REBASE_MS_MAX, &rebase->producer, error);
}

static enum error_class commit_barrier(struct rebase *rebase, size_t length, struct error *error)
{
    rebase->barrier = uuid_random();
    return positions_barrier(rebase->producer, rebase->service->positions_topic, rebase->stream.partition,
                             &rebase->stream.uuid, &rebase->barrier, rebase->owner, length ? rebase->text : NULL,
                             length, error);
}

/* What the stream would go on with; `found` is false for none, and for one that cannot be read. */
static enum error_class read_position(struct rebase *rebase, bool *found, int64_t *offset, struct error *error)
{
    if (commit_barrier(rebase, 0, error))
        return error->class;
    const struct positions_read read = {
        .settings = rebase->service->kafka,
        .topic = rebase->service->positions_topic,
        .partition = rebase->stream.partition,
        .stream = rebase->stream.uuid,
        .barrier = rebase->barrier,
        .from_offset = -1,
        .deadline_ms = clock_monotonic_ms() + REBASE_MS_MAX,
    };
    enum error_class class = positions_read_back(&read, found, &rebase->position, offset, error);
    *found = *found && !class;
    return class == ERROR_INTEGRITY ? ERROR_NONE : class;
}

/* The rows behind the position, for people. */
static enum error_class count_rows(struct rebase *rebase, char *text, size_t size, struct error *error)
{
    int64_t rows, oldest_ms;
    if (window_pending(rebase->session, rebase->reader, &rebase->position, COUNTED_ROWS_MAX + 1, &rows, &oldest_ms,
                       error))
        return error->class;
    bool more = rows > COUNTED_ROWS_MAX;
    snprintf(text, size, "%s%" PRId64 " row%s", more ? "more than " : "", more ? COUNTED_ROWS_MAX : rows,
             rows == 1 ? "" : "s");
    return ERROR_NONE;
}

static enum error_class refuse(struct rebase *rebase, bool found, struct error *error)
{
    char rows[64] = "the rows that are there";
    bool now = rebase->wanted->to_now;
    if (now && found && count_rows(rebase, rows, sizeof rows, error))
        return error->class;
    error_set(error, ERROR_INTEGRITY, "POSITION_FINE", "%s goes on from its position by itself; %s would %s",
              rebase->stream.name, now ? rows : "every row that is kept",
              now ? "never be published" : "be published a second time");
    return error_hint(error, "boxrelay status shows what it waits for; --force does it all the same");
}

/* Rows are left out or doubled only where the stream cannot go on, or where somebody insists. */
static enum error_class check_needed(struct rebase *rebase, bool found, int64_t offset, struct error *error)
{
    struct error ignored;
    if (rebase->wanted->force)
        return ERROR_NONE;
    if (tick_ring_read(rebase->session, &rebase->stream.uuid, &rebase->ring, error))
        return error->class == ERROR_INTEGRITY ? ERROR_NONE : error->class;
    const struct start_facts facts = {
        .stream = rebase->stream.name,
        .stream_uuid = rebase->stream.uuid,
        .ring = &rebase->ring,
        .database = rebase->database,
        .cluster_id = producer_cluster_id(rebase->producer),
        .position = found ? &rebase->position : NULL,
        .position_offset = offset,
    };
    return start_decide(&facts, &ignored) == START_REFUSED ? ERROR_NONE : refuse(rebase, found, error);
}

static int64_t larger(int64_t a, int64_t b) { return a > b ? a : b; }

/* One transaction: the snapshot that may become the position, and the new ring. */
static enum error_class write_ring(struct rebase *rebase, int64_t kafka_tick, struct error *error)
{
    struct batch_ground ground = {.snapshot = &rebase->snapshot};
    int64_t floor;
    if (window_make_floor(rebase->session, rebase->reader, &floor, error))
        return error->class;
    if (batch_begin(rebase->session, rebase->reader, &rebase->stream.uuid, &ground, error) ||
        tick_ring_read(rebase->session, &rebase->stream.uuid, &rebase->ring, error))
        goto rollback;
    rebase->database.timeline = ground.timeline;
    const struct tick *newest = tick_ring_newest(&rebase->ring);
    const struct tick_writing tick = {
        .stream = rebase->stream.uuid,
        .new = {.number = larger(newest->name.number, kafka_tick) + 1, .uuid = uuid_random()},
        .incarnation = uuid_random(),
        .database = rebase->database,
    };
    position_first(&rebase->position, &rebase->stream.uuid, &tick.new, &rebase->database,
                   producer_cluster_id(rebase->producer));
    if (rebase->wanted->to_now) {
        snapshot_copy(&rebase->position.from, &rebase->snapshot);
        rebase->position.from_floor = floor;
    }
    if (tick_rebase(rebase->session, &tick, error) || batch_commit(rebase->session, error))
        goto rollback;
    return ERROR_NONE;
rollback:
    batch_rollback(rebase->session);
    return error->class;
}

static enum error_class write_position(struct rebase *rebase, int64_t request, struct error *error)
{
    rebase->position.request = request;
    size_t length = position_format(&rebase->position, rebase->text, sizeof rebase->text);
    if (commit_barrier(rebase, length, error))
        return error->class;
    const struct tick_known known = {
        .known = true, .name = rebase->position.tick, .snapshot = &rebase->position.from, .offset = 0};
    return tick_know(rebase->session, &rebase->stream.uuid, &rebase->position.tick, &known, error);
}

/* The new position exceeds the old one's tick and keeps its request; none, or an unreadable one, counts as 0. */
static enum error_class set_position(struct rebase *rebase, bool found, struct error *error)
{
    int64_t tick = found ? rebase->position.tick.number : 0, request = found ? rebase->position.request : 0;
    char detail[128];
    if (write_ring(rebase, tick, error) || write_position(rebase, request, error))
        return error->class;
    snprintf(detail, sizeof detail, "{\"to\": \"%s\", \"tick\": %" PRId64 "}", rebase->wanted->to_now ? "now" : "start",
             rebase->position.tick.number);
    return catalog_audit(rebase->session, rebase->wanted->actor, "rebase", rebase->stream.name, detail, error);
}

/* What was not begun leaves no pause behind. */
static void resume(struct rebase *rebase)
{
    struct error ignored;
    if (!rebase->stream.paused && catalog_resume(rebase->session, rebase->stream.name, &ignored))
        log_warn("the stream stays paused", LOG_STR("stream", rebase->stream.name), LOG_OF_ERROR(&ignored));
}

static enum error_class run(struct rebase *rebase, struct error *error)
{
    bool found = false;
    int64_t offset = 0;
    if (find_stream(rebase, error) || window_reader_new(rebase->stream.relation, &rebase->reader, error) ||
        open_producer(rebase, error))
        return error->class;
    if (!rebase->stream.paused && catalog_pause(rebase->session, rebase->stream.name, "rebase", error))
        return error->class;
    if (read_position(rebase, &found, &offset, error) || check_needed(rebase, found, offset, error)) {
        resume(rebase);
        return error->class;
    }
    if (set_position(rebase, found, error))
        return error->class;
    return rebase->stream.paused ? ERROR_NONE : catalog_resume(rebase->session, rebase->stream.name, error);
}

enum error_class outbox_rebase(const struct outbox_service_options *options, const struct outbox_rebase *wanted,
                               char summary[256], struct error *error)
{
    struct rebase *rebase = calloc(1, sizeof *rebase);
    if (!rebase)
        return error_set(error, ERROR_RETRY, "NO_MEMORY", "no memory for a rebase");
    rebase->service = options;
    rebase->wanted = wanted;
    snprintf(rebase->owner, sizeof rebase->owner, "rebase/%d", (int)getpid());
    enum error_class class = run(rebase, error);
    if (!class)
        snprintf(summary, 256, "%s: %s; tick %" PRId64 "%s", wanted->stream,
                 wanted->to_now ? "rows committed before now will not be published"
                                : "every row in the table will be published again",
                 rebase->position.tick.number, rebase->stream.paused ? "; still paused" : "");
    producer_close(&rebase->producer);
    session_close(&rebase->session);
    window_reader_free(&rebase->reader);
    free(rebase);
    return class;
}
