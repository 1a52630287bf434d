/* Reading a position back behind a barrier [K3]; the other half of kafka/positions.h. */
#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "conf.h"
#include "errors.h"
#include "kafka/positions.h"
#include "keys.h"
#include "reason.h"

enum { POLL_MS = 100, WARM_TIMEOUT_MS = 1000, SPAN_FIRST = 256 };

struct reading {
    const struct positions_read *wanted;
    rd_kafka_t *handle;
    rd_kafka_queue_t *queue;
    rd_kafka_topic_t *topic;
    struct reason reason;
    char position_key[POSITIONS_KEY_SIZE], barrier_key[POSITIONS_KEY_SIZE];

    /* The last position of the stream seen so far, before the barrier. */
    bool found;
    int64_t offset;
    char *text;
    size_t length;
};

static bool stopping(const struct reading *r) { return r->wanted->stop && r->wanted->stop->requested; }

static int64_t left_ms(const struct reading *r) { return r->wanted->deadline_ms - clock_monotonic_ms(); }

static int slice(const struct reading *r, int most)
{
    int64_t left = left_ms(r);
    return left < 1 ? 1 : left < most ? (int)left : most;
}

/* Metadata first: a consumer that starts cold waits half a second for its first leader [K10]. */
static int warm(struct reading *r)
{
    const struct rd_kafka_metadata *metadata = NULL;
    int code = rd_kafka_metadata(r->handle, 0, r->topic, &metadata, slice(r, WARM_TIMEOUT_MS));
    reason_serve(&r->reason, r->queue);
    if (code != RD_KAFKA_RESP_ERR_NO_ERROR)
        return code;
    const struct rd_kafka_metadata_topic *topic = metadata->topic_cnt == 1 ? &metadata->topics[0] : NULL;
    code = topic ? topic->err : RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART;
    if (code == RD_KAFKA_RESP_ERR_NO_ERROR) {
        code = RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART;
        for (int i = 0; i < topic->partition_cnt; i++)
            if (topic->partitions[i].id == r->wanted->partition)
                code = topic->partitions[i].leader < 0 ? RD_KAFKA_RESP_ERR_LEADER_NOT_AVAILABLE : 0;
    }
    rd_kafka_metadata_destroy(metadata);
    return code;
}

static enum error_class name(struct error *error, int code, const char *text)
{
    return kafka_error_set(error, kafka_error_class(code), code, "reading the position back", text);
}

/* The deadline passed. Brokers that answer although the barrier does not appear are a case for a person [K3]. */
static enum error_class not_visible(struct reading *r, struct error *error)
{
    struct positions_read again = *r->wanted;
    again.deadline_ms = clock_monotonic_ms() + WARM_TIMEOUT_MS;
    const struct positions_read *was = r->wanted;
    r->wanted = &again;
    int code = warm(r);
    r->wanted = was;
    if (code != RD_KAFKA_RESP_ERR_NO_ERROR) {
        enum error_class class = reason_timed_out(&r->reason, error, "reading the position back", 0);
        if (class == ERROR_RETRY)
            error->class = ERROR_RECONNECT;
        return error->class;
    }
    (void)error_set(error, ERROR_CONFIG, "BARRIER_NOT_VISIBLE",
                    "the barrier committed on \"%s\" partition %d did not become visible in time%s%s", r->wanted->topic,
                    r->wanted->partition, r->reason.text[0] ? ": " : "", r->reason.text);
    return error_hint(error, "look for an open transaction of another producer on that partition "
                             "(kafka-transactions.sh find-hanging) and for replicas that do not catch up");
}

/* Failures that pass: brokers away or moving. */
static bool passes(int code)
{
    enum error_class class = kafka_error_class(code);
    return class == ERROR_RETRY || class == ERROR_RECONNECT;
}

static enum error_class warm_until(struct reading *r, struct error *error)
{
    for (;;) {
        int code = warm(r);
        if (code == RD_KAFKA_RESP_ERR_NO_ERROR)
            return ERROR_NONE;
        if (reason_class(&r->reason) == ERROR_CONFIG)
            return reason_timed_out(&r->reason, error, "reading the position back", WARM_TIMEOUT_MS);
        if (!passes(code))
            return name(error, code, NULL);
        if (stopping(r))
            return error_set(error, ERROR_RETRY, "STOPPING", "interrupted by a stop request");
        if (left_ms(r) <= 0) {
            (void)name(error, code, r->reason.text);
            return error->class = ERROR_RECONNECT;
        }
        reason_serve(&r->reason, r->queue);
        rd_kafka_event_t *event = rd_kafka_queue_poll(r->queue, POLL_MS / 4);
        if (event) {
            reason_note(&r->reason, event);
            rd_kafka_event_destroy(event);
        }
    }
}

static bool has_key(const rd_kafka_message_t *message, const char *key)
{
    return message->key && message->key_len == strlen(key) && memcmp(message->key, key, message->key_len) == 0;
}

static void keep(struct reading *r, const rd_kafka_message_t *message)
{
    free(r->text);
    r->text = malloc(message->len + 1);
    if (!r->text)
        abort();
    memcpy(r->text, message->payload, message->len);
    r->text[message->len] = '\0';
    r->length = message->len;
    r->offset = message->offset;
    r->found = true;
}

/* Takes one record; true when it is the barrier. Records of other streams are ignored, and tombstones are nobody's. */
static bool take(struct reading *r, const rd_kafka_message_t *message)
{
    if (!message->payload)
        return false;
    if (has_key(message, r->position_key))
        keep(r, message);
    return has_key(message, r->barrier_key) &&
           positions_barrier_is(message->payload, message->len, &r->wanted->barrier);
}

enum outcome { READ_ON, SAW_END, OUT_OF_RANGE, READ_FAILED };

static enum outcome take_message(struct reading *r, const rd_kafka_message_t *message, int64_t until,
                                 enum error_class *class, struct error *error)
{
    if (message->err == RD_KAFKA_RESP_ERR_NO_ERROR)
        return take(r, message) || message->offset >= until ? SAW_END : READ_ON;
    if (message->err == RD_KAFKA_RESP_ERR__AUTO_OFFSET_RESET || message->err == RD_KAFKA_RESP_ERR_OFFSET_OUT_OF_RANGE)
        return OUT_OF_RANGE;
    reason_note_error(&r->reason, message->err, rd_kafka_message_errstr(message));
    if (passes(message->err))
        return READ_ON;
    *class = name(error, message->err, rd_kafka_message_errstr(message));
    return READ_FAILED;
}

/* Reads on from where the partition was started, until the barrier or a record at `until` or beyond. */
static enum outcome read_on(struct reading *r, int64_t until, enum error_class *class, struct error *error)
{
    enum outcome outcome = READ_ON;
    while (outcome == READ_ON) {
        rd_kafka_message_t *message = rd_kafka_consume(r->topic, r->wanted->partition, slice(r, POLL_MS));
        reason_serve(&r->reason, r->queue);
        if (message) {
            outcome = take_message(r, message, until, class, error);
            rd_kafka_message_destroy(message);
        }
        if (outcome == READ_ON && stopping(r)) {
            *class = error_set(error, ERROR_RETRY, "STOPPING", "interrupted by a stop request");
            outcome = READ_FAILED;
        } else if (outcome == READ_ON && left_ms(r) <= 0) {
            *class = not_visible(r, error);
            outcome = READ_FAILED;
        }
    }
    return outcome;
}

/* One pass from `offset`. A pass starts with what it sees itself: an older position found before means nothing then. */
static enum outcome pass(struct reading *r, int64_t offset, int64_t until, enum error_class *class, struct error *error)
{
    r->found = false;
    if (rd_kafka_consume_start(r->topic, r->wanted->partition, offset) == -1) {
        *class = name(error, rd_kafka_last_error(), NULL);
        return READ_FAILED;
    }
    enum outcome outcome = read_on(r, until, class, error);
    rd_kafka_consume_stop(r->topic, r->wanted->partition);
    return outcome;
}

/* Where the tick row knows a position. An offset outside of the log is never taken for its end: read everything. */
static enum error_class from_known(struct reading *r, struct error *error)
{
    enum error_class class = ERROR_NONE;
    enum outcome outcome = pass(r, r->wanted->from_offset, INT64_MAX, &class, error);
    if (outcome == OUT_OF_RANGE) {
        log_warn("known position is outside of the log, reading it from its start", LOG_STR("topic", r->wanted->topic),
                 LOG_INT("partition", r->wanted->partition), LOG_INT("offset", r->wanted->from_offset));
        outcome = pass(r, RD_KAFKA_OFFSET_BEGINNING, INT64_MAX, &class, error);
    }
    if (outcome == OUT_OF_RANGE)
        class = error_set(error, ERROR_RETRY, "OFFSET_OUT_OF_RANGE", "the start of the log moved while reading");
    return class;
}

static enum error_class watermarks(struct reading *r, int64_t *low, int64_t *high, struct error *error)
{
    for (;;) {
        int code = rd_kafka_query_watermark_offsets(r->handle, r->wanted->topic, r->wanted->partition, low, high,
                                                    slice(r, WARM_TIMEOUT_MS));
        reason_serve(&r->reason, r->queue);
        if (code == RD_KAFKA_RESP_ERR_NO_ERROR)
            return ERROR_NONE;
        if (!passes(code))
            return name(error, code, NULL);
        if (stopping(r))
            return error_set(error, ERROR_RETRY, "STOPPING", "interrupted by a stop request");
        if (left_ms(r) <= 0)
            return not_visible(r, error);
    }
}

/*
 * Back from the end, doubling. The end is only a place to start from: it may be stale, so the first pass reads until
 * the barrier, and each later one up to where the one before it began.
 */
static enum error_class from_end(struct reading *r, struct error *error)
{
    int64_t low, high, until = INT64_MAX;
    enum error_class class = watermarks(r, &low, &high, error);
    for (int64_t span = SPAN_FIRST; class == ERROR_NONE; span *= 2) {
        int64_t start = high - low > span ? high - span : low;
        enum outcome outcome = pass(r, start, until, &class, error);
        if (outcome == OUT_OF_RANGE && class == ERROR_NONE)
            return error_set(error, ERROR_RETRY, "OFFSET_OUT_OF_RANGE", "the start of the log moved while reading");
        if (outcome != SAW_END || r->found || start == low)
            break;
        until = start;
    }
    return class;
}

static enum error_class read_all(struct reading *r, struct error *error)
{
    enum error_class class = warm_until(r, error);
    if (class != ERROR_NONE)
        return class;
    return r->wanted->from_offset >= 0 ? from_known(r, error) : from_end(r, error);
}

static enum error_class open_reader(struct reading *r, struct error *error)
{
    rd_kafka_conf_t *conf;
    enum error_class class = conf_make(r->wanted->settings, CONF_READER, "boxrelay", &conf, error);
    if (class != ERROR_NONE)
        return class;
    rd_kafka_conf_set_events(conf, RD_KAFKA_EVENT_ERROR | RD_KAFKA_EVENT_LOG);
    class = conf_open(RD_KAFKA_CONSUMER, &conf, &r->handle, error);
    if (class != ERROR_NONE)
        return class;
    r->queue = rd_kafka_queue_get_main(r->handle);
    r->topic = rd_kafka_topic_new(r->handle, r->wanted->topic, NULL);
    return r->topic ? ERROR_NONE : name(error, rd_kafka_last_error(), NULL);
}

static void close_reader(struct reading *r)
{
    if (!r->handle)
        return;
    if (r->topic)
        rd_kafka_topic_destroy(r->topic);
    rd_kafka_queue_destroy(r->queue);
    rd_kafka_destroy(r->handle);
}

enum error_class positions_read_back(const struct positions_read *read, bool *found, struct position *position,
                                     int64_t *offset, struct error *error)
{
    struct reading r = {.wanted = read};
    positions_key(r.position_key, "position", &read->stream);
    positions_key(r.barrier_key, "barrier", &read->stream);
    enum error_class class = open_reader(&r, error);
    if (class == ERROR_NONE)
        class = read_all(&r, error);
    close_reader(&r);
    if (class == ERROR_NONE) {
        *found = r.found;
        *offset = r.offset;
        if (r.found && position_parse(r.text, r.length, position, error) != ERROR_NONE)
            class = error_prefix(error, "position at offset %lld of \"%s\" partition %d", (long long)r.offset,
                                 read->topic, read->partition);
    }
    free(r.text);
    return class;
}
