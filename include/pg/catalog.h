/* Which outboxes exist, whose database this is. Thread: the registry, a worker at its start, rebase. */
#ifndef PG_CATALOG_H
#define PG_CATALOG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"
#include "base/uuid.h"
#include "pg/session.h"

enum { CATALOG_NAME_MAX = 48, CATALOG_RELATION_MAX = 160 };

struct catalog_stream {
    char name[CATALOG_NAME_MAX];         /* "outbox/main" */
    char short_name[CATALOG_NAME_MAX];   /* "main" */
    char relation[CATALOG_RELATION_MAX]; /* quoted and qualified */
    struct uuid uuid;
    int32_t partition;  /* of the positions topic */
    int64_t generation; /* changes when an operator did something */
    bool paused;
};

/* Up to `max` streams; INTEGRITY when there are more. */
MUST_CHECK enum error_class catalog_streams(struct session *session, struct catalog_stream *streams, size_t max,
                                            size_t *count, struct error *error);

/* Stores the relay's name in the database at the first start; INTEGRITY when another name is stored [L2]. */
MUST_CHECK enum error_class catalog_claim(struct session *session, const char *name, struct error *error);

/* What relay.status shows of a stream; error may be NULL. */
struct catalog_state {
    struct uuid stream;
    const char *state, *leader; /* leader NULL: nobody leads; the row of a leader is then left alone for 30 seconds */
    int64_t pending_rows;       /* -1: not known */
    bool pending_is_bound;
    int64_t oldest_ms; /* unix; 0: none */
    int64_t published_rows;
    double rows_per_second;
    const struct error *error;
};

/*
 * One transaction around the rows of all streams, written by catalog_state_write: each transaction with an id makes
 * every outbox read its window once more. After an error the session has to be closed.
 */
MUST_CHECK enum error_class catalog_states_begin(struct session *session, struct error *error);
MUST_CHECK enum error_class catalog_states_commit(struct session *session, struct error *error);
MUST_CHECK enum error_class catalog_state_write(struct session *session, const struct catalog_state *state,
                                                struct error *error);

/* relay.pause / relay.resume. */
MUST_CHECK enum error_class catalog_pause(struct session *session, const char *stream, const char *reason,
                                          struct error *error);
MUST_CHECK enum error_class catalog_resume(struct session *session, const char *stream, struct error *error);

/* A row of relay.audit for an operator's action. */
MUST_CHECK enum error_class catalog_audit(struct session *session, const char *actor, const char *action,
                                          const char *stream, const char *detail_json, struct error *error);

#endif
