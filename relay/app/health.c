#include "health.h"

#include <jansson.h>
#include <stdio.h>
#include <string.h>

#include "base/fault.h"
#include "core/publisher.h"
#include "core/subscriber.h"
#include "text.h"

enum { HEALTH_BYTES_MAX = 1 << 20 };

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
    return add(checks, name, age_ms <= fault_shortened("BOXRELAY_STUCK_MS", OVERVIEW_STUCK_MS),
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

static bool inbox_works(const struct inbox_stream_view *inbox)
{
    for (int state = 0; state < SUBSCRIBER_STATES; state++)
        if (strcmp(inbox->state, subscriber_state_name((enum subscriber_state)state)) == 0)
            return !subscriber_waits((enum subscriber_state)state) && state != SUBSCRIBER_ENDED;
    return true;
}

static bool check_outboxes(json_t *checks, const struct overview *overview)
{
    bool up = add_progress(checks, "registry", overview->now_ms, overview->service.registry_progress_ms);
    up &= add_progress(checks, "leadership", overview->now_ms, overview->service.leadership_progress_ms);
    for (size_t i = 0; i < overview->stream_count; i++)
        if (works(&overview->streams[i]))
            up &= add_progress(checks, overview->streams[i].stream, overview->now_ms, overview->streams[i].progress_ms);
    return up;
}

static bool check_live(json_t *checks, const struct overview *overview)
{
    bool up = add_progress(checks, "main-loop", overview->now_ms, overview->beat_ms);
    if (!overview->started || overview->stopping)
        return up;
    if (overview->outbox_on)
        up &= check_outboxes(checks, overview);
    for (size_t i = 0; i < overview->inbox_count; i++)
        if (inbox_works(&overview->inboxes[i]))
            up &= add_progress(checks, overview->inboxes[i].stream, overview->now_ms, overview->inboxes[i].progress_ms);
    return up;
}

/* The instance's own error explains what is down; its text never holds secrets. */
static json_t *error_data(const struct outbox_service_view *service)
{
    const struct error *error = &service->instance_error;
    if (error->class == ERROR_NONE)
        return NULL;
    json_t *data = json_pack("{s:s, s:s}", "error", error->text, "code", error->code);
    if (data && error->hint[0])
        json_object_set_new(data, "hint", json_string(error->hint));
    return data;
}

/* Only the outbox service knows the version itself. */
static json_t *schema_data(const struct overview *overview)
{
    const struct outbox_service_view *service = &overview->service;
    json_t *data = service->postgres_reached && !service->schema_ok ? error_data(service) : NULL;
    if (!data)
        data = json_object();
    if (!service->postgres_reached)
        json_object_set_new(data, "error", json_string("not known before PostgreSQL has answered"));
    if (overview->outbox_on || !service->postgres_reached)
        json_object_set_new(data, "version", json_integer(service->schema_version));
    return data;
}

static bool check_ready(json_t *checks, const struct overview *overview)
{
    const struct outbox_service_view *service = &overview->service;
    /* A configuration that is not valid ends the program before there is a page. */
    bool up = add(checks, "configuration", true, NULL);
    up &= add(checks, "postgres", service->postgres_reached, service->postgres_reached ? NULL : error_data(service));
    up &= add(checks, "schema", service->schema_ok, schema_data(overview));
    if (overview->ready_requires_kafka)
        up &= add(checks, "kafka", service->kafka_up, service->kafka_up ? NULL : error_data(service));
    return up;
}

static json_t *collect(const struct overview *overview, enum health_page page, bool *up)
{
    json_t *checks = json_array();
    *up = true;
    if (page == HEALTH_STARTED || page == HEALTH_ALL)
        *up &= add(checks, "started", overview->started, NULL);
    if (page == HEALTH_LIVE || page == HEALTH_ALL)
        *up &= check_live(checks, overview);
    if (page == HEALTH_READY || page == HEALTH_ALL)
        *up &= check_ready(checks, overview);
    return checks;
}

static const char *text_of(const json_t *object, const char *key)
{
    return json_string_value(json_object_get(object, key));
}

/* What a check that is down has to say for itself; NULL: nothing. */
static const char *why(const json_t *data, char text[64])
{
    const char *error = text_of(data, "error");
    const json_t *seconds = json_object_get(data, "seconds_since_progress");
    if (error || !seconds)
        return error;
    snprintf(text, 64, "no progress for %.0f s", json_real_value(seconds));
    return text;
}

/* Spring Boot's health endpoint: components by name instead of a list, "details" instead of "data". */
static json_t *components_of(const json_t *checks)
{
    json_t *components = json_object(), *check;
    size_t i;
    json_array_foreach(checks, i, check)
    {
        json_t *component = json_pack("{s:O}", "status", json_object_get(check, "status"));
        if (json_object_get(check, "data"))
            json_object_set(component, "details", json_object_get(check, "data"));
        json_object_set_new(components, text_of(check, "name"), component);
    }
    return components;
}

static char *render_json(json_t *checks, enum health_page page, enum health_form form, bool up)
{
    json_t *all = json_object();
    json_object_set_new(all, "status", json_string(up ? "UP" : "DOWN"));
    if (form == HEALTH_SPRING)
        json_object_set_new(all, "components", components_of(checks));
    else
        json_object_set(all, "checks", checks);
    if (form == HEALTH_SPRING && page == HEALTH_ALL)
        json_object_set_new(all, "groups", json_pack("[s, s]", "liveness", "readiness"));
    char *text = json_dumps(all, JSON_COMPACT | JSON_ENSURE_ASCII | JSON_REAL_PRECISION(9));
    json_decref(all);
    return text;
}

/* Kubernetes docs, "Kubernetes API health endpoints". */
static char *render_lines(const json_t *checks, enum health_page page, bool verbose, bool up)
{
    struct text out;
    size_t i;
    json_t *check;
    char age[64];
    if (up && !verbose)
        return text_copy("ok\n");
    text_init(&out, HEALTH_BYTES_MAX);
    json_array_foreach(checks, i, check)
    {
        const char *name = text_of(check, "name"), *reason = why(json_object_get(check, "data"), age);
        if (strcmp(text_of(check, "status"), "UP") == 0)
            text_addf(&out, "[+]%s ok\n", name);
        else
            text_addf(&out, "[-]%s failed%s%s\n", name, reason ? ": " : "", reason ? reason : "");
    }
    text_addf(&out, "%s check %s\n", page == HEALTH_LIVE ? "livez" : "readyz", up ? "passed" : "failed");
    return text_take(&out);
}

char *health_render(const struct overview *overview, enum health_page page, enum health_form form, bool *up)
{
    if (form == HEALTH_CONFIGURED)
        form = overview->health_spring ? HEALTH_SPRING : HEALTH_MICROPROFILE;
    json_t *checks = collect(overview, page, up);
    char *text = form == HEALTH_KUBERNETES || form == HEALTH_VERBOSE
                     ? render_lines(checks, page, form == HEALTH_VERBOSE, *up)
                     : render_json(checks, page, form, *up);
    json_decref(checks);
    return text;
}

static void explain(struct text *out, const char *name, const json_t *check, const char *data_key)
{
    char age[64];
    const char *status = text_of(check, "status"), *reason = why(json_object_get(check, data_key), age);
    if (!name || !status || strcmp(status, "UP") == 0)
        return;
    text_addf(out, "%s%s: %s", out->length ? "; " : "", name, reason ? reason : status);
}

char *health_explain(const char *body)
{
    struct text out;
    json_t *all = json_loads(body, 0, NULL), *check;
    const char *name;
    size_t i;
    text_init(&out, HEALTH_BYTES_MAX);
    json_array_foreach(json_object_get(all, "checks"), i, check)
    {
        explain(&out, text_of(check, "name"), check, "data");
    }
    json_object_foreach(json_object_get(all, "components"), name, check) { explain(&out, name, check, "details"); }
    json_decref(all);
    return text_take(&out);
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

/* What all streams have in common. */
static json_t *state_json(const char *stream, const char *state, int64_t since_ms, bool paused)
{
    json_t *item = json_object();
    json_object_set_new(item, "stream", json_string(stream));
    json_object_set_new(item, "state", json_string(state));
    json_object_set_new(item, "state_since_ms", json_integer(since_ms));
    json_object_set_new(item, "paused", json_boolean(paused));
    return item;
}

static void add_pending(json_t *item, int64_t rows, bool is_bound, int64_t oldest_age_ms)
{
    json_object_set_new(item, "pending_rows", rows < 0 ? json_null() : json_integer(rows));
    json_object_set_new(item, "pending_is_bound", json_boolean(is_bound));
    json_object_set_new(item, "oldest_age_seconds",
                        oldest_age_ms < 0 ? json_null() : json_real((double)oldest_age_ms / 1000));
}

static void add_count(json_t *item, const char *name, uint64_t count)
{
    json_object_set_new(item, name, json_integer((json_int_t)count));
}

static json_t *outbox_json(const struct outbox_stream_view *stream, int64_t now_ms)
{
    json_t *item = state_json(stream->stream, stream->state, stream->state_since_ms, stream->paused);
    json_object_set_new(item, "leader", json_boolean(stream->leader));
    add_pending(item, stream->pending_rows, stream->pending_is_bound, stream->oldest_age_ms);
    add_count(item, "published_rows", stream->published_rows);
    add_count(item, "published_bytes", stream->published_bytes);
    add_count(item, "transactions_committed", stream->transactions_committed);
    json_object_set_new(item, "cleanup", cleanup_json(stream, now_ms));
    json_object_set_new(item, "error", error_json(&stream->last_error));
    return item;
}

static json_t *partitions_json(const struct inbox_stream_view *stream)
{
    json_t *list = json_array();
    for (size_t i = 0; i < stream->partition_count; i++) {
        const struct inbox_partition_view *partition = &stream->partitions[i];
        json_t *item = json_object();
        json_object_set_new(item, "topic", json_string(partition->topic));
        json_object_set_new(item, "partition", json_integer(partition->partition));
        json_object_set_new(item, "lag_records",
                            partition->lag_records < 0 ? json_null() : json_integer(partition->lag_records));
        json_object_set_new(item, "error", error_json(&partition->last_error));
        json_array_append_new(list, item);
    }
    return list;
}

static json_t *inbox_json(const struct inbox_stream_view *stream)
{
    json_t *item = state_json(stream->stream, stream->state, stream->state_since_ms, stream->paused);
    json_object_set_new(item, "full", json_boolean(stream->full));
    add_pending(item, stream->pending_rows, false, stream->oldest_age_ms);
    add_count(item, "stored_rows", stream->stored_rows);
    add_count(item, "stored_bytes", stream->stored_bytes);
    add_count(item, "duplicates", stream->duplicates);
    add_count(item, "conflicts", stream->conflicts);
    add_count(item, "dead_letters", stream->dead_letters);
    add_count(item, "transactions_committed", stream->transactions_committed);
    json_object_set_new(item, "partitions", partitions_json(stream));
    json_object_set_new(item, "error", error_json(&stream->last_error));
    return item;
}

char *health_render_status(const struct overview *overview)
{
    json_t *all = json_object(), *streams = json_array();
    for (size_t i = 0; i < overview->stream_count; i++)
        json_array_append_new(streams, outbox_json(&overview->streams[i], overview->now_ms));
    for (size_t i = 0; i < overview->inbox_count; i++)
        json_array_append_new(streams, inbox_json(&overview->inboxes[i]));
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
