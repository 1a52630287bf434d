/*
 * The snapshot that was polled last by any stream of one server: a stream that is due soon after it takes it for its
 * own, so that many idle outboxes do not each ask PostgreSQL ten times a second. It is as good as a poll of its own at
 * that instant [C4].
 *
 * Invariant: 0, or the snapshot was taken at or after `asked_ms`. Thread: any.
 */
#ifndef OUTBOX_LAST_POLL_H
#define OUTBOX_LAST_POLL_H

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

#include "core/snapshot.h"

struct last_poll {
    pthread_mutex_t lock;
    int64_t asked_ms; /* monotonic; 0: never */
    struct snapshot snapshot;
};

void last_poll_init(struct last_poll *last);
void last_poll_fini(struct last_poll *last);

/* Copies it when it was asked for at `since_ms` or later. */
bool last_poll_take(struct last_poll *last, int64_t since_ms, struct snapshot *out);

void last_poll_give(struct last_poll *last, int64_t asked_ms, const struct snapshot *snapshot);

#endif
