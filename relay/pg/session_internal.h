/* What the modules of this room share of a session; libpq's types stay in here. */
#ifndef PG_SESSION_INTERNAL_H
#define PG_SESSION_INTERNAL_H

#include <libpq-fe.h>
#include <stddef.h>

#include "pg/session.h"

enum { SESSION_PARAMETERS_MAX = 16 };

/*
 * Runs one statement (or, without parameters, several separated by semicolons: the last result counts). Parameters and
 * result are text. `result` may be NULL; else the caller clears it. The class is sqlstate_class of the failure.
 */
MUST_CHECK enum error_class session_exec(struct session *session, const char *sql, int parameter_count,
                                         const char *const *parameters, PGresult **result, struct error *error);

/*
 * The same for one statement that a session runs again and again: prepared on first use, so that it is planned once.
 * `sql` is its name: the same pointer is the same statement, as long as the session lives.
 */
MUST_CHECK enum error_class session_exec_prepared(struct session *session, const char *sql, int parameter_count,
                                                  const char *const *parameters, PGresult **result,
                                                  struct error *error);

/* A value in binary form. */
struct session_bytes {
    const char *bytes;
    int size;
};

/* The same with all parameters and the result in binary form. */
MUST_CHECK enum error_class session_exec_binary(struct session *session, const char *sql, int parameter_count,
                                                const struct session_bytes *parameters, PGresult **result,
                                                struct error *error);

/* Where in the text of the last failed session_exec the server saw the error: characters from 1, or 0 for nowhere. */
int session_error_position(const struct session *session);

/*
 * Starts a statement in single-row mode with a binary result, prepared as above. Rows come from session_next until it
 * gives NULL.
 */
MUST_CHECK enum error_class session_stream(struct session *session, const char *sql, int parameter_count,
                                           const char *const *parameters, struct error *error);

/* The next row's result (owned by the caller), or NULL at the end. After an error nothing more is to be read. */
MUST_CHECK enum error_class session_next(struct session *session, PGresult **row, struct error *error);

/*
 * Starts a query whose rows come as COPY's binary form, $1.. being written into its text: a third of the cost of a
 * PGresult a row, but planned each time, so for many rows. Rows come from session_copy_next until it gives no memory.
 */
MUST_CHECK enum error_class session_copy(struct session *session, const char *sql, int parameter_count,
                                         const char *const *parameters, struct error *error);

/* A row as COPY sends it: field count, then length and bytes of each (PostgreSQL docs, COPY, "Binary Format"). */
struct copied_row {
    char *memory; /* the owner frees it by PQfreemem; NULL: the end */
    char *bytes;  /* within it; may be written to */
    size_t size;
};

MUST_CHECK enum error_class session_copy_next(struct session *session, struct copied_row *row, struct error *error);

/*
 * COPY ... FROM STDIN (FORMAT binary): begin, any number of puts of whatever size, end. The bytes between begin and end
 * are the caller's, head and trailer included. A failure of any of them has ended the COPY.
 */
MUST_CHECK enum error_class session_copy_in(struct session *session, const char *sql, struct error *error);
MUST_CHECK enum error_class session_copy_put(struct session *session, const char *bytes, size_t size,
                                             struct error *error);
MUST_CHECK enum error_class session_copy_end(struct session *session, struct error *error);

/*
 * COMMIT that counts only with the tag "COMMIT" and without a WARNING [T2]. RECREATE otherwise. It may be sent first
 * and its answer taken later; in between nothing else may be asked of the session.
 */
MUST_CHECK enum error_class session_commit(struct session *session, struct error *error);
MUST_CHECK enum error_class session_commit_send(struct session *session, struct error *error);
MUST_CHECK enum error_class session_commit_take(struct session *session, struct error *error);

/* What a session on a standby is told: RECONNECT, the primary may be reached next time. */
enum error_class session_fail_standby(struct error *error);

/* Best effort: a session that cannot roll back is broken and fails at its next use. */
void session_rollback(struct session *session);

/*
 * `sql` with the table it was written for, relay.outbox or relay.inbox (`kind`), replaced by `relation`, and so the
 * names made from it, as relay."outbox#seq". The table's name needs no quotes (relay.outbox_table). The caller frees.
 */
char *sql_for_relation(const char *sql, const char *kind, const char *relation);

#endif
