/*
 * Rows of an inbox in COPY's binary form (PostgreSQL docs, COPY, "Binary Format"): all numbers in network order.
 *
 *   head:    "PGCOPY\n\377\r\n\0", int32 flags 0, int32 extension size 0
 *   row:     int16 field count, then for each field int32 size (-1: NULL) and its bytes
 *   trailer: int16 -1
 */
#ifndef RELAY_PG_STORE_BUFFER_H
#define RELAY_PG_STORE_BUFFER_H

#include "pg/store.h"

enum { STORE_BUFFER_LARGE = 1 << 18 }; /* sent on from there */

struct store_buffer {
    char *bytes;
    size_t size, capacity;
};

void store_buffer_begin(struct store_buffer *buffer);
/* The columns as inbox_copy.sql names them. */
void store_buffer_row(struct store_buffer *buffer, const struct store_ground *ground, const struct store_row *row);
/* The columns as inbox_ids.sql names them. */
void store_buffer_id(struct store_buffer *buffer, const struct store_ground *ground, const struct store_id *id);
void store_buffer_end(struct store_buffer *buffer);
bool store_buffer_is_large(const struct store_buffer *buffer);
void store_buffer_free(struct store_buffer *buffer);

/* bytea's text form, and a NUL-terminated copy; NULL for NULL. The caller frees. */
char *store_hex(const struct store_text *text);
char *store_copy(const struct store_text *text);

#endif
