/*
 * How other threads talk to a worker: the last word on each subject counts, so it is bounded by its shape and a
 * sender never waits. Invariant: a word is delivered once, in the order leadership, pause, wake, watch, look, stop.
 */
#ifndef OUTBOX_MAILBOX_H
#define OUTBOX_MAILBOX_H

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

#include "core/publisher.h"

struct mailbox {
    pthread_mutex_t lock;
    pthread_cond_t changed;
    bool has_leadership, has_pause, has_wake, has_watch, has_look, has_stop;
    enum publisher_command leadership, pause;
};

void mailbox_init(struct mailbox *mailbox);
void mailbox_fini(struct mailbox *mailbox);

/* Thread: any. */
void mailbox_send(struct mailbox *mailbox, enum publisher_command command);

/* Thread: the worker. Takes a word if there is one; waits for one until `until_ms` (clock_monotonic_ms). */
bool mailbox_take(struct mailbox *mailbox, int64_t until_ms, enum publisher_command *command);

#endif
