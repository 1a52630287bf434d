#include "mailbox.h"

#include <assert.h>
#include <time.h>

void mailbox_init(struct mailbox *mailbox)
{
    pthread_condattr_t attributes;
    *mailbox = (struct mailbox){.has_leadership = false};
    pthread_condattr_init(&attributes);
    pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
    pthread_cond_init(&mailbox->changed, &attributes);
    pthread_condattr_destroy(&attributes);
    pthread_mutex_init(&mailbox->lock, NULL);
}

void mailbox_fini(struct mailbox *mailbox)
{
    pthread_cond_destroy(&mailbox->changed);
    pthread_mutex_destroy(&mailbox->lock);
}

void mailbox_send(struct mailbox *mailbox, enum publisher_command command)
{
    pthread_mutex_lock(&mailbox->lock);
    switch (command) {
    case PUBLISHER_LEAD:
    case PUBLISHER_HOLD:
    case PUBLISHER_LOSE:
        mailbox->leadership = command;
        mailbox->has_leadership = true;
        break;
    case PUBLISHER_PAUSE:
    case PUBLISHER_RESUME:
        mailbox->pause = command;
        mailbox->has_pause = true;
        break;
    case PUBLISHER_WAKE:
        mailbox->has_wake = true;
        break;
    case PUBLISHER_WATCH:
        mailbox->has_watch = true;
        break;
    case PUBLISHER_LOOK:
        mailbox->has_look = true;
        break;
    case PUBLISHER_STOP:
        mailbox->has_stop = true;
        break;
    case PUBLISHER_REST: /* a worker's word to itself */
        assert(!"nobody sends another to rest");
    }
    pthread_cond_signal(&mailbox->changed);
    pthread_mutex_unlock(&mailbox->lock);
}

static bool take(struct mailbox *mailbox, enum publisher_command *command)
{
    if (mailbox->has_leadership) {
        mailbox->has_leadership = false;
        *command = mailbox->leadership;
    } else if (mailbox->has_pause) {
        mailbox->has_pause = false;
        *command = mailbox->pause;
    } else if (mailbox->has_wake) {
        mailbox->has_wake = false;
        *command = PUBLISHER_WAKE;
    } else if (mailbox->has_watch) {
        mailbox->has_watch = false;
        *command = PUBLISHER_WATCH;
    } else if (mailbox->has_look) {
        mailbox->has_look = false;
        *command = PUBLISHER_LOOK;
    } else if (mailbox->has_stop) {
        mailbox->has_stop = false;
        *command = PUBLISHER_STOP;
    } else {
        return false;
    }
    return true;
}

bool mailbox_take(struct mailbox *mailbox, int64_t until_ms, enum publisher_command *command)
{
    struct timespec until = {.tv_sec = until_ms / 1000, .tv_nsec = until_ms % 1000 * 1000000};
    pthread_mutex_lock(&mailbox->lock);
    bool taken = take(mailbox, command);
    while (!taken && until_ms > 0 && pthread_cond_timedwait(&mailbox->changed, &mailbox->lock, &until) == 0)
        taken = take(mailbox, command);
    if (!taken)
        taken = take(mailbox, command);
    pthread_mutex_unlock(&mailbox->lock);
    return taken;
}
