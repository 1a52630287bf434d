#include "last_poll.h"

void last_poll_init(struct last_poll *last)
{
    pthread_mutex_init(&last->lock, NULL);
    last->asked_ms = 0;
}

void last_poll_fini(struct last_poll *last) { pthread_mutex_destroy(&last->lock); }

bool last_poll_take(struct last_poll *last, int64_t since_ms, struct snapshot *out)
{
    pthread_mutex_lock(&last->lock);
    bool taken = last->asked_ms > 0 && last->asked_ms >= since_ms;
    if (taken)
        snapshot_copy(out, &last->snapshot);
    pthread_mutex_unlock(&last->lock);
    return taken;
}

void last_poll_give(struct last_poll *last, int64_t asked_ms, const struct snapshot *snapshot)
{
    pthread_mutex_lock(&last->lock);
    if (asked_ms > last->asked_ms) {
        snapshot_copy(&last->snapshot, snapshot);
        last->asked_ms = asked_ms;
    }
    pthread_mutex_unlock(&last->lock);
}
