#include "member.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "errors.h"

enum {
    CLOSE_MS_MAX = 1000,
    CLOSE_SLICE_MS = 50,
    SILENCE_MS = 4000,    /* heartbeats and metadata are answered far more often */
    MENDED_MS = 2000,     /* heartbeats answered for so long after an error: it has passed */
    API_KEY_METADATA = 3, /* Kafka protocol guide, "Api Keys" */
    API_KEY_HEARTBEAT = 12,
};

/* Runs in broker threads. Answers of the handshake do not count: they come before a password is refused. */
static rd_kafka_resp_err_t note_answer(rd_kafka_t *handle, int socket, const char *broker, int32_t broker_id,
                                       int16_t api_key, int16_t api_version, int32_t correlation_id, size_t size,
                                       int64_t round_trip_us, rd_kafka_resp_err_t err, void *opaque)
{
    (void)handle, (void)socket, (void)broker, (void)broker_id, (void)api_version, (void)correlation_id;
    (void)size, (void)round_trip_us;
    struct member *member = opaque;
    if (err != RD_KAFKA_RESP_ERR_NO_ERROR || (api_key != API_KEY_METADATA && api_key != API_KEY_HEARTBEAT))
        return RD_KAFKA_RESP_ERR_NO_ERROR;
    member->answered_ms = clock_monotonic_ms();
    member->answered = true;
    if (api_key == API_KEY_HEARTBEAT)
        member->heartbeat_ms = member->answered_ms;
    return RD_KAFKA_RESP_ERR_NO_ERROR;
}

static rd_kafka_resp_err_t listen_to_answers(rd_kafka_t *handle, const rd_kafka_conf_t *conf, void *opaque, char *why,
                                             size_t size)
{
    (void)conf, (void)why, (void)size;
    return rd_kafka_interceptor_add_on_response_received(handle, "boxrelay", note_answer, opaque);
}

static enum error_class ignore_topics(rd_kafka_conf_t *conf, const char *ignored, struct error *error)
{
    char users[4096] = "", all[8192];
    size_t size = sizeof users;
    if (rd_kafka_conf_get(conf, "topic.blacklist", users, &size) != RD_KAFKA_CONF_OK)
        users[0] = '\0';
    snprintf(all, sizeof all, "%s%s%s", users, users[0] ? "," : "", ignored);
    return conf_set(conf, "topic.blacklist", all, error);
}

static enum error_class set_member(rd_kafka_conf_t *conf, const struct member_options *options, struct error *error)
{
    enum error_class class = conf_set(conf, "group.id", options->group_id, error);
    if (class == ERROR_NONE)
        class = conf_set(conf, "partition.assignment.strategy", options->strategy, error);
    if (class == ERROR_NONE && options->instance_id)
        class = conf_set(conf, "group.instance.id", options->instance_id, error);
    if (class == ERROR_NONE && options->ignored_topics)
        class = ignore_topics(conf, options->ignored_topics, error);
    return class;
}

static enum error_class subscribe(struct member *member, const struct member_options *options, struct error *error)
{
    if (options->topic_count == 0)
        return ERROR_NONE;
    rd_kafka_topic_partition_list_t *topics = rd_kafka_topic_partition_list_new((int)options->topic_count);
    for (size_t i = 0; i < options->topic_count; i++)
        rd_kafka_topic_partition_list_add(topics, options->topics[i], RD_KAFKA_PARTITION_UA);
    int code = rd_kafka_subscribe(member->handle, topics);
    rd_kafka_topic_partition_list_destroy(topics);
    if (code == RD_KAFKA_RESP_ERR_NO_ERROR)
        return ERROR_NONE;
    return kafka_error_set(error, kafka_error_class(code), code, "subscribe", NULL);
}

enum error_class member_open(struct member *member, const struct member_options *options, struct error *error)
{
    rd_kafka_conf_t *conf;
    enum error_class class = conf_make(options->settings, options->kind, options->client_id, &conf, error);
    if (class != ERROR_NONE)
        return class;
    class = set_member(conf, options, error);
    if (class != ERROR_NONE) {
        rd_kafka_conf_destroy(conf);
        return class;
    }
    *member = (struct member){.answered_ms = clock_monotonic_ms()};
    rd_kafka_conf_set_events(conf, RD_KAFKA_EVENT_REBALANCE | RD_KAFKA_EVENT_ERROR | RD_KAFKA_EVENT_FETCH |
                                       RD_KAFKA_EVENT_OFFSET_COMMIT | RD_KAFKA_EVENT_LOG);
    rd_kafka_conf_interceptor_add_on_new(conf, "boxrelay", listen_to_answers, member);
    class = conf_open(RD_KAFKA_CONSUMER, &conf, &member->handle, error);
    if (class != ERROR_NONE)
        return class;
    rd_kafka_poll_set_consumer(member->handle);
    member->queue = rd_kafka_queue_get_consumer(member->handle);
    return subscribe(member, options, error);
}

/* Leaving is asked for and its rebalance served; brokers that do not answer are not waited for. */
static void leave(struct member *member, void (*serve)(void *opaque, rd_kafka_event_t *event), void *opaque)
{
    rd_kafka_error_t *failed = rd_kafka_consumer_close_queue(member->handle, member->queue);
    int64_t until = clock_monotonic_ms() + CLOSE_MS_MAX;
    while (!failed && !rd_kafka_consumer_closed(member->handle) && clock_monotonic_ms() < until) {
        rd_kafka_event_t *event = rd_kafka_queue_poll(member->queue, CLOSE_SLICE_MS);
        if (event)
            serve(opaque, event);
    }
    if (failed)
        rd_kafka_error_destroy(failed);
}

void member_close(struct member *member, void (*serve)(void *opaque, rd_kafka_event_t *event), void *opaque)
{
    if (member->queue) {
        leave(member, serve, opaque);
        rd_kafka_queue_destroy(member->queue);
    }
    if (member->handle)
        rd_kafka_destroy_flags(member->handle, RD_KAFKA_DESTROY_F_NO_CONSUMER_CLOSE);
    *member = (struct member){0};
}

void member_note(struct member *member, rd_kafka_event_t *event)
{
    reason_note(&member->reason, event);
    if (rd_kafka_event_type(event) == RD_KAFKA_EVENT_ERROR)
        member->reason_ms = clock_monotonic_ms();
}

static void note_error(struct member *member, int code, const char *text)
{
    reason_note_error(&member->reason, code, text);
    member->reason_ms = clock_monotonic_ms();
}

bool member_is_fatal(struct member *member)
{
    char text[REASON_TEXT_MAX];
    int code = rd_kafka_fatal_error(member->handle, text, sizeof text);
    if (code == RD_KAFKA_RESP_ERR_NO_ERROR)
        return false;
    note_error(member, code, text);
    return true;
}

/* Brokers that are away: errors of single ones do not matter while others answer. */
static enum error_class report_silence(const struct member *member, struct error *error)
{
    long long silent_ms = clock_monotonic_ms() - member->answered_ms;
    const struct reason *reason = &member->reason;
    bool away = reason_class(reason) == ERROR_RECONNECT;
    if (silent_ms < SILENCE_MS && (member->answered || !away))
        return ERROR_NONE;
    return error_set(error, ERROR_RECONNECT, away ? kafka_error_name(reason->code) : "_ALL_BROKERS_DOWN",
                     "no broker has answered for %lld ms%s%s", silent_ms, away ? ": " : "", away ? reason->text : "");
}

enum error_class member_report(struct member *member, struct error *error)
{
    struct reason *reason = &member->reason;
    if (member->heartbeat_ms - member->reason_ms > MENDED_MS)
        *reason = (struct reason){0};
    enum error_class class = reason->code ? reason_class(reason) : ERROR_NONE;
    if (class != ERROR_CONFIG && class != ERROR_INTEGRITY)
        return report_silence(member, error);
    class = kafka_error_set(error, class, reason->code, "consumer group", reason->text);
    if (class == ERROR_INTEGRITY)
        return error_hint(error, "another instance runs with the same instance_id: give each its own");
    return class;
}
