/*
 * What is worth a log line about streams and the instance: a change of phase, another error. Looked at several times
 * a second, so states that pass within milliseconds (poll, read, tick, commit) are one phase. Thread: main.
 */
#ifndef APP_WATCH_H
#define APP_WATCH_H

#include <stdbool.h>
#include <stddef.h>

#include "outbox/service.h"

enum watch_phase {
    WATCH_NEW, /* not seen yet */
    WATCH_STANDBY,
    WATCH_STARTING,
    WATCH_RUNNING,
    WATCH_WAITING, /* after a failure that passes by itself */
    WATCH_STOPPED, /* after a failure that people have to mend */
    WATCH_PAUSED,
    WATCH_ENDED,
};

struct watch_stream {
    char stream[OUTBOX_STREAM_NAME_MAX];
    enum watch_phase phase;
    char code[ERROR_CODE_MAX]; /* of the error that was logged last */
};

struct watch {
    bool postgres_up, kafka_up;
    char code[ERROR_CODE_MAX]; /* of the instance's error that was logged last; "": none */
    size_t count;
    struct watch_stream streams[OUTBOX_STREAMS_MAX];
};

enum watch_phase watch_phase_of(const struct outbox_stream_view *view);

/* Compares with what was seen before, logs what changed, and remembers. */
void watch_service(struct watch *watch, const struct outbox_service_view *view);
void watch_stream(struct watch *watch, size_t index, const struct outbox_stream_view *view);

#endif
