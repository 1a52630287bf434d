/*
 * A row's headers: a flat JSON object of strings becomes record headers. Nearly all are plain, without an escape: then
 * their bytes are sent from where they stand in the row. The others go through jansson. Thread: the stream's worker.
 */
#ifndef OUTBOX_HEADERS_H
#define OUTBOX_HEADERS_H

#include <jansson.h>

#include "base/error.h"
#include "kafka/producer.h"

enum { HEADERS_OWN = 3 /* id, type, relay: room is kept for them */ };

/*
 * Appends the row's headers to the record, but for those of our own names. They borrow from `text`, or from *parsed,
 * which the caller frees by json_decref after the record was sent. POISON: no flat object of strings, or too many.
 */
MUST_CHECK enum error_class headers_read(const char *text, json_t **parsed, struct record *record, struct error *error);

#endif
