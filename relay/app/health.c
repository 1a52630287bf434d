#include "health.h"

#include <jansson.h>
#include <string.h>

#include "core/publisher.h"

static bool add(json_t *checks, const char *name, bool up, json_t *data)
{
    json_t *check = json_pack("{s:s, s:s}", "name", name, "status", up ? "UP" : "DOWN");
    if (data)
        json_object_set_new(check, "data", data);
    json_array_append_new(checks, check);
    return up;
}

static bool add_progress(json_t *checks, const char *name, int64_t now_ms, int64_t progress_ms)
{
    int64_t age_ms = now_ms > progress_ms ? now_ms - progress_ms : 0;
    return add(checks, name, age_ms <= OVERVIEW_STUCK_MS,
               json_pack("{s:f}", "seconds_since_progress", (double)age_ms / 1000));
}

/* States that wait for a command or a long time cannot be stuck in work; a poll's wait is short. */
static bool works(const struct outbox_stream_view *stream)
{
    for (int state = 0; state < PUBLISHER_STATES; state++)
        if (strcmp(stream->state, publisher_state_name((enum publisher_state)state)) == 0)
            return state == PUBLISHER_POLL || (!publisher_waits((enum publisher_state)state) &&
                                               state != PUBLISHER_ENDED && state != PUBLISHER_IDLE);
    return true;
}

static bool check_live(json_t *checks, const struct overview *overview)
{
    bool up = add_progress(checks, "main-loop", overview->now_ms, overview->beat_ms);
    if (!overview->started || overview->stopping)
        return up;
    up &= add_progress(checks, "registry", overview->now_ms, overview->service.registry_progress_ms);
    up &= add_progress(checks, "leadership", overview->now_ms, overview->service.leadership_progress_ms);
    for (size_t i = 0; i < overview->stream_count; i++)
        if (works(&overview->streams[i]))
            up &= add_progress(checks, overview->streams[i].stream, overview->now_ms, overview->streams[i].progress_ms);
    return up;
}

/* The instance's own error explains what is down; its text never holds secrets. */
static json_t *error_data(const struct outbox_service_view *service)
{
    const struct error *error = &service->instance_error;
    return error->class == ERROR_NONE ? NULL : json_pack("{s:s, s:s}", "error", error->text, "code", error->code);
}

static bool check_ready(json_t *checks, const struct overview *overview)
{
    const struct outbox_service_view *service = &overview->service;
    /* A configuration that is not valid ends the program before there is a page. */
    bool up = add(checks, "configuration", true, NULL);
    up &= add(checks, "postgres", service->postgres_reached, service->postgres_reached ? NULL : error_data(service));
    json_t *schema = service->postgres_reached && !service->schema_ok ? error_data(service) : NULL;
    schema = schema ? schema : json_object();
    json_object_set_new(schema, "version", json_integer(service->schema_version));
    up &= add(checks, "schema", service->schema_ok, schema);
    if (overview->ready_requires_kafka)
        up &= add(checks, "kafka", service->kafka_up, service->kafka_up ? NULL : error_data(service));
    return up;
}

char *health_render(const struct overview *overview, enum health_page page, bool *up)
{
    json_t *checks = json_array();
    *up = true;
    if (page == HEALTH_STARTED || page == HEALTH_ALL)
        *up &= add(checks, "started", overview->started, NULL);
    if (page == HEALTH_LIVE || page == HEALTH_ALL)
        *up &= check_live(checks, overview);
    if (page == HEALTH_READY || page == HEALTH_ALL)
        *up &= check_ready(checks, overview);
    json_t *all = json_object();
    json_object_set_new(all, "status", json_string(*up ? "UP" : "DOWN"));
    json_object_set_new(all, "checks", checks);
    char *text = json_dumps(all, JSON_COMPACT | JSON_ENSURE_ASCII | JSON_REAL_PRECISION(9));
    json_decref(all);
    return text;
}

/* Messages of servers may be no UTF-8; then the page goes out without their text. */
static json_t *error_json(const struct error *error)
{
    if (error->class == ERROR_NONE)
        return json_null();
    json_t *item = json_object();
    json_object_set_new(item, "class", json_string(error_class_name(error->class)));
    json_object_set_new(item, "code", json_string(error->code));
    json_object_set_new(item, "text", json_string(error->text));
    json_object_set_new(item, "hint", json_string(error->hint));
    return item;
}

static json_t *age_json(int64_t then_ms, int64_t since_ms)
{
    return then_ms < 0 ? json_null() : json_real((double)(then_ms + since_ms) / 1000);
}

static json_t *cleanup_json(const struct outbox_stream_view *stream, int64_t now_ms)
{
    const struct outbox_cleanup_view *cleanup = &stream->cleanup;
    if (!stream->leader || cleanup->looked_ms == 0)
        return json_null();
    json_t *item = json_object();
    int64_t since_ms = now_ms - cleanup->looked_ms;
    json_object_set_new(item, "size_bytes", cleanup->size_bytes < 0 ? json_null() : json_integer(cleanup->size_bytes));
    json_object_set_new(item, "size_alarm", json_boolean(cleanup->size_alarm));
    json_object_set_new(item, "oldest_slot_age_seconds", age_json(cleanup->oldest_age_ms, since_ms));
    json_object_set_new(item, "held_seconds", age_json(cleanup->held_ms, since_ms));
    json_object_set_new(item, "held_reason", cleanup->held_reason[0] ? json_string(cleanup->held_reason) : json_null());
    json_object_set_new(item, "held_by", cleanup->held_by[0] ? json_string(cleanup->held_by) : json_null());
    json_object_set_new(item, "slots_emptied", json_integer((json_int_t)stream->slots_emptied));
    return item;
}

static json_t *stream_json(const struct outbox_stream_view *stream, int64_t now_ms)
{
    json_t *item = json_object();
    json_object_set_new(item, "stream", json_string(stream->stream));
    json_object_set_new(item, "state", json_string(stream->state));
    json_object_set_new(item, "state_since_ms", json_integer(stream->state_since_ms));
    json_object_set_new(item, "leader", json_boolean(stream->leader));
    json_object_set_new(item, "paused", json_boolean(stream->paused));
    json_object_set_new(item, "pending_rows",
                        stream->pending_rows < 0 ? json_null() : json_integer(stream->pending_rows));
    json_object_set_new(item, "pending_is_bound", json_boolean(stream->pending_is_bound));
    json_object_set_new(item, "oldest_age_seconds",
                        stream->oldest_age_ms < 0 ? json_null() : json_real((double)stream->oldest_age_ms / 1000));
    json_object_set_new(item, "published_rows", json_integer((json_int_t)stream->published_rows));
    json_object_set_new(item, "published_bytes", json_integer((json_int_t)stream->published_bytes));
    json_object_set_new(item, "transactions_committed", json_integer((json_int_t)stream->transactions_committed));
    json_object_set_new(item, "cleanup", cleanup_json(stream, now_ms));
    json_object_set_new(item, "error", error_json(&stream->last_error));
    return item;
}

char *health_render_status(const struct overview *overview)
{
    json_t *all = json_object(), *streams = json_array();
    for (size_t i = 0; i < overview->stream_count; i++)
        json_array_append_new(streams, stream_json(&overview->streams[i], overview->now_ms));
    json_object_set_new(all, "name", json_string(overview->name));
    json_object_set_new(all, "version", json_string(overview->version));
    json_object_set_new(all, "stopping", json_boolean(overview->stopping));
    json_object_set_new(all, "postgres_up", json_boolean(overview->service.postgres_up));
    json_object_set_new(all, "kafka_up", json_boolean(overview->service.kafka_up));
    json_object_set_new(all, "schema_version", json_integer(overview->service.schema_version));
    json_object_set_new(all, "error", error_json(&overview->service.instance_error));
    json_object_set_new(all, "streams", streams);
    char *text = json_dumps(all, JSON_INDENT(2) | JSON_ENSURE_ASCII | JSON_REAL_PRECISION(9));
    json_decref(all);
    return text;
}
