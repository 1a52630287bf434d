#include "kafka/group.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "conf.h"
#include "errors.h"
#include "reason.h"

enum {
    GROUP_MAGIC = 0x67726f75,
    PARTITIONS_MAX = 4096,
    CLOSE_MS_MAX = 1000,
    CLOSE_SLICE_MS = 50,
    SILENCE_MS = 4000,    /* heartbeats and metadata are answered far more often */
    MENDED_MS = 2000,     /* heartbeats answered for so long after an error: it has passed */
    API_KEY_METADATA = 3, /* Kafka protocol guide, "Api Keys" */
    API_KEY_HEARTBEAT = 12,
};

struct group {
    uint32_t magic;
    struct group_options options;
    rd_kafka_t *handle;
    rd_kafka_queue_t *queue; /* the consumer's: messages, rebalances, errors, log lines */
    struct reason reason;    /* until it is mended */
    int64_t reason_ms;       /* when it was noted */
    bool fatal;
    int32_t held[PARTITIONS_MAX]; /* as last assigned, until revoked or lost */
    size_t held_count;

    /* Monotonic; written by broker threads. The library tells an outage once and its end never: so count answers. */
    _Atomic int64_t answered_ms, heartbeat_ms;
    _Atomic bool answered;
};

/* Runs in broker threads. Answers of the handshake do not count: they come before a password is refused. */
static rd_kafka_resp_err_t note_answer(rd_kafka_t *handle, int socket, const char *broker, int32_t broker_id,
                                       int16_t api_key, int16_t api_version, int32_t correlation_id, size_t size,
                                       int64_t round_trip_us, rd_kafka_resp_err_t err, void *opaque)
{
    (void)handle, (void)socket, (void)broker, (void)broker_id, (void)api_version, (void)correlation_id;
    (void)size, (void)round_trip_us;
    struct group *group = opaque;
    if (err != RD_KAFKA_RESP_ERR_NO_ERROR || (api_key != API_KEY_METADATA && api_key != API_KEY_HEARTBEAT))
        return RD_KAFKA_RESP_ERR_NO_ERROR;
    group->answered_ms = clock_monotonic_ms();
    group->answered = true;
    if (api_key == API_KEY_HEARTBEAT)
        group->heartbeat_ms = group->answered_ms;
    return RD_KAFKA_RESP_ERR_NO_ERROR;
}

static rd_kafka_resp_err_t listen_to_answers(rd_kafka_t *handle, const rd_kafka_conf_t *conf, void *opaque, char *why,
                                             size_t size)
{
    (void)conf, (void)why, (void)size;
    return rd_kafka_interceptor_add_on_response_received(handle, "boxrelay", note_answer, opaque);
}

static void tell(struct group *group, enum group_change change, const rd_kafka_topic_partition_list_t *list)
{
    int32_t partitions[PARTITIONS_MAX] = {0};
    size_t count = 0;
    for (int i = 0; list && i < list->cnt && count < PARTITIONS_MAX; i++)
        partitions[count++] = list->elems[i].partition;
    group->held_count = change == GROUP_ASSIGNED ? count : 0;
    memcpy(group->held, partitions, group->held_count * sizeof partitions[0]);
    group->options.changed(group->options.opaque, change, partitions, count);
}

/* Nothing is to be read: from the end, and paused before the first fetch. */
static void assign(struct group *group, rd_kafka_topic_partition_list_t *list)
{
    for (int i = 0; i < list->cnt; i++)
        list->elems[i].offset = RD_KAFKA_OFFSET_END;
    rd_kafka_assign(group->handle, list);
    rd_kafka_pause_partitions(group->handle, list);
}

static void rebalance(struct group *group, rd_kafka_event_t *event)
{
    rd_kafka_topic_partition_list_t *list = rd_kafka_event_topic_partition_list(event);
    if (rd_kafka_event_error(event) == RD_KAFKA_RESP_ERR__ASSIGN_PARTITIONS) {
        assign(group, list);
        tell(group, GROUP_ASSIGNED, list);
        return;
    }
    bool lost =
        rd_kafka_event_error(event) != RD_KAFKA_RESP_ERR__REVOKE_PARTITIONS || rd_kafka_assignment_lost(group->handle);
    tell(group, lost ? GROUP_LOST : GROUP_REVOKED, list);
    rd_kafka_assign(group->handle, NULL);
}

/* Partitions are paused, so no records come; what comes as a message is a partition's error. */
static void note_messages(struct group *group, rd_kafka_event_t *event)
{
    const rd_kafka_message_t *message;
    while ((message = rd_kafka_event_message_next(event)))
        if (message->err != RD_KAFKA_RESP_ERR_NO_ERROR)
            reason_note_error(&group->reason, message->err, rd_kafka_message_errstr(message));
    group->reason_ms = clock_monotonic_ms();
}

/* A fenced member is out for good; the library forgets its partitions without a word. */
static void lose_all(struct group *group)
{
    group->options.changed(group->options.opaque, GROUP_LOST, group->held, group->held_count);
    group->held_count = 0;
}

static void note_fatal(struct group *group)
{
    char text[REASON_TEXT_MAX];
    int code = rd_kafka_fatal_error(group->handle, text, sizeof text);
    if (code == RD_KAFKA_RESP_ERR_NO_ERROR)
        return;
    reason_note_error(&group->reason, code, text);
    group->reason_ms = clock_monotonic_ms();
    if (!group->fatal)
        lose_all(group);
    group->fatal = true;
}

static void serve(struct group *group, rd_kafka_event_t *event)
{
    switch (rd_kafka_event_type(event)) {
    case RD_KAFKA_EVENT_REBALANCE:
        rebalance(group, event);
        break;
    case RD_KAFKA_EVENT_FETCH:
        note_messages(group, event);
        break;
    default:
        reason_note(&group->reason, event);
        if (rd_kafka_event_type(event) == RD_KAFKA_EVENT_ERROR)
            group->reason_ms = clock_monotonic_ms();
        break;
    }
    rd_kafka_event_destroy(event);
}

static enum error_class set_member(rd_kafka_conf_t *conf, const struct group_options *options, struct error *error)
{
    enum error_class class = conf_set(conf, "group.id", options->group_id, error);
    if (class == ERROR_NONE && options->instance_id)
        class = conf_set(conf, "group.instance.id", options->instance_id, error);
    return class;
}

static enum error_class subscribe(struct group *group, struct error *error)
{
    rd_kafka_topic_partition_list_t *topics = rd_kafka_topic_partition_list_new(1);
    rd_kafka_topic_partition_list_add(topics, group->options.topic, RD_KAFKA_PARTITION_UA);
    int code = rd_kafka_subscribe(group->handle, topics);
    rd_kafka_topic_partition_list_destroy(topics);
    if (code == RD_KAFKA_RESP_ERR_NO_ERROR)
        return ERROR_NONE;
    return kafka_error_set(error, kafka_error_class(code), code, "subscribe", NULL);
}

enum error_class group_open(const struct group_options *options, struct group **out, struct error *error)
{
    assert(options->changed);
    rd_kafka_conf_t *conf;
    enum error_class class = conf_make(options->settings, CONF_GROUP, options->client_id, &conf, error);
    if (class != ERROR_NONE)
        return class;
    class = set_member(conf, options, error);
    if (class != ERROR_NONE) {
        rd_kafka_conf_destroy(conf);
        return class;
    }
    struct group *group = calloc(1, sizeof *group);
    if (!group)
        abort();
    *group = (struct group){.magic = GROUP_MAGIC, .options = *options, .answered_ms = clock_monotonic_ms()};
    rd_kafka_conf_set_events(conf, RD_KAFKA_EVENT_REBALANCE | RD_KAFKA_EVENT_ERROR | RD_KAFKA_EVENT_FETCH |
                                       RD_KAFKA_EVENT_LOG);
    rd_kafka_conf_interceptor_add_on_new(conf, "boxrelay", listen_to_answers, group);
    class = conf_open(RD_KAFKA_CONSUMER, &conf, &group->handle, error);
    if (class == ERROR_NONE) {
        rd_kafka_poll_set_consumer(group->handle);
        group->queue = rd_kafka_queue_get_consumer(group->handle);
        class = subscribe(group, error);
    }
    if (class != ERROR_NONE)
        group_close(&group);
    *out = group;
    return class;
}

/* Brokers that are away: errors of single ones do not matter while others answer. */
static enum error_class report_silence(const struct group *group, struct error *error)
{
    long long silent_ms = clock_monotonic_ms() - group->answered_ms;
    const struct reason *reason = &group->reason;
    bool away = reason_class(reason) == ERROR_RECONNECT;
    if (silent_ms < SILENCE_MS && (group->answered || !away))
        return ERROR_NONE;
    return error_set(error, ERROR_RECONNECT, away ? kafka_error_name(reason->code) : "_ALL_BROKERS_DOWN",
                     "no broker has answered for %lld ms%s%s", silent_ms, away ? ": " : "", away ? reason->text : "");
}

static enum error_class report(struct group *group, struct error *error)
{
    struct reason *reason = &group->reason;
    if (group->heartbeat_ms - group->reason_ms > MENDED_MS)
        *reason = (struct reason){0};
    enum error_class class = reason->code ? reason_class(reason) : ERROR_NONE;
    if (class != ERROR_CONFIG && class != ERROR_INTEGRITY)
        return report_silence(group, error);
    class = kafka_error_set(error, class, reason->code, "consumer group", reason->text);
    if (class == ERROR_INTEGRITY)
        return error_hint(error, "another instance runs with the same instance_id: give each its own");
    return class;
}

enum error_class group_poll(struct group *group, int timeout_ms, struct error *error)
{
    assert(group && group->magic == GROUP_MAGIC);
    int64_t until = clock_monotonic_ms() + timeout_ms;
    for (int64_t left = timeout_ms; left >= 0; left = until - clock_monotonic_ms()) {
        rd_kafka_event_t *event = rd_kafka_queue_poll(group->queue, (int)left);
        if (!event)
            break;
        serve(group, event);
    }
    note_fatal(group);
    return report(group, error);
}

/* Leaving is asked for and its rebalance served; brokers that do not answer are not waited for. */
static void leave(struct group *group)
{
    rd_kafka_error_t *failed = rd_kafka_consumer_close_queue(group->handle, group->queue);
    int64_t until = clock_monotonic_ms() + CLOSE_MS_MAX;
    while (!failed && !rd_kafka_consumer_closed(group->handle) && clock_monotonic_ms() < until) {
        rd_kafka_event_t *event = rd_kafka_queue_poll(group->queue, CLOSE_SLICE_MS);
        if (event)
            serve(group, event);
    }
    if (failed)
        rd_kafka_error_destroy(failed);
}

void group_close(struct group **group)
{
    struct group *gone = *group;
    *group = NULL;
    if (!gone)
        return;
    assert(gone->magic == GROUP_MAGIC);
    if (gone->queue) {
        leave(gone);
        rd_kafka_queue_destroy(gone->queue);
    }
    if (gone->handle)
        rd_kafka_destroy_flags(gone->handle, RD_KAFKA_DESTROY_F_NO_CONSUMER_CLOSE);
    gone->magic = 0;
    free(gone);
}
