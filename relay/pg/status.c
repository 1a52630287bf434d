#include "pg/status.h"

#include <libpq-fe.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "pg/clean.h"
#include "pg/migrate.h"
#include "session_internal.h"
#include "statements.h"

/* Columns as status.sql names them. */
enum column {
    STREAM,
    STATE,
    PENDING,
    PENDING_IS_BOUND,
    OLDEST_SECONDS,
    ROWS_PER_SECOND,
    DEAD,
    PARKED,
    PAUSED_AT,
    PAUSED_BY,
    PAUSED_REASON,
    LEADER,
    FAILURE_CLASS,
    FAILURE_CODE,
    FAILURE_TEXT,
    FAILURE_HINT,
    UPDATED_AT,
    COLUMNS,
};

static void copy(char *to, size_t size, const PGresult *result, int row, enum column column)
{
    snprintf(to, size, "%s", PQgetvalue(result, row, column));
}

static double number(const PGresult *result, int row, enum column column)
{
    return PQgetisnull(result, row, column) ? -1 : strtod(PQgetvalue(result, row, column), NULL);
}

static enum error_class class_named(const char *name)
{
    for (int class = ERROR_NONE; class <= ERROR_INTEGRITY; class ++)
        if (strcmp(error_class_name((enum error_class) class), name) == 0)
            return (enum error_class) class;
    return ERROR_NONE;
}

/* Columns as cleanup.sql names them. */
enum cleanup_column { CLEANUP_STREAM, SIZE_BYTES, OLDEST_SLOT_SECONDS, HELD_SECONDS, HELD_REASON, HELD_BY };

static double cleanup_number(const PGresult *result, int row, enum cleanup_column column)
{
    return PQgetisnull(result, row, column) ? -1 : strtod(PQgetvalue(result, row, column), NULL);
}

static void read_cleanup_row(const PGresult *result, int row, struct status_stream *out)
{
    out->size_bytes = (int64_t)cleanup_number(result, row, SIZE_BYTES);
    out->oldest_slot_seconds = cleanup_number(result, row, OLDEST_SLOT_SECONDS);
    out->held_seconds = cleanup_number(result, row, HELD_SECONDS);
    snprintf(out->held_reason, sizeof out->held_reason, "%s", PQgetvalue(result, row, HELD_REASON));
    snprintf(out->held_by, sizeof out->held_by, "%s", PQgetvalue(result, row, HELD_BY));
}

/* A schema of before has no such view; then nothing is known. */
static enum error_class read_cleanup(struct session *session, struct status_stream *streams, size_t count,
                                     struct error *error)
{
    PGresult *result;
    int32_t version;
    for (size_t i = 0; i < count; i++) {
        streams[i].size_bytes = -1;
        streams[i].oldest_slot_seconds = streams[i].held_seconds = -1;
    }
    if (migrate_version(session, &version, error))
        return error->class;
    if (version < CLEAN_SCHEMA)
        return ERROR_NONE;
    if (session_exec(session, sql_cleanup, 0, NULL, &result, error))
        return error->class;
    for (int row = 0; row < PQntuples(result); row++)
        for (size_t i = 0; i < count; i++)
            if (strcmp(streams[i].stream, PQgetvalue(result, row, CLEANUP_STREAM)) == 0)
                read_cleanup_row(result, row, &streams[i]);
    PQclear(result);
    return ERROR_NONE;
}

static void read_row(const PGresult *result, int row, struct status_stream *out)
{
    copy(out->stream, sizeof out->stream, result, row, STREAM);
    copy(out->state, sizeof out->state, result, row, STATE);
    out->pending = (int64_t)number(result, row, PENDING);
    out->pending_is_bound = strcmp(PQgetvalue(result, row, PENDING_IS_BOUND), "t") == 0;
    out->oldest_seconds = number(result, row, OLDEST_SECONDS);
    out->rows_per_second = number(result, row, ROWS_PER_SECOND);
    out->dead = (int64_t)number(result, row, DEAD);
    out->parked = (int64_t)number(result, row, PARKED);
    copy(out->paused_at, sizeof out->paused_at, result, row, PAUSED_AT);
    copy(out->paused_by, sizeof out->paused_by, result, row, PAUSED_BY);
    copy(out->paused_reason, sizeof out->paused_reason, result, row, PAUSED_REASON);
    copy(out->leader, sizeof out->leader, result, row, LEADER);
    copy(out->error_class, sizeof out->error_class, result, row, FAILURE_CLASS);
    copy(out->error.code, sizeof out->error.code, result, row, FAILURE_CODE);
    copy(out->error.text, sizeof out->error.text, result, row, FAILURE_TEXT);
    copy(out->error.hint, sizeof out->error.hint, result, row, FAILURE_HINT);
    copy(out->updated_at, sizeof out->updated_at, result, row, UPDATED_AT);
    out->error.class = class_named(out->error_class);
}

enum error_class status_read(struct session *session, struct status_stream **streams, size_t *count,
                             struct error *error)
{
    PGresult *result;
    *streams = NULL;
    *count = 0;
    if (session_exec(session, sql_status, 0, NULL, &result, error))
        return error->class;
    size_t found = (size_t)PQntuples(result);
    enum error_class class = ERROR_NONE;
    if (PQnfields(result) != COLUMNS || found > STATUS_STREAMS_MAX)
        class = error_set(error, ERROR_INTEGRITY, "STATUS_DAMAGED", "relay.status has %zu rows of %d columns", found,
                          PQnfields(result));
    else if (!(*streams = calloc(found + 1, sizeof **streams)))
        class = error_set(error, ERROR_RETRY, "NO_MEMORY", "no memory for %zu rows of relay.status", found);
    for (size_t i = 0; *streams && i < found; i++)
        read_row(result, (int)i, &(*streams)[i]);
    PQclear(result);
    if (*streams && !class)
        class = read_cleanup(session, *streams, found, error);
    *count = class ? 0 : found;
    return class;
}
