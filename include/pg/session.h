/*
 * One PostgreSQL session of the relay: opened with bounded waits, its settings pinned, its errors mapped to classes.
 *
 * Every session sets lock_timeout, statement_timeout, idle_in_transaction_session_timeout and server-side
 * tcp_user_timeout [T5], plan_cache_mode=force_generic_plan, jit=off, no parallel workers, an empty search_path.
 * Thread: one at a time. No libpq type leaves this room.
 */
#ifndef PG_SESSION_H
#define PG_SESSION_H

#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"
#include "core/position.h"

enum {
    SESSION_CONNECT_TIMEOUT_MS = 10000,
    SESSION_LOCK_TIMEOUT_MS = 5000,
    SESSION_STATEMENT_TIMEOUT_MS = 60000,
    SESSION_IDLE_IN_TRANSACTION_TIMEOUT_MS = 20000,
    SESSION_TCP_USER_TIMEOUT_MS = 10000,
    SESSION_ANSWER_TIMEOUT_MS = 70000, /* nothing from the server for so long: the connection is given up */
};

/*
 * Set by another thread. DRAIN ends the opening of a session soon with RETRY, code "STOPPING"; NOW ends every wait, so
 * that a statement under way is abandoned with its connection.
 */
enum session_stop_level { SESSION_STOP_NONE, SESSION_STOP_DRAIN, SESSION_STOP_NOW };

struct session_stop {
    _Atomic int level;
};

struct session_options {
    const char *conninfo;            /* libpq's, untouched */
    const char *application_name;    /* "boxrelay/orders/outbox/main" */
    const struct session_stop *stop; /* may be NULL */
};

struct session;

/* RECONNECT (server away, starting up, too many clients), CONFIG (password, database, role), RETRY (stopping). */
MUST_CHECK enum error_class session_open(const struct session_options *options, struct session **out,
                                         struct error *error);
void session_close(struct session **session);

/* Server version as libpq has it: 150008 is 15.8. */
int session_server_version(const struct session *session);

/* System identifier, database oid and timeline, as of now. RECONNECT with code "STANDBY" where nothing can be written.
 */
MUST_CHECK enum error_class session_identity(struct session *session, struct database_identity *out,
                                             struct error *error);

/* Class of a SQLSTATE ("40001"), the one mapping; NULL (no SQLSTATE: the connection itself) is RECONNECT. */
enum error_class sqlstate_class(const char *sqlstate);

#endif
