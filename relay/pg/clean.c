#include "pg/clean.h"

#include <inttypes.h>
#include <libpq-fe.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "session_internal.h"
#include "statements.h"

/* Columns as clean.sql names them. */
enum column { STEP, SLOT, SIZE_BYTES, OLDEST_AGE_MS, HELD_MS, HELD_REASON, HELD_BY };

static enum clean_step step_named(const char *word)
{
    static const struct {
        const char *word;
        enum clean_step step;
    } steps[] = {
        {"nothing", CLEAN_NOTHING}, {"later", CLEAN_LATER},   {"turn", CLEAN_TURNED},
        {"empty", CLEAN_EMPTIED},   {"open", CLEAN_NOTED},    {"close", CLEAN_NOTED},
        {"cover", CLEAN_NOTED},     {"uncover", CLEAN_NOTED}, {"keep", CLEAN_NOTED},
    };
    for (size_t i = 0; i < COUNT_OF(steps); i++)
        if (strcmp(steps[i].word, word) == 0)
            return steps[i].step;
    return CLEAN_LATER; /* a later schema's: nothing that this loop could go on with */
}

static int64_t number(const PGresult *result, enum column column)
{
    return PQgetisnull(result, 0, column) ? -1 : strtoll(PQgetvalue(result, 0, column), NULL, 10);
}

enum error_class clean_take_step(struct session *session, const struct uuid *stream, int64_t retention_ms,
                                 struct clean_report *report, struct error *error)
{
    char uuid[UUID_TEXT_SIZE], retention[24];
    PGresult *result;
    uuid_format(stream, uuid);
    snprintf(retention, sizeof retention, "%" PRId64, retention_ms);
    const char *parameters[] = {uuid, retention};
    if (session_exec(session, sql_clean, COUNT_OF(parameters), parameters, &result, error)) {
        if (strcmp(error->code, "42501") == 0)
            error_hint(error, "the relay's role lacks EXECUTE on relay.clean: run sql/grants.sql again "
                              "(boxrelay migrate print --with-grants)");
        return error->class;
    }
    *report = (struct clean_report){
        .step = step_named(PQgetvalue(result, 0, STEP)),
        .slot = (int)number(result, SLOT),
        .size_bytes = number(result, SIZE_BYTES),
        .oldest_age_ms = number(result, OLDEST_AGE_MS),
        .held_ms = number(result, HELD_MS),
    };
    snprintf(report->held_reason, sizeof report->held_reason, "%s", PQgetvalue(result, 0, HELD_REASON));
    snprintf(report->held_by, sizeof report->held_by, "%s", PQgetvalue(result, 0, HELD_BY));
    PQclear(result);
    return ERROR_NONE;
}

const char *clean_hint(const char *held_reason)
{
    if (strcmp(held_reason, "lock") == 0)
        return "end that transaction (pg_terminate_backend, ROLLBACK PREPARED) or wait for its end; cleaning goes on "
               "by "
               "itself";
    return "only published rows are cleaned: see the stream's state and last error in boxrelay status";
}
