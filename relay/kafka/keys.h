/* The records on the positions topic, as positions.c writes them and readback.c recognises them. Pure. */
#ifndef RELAY_KAFKA_KEYS_H
#define RELAY_KAFKA_KEYS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/uuid.h"

enum { POSITIONS_KEY_SIZE = 9 + UUID_TEXT_SIZE, POSITIONS_BARRIER_MAX = 384 };

/* "position/<uuid>" or "barrier/<uuid>", NUL-terminated. */
void positions_key(char key[POSITIONS_KEY_SIZE], const char *kind, const struct uuid *stream);

/* The value of a barrier record; returns its length. */
size_t positions_barrier_format(char text[POSITIONS_BARRIER_MAX], const struct uuid *barrier, const char *owner,
                                int64_t time_ms);

/* Is this the value of that very barrier? */
bool positions_barrier_is(const char *text, size_t length, const struct uuid *barrier);

#endif
