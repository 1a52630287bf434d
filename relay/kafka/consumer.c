#include "kafka/consumer.h"

#include <assert.h>
#include <regex.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "errors.h"
#include "member.h"

enum {
    CONSUMER_MAGIC = 0x636f6e73,
    EXCLUDED_MAX = 2 * CONSUMER_TOPIC_MAX + 128,
    COOPERATIVE_VERSION = 0x020601ff, /* librdkafka; before, a cooperative member could rejoin for ever */
};

/* The end of year 9999. Producers set times as they like, nanoseconds too, and PostgreSQL does not take all of them. */
#define TIME_MS_MAX INT64_C(253402300799999)

#define POSITIONS_TOPICS "^boxrelay[.].*[.]positions$"

struct consumer {
    uint32_t magic;
    struct consumer_options options;
    struct member member;
    char ignored[EXCLUDED_MAX];
    bool fatal;
    bool rebalanced; /* not told to the caller yet */
    bool paused;
    bool cooperative; /* partitions that stay are read on while others move */
    struct consumer_partition *assigned;
    size_t assigned_count;
    rd_kafka_topic_partition_list_t *reading;   /* NULL: nothing */
    rd_kafka_topic_partition_list_t *held_back; /* paused in the library, read by this member or not; NULL: none */
};

/* ---- fetches ---- */

void fetch_empty(struct fetch *fetch)
{
    for (size_t i = 0; i < fetch->count; i++)
        rd_kafka_event_destroy(fetch->messages[i].memory);
    fetch->count = 0;
    fetch->bytes = 0;
    fetch->rebalanced = false;
    fetch->end_count = fetch->failure_count = 0;
}

void fetch_free(struct fetch *fetch)
{
    fetch_empty(fetch);
    free(fetch->messages);
    free(fetch->ends);
    *fetch = (struct fetch){0};
}

static void grow(struct fetch *fetch)
{
    if (fetch->count < fetch->capacity)
        return;
    fetch->capacity = fetch->capacity ? 2 * fetch->capacity : 64;
    fetch->messages = reallocarray(fetch->messages, fetch->capacity, sizeof fetch->messages[0]);
    if (!fetch->messages)
        abort();
}

/* Takes the event, whose message borrows from it. */
static void add(struct fetch *fetch, rd_kafka_event_t *event, const rd_kafka_message_t *from)
{
    rd_kafka_timestamp_type_t kind;
    int64_t time_ms = rd_kafka_message_timestamp(from, &kind);
    bool has_time = kind != RD_KAFKA_TIMESTAMP_NOT_AVAILABLE && time_ms >= 0 && time_ms <= TIME_MS_MAX;
    grow(fetch);
    fetch->messages[fetch->count++] = (struct message){
        .topic = rd_kafka_topic_name(from->rkt),
        .partition = from->partition,
        .offset = from->offset,
        .time_ms = has_time ? time_ms : -1,
        .key = from->key,
        .key_size = from->key_len,
        .value = from->payload,
        .value_size = from->len,
        .memory = event,
        .record = from,
    };
    fetch->bytes += (int64_t)(from->key_len + from->len);
}

/* ---- rebalances ---- */

static void remember_one(struct consumer *consumer, const rd_kafka_topic_partition_t *from)
{
    struct consumer_partition *to = &consumer->assigned[consumer->assigned_count++];
    snprintf(to->topic, sizeof to->topic, "%s", from->topic);
    to->partition = from->partition;
    to->offset = -1;
}

/* What the group gave or took. One that is not cooperative gives all at once, and takes all at once. */
static void remember(struct consumer *consumer, bool assigned, const rd_kafka_topic_partition_list_t *list)
{
    size_t kept = 0;
    for (size_t i = 0; consumer->cooperative && i < consumer->assigned_count; i++) {
        const struct consumer_partition *have = &consumer->assigned[i];
        if (!rd_kafka_topic_partition_list_find(list, have->topic, have->partition))
            consumer->assigned[kept++] = *have;
    }
    consumer->assigned_count = kept;
    consumer->assigned = reallocarray(consumer->assigned, kept + (size_t)list->cnt + 1, sizeof consumer->assigned[0]);
    if (!consumer->assigned)
        abort();
    for (int i = 0; assigned && i < list->cnt; i++)
        remember_one(consumer, &list->elems[i]);
}

static void forget_reading(struct consumer *consumer)
{
    if (consumer->reading)
        rd_kafka_topic_partition_list_destroy(consumer->reading);
    consumer->reading = NULL;
}

/* What the library reads now. NULL: it does not say. */
static rd_kafka_topic_partition_list_t *ask_assignment(const struct consumer *consumer)
{
    rd_kafka_topic_partition_list_t *now = NULL;
    return rd_kafka_assignment(consumer->member.handle, &now) == RD_KAFKA_RESP_ERR_NO_ERROR ? now : NULL;
}

/*
 * Waits until the library has stopped what it was told to stop. It stops partitions by messages to its own main thread,
 * and where a second change overtakes the answers, it stops a partition twice and asserts that it did not (2.0.2,
 * rd_kafka_assignment_partition_stopped). Asking for the assignment is a message to the same queue, which is answered
 * in its order: the first answer comes behind the stop, the second behind the stop's own answer.
 */
static void wait_stopped(const struct consumer *consumer)
{
    for (int i = 0; i < 2; i++) {
        rd_kafka_topic_partition_list_t *now = ask_assignment(consumer);
        if (now)
            rd_kafka_topic_partition_list_destroy(now);
    }
}

static int code_of(rd_kafka_error_t *error)
{
    int code = error ? rd_kafka_error_code(error) : RD_KAFKA_RESP_ERR_NO_ERROR;
    if (error)
        rd_kafka_error_destroy(error);
    return code;
}

/* A cooperative group allows only additions and removals, and waits for one of that kind after a rebalance. */
static int remove_all(const struct consumer *consumer)
{
    rd_kafka_topic_partition_list_t *now = ask_assignment(consumer);
    if (!now)
        return RD_KAFKA_RESP_ERR__FAIL;
    int code = code_of(rd_kafka_incremental_unassign(consumer->member.handle, now));
    rd_kafka_topic_partition_list_destroy(now);
    wait_stopped(consumer);
    return code;
}

static int add_all(const struct consumer *consumer, const rd_kafka_topic_partition_list_t *list)
{
    return code_of(rd_kafka_incremental_assign(consumer->member.handle, list));
}

/* Changes what is read. */
static int change_assignment(const struct consumer *consumer, const rd_kafka_topic_partition_list_t *list)
{
    if (!consumer->cooperative) {
        int code = rd_kafka_assign(consumer->member.handle, list);
        wait_stopped(consumer);
        return code;
    }
    int code = remove_all(consumer);
    return code ? code : add_all(consumer, list);
}

/* A cooperative group that changed nothing for this member: it reads on. */
static void acknowledge_nothing(const struct consumer *consumer, bool assigned,
                                const rd_kafka_topic_partition_list_t *nothing)
{
    if (assigned)
        add_all(consumer, nothing);
    else
        (void)code_of(rd_kafka_incremental_unassign(consumer->member.handle, nothing));
}

/* The group's answer is acknowledged with nothing to read: what is read says consumer_read. */
static void acknowledge(const struct consumer *consumer, bool assigned)
{
    rd_kafka_topic_partition_list_t *nothing = rd_kafka_topic_partition_list_new(1);
    if (consumer->cooperative) {
        if (assigned)
            add_all(consumer, nothing);
        remove_all(consumer);
    } else {
        rd_kafka_assign(consumer->member.handle, assigned ? nothing : NULL);
        wait_stopped(consumer);
    }
    rd_kafka_topic_partition_list_destroy(nothing);
}

static void rebalance(struct consumer *consumer, rd_kafka_event_t *event)
{
    const rd_kafka_topic_partition_list_t *list = rd_kafka_event_topic_partition_list(event);
    bool assigned = rd_kafka_event_error(event) == RD_KAFKA_RESP_ERR__ASSIGN_PARTITIONS;
    if (consumer->cooperative && list->cnt == 0) {
        acknowledge_nothing(consumer, assigned, list);
        return;
    }
    remember(consumer, assigned, list);
    forget_reading(consumer);
    acknowledge(consumer, assigned);
    consumer->rebalanced = true;
}

size_t consumer_assigned(const struct consumer *consumer, const struct consumer_partition **partitions)
{
    *partitions = consumer->assigned;
    return consumer->assigned_count;
}

static rd_kafka_topic_partition_list_t *list_of(const struct consumer_partition *partitions, size_t count)
{
    rd_kafka_topic_partition_list_t *list = rd_kafka_topic_partition_list_new((int)count + 1);
    for (size_t i = 0; i < count; i++)
        rd_kafka_topic_partition_list_add(list, partitions[i].topic, partitions[i].partition)->offset =
            partitions[i].offset;
    return list;
}

/*
 * The library remembers a pause of each partition, also while it is another's, so all are noted, to be resumed
 * together. None is resumed at the moment when it begins to be read: partitions that were (2.0.2) were now and then
 * never fetched, without a word.
 */
static void pause_reading(struct consumer *consumer)
{
    const rd_kafka_topic_partition_list_t *reading = consumer->reading;
    rd_kafka_pause_partitions(consumer->member.handle, consumer->reading);
    if (!consumer->held_back)
        consumer->held_back = rd_kafka_topic_partition_list_new(reading->cnt);
    for (int i = 0; i < reading->cnt; i++)
        if (!rd_kafka_topic_partition_list_find(consumer->held_back, reading->elems[i].topic,
                                                reading->elems[i].partition))
            rd_kafka_topic_partition_list_add(consumer->held_back, reading->elems[i].topic,
                                              reading->elems[i].partition);
}

static void resume_all(struct consumer *consumer)
{
    if (!consumer->held_back)
        return;
    rd_kafka_resume_partitions(consumer->member.handle, consumer->held_back);
    rd_kafka_topic_partition_list_destroy(consumer->held_back);
    consumer->held_back = NULL;
}

enum error_class consumer_read(struct consumer *consumer, const struct consumer_partition *partitions, size_t count,
                               struct error *error)
{
    forget_reading(consumer);
    consumer->reading = list_of(partitions, count);
    int code = change_assignment(consumer, consumer->reading);
    if (code != RD_KAFKA_RESP_ERR_NO_ERROR)
        return kafka_error_set(error, kafka_error_class(code), code, "assign", NULL);
    if (consumer->paused)
        pause_reading(consumer);
    return ERROR_NONE;
}

void consumer_pause(struct consumer *consumer, bool pause)
{
    if (consumer->paused == pause)
        return;
    consumer->paused = pause;
    if (pause && consumer->reading)
        pause_reading(consumer);
    else if (!pause)
        resume_all(consumer);
}

/* ---- polling ---- */

static void add_failure(struct fetch *fetch, const rd_kafka_topic_partition_t *of, enum error_class class,
                        const char *text)
{
    if (fetch->failure_count == CONSUMER_FAILURES_MAX)
        return;
    struct consumer_failure *failure = &fetch->failures[fetch->failure_count++];
    snprintf(failure->topic, sizeof failure->topic, "%s", of->topic);
    failure->partition = of->partition;
    kafka_error_set(&failure->error, class, of->err, of->topic, text);
}

static void add_end(struct fetch *fetch, const rd_kafka_topic_partition_t *of)
{
    if (fetch->end_count == fetch->end_capacity) {
        fetch->end_capacity = fetch->end_capacity ? 2 * fetch->end_capacity : 16;
        fetch->ends = reallocarray(fetch->ends, fetch->end_capacity, sizeof fetch->ends[0]);
        if (!fetch->ends)
            abort();
    }
    struct consumer_partition *end = &fetch->ends[fetch->end_count++];
    *end = (struct consumer_partition){.partition = of->partition, .offset = of->offset};
    snprintf(end->topic, sizeof end->topic, "%s", of->topic);
}

/* "Subscribed topic not available: ^...": a regular expression that matches nothing yet is no error. */
static bool is_pattern_without_topic(rd_kafka_event_t *event)
{
    return rd_kafka_event_error(event) == RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART &&
           strstr(rd_kafka_event_error_string(event), "not available: ^") != NULL;
}

/* What the library says of a partition or topic: its end, or why it cannot be read; the rest is of the client. */
static void note_error(struct consumer *consumer, struct fetch *fetch, rd_kafka_event_t *event)
{
    rd_kafka_topic_partition_t *of = rd_kafka_event_topic_partition(event);
    bool is_pattern = is_pattern_without_topic(event);
    enum error_class class = of && !is_pattern ? kafka_error_class(of->err) : ERROR_NONE;
    if (of && of->err == RD_KAFKA_RESP_ERR__AUTO_OFFSET_RESET)
        class = ERROR_INTEGRITY;
    if (of && of->err == RD_KAFKA_RESP_ERR__PARTITION_EOF)
        add_end(fetch, of);
    else if (class == ERROR_INTEGRITY || class == ERROR_CONFIG)
        add_failure(fetch, of, class, rd_kafka_event_error_string(event));
    else if (!is_pattern)
        member_note(&consumer->member, event);
    if (of)
        rd_kafka_topic_partition_destroy(of);
}

/* Takes the event: its message borrows from it. */
static void take_message(struct fetch *fetch, rd_kafka_event_t *event)
{
    const rd_kafka_message_t *message = rd_kafka_event_message_next(event);
    if (message && message->err == RD_KAFKA_RESP_ERR_NO_ERROR)
        add(fetch, event, message);
    else
        rd_kafka_event_destroy(event);
}

static void serve(struct consumer *consumer, struct fetch *fetch, rd_kafka_event_t *event)
{
    switch (rd_kafka_event_type(event)) {
    case RD_KAFKA_EVENT_REBALANCE:
        rebalance(consumer, event);
        break;
    case RD_KAFKA_EVENT_FETCH:
        take_message(fetch, event);
        return;
    case RD_KAFKA_EVENT_ERROR:
        note_error(consumer, fetch, event);
        break;
    default:
        member_note(&consumer->member, event);
        break;
    }
    rd_kafka_event_destroy(event);
}

/* A fenced member is out for good; the library forgets its partitions without a word. */
static void note_fatal(struct consumer *consumer)
{
    if (!member_is_fatal(&consumer->member) || consumer->fatal)
        return;
    consumer->fatal = true;
    consumer->assigned_count = 0;
    forget_reading(consumer);
    consumer->rebalanced = true;
}

enum error_class consumer_poll(struct consumer *consumer, int timeout_ms, size_t rows_max, int64_t bytes_max,
                               struct fetch *fetch, struct error *error)
{
    assert(consumer && consumer->magic == CONSUMER_MAGIC);
    int64_t until = clock_monotonic_ms() + timeout_ms;
    while (fetch->count < rows_max && fetch->bytes < bytes_max && !consumer->rebalanced && !fetch->failure_count) {
        int64_t left = fetch->count ? 0 : until - clock_monotonic_ms();
        rd_kafka_event_t *event = rd_kafka_queue_poll(consumer->member.queue, left > 0 ? (int)left : 0);
        if (!event)
            break;
        serve(consumer, fetch, event);
    }
    note_fatal(consumer);
    if (consumer->rebalanced) {
        fetch_empty(fetch);
        fetch->rebalanced = true;
        consumer->rebalanced = false;
    }
    return member_report(&consumer->member, error);
}

bool message_header(const struct message *message, size_t index, const char **name, const void **value, size_t *size)
{
    rd_kafka_headers_t *headers;
    if (rd_kafka_message_headers(message->record, &headers) != RD_KAFKA_RESP_ERR_NO_ERROR)
        return false;
    return rd_kafka_header_get_all(headers, index, name, value, size) == RD_KAFKA_RESP_ERR_NO_ERROR;
}

/* ---- what there is ---- */

struct found {
    struct consumer_partition *partitions;
    size_t count;
};

static void add_topic(struct found *found, const struct rd_kafka_metadata_topic *topic)
{
    size_t more = topic->partition_cnt > 0 ? (size_t)topic->partition_cnt : 0;
    found->partitions = reallocarray(found->partitions, found->count + more + 1, sizeof found->partitions[0]);
    if (!found->partitions)
        abort();
    for (size_t i = 0; i < more; i++) {
        struct consumer_partition *to = &found->partitions[found->count++];
        *to = (struct consumer_partition){.partition = topic->partitions[i].id, .offset = -1};
        snprintf(to->topic, sizeof to->topic, "%s", topic->topic);
    }
}

/* As the library matches them: extended POSIX. One that it took at subscribe compiles here. */
static bool matches(const char *pattern, const char *topic)
{
    regex_t regex;
    if (pattern[0] != '^')
        return strcmp(pattern, topic) == 0;
    if (regcomp(&regex, pattern, REG_EXTENDED | REG_NOSUB) != 0)
        return false;
    bool is = regexec(&regex, topic, 0, NULL, 0) == 0;
    regfree(&regex);
    return is;
}

/* Kafka's own topics, and the positions of relays: what a regular expression may not mean. */
static bool is_ignored(const struct consumer_options *options, const char *topic)
{
    return matches("^__", topic) || matches(POSITIONS_TOPICS, topic) ||
           (options->excluded && strcmp(topic, options->excluded) == 0);
}

static bool is_subscribed(const struct consumer *consumer, const char *topic)
{
    const struct consumer_options *options = &consumer->options;
    if (is_ignored(options, topic))
        return false;
    for (size_t i = 0; i < options->topic_count; i++)
        if (matches(options->topics[i], topic))
            return true;
    return false;
}

static bool is_there(const struct found *found, const char *topic)
{
    for (size_t i = 0; i < found->count; i++)
        if (strcmp(found->partitions[i].topic, topic) == 0)
            return true;
    return false;
}

static int by_topic(const void *a, const void *b)
{
    const struct consumer_partition *left = a, *right = b;
    int order = strcmp(left->topic, right->topic);
    return order ? order : (left->partition > right->partition) - (left->partition < right->partition);
}

static enum error_class check_named(const struct consumer *consumer, const struct found *found, struct error *error)
{
    for (size_t i = 0; i < consumer->options.topic_count; i++) {
        const char *topic = consumer->options.topics[i];
        if (topic[0] == '^' || is_there(found, topic))
            continue;
        error_set(error, ERROR_CONFIG, "UNKNOWN_TOPIC_OR_PART", "topic %s is not there, or may not be seen", topic);
        return error_hint(error, "create the topic or grant Describe and Read on it; the inbox goes on by itself");
    }
    return ERROR_NONE;
}

enum error_class consumer_list(struct consumer *consumer, int timeout_ms, struct consumer_partition **partitions,
                               size_t *count, struct error *error)
{
    const struct rd_kafka_metadata *metadata = NULL;
    struct found found = {0};
    int code = rd_kafka_metadata(consumer->member.handle, 1, NULL, &metadata, timeout_ms);
    if (code != RD_KAFKA_RESP_ERR_NO_ERROR)
        return kafka_error_set(error, kafka_error_class(code), code, "looking for the subscribed topics",
                               consumer->member.reason.code ? consumer->member.reason.text : NULL);
    for (int i = 0; i < metadata->topic_cnt; i++)
        if (metadata->topics[i].err == RD_KAFKA_RESP_ERR_NO_ERROR && is_subscribed(consumer, metadata->topics[i].topic))
            add_topic(&found, &metadata->topics[i]);
    rd_kafka_metadata_destroy(metadata);
    if (check_named(consumer, &found, error)) {
        free(found.partitions);
        return error->class;
    }
    if (found.count)
        qsort(found.partitions, found.count, sizeof found.partitions[0], by_topic);
    *partitions = found.partitions;
    *count = found.count;
    return ERROR_NONE;
}

enum error_class consumer_range(struct consumer *consumer, const char *topic, int32_t partition, int timeout_ms,
                                int64_t *first, int64_t *end, struct error *error)
{
    int code = rd_kafka_query_watermark_offsets(consumer->member.handle, topic, partition, first, end, timeout_ms);
    if (code == RD_KAFKA_RESP_ERR_NO_ERROR)
        return ERROR_NONE;
    return kafka_error_set(error, kafka_error_class(code), code, topic, NULL);
}

enum error_class consumer_seek_time(struct consumer *consumer, struct consumer_partition *partitions, size_t count,
                                    int64_t unix_ms, int timeout_ms, struct error *error)
{
    for (size_t i = 0; i < count; i++)
        partitions[i].offset = unix_ms;
    rd_kafka_topic_partition_list_t *list = list_of(partitions, count);
    int code = rd_kafka_offsets_for_times(consumer->member.handle, list, timeout_ms);
    enum error_class class = ERROR_NONE;
    for (size_t i = 0; i < count && !class; i++) {
        const rd_kafka_topic_partition_t *found = &list->elems[i];
        int64_t first, end;
        int failed = code ? code : found->err;
        if (failed)
            class = kafka_error_set(error, kafka_error_class(failed), failed, partitions[i].topic, NULL);
        else if (found->offset >= 0)
            partitions[i].offset = found->offset;
        else if (!(class = consumer_range(consumer, partitions[i].topic, partitions[i].partition, timeout_ms, &first,
                                          &end, error)))
            partitions[i].offset = end;
    }
    rd_kafka_topic_partition_list_destroy(list);
    return class;
}

enum error_class consumer_ends(struct consumer *consumer, struct consumer_partition *partitions, size_t count,
                               int timeout_ms, struct error *error)
{
    return consumer_seek_time(consumer, partitions, count, RD_KAFKA_OFFSET_END, timeout_ms, error);
}

int64_t consumer_lag(struct consumer *consumer, const char *topic, int32_t partition, int64_t next)
{
    int64_t first, end;
    int code = rd_kafka_get_watermark_offsets(consumer->member.handle, topic, partition, &first, &end);
    if (code != RD_KAFKA_RESP_ERR_NO_ERROR || end < 0)
        return -1;
    return end > next ? end - next : 0;
}

void consumer_tell_offsets(struct consumer *consumer, const struct consumer_partition *partitions, size_t count)
{
    rd_kafka_topic_partition_list_t *list = list_of(partitions, count);
    rd_kafka_commit(consumer->member.handle, list, 1);
    rd_kafka_topic_partition_list_destroy(list);
}

/* ---- life ---- */

/* The excluded topic's name as a regular expression that matches nothing else. */
static void quote(const char *topic, char out[EXCLUDED_MAX])
{
    size_t length = 0;
    out[length++] = '^';
    for (; *topic && length < EXCLUDED_MAX - 3; topic++) {
        if (*topic == '.')
            out[length++] = '\\';
        out[length++] = *topic;
    }
    out[length++] = '$';
    out[length] = '\0';
}

enum error_class consumer_open(const struct consumer_options *options, struct consumer **out, struct error *error)
{
    struct consumer *consumer = calloc(1, sizeof *consumer);
    if (!consumer)
        abort();
    consumer->magic = CONSUMER_MAGIC;
    consumer->options = *options;
    consumer->cooperative = rd_kafka_version() >= COOPERATIVE_VERSION;
    snprintf(consumer->ignored, sizeof consumer->ignored, "^__,%s", POSITIONS_TOPICS);
    if (options->excluded) {
        char quoted[EXCLUDED_MAX];
        quote(options->excluded, quoted);
        snprintf(consumer->ignored, sizeof consumer->ignored, "^__,%s,%.*s", POSITIONS_TOPICS, EXCLUDED_MAX - 64,
                 quoted);
    }
    const struct member_options member = {
        .settings = options->settings,
        .kind = CONF_INBOX,
        .group_id = options->group_id,
        .instance_id = options->instance_id,
        .client_id = options->client_id,
        .strategy = consumer->cooperative ? "cooperative-sticky" : "range",
        .topics = options->topics,
        .topic_count = options->topic_count,
        .ignored_topics = consumer->ignored,
    };
    enum error_class class = member_open(&consumer->member, &member, error);
    if (class != ERROR_NONE)
        consumer_close(&consumer);
    *out = consumer;
    return class;
}

/* While leaving: what is still fetched is nobody's. */
static void serve_leaving(void *opaque, rd_kafka_event_t *event)
{
    struct consumer *consumer = opaque;
    if (rd_kafka_event_type(event) == RD_KAFKA_EVENT_REBALANCE)
        rebalance(consumer, event);
    rd_kafka_event_destroy(event);
}

void consumer_close(struct consumer **consumer)
{
    struct consumer *gone = *consumer;
    *consumer = NULL;
    if (!gone)
        return;
    assert(gone->magic == CONSUMER_MAGIC);
    member_close(&gone->member, serve_leaving, gone);
    forget_reading(gone);
    if (gone->held_back)
        rd_kafka_topic_partition_list_destroy(gone->held_back);
    free(gone->assigned);
    gone->magic = 0;
    free(gone);
}
