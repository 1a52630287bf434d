/*
 * The durable tick: the PostgreSQL transaction that closes a batch, and the ring of rows that remembers the last ones.
 * Thread: the stream's worker, or rebase.
 */
#ifndef PG_TICK_H
#define PG_TICK_H

#include "base/error.h"
#include "base/uuid.h"
#include "core/position.h"
#include "core/start.h"
#include "pg/session.h"

/* The position known committed in Kafka, as a tick stores it. */
struct tick_known {
    bool known;
    struct tick_name name;
    const struct snapshot *snapshot; /* borrows */
    int64_t offset;
};

struct tick_writing {
    struct uuid stream;
    struct tick_name old;
    struct tick_name new;
    struct uuid incarnation;
    struct database_identity database;
    struct tick_known known;
};

MUST_CHECK enum error_class tick_ring_read(struct session *session, const struct uuid *stream, struct tick_ring *ring,
                                           struct error *error);

/* Inside the tick transaction, after its last row. FENCED: the newest tick is not `old`, or is being replaced. */
MUST_CHECK enum error_class tick_write(struct session *session, const struct tick_writing *tick, struct error *error);

/*
 * COMMIT. ERROR_NONE only when it is durable: tag COMMIT, no warning [T2]; RECREATE or RECONNECT otherwise. In two
 * halves, between which nothing else may be asked of the session.
 */
MUST_CHECK enum error_class batch_commit_send(struct session *session, struct error *error);
MUST_CHECK enum error_class batch_commit_take(struct session *session, struct error *error);
MUST_CHECK enum error_class batch_commit(struct session *session, struct error *error); /* both */
void batch_rollback(struct session *session);

/* Stores the known position in the newest tick [C3], durably. FENCED: another tick came in between, read again. */
MUST_CHECK enum error_class tick_know(struct session *session, const struct uuid *stream, const struct tick_name *tick,
                                      const struct tick_known *known, struct error *error);

/* In a transaction of its own: the whole ring anew, with this newest tick and nothing known. */
MUST_CHECK enum error_class tick_rebase(struct session *session, const struct tick_writing *tick, struct error *error);

#endif
