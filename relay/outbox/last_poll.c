#include "last_poll.h"

#include <assert.h>

void last_poll_init(struct last_poll *last)
{
    pthread_mutex_init(&last->lock, NULL);
    last->asked_ms = 0;
    last->first = last->watcher = NULL;
}

void last_poll_fini(struct last_poll *last)
{
    assert(!last->first);
    pthread_mutex_destroy(&last->lock);
}

bool last_poll_take(struct last_poll *last, struct poll_sleeper *sleeper, int64_t since_ms, struct snapshot *out)
{
    pthread_mutex_lock(&last->lock);
    bool taken = !sleeper->own && last->asked_ms > 0 && last->asked_ms >= since_ms;
    sleeper->own = false;
    if (taken)
        snapshot_copy(out, &last->snapshot);
    pthread_mutex_unlock(&last->lock);
    return taken;
}

/* Lock held. */
static void wake_all(struct last_poll *last, bool own)
{
    last->watcher = NULL;
    while (last->first) {
        struct poll_sleeper *sleeper = last->first;
        last->first = sleeper->next;
        sleeper->asleep = false;
        sleeper->own = own;
        mailbox_send(sleeper->mailbox, PUBLISHER_LOOK);
    }
}

void last_poll_give(struct last_poll *last, int64_t asked_ms, const struct snapshot *snapshot)
{
    pthread_mutex_lock(&last->lock);
    if (asked_ms > last->asked_ms) {
        if (!snapshot_equal(&last->snapshot, snapshot))
            wake_all(last, false);
        snapshot_copy(&last->snapshot, snapshot);
        last->asked_ms = asked_ms;
    }
    pthread_mutex_unlock(&last->lock);
}

void last_poll_forget(struct last_poll *last)
{
    pthread_mutex_lock(&last->lock);
    wake_all(last, true);
    last->asked_ms = 0;
    pthread_mutex_unlock(&last->lock);
}

static void append(struct last_poll *last, struct poll_sleeper *sleeper)
{
    struct poll_sleeper **end = &last->first;
    while (*end)
        end = &(*end)->next;
    *end = sleeper;
    sleeper->next = NULL;
    sleeper->asleep = true;
}

bool last_poll_rest(struct last_poll *last, struct poll_sleeper *sleeper, const struct snapshot *seen)
{
    pthread_mutex_lock(&last->lock);
    bool rests = !sleeper->asleep && last->asked_ms > 0 && snapshot_equal(&last->snapshot, seen);
    bool watched = rests && last->watcher;
    if (rests)
        append(last, sleeper);
    if (rests && !watched)
        last->watcher = sleeper;
    pthread_mutex_unlock(&last->lock);
    return watched;
}

void last_poll_get_up(struct last_poll *last, struct poll_sleeper *sleeper, bool polls)
{
    pthread_mutex_lock(&last->lock);
    struct poll_sleeper **at = &last->first;
    while (*at && *at != sleeper)
        at = &(*at)->next;
    assert((*at != NULL) == sleeper->asleep);
    if (*at)
        *at = sleeper->next;
    sleeper->asleep = false;
    if (last->watcher == sleeper) {
        last->watcher = last->first;
        if (last->watcher)
            mailbox_send(last->watcher->mailbox, polls ? PUBLISHER_WATCH : PUBLISHER_LOOK);
    }
    pthread_mutex_unlock(&last->lock);
}
