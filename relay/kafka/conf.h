/*
 * From settings to the configuration of one client. The table of properties is the single source of our defaults, of
 * what the protocol owns and of what is secret. Thread: any.
 */
#ifndef RELAY_KAFKA_CONF_H
#define RELAY_KAFKA_CONF_H

#include <stdbool.h>
#include <stdint.h>

#include <librdkafka/rdkafka.h>

#include "base/error.h"
#include "kafka/client.h"

enum conf_kind {
    CONF_PRODUCER = 1, /* a stream's transactional producer */
    CONF_READER = 2,   /* reads a partition back, without a group */
    CONF_GROUP = 4,    /* member of the leadership group */
    CONF_ADMIN = 8,    /* creates and describes topics */
    CONF_INBOX = 16,   /* member of an inbox's group, reads */
    CONF_EVERY = 31,
};

/* The reason why users may not set a property; NULL when they may. */
const char *conf_owned_reason(const char *name);

/* The default of ours at `index`, and a kind that has it; false beyond the last. */
bool conf_default(size_t index, const char **name, const char **value, enum conf_kind *kind);

/* Calls offer() with each name that conf_owned_reason knows. */
void conf_owned_names(void (*offer)(void *opaque, const char *name), void *opaque);

/* Our defaults, then the user's properties for all clients, then those for the kind, then what the protocol owns. */
MUST_CHECK enum error_class conf_make(const struct kafka_settings *settings, enum conf_kind kind, const char *client_id,
                                      rd_kafka_conf_t **out, struct error *error);

/* Sets one property of ours; a refusal is CONFIG. */
MUST_CHECK enum error_class conf_set(rd_kafka_conf_t *conf, const char *name, const char *value, struct error *error);
MUST_CHECK enum error_class conf_set_int(rd_kafka_conf_t *conf, const char *name, int64_t value, struct error *error);

/* New handle; takes *conf in every case. CONFIG with the library's reason. Its log lines go to its main queue. */
MUST_CHECK enum error_class conf_open(rd_kafka_type_t type, rd_kafka_conf_t **conf, rd_kafka_t **out,
                                      struct error *error);

/*
 * The largest batch.size that the topics written by a transactional id allow, learned by its producers: 0 when none
 * is known. Kept in the settings, so that the next handle of the stream starts with it. Thread: any.
 */
int32_t settings_batch_limit(const struct kafka_settings *settings, const char *transactional_id);
void settings_limit_batch(const struct kafka_settings *settings, const char *transactional_id, int32_t bytes);

/* Every property of a scope, in the order in which they were added; stops at the first failure. */
MUST_CHECK enum error_class settings_apply(const struct kafka_settings *settings, enum kafka_scope scope,
                                           rd_kafka_conf_t *conf, struct error *error);

#endif
