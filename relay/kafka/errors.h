/*
 * The one mapping of Kafka's and librdkafka's error codes to classes (docs/design.md, "Errors"), and how an error of
 * the library becomes one of ours. Thread: any.
 */
#ifndef RELAY_KAFKA_ERRORS_H
#define RELAY_KAFKA_ERRORS_H

#include <stdbool.h>

#include <librdkafka/rdkafka.h>

#include "base/error.h"

/* Class of a code where no transaction is open: the same call may be made again. Codes not in the table: RETRY. */
enum error_class kafka_error_class(int code);

/* The same inside a transaction: POISON and CONFIG stay, everything else has spoiled it and is RECREATE [K1]. */
enum error_class kafka_error_class_in_transaction(int code);

/* Purged with a failed batch: says nothing about the record itself [K11]. */
bool kafka_error_is_purge(int code);

/* "MSG_SIZE_TOO_LARGE", "_TRANSPORT": without the prefix, static text. */
const char *kafka_error_name(int code);

/* Sets the hint that follows from the code; leaves it alone for codes that explain themselves. */
void kafka_error_advise(struct error *error, int code);

/* Fills *error from a code and a text of the library (NULL: the library's description of the code). */
enum error_class kafka_error_set(struct error *error, enum error_class class, int code, const char *what,
                                 const char *text);

#endif
