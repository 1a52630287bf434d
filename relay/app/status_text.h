/* relay.status for people and for programs. Thread: any. */
#ifndef APP_STATUS_TEXT_H
#define APP_STATUS_TEXT_H

#include <jansson.h>
#include <stddef.h>
#include <stdio.h>

#include "pg/status.h"
#include "say.h"
#include "settings.h"

/*
 * "unused" instead of "unknown": this configuration does not run the stream, and nothing of it waits. Schema relay has
 * an outbox and an inbox main from the beginning; that nobody wants one is no failure.
 */
void status_text_mark_unused(struct status_stream *streams, size_t count, const struct settings *settings);

/* A table, and below it a paragraph for each stream that is paused or has an error. */
void status_text_print(const struct status_stream *streams, size_t count, FILE *out);
void status_text_json(const struct status_stream *streams, size_t count, FILE *out);

/* The streams as a JSON array; the caller's. */
json_t *status_text_list(const struct status_stream *streams, size_t count);

/* REFUSED when a stream waits for an operator's choice; DEGRADED when one has another error, or nobody runs it. */
enum exit_code status_text_code(const struct status_stream *streams, size_t count);

#endif
