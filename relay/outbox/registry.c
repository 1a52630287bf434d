/*
 * The registry thread: whose database this is, which outboxes exist, what an operator did, what relay.status shows;
 * and the cleaning of those that this instance leads.
 * Until identity and schema are right this instance does not join the group [L2].
 */
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
    struct session *session;
    char application_name[160];
    uint32_t attempt;
    int64_t lost_ms;      /* since when PostgreSQL does not answer; 0: it does */
    int64_t states_at_ms; /* when state rows are due */
    char logged[ERROR_CODE_MAX];
    struct catalog_stream found[OUTBOX_STREAMS_MAX];
    struct position *position;
};

static void log_once(struct registry *registry, const struct error *error)
{
    if (error->class == ERROR_NONE && registry->logged[0])
        log_info("PostgreSQL and the schema are well again");
    else if (error->class != ERROR_NONE && strcmp(registry->logged, error->code) != 0 &&
             strcmp(error->code, "STOPPING") != 0)
        log_error(error->text, LOG_STR("error.class", error_class_name(error->class)),
                  LOG_STR("error.code", error->code), LOG_STR("hint", error->hint[0] ? error->hint : NULL));
    snprintf(registry->logged, sizeof registry->logged, "%s", error->class ? error->code : "");
}

static enum error_class connect(struct registry *registry, struct error *error)
{
    struct outbox_service *service = registry->service;
    const struct session_options options = {.conninfo = service->options.conninfo,
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
    pthread_mutex_lock(&service->lock);
    service->view.schema_version = version;
    service->view.schema_ok = class == ERROR_NONE;
    pthread_mutex_unlock(&service->lock);
    return class;
}

static enum error_class check_identity(struct registry *registry, struct error *error)
{
    struct database_identity identity;
    if (session_identity(registry->session, &identity, error))
        return error->class;
    return catalog_claim(registry->session, registry->service->options.name, error);
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

static void add_stream(struct outbox_service *service, const struct catalog_stream *stream)
{
    struct error error;
    struct worker *worker;
    if (worker_start(&service->options, stream, &service->incarnation, &worker, &error)) {
        log_error(error.text, LOG_STR("stream", stream->name), LOG_STR("hint", error.hint));
        return;
    }
    log_info("stream found", LOG_STR("stream", stream->name), LOG_INT("partition", stream->partition));
    if (stream->paused)
        worker_send(worker, PUBLISHER_PAUSE);
    pthread_mutex_lock(&service->lock);
    struct service_stream *slot = &service->streams[service->stream_count++];
    *slot = (struct service_stream){.stream = *stream, .worker = worker};
    slot->leads = is_assigned(service, stream->partition);
    if (slot->leads)
        worker_send(worker, PUBLISHER_LEAD);
    pthread_mutex_unlock(&service->lock);
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
            add_stream(service, stream);
        if (stream->partition >= partitions)
            partitions = stream->partition + 1;
    }
    pthread_mutex_lock(&service->lock);
    service->partitions_wanted = partitions;
    pthread_cond_broadcast(&service->changed);
    pthread_mutex_unlock(&service->lock);
    return ERROR_NONE;
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
        view_pending(&worker->view, *rows, *rows > REGISTRY_PENDING_MAX, *oldest_ms ? clock_unix_ms() - *oldest_ms : 0);
    return ERROR_NONE;
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
    return catalog_state_write(registry->session, &state, error);
}

static enum error_class write_states(struct registry *registry, struct error *error)
{
    struct outbox_service *service = registry->service;
    enum error_class class = ERROR_NONE;
    struct outbox_stream_view *view = malloc(sizeof *view);
    if (!view || clock_monotonic_ms() < registry->states_at_ms)
        goto out;
    registry->states_at_ms = clock_monotonic_ms() + REGISTRY_STATE_MS;
    class = catalog_states_begin(registry->session, error);
    for (size_t i = 0; !class && i < service->stream_count; i++) {
        struct service_stream *slot = &service->streams[i];
        view_copy(&slot->worker->view, view);
        if (view->leader)
            class = write_state(registry, slot, view, error);
    }
    if (!class)
        class = catalog_states_commit(registry->session, error);
out:
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
static void note_look(struct registry *registry, const struct error *error)
{
    struct outbox_service *service = registry->service;
    int64_t now_ms = clock_monotonic_ms();
    bool reached = error->class == ERROR_NONE || (error->class != ERROR_RECONNECT && registry->session);
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
    log_once(registry, error);
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

void *registry_run(void *opaque)
{
    struct outbox_service *service = opaque;
    struct registry *registry = calloc(1, sizeof *registry);
    if (registry)
        registry->position = calloc(1, sizeof *registry->position);
    if (!registry || !registry->position)
        abort(); /* no memory for the first kilobytes: nothing can work */
    registry->service = service;
    snprintf(registry->application_name, sizeof registry->application_name, "boxrelay/%s/registry",
             service->options.name);
    while (!service->stopping) {
        struct error error = {.class = ERROR_NONE};
        enum error_class class = look(registry, &error);
        note_look(registry, &error);
        if (class)
            session_close(&registry->session);
        pthread_mutex_lock(&service->lock);
        service_wait(service, clock_monotonic_ms() + next_look_ms(registry, class));
        pthread_mutex_unlock(&service->lock);
    }
    session_close(&registry->session);
    free(registry->position);
    free(registry);
    service->registry_ended = true;
    return NULL;
}
