/*
 * Topics through the admin API, one blocking call each, on any handle. Thread: the handle's.
 */
#ifndef RELAY_KAFKA_ADMIN_H
#define RELAY_KAFKA_ADMIN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <librdkafka/rdkafka.h>

#include "base/error.h"

enum { ADMIN_POLICY_MAX = 64 };

/* Of one topic, as its configuration says; all zero where it could not be described. */
struct admin_config {
    bool known;
    char cleanup_policy[ADMIN_POLICY_MAX]; /* "delete", "compact", "compact,delete" */
    int32_t message_bytes_max;
    int32_t insync_replicas_min;
    int64_t segment_bytes;
};

/* Describes `count` topics into `out`; a topic that may not be described stays unknown without an error. */
MUST_CHECK enum error_class admin_describe(rd_kafka_t *handle, const char *const *topics, size_t count,
                                           struct admin_config *out, int timeout_ms, struct error *error);

struct admin_property {
    const char *name, *value;
};

/* That the topic exists already is no error. */
MUST_CHECK enum error_class admin_create_topic(rd_kafka_t *handle, const char *topic, int32_t partitions,
                                               int32_t replicas, const struct admin_property *properties,
                                               size_t property_count, int timeout_ms, struct error *error);

/* Raises the number of partitions to `total`; that it has as many already is no error. */
MUST_CHECK enum error_class admin_create_partitions(rd_kafka_t *handle, const char *topic, int32_t total,
                                                    int timeout_ms, struct error *error);

#endif
