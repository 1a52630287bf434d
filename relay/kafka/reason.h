/*
 * Why a client cannot get through: a wrong password, CA or ACL shows in librdkafka only as a time-out; the reason is
 * in the last error event, so it is kept and put into the time-out's text. Thread: the one that serves the handle.
 */
#ifndef RELAY_KAFKA_REASON_H
#define RELAY_KAFKA_REASON_H

#include <librdkafka/rdkafka.h>

#include "base/error.h"

enum { REASON_TEXT_MAX = 512 };

struct reason {
    int code; /* RD_KAFKA_RESP_ERR_..., of the last error event; 0: none */
    char text[REASON_TEXT_MAX];
    char log[REASON_TEXT_MAX]; /* the last line of level error or worse */
};

/* Keeps what an error or log event says; other events are left alone. */
void reason_note(struct reason *reason, rd_kafka_event_t *event);

/* Keeps an error that came without an event. An authentication failure is not overwritten by its consequences. */
void reason_note_error(struct reason *reason, int code, const char *text);

/* Log lines of the library go to the relay's log at level debug; the worst are kept. */
void reason_note_log(struct reason *reason, int level, const char *text);

/* Serves what waits on `queue` without waiting. */
void reason_serve(struct reason *reason, rd_kafka_queue_t *queue);

/* CONFIG for authentication and certificates, RECONNECT for brokers that are away, else RETRY. */
enum error_class reason_class(const struct reason *reason);

/* Time-out of `what` after `timeout_ms`, with the reason; returns reason_class. */
enum error_class reason_timed_out(const struct reason *reason, struct error *error, const char *what,
                                  long long timeout_ms);

#endif
