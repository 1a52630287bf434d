#include "kafka/positions.h"

#include <assert.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "admin.h"
#include "base/clock.h"
#include "base/fault.h"
#include "base/log.h"
#include "conf.h"
#include "errors.h"
#include "keys.h"
#include "reason.h"

enum { CALL_TIMEOUT_MS = 3000, SLICE_MS = 1000, AGAIN_MS = 50, REPLICAS_WANTED = 3, IN_SYNC_WANTED = 2 };
enum { AWAY_MS = 4000 }; /* brokers that are away: said so soon, and tried again by the caller */

/* The topic and its cluster as the brokers show them. */
struct scene {
    int brokers;
    bool exists;
    int partitions, replicas_min;
};

struct ensuring {
    const struct positions_options *options;
    rd_kafka_t *handle;
    rd_kafka_queue_t *queue;
    rd_kafka_topic_t *topic;
    struct reason reason;
    int64_t deadline_ms;
};

static int64_t left_ms(const struct ensuring *e) { return e->deadline_ms - clock_monotonic_ms(); }

static int at_most(int64_t value, int most) { return value < 1 ? 1 : value < most ? (int)value : most; }

static void take_scene(const struct rd_kafka_metadata *metadata, struct scene *scene)
{
    const struct rd_kafka_metadata_topic *topic = metadata->topic_cnt == 1 ? &metadata->topics[0] : NULL;
    *scene = (struct scene){.brokers = metadata->broker_cnt};
    if (!topic || topic->err != RD_KAFKA_RESP_ERR_NO_ERROR)
        return;
    scene->exists = true;
    scene->partitions = topic->partition_cnt;
    for (int i = 0; i < topic->partition_cnt; i++)
        if (i == 0 || topic->partitions[i].replica_cnt < scene->replicas_min)
            scene->replicas_min = topic->partitions[i].replica_cnt;
}

static enum error_class look(struct ensuring *e, struct scene *scene, struct error *error)
{
    const struct rd_kafka_metadata *metadata = NULL;
    int timeout_ms = at_most(left_ms(e), SLICE_MS);
    int code = rd_kafka_metadata(e->handle, 0, e->topic, &metadata, timeout_ms);
    reason_serve(&e->reason, e->queue);
    if (code != RD_KAFKA_RESP_ERR_NO_ERROR)
        return reason_timed_out(&e->reason, error, "Kafka: looking for the positions topic",
                                POSITIONS_ENSURE_TIMEOUT_MS - left_ms(e));
    take_scene(metadata, scene);
    int topic_code = metadata->topic_cnt == 1 ? metadata->topics[0].err : RD_KAFKA_RESP_ERR_NO_ERROR;
    rd_kafka_metadata_destroy(metadata);
    if (topic_code == RD_KAFKA_RESP_ERR_NO_ERROR || topic_code == RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART)
        return ERROR_NONE;
    return kafka_error_set(error, kafka_error_class(topic_code), topic_code, "positions topic", NULL);
}

static enum error_class hint_create(struct error *error, const struct positions_options *options, int replicas,
                                    int in_sync)
{
    return error_hint(error,
                      "give the relay the right to create it, or: kafka-topics.sh --create --topic %s --partitions %d "
                      "--replication-factor %d --config cleanup.policy=compact --config min.insync.replicas=%d "
                      "--config segment.bytes=%d",
                      options->topic, options->partitions, replicas, in_sync, (int)POSITIONS_SEGMENT_BYTES);
}

static enum error_class create(struct ensuring *e, const struct scene *scene, struct error *error)
{
    const struct positions_options *options = e->options;
    int replicas = options->replication_factor;
    if (replicas == 0)
        replicas = scene->brokers < REPLICAS_WANTED ? scene->brokers : REPLICAS_WANTED;
    int in_sync = replicas < IN_SYNC_WANTED ? replicas : IN_SYNC_WANTED;
    char in_sync_text[12], segment_text[16];
    snprintf(in_sync_text, sizeof in_sync_text, "%d", in_sync);
    snprintf(segment_text, sizeof segment_text, "%d", (int)POSITIONS_SEGMENT_BYTES);
    const struct admin_property properties[] = {
        {"cleanup.policy", "compact"}, {"min.insync.replicas", in_sync_text}, {"segment.bytes", segment_text}};
    enum error_class class = admin_create_topic(e->handle, options->topic, options->partitions, replicas, properties,
                                                COUNT_OF(properties), at_most(left_ms(e), CALL_TIMEOUT_MS), error);
    if (class == ERROR_NONE)
        log_info("positions topic created", LOG_STR("topic", options->topic),
                 LOG_INT("partitions", options->partitions), LOG_INT("replicas", replicas));
    return class == ERROR_CONFIG ? hint_create(error, options, replicas, in_sync) : class;
}

static enum error_class check_policy(const struct positions_options *options, const struct admin_config *config,
                                     struct error *error)
{
    if (!config->known || strcmp(config->cleanup_policy, "compact") == 0)
        return ERROR_NONE;
    (void)error_set(error, ERROR_INTEGRITY, "POSITIONS_TOPIC_POLICY",
                    "the positions topic \"%s\" has cleanup.policy=%s: positions would be deleted with time",
                    options->topic, config->cleanup_policy);
    return error_hint(error,
                      "kafka-configs.sh --alter --entity-type topics --entity-name %s --add-config "
                      "cleanup.policy=compact",
                      options->topic);
}

static void warn_once(const struct positions_options *options, const struct scene *scene, int in_sync,
                      const char *message, bool *warned)
{
    if (!*warned)
        log_warn(message, LOG_STR("topic", options->topic), LOG_INT("brokers", scene->brokers),
                 LOG_INT("replicas", scene->replicas_min), LOG_INT("min.insync.replicas", in_sync));
    *warned = true;
}

/* [K5] What the brokers acknowledged must survive the loss of one of them. */
static enum error_class check_replicas(const struct positions_options *options, const struct scene *scene,
                                       const struct admin_config *config, bool *warned, struct error *error)
{
    int in_sync = config->known ? config->insync_replicas_min : -1;
    bool weak = scene->replicas_min < REPLICAS_WANTED || (config->known && in_sync < IN_SYNC_WANTED);
    if (!config->known)
        warn_once(options, scene, in_sync, "positions topic: no right to describe it, so its policy is not checked",
                  warned);
    if (!weak)
        return ERROR_NONE;
    if (scene->brokers < REPLICAS_WANTED || options->accept_weak) {
        warn_once(options, scene, in_sync, "positions topic is weak: a lost broker can lose acknowledged positions",
                  warned);
        return ERROR_NONE;
    }
    (void)error_set(
        error, ERROR_INTEGRITY, "POSITIONS_TOPIC_WEAK",
        "the positions topic \"%s\" has %d replicas and min.insync.replicas %d on %d brokers: a lost broker "
        "can lose acknowledged positions; wanted are 3 and 2",
        options->topic, scene->replicas_min, in_sync, scene->brokers);
    return error_hint(error, "raise them (kafka-reassign-partitions.sh, kafka-configs.sh), or accept the risk with "
                             "\"positions\": {\"accept_weak\": true}");
}

static enum error_class check(struct ensuring *e, const struct scene *scene, bool *warned, struct error *error)
{
    struct admin_config config;
    const char *names[] = {e->options->topic};
    enum error_class class = admin_describe(e->handle, names, 1, &config, at_most(left_ms(e), CALL_TIMEOUT_MS), error);
    if (class == ERROR_NONE)
        class = check_policy(e->options, &config, error);
    if (class == ERROR_NONE)
        class = check_replicas(e->options, scene, &config, warned, error);
    return class;
}

/* One look, and one step towards the wanted state; *done when there was nothing left to do. */
static enum error_class step(struct ensuring *e, bool *warned, bool *done, struct error *error)
{
    struct scene scene = {0};
    enum error_class class = look(e, &scene, error);
    if (class != ERROR_NONE)
        return class;
    if (!scene.exists)
        return create(e, &scene, error);
    if (scene.partitions < e->options->partitions)
        return admin_create_partitions(e->handle, e->options->topic, e->options->partitions,
                                       at_most(left_ms(e), CALL_TIMEOUT_MS), error);
    class = check(e, &scene, warned, error);
    *done = class == ERROR_NONE;
    return class;
}

static bool passes(enum error_class class)
{
    return class == ERROR_NONE || class == ERROR_RETRY || class == ERROR_RECONNECT;
}

static enum error_class steps(struct ensuring *e, bool *warned, struct error *error)
{
    for (;;) {
        bool done = false;
        enum error_class class = step(e, warned, &done, error);
        if (done || !passes(class))
            return class;
        if (e->options->stop && e->options->stop->requested)
            return error_set(error, ERROR_RETRY, "STOPPING", "interrupted by a stop request");
        if (class == ERROR_RECONNECT && POSITIONS_ENSURE_TIMEOUT_MS - left_ms(e) >= AWAY_MS)
            return class;
        if (left_ms(e) <= 0)
            return class != ERROR_NONE
                       ? class
                       : reason_timed_out(&e->reason, error, "positions topic", POSITIONS_ENSURE_TIMEOUT_MS);
        rd_kafka_event_t *event = rd_kafka_queue_poll(e->queue, AGAIN_MS);
        if (event) {
            reason_note(&e->reason, event);
            rd_kafka_event_destroy(event);
        }
    }
}

enum error_class positions_ensure(const struct positions_options *options, bool *warned, struct error *error)
{
    assert(options->partitions > 0);
    struct ensuring e = {.options = options, .deadline_ms = clock_monotonic_ms() + POSITIONS_ENSURE_TIMEOUT_MS};
    rd_kafka_conf_t *conf;
    enum error_class class = conf_make(options->settings, CONF_ADMIN, "boxrelay", &conf, error);
    if (class != ERROR_NONE)
        return class;
    rd_kafka_conf_set_events(conf, RD_KAFKA_EVENT_ERROR | RD_KAFKA_EVENT_LOG);
    class = conf_open(RD_KAFKA_PRODUCER, &conf, &e.handle, error);
    if (class != ERROR_NONE)
        return class;
    e.queue = rd_kafka_queue_get_main(e.handle);
    e.topic = rd_kafka_topic_new(e.handle, options->topic, NULL);
    if (e.topic) {
        class = steps(&e, warned, error);
        rd_kafka_topic_destroy(e.topic);
    } else {
        class = kafka_error_set(error, ERROR_CONFIG, rd_kafka_last_error(), "positions topic", NULL);
    }
    rd_kafka_queue_destroy(e.queue);
    rd_kafka_destroy(e.handle);
    return class;
}

void positions_key(char key[POSITIONS_KEY_SIZE], const char *kind, const struct uuid *stream)
{
    char text[UUID_TEXT_SIZE];
    uuid_format(stream, text);
    snprintf(key, POSITIONS_KEY_SIZE, "%s/%s", kind, text);
}

static enum error_class send_record(struct producer *producer, const char *topic, int32_t partition, const char *kind,
                                    const struct uuid *stream, const char *text, size_t length, bool copy,
                                    struct error *error)
{
    char key[POSITIONS_KEY_SIZE];
    positions_key(key, kind, stream);
    struct record record = {.topic = topic,
                            .partition = partition,
                            .key = key,
                            .key_size = strlen(key),
                            .value = text,
                            .value_size = length,
                            .copy_value = copy,
                            .tag = -1};
    return producer_send(producer, &record, error);
}

enum error_class positions_send(struct producer *producer, const char *topic, int32_t partition,
                                const struct uuid *stream, const char *text, size_t length, struct error *error)
{
    return send_record(producer, topic, partition, "position", stream, text, length, false, error);
}

size_t positions_barrier_format(char text[POSITIONS_BARRIER_MAX], const struct uuid *barrier, const char *owner,
                                int64_t time_ms)
{
    char uuid[UUID_TEXT_SIZE];
    uuid_format(barrier, uuid);
    int length =
        snprintf(text, POSITIONS_BARRIER_MAX, "boxrelay barrier 1\nbarrier %s\nowner %.200s\ntime %" PRId64 "\nend\n",
                 uuid, owner, time_ms);
    assert(length > 0 && length < POSITIONS_BARRIER_MAX);
    return (size_t)length;
}

bool positions_barrier_is(const char *text, size_t length, const struct uuid *barrier)
{
    char start[POSITIONS_BARRIER_MAX], uuid[UUID_TEXT_SIZE];
    uuid_format(barrier, uuid);
    int size = snprintf(start, sizeof start, "boxrelay barrier 1\nbarrier %s\n", uuid);
    return size > 0 && length > (size_t)size && memcmp(text, start, (size_t)size) == 0;
}

enum error_class positions_barrier(struct producer *producer, const char *topic, int32_t partition,
                                   const struct uuid *stream, const struct uuid *barrier, const char *owner,
                                   const char *text, size_t length, struct error *error)
{
    /* Copied: a failed commit leaves the record in the library after this frame is gone. */
    char value[POSITIONS_BARRIER_MAX];
    size_t value_length = positions_barrier_format(value, barrier, owner, clock_unix_ms());
    struct producer_commit_result result;
    enum error_class class = producer_begin(producer, clock_monotonic_ms() + PRODUCER_BATCH_MS_MAX, error);
    if (class == ERROR_NONE && text)
        class = send_record(producer, topic, partition, "position", stream, text, length, true, error);
    if (class == ERROR_NONE)
        class = send_record(producer, topic, partition, "barrier", stream, value, value_length, true, error);
    if (class == ERROR_NONE && fault_point("before_barrier_commit"))
        class = error_set(error, ERROR_RECREATE, "FAULT", "failpoint before_barrier_commit");
    if (class == ERROR_NONE)
        class = producer_commit(producer, text ? 2 : 1, &result, error);
    return class == ERROR_NONE ? ERROR_NONE : error_prefix(error, "barrier");
}
