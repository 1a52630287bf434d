/*
 * What every Kafka client of ours is made from: the user's librdkafka properties, checked once, and the rules of
 * what the protocol owns. No librdkafka type leaves this room. Thread: settings are immutable after
 * kafka_settings_add and shared by all threads.
 */
#ifndef KAFKA_CLIENT_H
#define KAFKA_CLIENT_H

#include <stdbool.h>
#include <stddef.h>

#include "base/error.h"

enum kafka_scope { KAFKA_ALL, KAFKA_PRODUCER, KAFKA_CONSUMER };

struct kafka_settings; /* property list */

struct kafka_settings *kafka_settings_new(void);
void kafka_settings_free(struct kafka_settings **settings);

/*
 * Adds a property as the user wrote it. ERROR_CONFIG: librdkafka does not know it or refuses the value, or the
 * protocol owns it (transactional.id, enable.idempotence, acks, isolation.level, partitioner, group.id, ...): the
 * text says the reason. Codes: UNKNOWN_PROPERTY, INVALID_PROPERTY, OWNED_PROPERTY, TOO_MANY_PROPERTIES.
 */
MUST_CHECK enum error_class kafka_settings_add(struct kafka_settings *settings, enum kafka_scope scope,
                                               const char *name, const char *value, struct error *error);

/* Are the properties that clients of this scope get the same, in the same order? */
bool kafka_settings_same(const struct kafka_settings *a, const struct kafka_settings *b, enum kafka_scope scope);

/* Not NULL when these settings cannot work with this library against Kafka 4: what to say at the start. */
const char *kafka_scram_warning(const struct kafka_settings *settings);

/* Run-time library version, "2.0.2"; owned by librdkafka. */
const char *kafka_library_version(void);

/* A flag another thread sets to make a long call of this room return soon (ERROR_RETRY, code "STOPPING"). */
struct kafka_stop {
    _Atomic bool requested;
};

#endif
