/*
 * Cleaning of an outbox, a step a call: relay.clean of sql/migrations/0003_cleanup.sql decides and acts [C1, C2]. All
 * of it is in SQL, because each decision holds only under the lock that it was taken under. Thread: the registry.
 */
#ifndef PG_CLEAN_H
#define PG_CLEAN_H

#include <stdint.h>

#include "base/error.h"
#include "base/uuid.h"
#include "pg/session.h"

enum {
    CLEAN_SCHEMA = 3, /* the version of schema relay from which on there is relay.clean */
    CLEAN_HELD_BY_MAX = 384,
};

enum clean_step {
    CLEAN_NOTHING, /* all is done that is due */
    CLEAN_LATER,   /* a lock was not got; held_by says whose it is */
    CLEAN_NOTED,   /* something was noted about the slot; call again */
    CLEAN_TURNED,  /* the slot was closed, rows go into the next; call again */
    CLEAN_EMPTIED, /* the slot's rows are gone; call again */
};

struct clean_report {
    enum clean_step step;
    int slot; /* -1 with NOTHING and LATER */
    /* The rest only with NOTHING and LATER. */
    int64_t size_bytes;    /* of all slots with indexes and TOAST; -1: not known */
    int64_t oldest_age_ms; /* since rows came into the oldest slot that has some; -1: there are none */
    int64_t held_ms;       /* since something holds cleaning back; -1: nothing does */
    char held_reason[16];  /* "lock", "position"; "" */
    char held_by[CLEAN_HELD_BY_MAX];
};

/* One step, in a transaction of its own. */
MUST_CHECK enum error_class clean_take_step(struct session *session, const struct uuid *stream, int64_t retention_ms,
                                            struct clean_report *report, struct error *error);

/* What people can do about a held_reason. */
const char *clean_hint(const char *held_reason);

#endif
