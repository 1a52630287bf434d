/*
 * What is worth a log line about streams besides their failures, which the workers log where they decide: a change of
 * phase. Looked at several times a second, so states that pass within milliseconds (poll, read, tick, commit; fetch,
 * store) are one phase. Thread: main.
 */
#ifndef APP_WATCH_H
#define APP_WATCH_H

#include <stdbool.h>
#include <stddef.h>

#include "inbox/service.h"
#include "outbox/service.h"

enum watch_phase {
    WATCH_NEW, /* not seen yet, or a state that is not known here */
    WATCH_STANDBY,
    WATCH_STARTING,
    WATCH_RUNNING,
    WATCH_FAILING, /* backoff and stopped: logged by the worker */
    WATCH_PAUSED,
    WATCH_ENDED,
};

struct watched {
    char stream[OUTBOX_STREAM_NAME_MAX];
    enum watch_phase phase; /* the last one worth remembering */
};

struct watch {
    bool postgres_reached, kafka_reached;
    struct watched outboxes[OUTBOX_STREAMS_MAX], inboxes[INBOX_STREAMS_MAX];
};

enum watch_phase watch_phase_of_outbox(const char *state);

/* One that has no partition to read stands by. */
enum watch_phase watch_phase_of_inbox(const struct inbox_stream_view *view);

/* Is the step from one phase to the next worth a line? Starting again after a failure is not, failing never is. */
bool watch_is_news(enum watch_phase from, enum watch_phase to);

/* Compares with what was seen before, logs what changed, and remembers. */
void watch_service(struct watch *watch, const struct outbox_service_view *view);
void watch_outbox(struct watch *watch, size_t index, const struct outbox_stream_view *view);
void watch_inbox(struct watch *watch, size_t index, const struct inbox_stream_view *view);

#endif
