#include "pg/catalog.h"

#include <inttypes.h>
#include <libpq-fe.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/position.h"
#include "session_internal.h"
#include "statements.h"

static void copy_text(char *to, size_t size, const PGresult *result, int row, int column)
{
    snprintf(to, size, "%s", PQgetvalue(result, row, column));
}

/* Columns as streams.sql names them. */
static bool read_stream(const PGresult *result, int row, struct catalog_stream *stream)
{
    copy_text(stream->name, sizeof stream->name, result, row, 0);
    copy_text(stream->short_name, sizeof stream->short_name, result, row, 1);
    stream->partition = atoi(PQgetvalue(result, row, 3));
    stream->generation = strtoll(PQgetvalue(result, row, 4), NULL, 10);
    stream->paused = strcmp(PQgetvalue(result, row, 5), "t") == 0;
    copy_text(stream->relation, sizeof stream->relation, result, row, 6);
    return uuid_parse(PQgetvalue(result, row, 2), (size_t)PQgetlength(result, row, 2), &stream->uuid);
}

enum error_class catalog_streams(struct session *session, struct catalog_stream *streams, size_t max, size_t *count,
                                 struct error *error)
{
    PGresult *result;
    if (session_exec(session, sql_streams, 0, NULL, &result, error))
        return error->class;
    enum error_class class = ERROR_NONE;
    size_t found = (size_t)PQntuples(result);
    if (found > max)
        class = error_set(error, ERROR_INTEGRITY, "TOO_MANY_STREAMS", "%zu outboxes are registered, one relay runs %zu",
                          found, max);
    for (size_t i = 0; !class && i < found; i++)
        if (!read_stream(result, (int)i, &streams[i]))
            class = error_set(error, ERROR_INTEGRITY, "STREAMS_DAMAGED", "relay.stream cannot be read");
    *count = class ? 0 : found;
    PQclear(result);
    return class;
}

enum error_class catalog_claim(struct session *session, const char *name, struct error *error)
{
    const char *parameters[] = {name};
    PGresult *result;
    if (session_exec(session, sql_claimed_name, 0, NULL, &result, error))
        return error->class;
    bool claimed = PQntuples(result) == 1 && !PQgetisnull(result, 0, 0);
    char found[128];
    snprintf(found, sizeof found, "%s", claimed ? PQgetvalue(result, 0, 0) : "");
    PQclear(result);
    if (!claimed) {
        if (session_exec(session, sql_claim_name, 1, parameters, NULL, error) ||
            session_exec(session, sql_claimed_name, 0, NULL, &result, error))
            return error->class;
        snprintf(found, sizeof found, "%s", PQntuples(result) == 1 ? PQgetvalue(result, 0, 0) : "");
        PQclear(result);
    }
    if (strcmp(found, name) == 0)
        return ERROR_NONE;
    error_set(error, ERROR_INTEGRITY, "OTHER_NAME",
              "this database belongs to relay \"%s\", the configuration says \"%s\"", found, name);
    return error_hint(error, "correct \"name\" or \"postgres\"; to rename: UPDATE relay.identity SET name = NULL");
}

enum error_class session_identity(struct session *session, struct database_identity *out, struct error *error)
{
    PGresult *result;
    if (session_exec(session, sql_identity, 0, NULL, &result, error))
        return error->class;
    out->system_identifier = (uint64_t)strtoll(PQgetvalue(result, 0, 0), NULL, 10);
    out->database_oid = (uint32_t)strtoul(PQgetvalue(result, 0, 1), NULL, 10);
    bool standby = strcmp(PQgetvalue(result, 0, 2), "t") == 0;
    out->timeline = (uint32_t)strtoul(PQgetvalue(result, 0, 3), NULL, 16);
    PQclear(result);
    return standby ? session_fail_standby(error) : ERROR_NONE;
}

enum error_class catalog_states_begin(struct session *session, struct error *error)
{
    return session_exec(session, "BEGIN; SET LOCAL synchronous_commit = off", 0, NULL, NULL, error);
}

enum error_class catalog_states_commit(struct session *session, struct error *error)
{
    return session_exec(session, "COMMIT", 0, NULL, NULL, error);
}

enum error_class catalog_state_write(struct session *session, const struct catalog_state *state, struct error *error)
{
    char uuid[UUID_TEXT_SIZE], pending[24], oldest[24], published[24], rate[32];
    const struct error *shown = state->error && state->error->class ? state->error : NULL;
    uuid_format(&state->stream, uuid);
    snprintf(pending, sizeof pending, "%" PRId64, state->pending_rows);
    snprintf(oldest, sizeof oldest, "%" PRId64, state->oldest_ms);
    snprintf(published, sizeof published, "%" PRId64, state->published_rows);
    snprintf(rate, sizeof rate, "%.3f", state->rows_per_second);
    const char *parameters[] = {
        uuid,
        state->state,
        state->leader,
        state->pending_rows < 0 ? NULL : pending,
        state->pending_is_bound ? "true" : "false",
        state->oldest_ms > 0 ? oldest : NULL,
        published,
        rate,
        shown ? error_class_name(shown->class) : NULL,
        shown ? shown->code : NULL,
        shown ? shown->text : NULL,
        shown && shown->hint[0] ? shown->hint : NULL,
    };
    return session_exec(session, sql_state_write, COUNT_OF(parameters), parameters, NULL, error);
}

enum error_class catalog_pause(struct session *session, const char *stream, const char *reason, struct error *error)
{
    const char *parameters[] = {stream, reason};
    return session_exec(session, "SELECT relay.pause($1, $2)", 2, parameters, NULL, error);
}

enum error_class catalog_resume(struct session *session, const char *stream, struct error *error)
{
    const char *parameters[] = {stream};
    return session_exec(session, "SELECT relay.resume($1)", 1, parameters, NULL, error);
}

enum error_class catalog_audit(struct session *session, const char *actor, const char *action, const char *stream,
                               const char *detail_json, struct error *error)
{
    const char *parameters[] = {actor, action, stream, detail_json};
    return session_exec(session, sql_audit, COUNT_OF(parameters), parameters, NULL, error);
}
