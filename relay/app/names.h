/*
 * The shapes of names and addresses in a configuration. False: *error (class CONFIG) says what it has to be; the
 * value itself is never repeated there. Thread: any.
 */
#ifndef APP_NAMES_H
#define APP_NAMES_H

#include <stdbool.h>
#include <stddef.h>

#include "base/error.h"

enum { NAMES_RELAY_MAX = 64, NAMES_KAFKA_MAX = 249, NAMES_HEADER_MAX = 249, NAMES_HOST_MAX = 255 };

/* The relay's: [a-z][a-z0-9_-]{0,63}. boxrelay.<name>.positions stays far below Kafka's 249 with it. */
bool names_relay(const char *name, struct error *error);

/* An outbox': [a-z][a-z0-9_]{0,39}. */
bool names_outbox(const char *name, struct error *error);

/* An inbox': the same. */
bool names_inbox(const char *name, struct error *error);

/* Kafka's characters: 1 to 249 of a-z A-Z 0-9 . _ - (Topic.LEGAL_CHARS). */
bool names_kafka(const char *name, struct error *error);

/* A topic of ours: Kafka's characters, not "." or "..", not beginning with "__" (Kafka's internal topics). */
bool names_topic(const char *name, struct error *error);

/* One entry of an allow-list or subscription: a topic's name, or ^ and a POSIX extended regular expression that
 * compiles. */
bool names_topic_pattern(const char *pattern, struct error *error);

/* What an idempotency id comes from: the name of a header, or two with a "+" between them. */
bool names_id_header(const char *name, struct error *error);

bool names_conninfo(const char *conninfo, struct error *error);

/* "off", "8090", ":8090", "host:8090", "[::1]:8090". */
bool names_listen(const char *listen, struct error *error);

/* The parts of a listen address that names_listen has accepted and that is not "off"; host "" means all addresses. */
void names_listen_split(const char *listen, char host[NAMES_HOST_MAX + 1], char port[6]);

#endif
