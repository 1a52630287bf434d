/*
 * The registry thread: whose database this is, which outboxes exist, what an operator did, what relay.status shows;
 * and the cleaning of those that this instance leads.
 * Until identity and schema are right this instance does not join the group [L2].
 */
#include <assert.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/random.h"
#include "core/backoff.h"
#include "pg/migrate.h"
#include "service_internal.h"

struct registry {
    struct outbox_service *service;
    struct configuration *configuration;
    struct session *session;
    char application_name[160];
    uint32_t attempt;
    int64_t lost_ms;      /* since when PostgreSQL does not answer; 0: it does */
    int64_t look_at_ms;   /* when the next look is due */
    int64_t states_at_ms; /* when state rows are due */
    bool states_open;     /* their transaction */
    struct log_said said;
    struct catalog_stream found[OUTBOX_STREAMS_MAX];
    struct position *position;
};

static enum error_class connect(struct registry *registry, struct error *error)
{
    struct outbox_service *service = registry->service;
    const struct session_options options = {.conninfo = registry->configuration->options.conninfo,
                                            .application_name = registry->application_name,
                                            .stop = &service->session_stop};
    if (!registry->session && session_open(&options, &registry->session, error))
        return error->class;
    return ERROR_NONE;
}

static enum error_class check_schema(struct registry *registry, struct error *error)
{
    struct outbox_service *service = registry->service;
    int32_t version = 0;
    enum error_class class = migrate_version(registry->session, &version, error);
    if (!class)
        class = migrate_check(registry->session, error);
    /* A connection that broke says nothing about the schema: readiness must not end with PostgreSQL's restart. */
    bool answered = class == ERROR_NONE || class == ERROR_CONFIG || class == ERROR_INTEGRITY;
    pthread_mutex_lock(&service->lock);
    if (answered)
        service->view.schema_version = version;
    if (answered)
        service->view.schema_ok = class == ERROR_NONE;
    pthread_mutex_unlock(&service->lock);
    return class;
}

static enum error_class check_identity(struct registry *registry, struct error *error)
{
    struct database_identity identity;
    if (session_identity(registry->session, &identity, error))
        return error->class;
    return catalog_claim(registry->session, registry->configuration->options.name, error);
}

/* Lock held. */
static struct service_stream *find(struct outbox_service *service, const struct uuid *uuid)
{
    for (size_t i = 0; i < service->stream_count; i++)
        if (uuid_equal(&service->streams[i].stream.uuid, uuid))
            return &service->streams[i];
    return NULL;
}

static bool is_assigned(const struct outbox_service *service, int32_t partition)
{
    for (size_t i = 0; i < service->assigned_count; i++)
        if (service->assigned[i] == partition)
            return true;
    return false;
}

/* A worker by the newest options, in place of the one that has ended, if there was one. */
static struct worker *start_worker(struct registry *registry, const struct catalog_stream *stream,
                                   struct worker *before)
{
    struct error error;
    struct worker *worker;
    if (worker_start(registry->configuration, stream, &registry->service->incarnation, before, &worker, &error)) {
        log_error(error.text, LOG_STR("stream", stream->name), LOG_STR("hint", error.hint));
        return NULL;
    }
    if (stream->paused)
        worker_send(worker, PUBLISHER_PAUSE);
    return worker;
}

/* Tells a new worker what the others know already. Lock held. */
static void seat(struct outbox_service *service, struct service_stream *slot, struct worker *worker)
{
    slot->worker = worker;
    slot->renewed = false;
    slot->leads = is_assigned(service, slot->stream.partition);
    if (slot->leads)
        worker_send(worker, PUBLISHER_LEAD);
    if (service->stopping)
        worker_request_stop(worker, service->session_stop.level == SESSION_STOP_NOW);
}

static void add_stream(struct registry *registry, const struct catalog_stream *stream)
{
    struct outbox_service *service = registry->service;
    struct worker *worker = start_worker(registry, stream, NULL);
    if (!worker)
        return;
    log_info("stream found", LOG_STR("stream", stream->name), LOG_INT("partition", stream->partition));
    pthread_mutex_lock(&service->lock);
    struct service_stream *slot = &service->streams[service->stream_count++];
    *slot = (struct service_stream){.stream = *stream};
    seat(service, slot, worker);
    pthread_mutex_unlock(&service->lock);
}

/* A reload's options: who works by others ends after its batch [L1]; the connection is made anew if it is another. */
static void take_configuration(struct registry *registry)
{
    struct outbox_service *service = registry->service;
    struct configuration *fresh = service_configuration(service, registry->configuration);
    if (!fresh)
        return;
    if (strcmp(registry->configuration->options.conninfo, fresh->options.conninfo) != 0)
        session_close(&registry->session);
    configuration_drop(&registry->configuration);
    registry->configuration = fresh;
    registry->attempt = 0;
    registry->look_at_ms = 0;
    for (size_t i = 0; i < service->stream_count; i++) {
        struct service_stream *slot = &service->streams[i];
        /* One that ends already goes on ending, also if this takes the reason back. */
        if (slot->renewed || configuration_same_stream(slot->worker->configuration, fresh, slot->stream.short_name))
            continue;
        slot->renewed = true;
        worker_request_stop(slot->worker, false);
    }
}

static void renew(struct registry *registry, struct service_stream *slot)
{
    struct outbox_service *service = registry->service;
    struct worker *ended = slot->worker;
    struct worker *worker = start_worker(registry, &slot->stream, ended);
    if (!worker)
        return;
    pthread_mutex_lock(&service->lock);
    seat(service, slot, worker);
    pthread_mutex_unlock(&service->lock);
    worker_free(&ended);
    log_info("stream goes on with its new options", LOG_STR("stream", slot->stream.name));
}

/* Are workers still ending? */
static bool renew_workers(struct registry *registry)
{
    struct outbox_service *service = registry->service;
    bool ending = false;
    for (size_t i = 0; i < service->stream_count; i++) {
        struct service_stream *slot = &service->streams[i];
        if (!slot->renewed)
            continue;
        if (slot->worker->ended)
            renew(registry, slot);
        else
            ending = true;
    }
    return ending;
}

/* An operator paused, resumed or rebased: the worker looks again. */
static void tell_change(struct service_stream *slot, const struct catalog_stream *stream)
{
    if (slot->stream.generation == stream->generation && slot->stream.paused == stream->paused)
        return;
    slot->stream = *stream;
    worker_send(slot->worker, stream->paused ? PUBLISHER_PAUSE : PUBLISHER_RESUME);
    worker_send(slot->worker, PUBLISHER_WAKE);
}

/* Streams that were dropped: their workers end; the slot goes when the thread has. */
static void drop_streams(struct registry *registry, size_t found_count)
{
    struct outbox_service *service = registry->service;
    for (size_t i = 0; i < service->stream_count; i++) {
        struct service_stream *slot = &service->streams[i];
        bool kept = false;
        for (size_t k = 0; k < found_count; k++)
            kept = kept || uuid_equal(&registry->found[k].uuid, &slot->stream.uuid);
        if (kept)
            continue;
        worker_request_stop(slot->worker, false);
        if (!slot->worker->ended)
            continue;
        log_info("stream dropped", LOG_STR("stream", slot->stream.name));
        pthread_mutex_lock(&service->lock);
        worker_free(&slot->worker);
        *slot = service->streams[--service->stream_count];
        pthread_mutex_unlock(&service->lock);
        i--;
    }
}

static enum error_class look_at_streams(struct registry *registry, struct error *error)
{
    struct outbox_service *service = registry->service;
    size_t count;
    int32_t partitions = 0;
    if (catalog_streams(registry->session, registry->found, OUTBOX_STREAMS_MAX, &count, error))
        return error->class;
    drop_streams(registry, count);
    for (size_t i = 0; i < count; i++) {
        const struct catalog_stream *stream = &registry->found[i];
        pthread_mutex_lock(&service->lock);
        struct service_stream *slot = find(service, &stream->uuid);
        if (slot)
            tell_change(slot, stream);
        pthread_mutex_unlock(&service->lock);
        if (!slot && service->stream_count < OUTBOX_STREAMS_MAX)
            add_stream(registry, stream);
        if (stream->partition >= partitions)
            partitions = stream->partition + 1;
    }
    pthread_mutex_lock(&service->lock);
    service->partitions_wanted = partitions;
    pthread_cond_broadcast(&service->changed);
    pthread_mutex_unlock(&service->lock);
    return ERROR_NONE;
}

/* A stream that never was shown, or another error: said at the next look, not with the others. */
static bool is_urgent(const struct service_stream *slot, const struct outbox_stream_view *view)
{
    const char *code = view->last_error.class ? view->last_error.code : "";
    return (view->leader && !slot->shown.written_ms) || strcmp(code, slot->shown.error_code) != 0;
}

/* Is it what relay.status shows already? Each row written costs a transaction id and wakes every outbox's poll. */
static bool is_shown(struct service_stream *slot, const struct outbox_stream_view *view, int64_t pending)
{
    struct state_row now = {.pending = pending, .published = view->published_rows, .written_ms = clock_monotonic_ms()};
    snprintf(now.state, sizeof now.state, "%s", view->state);
    snprintf(now.error_code, sizeof now.error_code, "%s", view->last_error.class ? view->last_error.code : "");
    const struct state_row *shown = &slot->shown;
    if (shown->written_ms && now.written_ms - shown->written_ms < REGISTRY_STATE_MS_MAX &&
        strcmp(now.state, shown->state) == 0 && strcmp(now.error_code, shown->error_code) == 0 &&
        now.pending == shown->pending && now.published == shown->published)
        return true;
    slot->shown = now;
    return false;
}

static void show_pending(struct view *view, int64_t rows, int64_t oldest_ms)
{
    view_pending(view, rows, rows > REGISTRY_PENDING_MAX, oldest_ms ? clock_unix_ms() - oldest_ms : 0);
}

/* -1 rows: not known. A stream that found nothing at its last poll is not asked about. */
static enum error_class count_pending(struct registry *registry, struct worker *worker, int64_t *rows,
                                      int64_t *oldest_ms, struct error *error)
{
    bool drained;
    *oldest_ms = 0;
    bool ask = view_copy_position(&worker->view, registry->position, &drained);
    *rows = drained ? 0 : -1;
    if (ask && window_pending(registry->session, worker->reader, registry->position, REGISTRY_PENDING_MAX + 1, rows,
                              oldest_ms, error))
        return error->class;
    if (*rows >= 0)
        show_pending(&worker->view, *rows, *oldest_ms);
    return ERROR_NONE;
}

/* One transaction for the rows of a look, begun by the first. */
static enum error_class write_row(struct registry *registry, const struct catalog_state *state, struct error *error)
{
    if (!registry->states_open && catalog_states_begin(registry->session, error))
        return error->class;
    registry->states_open = true;
    return catalog_state_write(registry->session, state, error);
}

/* Counts what is pending for a stream that we lead and writes its row where something changed. */
static enum error_class write_state(struct registry *registry, struct service_stream *slot,
                                    struct outbox_stream_view *view, struct error *error)
{
    int64_t rows, oldest_ms, now_ms = clock_monotonic_ms();
    struct worker *worker = slot->worker;
    if (count_pending(registry, worker, &rows, &oldest_ms, error))
        return error->class;
    double seconds = (double)(now_ms - slot->rows_at_ms) / 1000;
    const struct catalog_state state = {
        .stream = slot->stream.uuid,
        .state = view->state,
        .leader = worker->owner,
        .pending_rows = rows,
        .pending_is_bound = rows > REGISTRY_PENDING_MAX,
        .oldest_ms = oldest_ms,
        .published_rows = (int64_t)view->published_rows,
        .rows_per_second =
            slot->rows_at_ms && seconds > 0 ? (double)(view->published_rows - slot->rows_before) / seconds : 0,
        .error = &view->last_error,
    };
    slot->rows_before = view->published_rows;
    slot->rows_at_ms = now_ms;
    if (is_shown(slot, view, rows))
        return ERROR_NONE;
    return write_row(registry, &state, error);
}

/* Kafka away: nobody leads, and a newcomer's wrong bootstrap.servers would show nowhere but in the log. What piles up
 * meanwhile is counted by whoever led last. */
static enum error_class write_unled(struct registry *registry, struct service_stream *slot,
                                    struct outbox_stream_view *view, struct error *error)
{
    int64_t rows = -1, oldest_ms = 0;
    struct view *shared = &slot->worker->view;
    if (view->last_error.class == ERROR_NONE) {
        view_outdate(shared);
        return ERROR_NONE;
    }
    if (view_latest_position(shared, registry->position)) {
        if (window_pending(registry->session, slot->worker->reader, registry->position, REGISTRY_PENDING_MAX + 1, &rows,
                           &oldest_ms, error))
            return error->class;
        show_pending(shared, rows, oldest_ms);
    }
    if (is_shown(slot, view, rows))
        return ERROR_NONE;
    const struct catalog_state state = {
        .stream = slot->stream.uuid,
        .state = view->state,
        .pending_rows = rows,
        .pending_is_bound = rows > REGISTRY_PENDING_MAX,
        .oldest_ms = oldest_ms,
        .error = &view->last_error,
    };
    return write_row(registry, &state, error);
}

static void take_view(struct outbox_service *service, struct service_stream *slot, struct outbox_stream_view *view)
{
    view_copy(&slot->worker->view, view);
    if (view->leader)
        return;
    pthread_mutex_lock(&service->lock);
    view->last_error = service->kafka_error;
    pthread_mutex_unlock(&service->lock);
    /* Counted while we led: it would stand still. */
    if (view->pending_rows >= 0 && view->last_error.class == ERROR_NONE)
        view_pending(&slot->worker->view, -1, false, -1);
}

static enum error_class write_states(struct registry *registry, struct error *error)
{
    struct outbox_service *service = registry->service;
    enum error_class class = ERROR_NONE;
    struct outbox_stream_view *view = malloc(sizeof *view);
    bool due = clock_monotonic_ms() >= registry->states_at_ms;
    registry->states_open = false;
    if (due)
        registry->states_at_ms = clock_monotonic_ms() + REGISTRY_STATE_MS;
    for (size_t i = 0; view && !class && i < service->stream_count; i++) {
        struct service_stream *slot = &service->streams[i];
        take_view(service, slot, view);
        if (!due && !is_urgent(slot, view))
            continue;
        class = view->leader ? write_state(registry, slot, view, error) : write_unled(registry, slot, view, error);
    }
    if (!class && registry->states_open)
        class = catalog_states_commit(registry->session, error);
    free(view);
    return class;
}

/* `run --once`: everything done at the first question is published when the stored known positions say so [L4]. */
static enum error_class look_at_drain(struct registry *registry, struct error *error)
{
    struct outbox_service *service = registry->service;
    bool drained = true;
    if (!service->drain_asked || service->drain_done)
        return ERROR_NONE;
    if (!service->drain_from_taken && poll_snapshot(registry->session, service->drain_from, error))
        return error->class;
    service->drain_from_taken = true;
    for (size_t i = 0; drained && i < service->stream_count; i++) {
        struct service_stream *slot = &service->streams[i];
        if (window_drained(registry->session, slot->worker->reader, &slot->stream.uuid, service->drain_from, &drained,
                           error))
            return error->class;
    }
    if (drained)
        registry->states_at_ms = 0; /* a job that ends soon still leaves its state */
    if (drained && write_states(registry, error))
        return error->class;
    pthread_mutex_lock(&service->lock);
    service->drain_done = drained;
    pthread_mutex_unlock(&service->lock);
    return ERROR_NONE;
}

static enum error_class look(struct registry *registry, struct error *error)
{
    if (connect(registry, error) || check_schema(registry, error) || check_identity(registry, error) ||
        look_at_streams(registry, error) || write_states(registry, error) ||
        cleanup_look(registry->service, registry->session, error) || look_at_drain(registry, error))
        return error->class;
    return ERROR_NONE;
}

/* Instance-wide refusals leave the group at once, an absent PostgreSQL after a session time-out [L2]. */
static void note_look(struct registry *registry, const struct error *error, bool connected)
{
    struct outbox_service *service = registry->service;
    int64_t now_ms = clock_monotonic_ms();
    bool reached = error->class == ERROR_NONE || (error->class != ERROR_RECONNECT && connected);
    if (reached)
        registry->lost_ms = 0;
    else if (registry->lost_ms == 0)
        registry->lost_ms = now_ms;
    bool leave = error->class == ERROR_INTEGRITY || error->class == ERROR_CONFIG ||
                 (registry->lost_ms && now_ms - registry->lost_ms > REGISTRY_LEAVE_MS);
    pthread_mutex_lock(&service->lock);
    service->view.registry_progress_ms = now_ms;
    service->view.postgres_up = reached;
    service->view.postgres_reached = service->view.postgres_reached || reached;
    service->view.instance_error = *error;
    if (leave)
        service->partitions_wanted = 0;
    pthread_mutex_unlock(&service->lock);
    log_change(&registry->said, LOG_ERROR, error, "PostgreSQL answers and the schema fits again", now_ms);
}

static int64_t next_look_ms(struct registry *registry, enum error_class class)
{
    struct outbox_service *service = registry->service;
    if (class) {
        registry->attempt++;
        return backoff_delay_ms(registry->attempt, class == ERROR_RECONNECT ? BACKOFF_MAX_MS : 5000, random_bits());
    }
    registry->attempt = 0;
    return service->drain_asked && !service->drain_done ? REGISTRY_DRAIN_LOOK_MS : REGISTRY_LOOK_MS;
}

static void look_now(struct registry *registry)
{
    struct error error = {.class = ERROR_NONE};
    enum error_class class = look(registry, &error);
    bool connected = registry->session != NULL;
    if (class)
        session_close(&registry->session);
    note_look(registry, &error, connected);
    registry->look_at_ms = clock_monotonic_ms() + next_look_ms(registry, class);
}

/* One round. Workers that end for a reload are waited for in short steps; else whatever wakes us is worth a look. */
static void look_and_wait(struct registry *registry)
{
    struct outbox_service *service = registry->service;
    take_configuration(registry);
    bool ending = renew_workers(registry);
    if (!ending || clock_monotonic_ms() >= registry->look_at_ms)
        look_now(registry);
    pthread_mutex_lock(&service->lock);
    if (service->configuration == registry->configuration)
        service_wait(service, ending ? clock_monotonic_ms() + REGISTRY_RENEW_MS : registry->look_at_ms);
    pthread_mutex_unlock(&service->lock);
}

void *registry_run(void *opaque)
{
    struct outbox_service *service = opaque;
    struct registry *registry = calloc(1, sizeof *registry);
    if (registry)
        registry->position = calloc(1, sizeof *registry->position);
    if (!registry || !registry->position)
        abort(); /* no memory for the first kilobytes: nothing can work */
    registry->service = service;
    registry->configuration = service_configuration(service, NULL);
    assert(registry->configuration);
    snprintf(registry->application_name, sizeof registry->application_name, "boxrelay/%s/registry",
             registry->configuration->options.name);
    while (!service->stopping)
        look_and_wait(registry);
    session_close(&registry->session);
    configuration_drop(&registry->configuration);
    free(registry->position);
    free(registry);
    service->registry_ended = true;
    return NULL;
}
