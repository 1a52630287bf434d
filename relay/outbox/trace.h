/*
 * The trace that a row belongs to, for log lines: the trace id of a W3C "traceparent" header (Trace Context, section
 * 3.2). Nothing else of a row's headers is ever logged, and this only when it is what it should be: 32 hex digits.
 * Thread: any.
 */
#ifndef OUTBOX_TRACE_H
#define OUTBOX_TRACE_H

#include <stdbool.h>

enum { TRACE_ID_SIZE = 33 };

/* Column headers (a JSON object; NULL: none); false, and id "", when it names no valid trace. */
bool trace_id(const char *headers, char id[TRACE_ID_SIZE]);

#endif
