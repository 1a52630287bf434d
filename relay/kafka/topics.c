#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "admin.h"
#include "base/clock.h"
#include "conf.h"
#include "errors.h"
#include "handle.h"

enum { TOPIC_TIMEOUT_MS = 5000 };

bool topic_name_legal(const char *name)
{
    size_t length = strlen(name);
    if (length == 0 || length > POSITION_TOPIC_NAME_MAX || strcmp(name, ".") == 0 || strcmp(name, "..") == 0)
        return false;
    return strspn(name, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-") == length;
}

/* Index of the name, or where it belongs. */
static size_t place_of(const struct producer *producer, const char *name, bool *found)
{
    size_t low = 0, high = producer->topic_count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        int order = strcmp(producer->topics[middle]->name, name);
        if (order == 0) {
            *found = true;
            return middle;
        }
        if (order < 0)
            low = middle + 1;
        else
            high = middle;
    }
    *found = false;
    return low;
}

struct warm_topic *topics_find(struct producer *producer, const char *name)
{
    bool found = producer->last < producer->topic_count && strcmp(producer->topics[producer->last]->name, name) == 0;
    if (!found)
        producer->last = place_of(producer, name, &found);
    if (!found)
        return NULL;
    struct warm_topic *topic = producer->topics[producer->last];
    topic->used = ++producer->uses;
    return topic;
}

static void remove_at(struct producer *producer, size_t place)
{
    struct warm_topic *gone = producer->topics[place];
    producer->topic_count--;
    memmove(&producer->topics[place], &producer->topics[place + 1],
            (producer->topic_count - place) * sizeof producer->topics[0]);
    rd_kafka_topic_destroy(gone->handle);
    free(gone);
}

/* Queued messages hold their topic themselves, so the handle may go at any time. */
static void remove_oldest(struct producer *producer)
{
    size_t oldest = 0;
    for (size_t i = 1; i < producer->topic_count; i++)
        if (producer->topics[i]->used < producer->topics[oldest]->used)
            oldest = i;
    remove_at(producer, oldest);
}

static void forget(struct producer *producer, const char *name)
{
    bool found;
    size_t place = place_of(producer, name, &found);
    if (found)
        remove_at(producer, place);
}

void topics_forget(struct producer *producer)
{
    while (producer->topic_count > 0)
        remove_at(producer, producer->topic_count - 1);
}

static struct warm_topic *add(struct producer *producer, const char *name)
{
    struct warm_topic *topic = topics_find(producer, name);
    if (topic)
        return topic;
    rd_kafka_topic_t *handle = rd_kafka_topic_new(producer->handle, name, NULL);
    if (!handle)
        return NULL;
    if (producer->topic_count == PRODUCER_TOPICS_MAX)
        remove_oldest(producer);
    topic = calloc(1, sizeof *topic);
    if (!topic)
        abort();
    *topic = (struct warm_topic){.handle = handle, .used = ++producer->uses};
    snprintf(topic->name, sizeof topic->name, "%s", name);
    bool found;
    size_t place = place_of(producer, name, &found);
    assert(!found && producer->topic_count < PRODUCER_TOPICS_MAX);
    memmove(&producer->topics[place + 1], &producer->topics[place],
            (producer->topic_count - place) * sizeof producer->topics[0]);
    producer->topics[place] = topic;
    producer->topic_count++;
    return topic;
}

/* A full batch larger than the topic takes would be refused as if one record were too large. */
static enum error_class check_batch(struct producer *producer, const struct warm_topic *topic, struct error *error)
{
    int32_t bytes = topic->facts.message_bytes_max;
    if (bytes <= 0 || bytes >= producer->batch_bytes || producer->isolate)
        return ERROR_NONE;
    settings_limit_batch(producer->settings, producer->transactional_id, bytes);
    return error_set(
        error, ERROR_RECREATE, "BATCH_SIZE",
        "topic \"%s\" takes batches of %d bytes, the producer makes them of %d: a new producer with smaller "
        "batches is needed",
        topic->name, bytes, producer->batch_bytes);
}

static void take_facts(struct warm_topic *topic, const struct admin_config *config)
{
    topic->facts.message_bytes_max = config->known ? config->message_bytes_max : 0;
    topic->facts.compacted = config->known && strstr(config->cleanup_policy, "compact");
}

/* Without the right to describe, or without an answer in time, the facts stay unknown: the broker still checks. */
static enum error_class describe_all(struct producer *producer, int timeout_ms, struct error *error)
{
    size_t count = producer->topic_count;
    if (count == 0)
        return ERROR_NONE;
    const char **names = calloc(count, sizeof *names);
    struct admin_config *configs = calloc(count, sizeof *configs);
    if (!names || !configs)
        abort();
    for (size_t i = 0; i < count; i++)
        names[i] = producer->topics[i]->name;
    struct error unknown;
    (void)!admin_describe(producer->handle, names, count, configs, timeout_ms, &unknown);
    enum error_class class = ERROR_NONE;
    for (size_t i = 0; i < count; i++) {
        take_facts(producer->topics[i], &configs[i]);
        enum error_class checked = check_batch(producer, producer->topics[i], error);
        class = checked == ERROR_NONE ? class : checked;
    }
    free(names);
    free(configs);
    return class;
}

static void learn_cluster_id(struct producer *producer)
{
    char *id = rd_kafka_clusterid(producer->handle, PRODUCER_CALL_SLICE_MS);
    snprintf(producer->cluster_id, sizeof producer->cluster_id, "%s", id ? id : "");
    if (id)
        rd_kafka_mem_free(producer->handle, id);
}

enum error_class topics_warm(struct producer *producer, const char *const *names, size_t count, int timeout_ms,
                             struct error *error)
{
    for (size_t i = 0; i < count && i < PRODUCER_TOPICS_MAX; i++)
        if (topic_name_legal(names[i]))
            (void)add(producer, names[i]);
    const struct rd_kafka_metadata *metadata = NULL;
    int code = rd_kafka_metadata(producer->handle, 0, NULL, &metadata, timeout_ms);
    producer_serve(producer, 0);
    if (code != RD_KAFKA_RESP_ERR_NO_ERROR)
        return reason_timed_out(&producer->reason, error, "metadata", timeout_ms);
    for (int i = 0; i < metadata->topic_cnt; i++) {
        const struct rd_kafka_metadata_topic *found = &metadata->topics[i];
        struct warm_topic *topic = topics_find(producer, found->topic);
        if (topic && found->err == RD_KAFKA_RESP_ERR_NO_ERROR)
            topic->facts.partition_count = found->partition_cnt;
        else if (topic)
            forget(producer, found->topic);
    }
    rd_kafka_metadata_destroy(metadata);
    learn_cluster_id(producer);
    return describe_all(producer, PRODUCER_DESCRIBE_TIMEOUT_MS, error);
}

/* One look at the metadata; *code is the topic's own. */
static int look(struct producer *producer, struct warm_topic *topic, int timeout_ms)
{
    const struct rd_kafka_metadata *metadata = NULL;
    int code = rd_kafka_metadata(producer->handle, 0, topic->handle, &metadata, timeout_ms);
    producer_serve(producer, 0);
    if (code != RD_KAFKA_RESP_ERR_NO_ERROR)
        return code;
    code = metadata->topic_cnt == 1 ? metadata->topics[0].err : RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART;
    topic->facts.partition_count = metadata->topic_cnt == 1 ? metadata->topics[0].partition_cnt : 0;
    rd_kafka_metadata_destroy(metadata);
    return code;
}

static int64_t look_deadline(const struct producer *producer)
{
    int64_t until = clock_monotonic_ms() + TOPIC_TIMEOUT_MS;
    return producer->life == PRODUCER_BEGUN && producer->deadline_ms < until ? producer->deadline_ms : until;
}

/* Looks again while the brokers are away or a leader is being elected, until the deadline. */
static enum error_class look_until(struct producer *producer, struct warm_topic *topic, struct error *error)
{
    int64_t started = clock_monotonic_ms(), until = look_deadline(producer);
    for (;;) {
        int64_t left = until - clock_monotonic_ms();
        if (producer_stopping(producer))
            return producer_stopped(error);
        if (left <= 0)
            return reason_timed_out(&producer->reason, error, "metadata of a topic", until - started);
        int code = look(producer, topic, left < PRODUCER_CALL_SLICE_MS ? (int)left : PRODUCER_CALL_SLICE_MS);
        enum error_class class = kafka_error_class(code);
        if (code == RD_KAFKA_RESP_ERR_NO_ERROR)
            return ERROR_NONE;
        if (class == ERROR_RETRY || class == ERROR_RECONNECT) {
            producer_serve(producer, 10);
            continue;
        }
        char what[POSITION_TOPIC_NAME_MAX + 16];
        snprintf(what, sizeof what, "topic \"%s\"", topic->name);
        return kafka_error_set(error, class, code, what, NULL);
    }
}

enum error_class topics_look(struct producer *producer, const char *name, bool refresh, struct topic_facts *facts,
                             struct error *error)
{
    struct warm_topic *topic = topics_find(producer, name);
    if (topic && !refresh) {
        *facts = topic->facts;
        return ERROR_NONE;
    }
    if (!topic_name_legal(name))
        return error_set(error, ERROR_POISON, "TOPIC_EXCEPTION", "\"%.260s\" is no legal name of a topic", name);
    topic = add(producer, name);
    if (!topic)
        return kafka_error_set(error, ERROR_RETRY, rd_kafka_last_error(), "topic handle", NULL);
    enum error_class class = look_until(producer, topic, error); /* [K10] */
    if (class != ERROR_NONE) {
        forget(producer, name);
        return class;
    }
    struct admin_config config;
    struct error unknown;
    const char *names[] = {topic->name};
    (void)!admin_describe(producer->handle, names, 1, &config, PRODUCER_DESCRIBE_TIMEOUT_MS, &unknown);
    take_facts(topic, &config);
    *facts = topic->facts;
    return check_batch(producer, topic, error);
}
