#include "admin.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "errors.h"

static rd_kafka_AdminOptions_t *make_options(rd_kafka_t *handle, rd_kafka_admin_op_t op, int timeout_ms)
{
    char why[256];
    rd_kafka_AdminOptions_t *options = rd_kafka_AdminOptions_new(handle, op);
    (void)rd_kafka_AdminOptions_set_request_timeout(options, timeout_ms, why, sizeof why);
    return options;
}

/* The answer to the one request that `queue` was made for; the library itself times it out. */
static rd_kafka_event_t *await(rd_kafka_queue_t *queue, int timeout_ms, const char *what, struct error *error)
{
    enum { GRACE_MS = 500 };
    rd_kafka_event_t *event = rd_kafka_queue_poll(queue, timeout_ms + GRACE_MS);
    int code = event ? rd_kafka_event_error(event) : RD_KAFKA_RESP_ERR__TIMED_OUT;
    if (code == RD_KAFKA_RESP_ERR_NO_ERROR)
        return event;
    (void)kafka_error_set(error, kafka_error_class(code), code, what,
                          event ? rd_kafka_event_error_string(event) : NULL);
    if (event)
        rd_kafka_event_destroy(event);
    return NULL;
}

static void take_entry(struct admin_config *out, const char *name, const char *value)
{
    if (!value)
        return;
    if (strcmp(name, "cleanup.policy") == 0)
        snprintf(out->cleanup_policy, sizeof out->cleanup_policy, "%s", value);
    else if (strcmp(name, "max.message.bytes") == 0)
        out->message_bytes_max = (int32_t)strtol(value, NULL, 10);
    else if (strcmp(name, "min.insync.replicas") == 0)
        out->insync_replicas_min = (int32_t)strtol(value, NULL, 10);
    else if (strcmp(name, "segment.bytes") == 0)
        out->segment_bytes = strtoll(value, NULL, 10);
}

static void take_resource(struct admin_config *out, const rd_kafka_ConfigResource_t *resource)
{
    size_t count = 0;
    const rd_kafka_ConfigEntry_t **entries = rd_kafka_ConfigResource_configs(resource, &count);
    for (size_t i = 0; i < count; i++)
        take_entry(out, rd_kafka_ConfigEntry_name(entries[i]), rd_kafka_ConfigEntry_value(entries[i]));
    out->known = true;
}

/* The answers need not come in the order of the questions. */
static void take_resources(const rd_kafka_event_t *event, const char *const *topics, size_t count,
                           struct admin_config *out)
{
    size_t answers = 0;
    const rd_kafka_DescribeConfigs_result_t *result =
        rd_kafka_event_DescribeConfigs_result((rd_kafka_event_t *)(uintptr_t)event);
    const rd_kafka_ConfigResource_t **resources = rd_kafka_DescribeConfigs_result_resources(result, &answers);
    for (size_t i = 0; i < answers; i++) {
        if (rd_kafka_ConfigResource_error(resources[i]))
            continue;
        for (size_t k = 0; k < count; k++)
            if (strcmp(rd_kafka_ConfigResource_name(resources[i]), topics[k]) == 0)
                take_resource(&out[k], resources[i]);
    }
}

enum error_class admin_describe(rd_kafka_t *handle, const char *const *topics, size_t count, struct admin_config *out,
                                int timeout_ms, struct error *error)
{
    memset(out, 0, count * sizeof *out);
    if (count == 0)
        return ERROR_NONE;
    rd_kafka_ConfigResource_t **asked = calloc(count, sizeof *asked);
    if (!asked)
        abort();
    for (size_t i = 0; i < count; i++)
        asked[i] = rd_kafka_ConfigResource_new(RD_KAFKA_RESOURCE_TOPIC, topics[i]);
    rd_kafka_queue_t *queue = rd_kafka_queue_new(handle);
    rd_kafka_AdminOptions_t *options = make_options(handle, RD_KAFKA_ADMIN_OP_DESCRIBECONFIGS, timeout_ms);
    rd_kafka_DescribeConfigs(handle, asked, count, options, queue);
    rd_kafka_event_t *event = await(queue, timeout_ms, "DescribeConfigs", error);
    enum error_class class = event ? ERROR_NONE : error->class;
    if (event) {
        take_resources(event, topics, count, out);
        rd_kafka_event_destroy(event);
    }
    rd_kafka_AdminOptions_destroy(options);
    rd_kafka_queue_destroy(queue);
    rd_kafka_ConfigResource_destroy_array(asked, count);
    free(asked);
    return class;
}

static enum error_class topic_result(const rd_kafka_topic_result_t *const *results, size_t count, int forgiven,
                                     const char *what, struct error *error)
{
    for (size_t i = 0; i < count; i++) {
        int code = rd_kafka_topic_result_error(results[i]);
        if (code != RD_KAFKA_RESP_ERR_NO_ERROR && code != forgiven)
            return kafka_error_set(error, kafka_error_class(code), code, what,
                                   rd_kafka_topic_result_error_string(results[i]));
    }
    return ERROR_NONE;
}

enum error_class admin_create_topic(rd_kafka_t *handle, const char *topic, int32_t partitions, int32_t replicas,
                                    const struct admin_property *properties, size_t property_count, int timeout_ms,
                                    struct error *error)
{
    char why[512] = "", what[320];
    snprintf(what, sizeof what, "create topic \"%s\"", topic);
    rd_kafka_NewTopic_t *fresh = rd_kafka_NewTopic_new(topic, partitions, replicas, why, sizeof why);
    if (!fresh)
        return kafka_error_set(error, ERROR_CONFIG, RD_KAFKA_RESP_ERR__INVALID_ARG, what, why);
    for (size_t i = 0; i < property_count; i++)
        (void)rd_kafka_NewTopic_set_config(fresh, properties[i].name, properties[i].value);
    rd_kafka_queue_t *queue = rd_kafka_queue_new(handle);
    rd_kafka_AdminOptions_t *options = make_options(handle, RD_KAFKA_ADMIN_OP_CREATETOPICS, timeout_ms);
    rd_kafka_CreateTopics(handle, &fresh, 1, options, queue);
    rd_kafka_event_t *event = await(queue, timeout_ms, what, error);
    enum error_class class = event ? ERROR_NONE : error->class;
    if (event) {
        size_t count = 0;
        const rd_kafka_topic_result_t **results =
            rd_kafka_CreateTopics_result_topics(rd_kafka_event_CreateTopics_result(event), &count);
        class = topic_result(results, count, RD_KAFKA_RESP_ERR_TOPIC_ALREADY_EXISTS, what, error);
        rd_kafka_event_destroy(event);
    }
    rd_kafka_AdminOptions_destroy(options);
    rd_kafka_queue_destroy(queue);
    rd_kafka_NewTopic_destroy(fresh);
    return class;
}

enum error_class admin_create_partitions(rd_kafka_t *handle, const char *topic, int32_t total, int timeout_ms,
                                         struct error *error)
{
    char why[512] = "", what[320];
    snprintf(what, sizeof what, "add partitions to topic \"%s\"", topic);
    rd_kafka_NewPartitions_t *fresh = rd_kafka_NewPartitions_new(topic, (size_t)total, why, sizeof why);
    if (!fresh)
        return kafka_error_set(error, ERROR_CONFIG, RD_KAFKA_RESP_ERR__INVALID_ARG, what, why);
    rd_kafka_queue_t *queue = rd_kafka_queue_new(handle);
    rd_kafka_AdminOptions_t *options = make_options(handle, RD_KAFKA_ADMIN_OP_CREATEPARTITIONS, timeout_ms);
    rd_kafka_CreatePartitions(handle, &fresh, 1, options, queue);
    rd_kafka_event_t *event = await(queue, timeout_ms, what, error);
    enum error_class class = event ? ERROR_NONE : error->class;
    if (event) {
        size_t count = 0;
        const rd_kafka_topic_result_t **results =
            rd_kafka_CreatePartitions_result_topics(rd_kafka_event_CreatePartitions_result(event), &count);
        /* Another instance was first: the next look at the metadata tells. */
        class = topic_result(results, count, RD_KAFKA_RESP_ERR_INVALID_PARTITIONS, what, error);
        rd_kafka_event_destroy(event);
    }
    rd_kafka_AdminOptions_destroy(options);
    rd_kafka_queue_destroy(queue);
    rd_kafka_NewPartitions_destroy(fresh);
    return class;
}
