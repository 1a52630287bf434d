/*
 * The snapshot that was polled last by any stream of one server. A stream that is due soon after it takes it for its
 * own: it is as good as a poll of its own at that instant [C4]. And idle streams rest on it: of those one watches,
 * which polls after its delay, and the others sleep until a poll sees another snapshot. Who gets up hands the watch to
 * the one that has slept longest, before it polls or does anything else that may take its time. So a thread that hangs
 * holds up nobody, and each one's own connection is tried in turn.
 *
 * Invariants: the snapshot was taken at or after `asked_ms`, if that is not 0; whoever sleeps has read its window up to
 * that very snapshot; while somebody sleeps, one of them watches. Thread: any.
 */
#ifndef OUTBOX_LAST_POLL_H
#define OUTBOX_LAST_POLL_H

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

#include "core/snapshot.h"
#include "mailbox.h"

/* A stream's place among those that rest; guarded by the lock of the last poll. */
struct poll_sleeper {
    struct mailbox *mailbox; /* LOOK and WATCH go there */
    struct poll_sleeper *next;
    bool asleep;
    bool own; /* its next poll has to be its own */
};

struct last_poll {
    pthread_mutex_t lock;
    int64_t asked_ms; /* monotonic; 0: never */
    struct snapshot snapshot;
    struct poll_sleeper *first; /* the one that has slept longest */
    struct poll_sleeper *watcher;
};

void last_poll_init(struct last_poll *last);

/* Nobody sleeps. */
void last_poll_fini(struct last_poll *last);

/* Copies it when it was asked for at `since_ms` or later. */
bool last_poll_take(struct last_poll *last, struct poll_sleeper *sleeper, int64_t since_ms, struct snapshot *out);

/* If it is another one, all who sleep get up and look. */
void last_poll_give(struct last_poll *last, int64_t asked_ms, const struct snapshot *snapshot);

/*
 * Lays a stream to rest that has read its window up to `seen`. True: another one watches, so it may sleep long; it gets
 * WATCH when its turn comes. False: it polls when its own delay is over, being the one that watches or having seen
 * something else. Asleep already: false.
 */
bool last_poll_rest(struct last_poll *last, struct poll_sleeper *sleeper, const struct snapshot *seen);

/* Gets up, if it was asleep; if it watched, the next one does, from now on or, unless `polls`, by a look at once. */
void last_poll_get_up(struct last_poll *last, struct poll_sleeper *sleeper, bool polls);

/* A connection was lost, perhaps the server: the snapshot says nothing any more, and each looks by its own [T3]. */
void last_poll_forget(struct last_poll *last);

#endif
