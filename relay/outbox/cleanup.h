/*
 * Cleaning of the outboxes that this instance leads: every now and then as many steps of relay.clean as are due, what
 * they found into the views and, once, into the log. Thread: the registry.
 */
#ifndef OUTBOX_CLEANUP_H
#define OUTBOX_CLEANUP_H

#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"
#include "pg/session.h"

enum {
    CLEANUP_LOOKS = 64, /* in a retention, within these bounds */
    CLEANUP_LOOK_MS_MIN = 1000,
    CLEANUP_LOOK_MS_MAX = 60000,
    CLEANUP_STEPS_MAX = 32,      /* a look: each of eight slots closed, covered and emptied, and the ring turned */
    CLEANUP_LATER_MS_MAX = 8000, /* between tries for a lock, unless looks are rarer */
};

/* What is remembered of one stream between looks. */
struct cleanup {
    int64_t due_ms; /* monotonic */
    uint32_t later; /* looks in a row that did not get a lock */
    bool held_logged, size_logged, refused_logged;
    char error_logged[ERROR_CODE_MAX];
};

struct outbox_service;

/* RECONNECT when the session is gone; other failures are logged once and tried again at the next look. */
MUST_CHECK enum error_class cleanup_look(struct outbox_service *service, struct session *session, struct error *error);

#endif
