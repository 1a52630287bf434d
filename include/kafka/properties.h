/*
 * What may be said about librdkafka's properties, by name: for messages, help, the schema and what must not be shown.
 * Everything comes from the library that runs and from the protocol's own table. Thread: any.
 */
#ifndef KAFKA_PROPERTIES_H
#define KAFKA_PROPERTIES_H

#include <stdbool.h>
#include <stddef.h>

#include "kafka/client.h"

enum kafka_names {
    KAFKA_NAMES_ALL,    /* every property that librdkafka lists, aliases too */
    KAFKA_NAMES_OWNED,  /* those that the protocol does not leave to users */
    KAFKA_NAMES_SECRET, /* those whose value must never be shown, as far as they are known by name */
};

/* Calls offer() with each name; it is borrowed while it runs. */
void kafka_property_names(enum kafka_names which, void (*offer)(void *opaque, const char *name), void *opaque);

/* True for names whose value must never be shown (sasl.password, ssl.key.pem, ...). */
bool kafka_property_is_secret(const char *name);

/* Why the protocol does not leave this property to users; NULL: it does. */
const char *kafka_property_owned(const char *name);

enum { KAFKA_PROPERTY_TEXT_MAX = 2048 };

/* As the library documents it; empty where it says nothing. */
struct kafka_property {
    char kind; /* 'C' of consumers, 'P' of producers, '*' of both */
    char values[512], otherwise[512], meaning[KAFKA_PROPERTY_TEXT_MAX];
};

/* False: the library lists no such property. */
bool kafka_property_describe(const char *name, struct kafka_property *property);

/* Calls shown() with each of the relay's own defaults that is in force, since these settings have nothing else. */
void kafka_property_defaults(const struct kafka_settings *settings,
                             void (*shown)(void *opaque, enum kafka_scope scope, const char *name, const char *value),
                             void *opaque);

#endif
