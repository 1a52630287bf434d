#include "pg/migrate.h"

#include <assert.h>
#include <libpq-fe.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "session_internal.h"
#include "statements.h"

/*
 * The window of schema versions that this binary works with: from the oldest one that has all that its statements
 * name, to one beyond the newest that it carries, so that either side of an upgrade may go first.
 */
enum { SCHEMA_OLDEST = 2, SCHEMA_AHEAD_MAX = 1 };

static const char hint_apply[] = "run boxrelay migrate up, or boxrelay migrate print for a runner of your own";

/* What relay.schema_version holds; NULL result: it does not exist yet. The caller clears. */
static enum error_class read_versions(struct session *session, PGresult **versions, struct error *error)
{
    PGresult *present;
    *versions = NULL;
    if (session_exec(session, sql_schema_present, 0, NULL, &present, error))
        return error->class;
    bool there = strcmp(PQgetvalue(present, 0, 0), "t") == 0;
    PQclear(present);
    return there ? session_exec(session, sql_schema_versions, 0, NULL, versions, error) : ERROR_NONE;
}

static int32_t version_at(const PGresult *versions, int row)
{
    return (int32_t)strtol(PQgetvalue(versions, row, 0), NULL, 10);
}

/* The row of a version, or -1. */
static int find_version(const PGresult *versions, int32_t version)
{
    for (int row = 0; versions && row < PQntuples(versions); row++)
        if (version_at(versions, row) == version)
            return row;
    return -1;
}

static int32_t newest_version(const PGresult *versions)
{
    int rows = versions ? PQntuples(versions) : 0;
    return rows ? version_at(versions, rows - 1) : 0;
}

enum error_class migrate_version(struct session *session, int32_t *version, struct error *error)
{
    PGresult *versions;
    if (read_versions(session, &versions, error))
        return error->class;
    *version = newest_version(versions);
    PQclear(versions);
    return ERROR_NONE;
}

enum error_class migrate_status(struct session *session, struct migration_applied *applied, struct error *error)
{
    PGresult *versions;
    size_t count;
    const struct migration *all = migrations(&count);
    if (read_versions(session, &versions, error))
        return error->class;
    for (size_t i = 0; i < count; i++) {
        int row = find_version(versions, all[i].version);
        applied[i] = (struct migration_applied){.version = row < 0 ? 0 : all[i].version};
        if (row >= 0)
            snprintf(applied[i].applied_at, sizeof applied[i].applied_at, "%s", PQgetvalue(versions, row, 1));
    }
    PQclear(versions);
    return ERROR_NONE;
}

/* The line of the character at `position`, both from 1. Positions count characters, so bytes that continue one do not
 * count. */
static int line_of(const char *text, int position)
{
    int line = 1;
    for (int at = 1; *text && at < position; text++) {
        at += (text[1] & 0xC0) != 0x80;
        line += *text == '\n';
    }
    return line;
}

static enum error_class run_text(struct session *session, const struct migration *migration, struct error *error)
{
    if (session_exec(session, migration->text, 0, NULL, NULL, error) == ERROR_NONE)
        return ERROR_NONE;
    int position = session_error_position(session);
    if (position > 0)
        return error_prefix(error, "%s:%d", migration->file, line_of(migration->text, position));
    return error_prefix(error, "%s", migration->file);
}

/* Looks again under the lock: another runner may have applied it since. */
static enum error_class apply_locked(struct session *session, const struct migration *migration, bool *applied,
                                     struct error *error)
{
    PGresult *versions;
    *applied = false;
    if (session_exec(session, sql_migrate_lock, 0, NULL, NULL, error)) {
        if (strcmp(error->code, "55P03") == 0)
            error_set(error, ERROR_RETRY, "MIGRATING", "another migration of this database is running");
        return error->class;
    }
    if (read_versions(session, &versions, error))
        return error->class;
    bool done = find_version(versions, migration->version) >= 0;
    PQclear(versions);
    if (done)
        return ERROR_NONE;
    *applied = true;
    return run_text(session, migration, error);
}

static enum error_class apply(struct session *session, const struct migration *migration, bool *applied,
                              struct error *error)
{
    enum error_class class = session_exec(session, "BEGIN", 0, NULL, NULL, error);
    if (!class)
        class = apply_locked(session, migration, applied, error);
    if (!class)
        class = session_commit(session, error);
    if (class)
        session_rollback(session);
    return class;
}

enum error_class migrate_up(struct session *session, void (*progress)(void *opaque, const struct migration *migration),
                            void *opaque, struct error *error)
{
    size_t count;
    const struct migration *all = migrations(&count);
    for (size_t i = 0; i < count; i++) {
        bool applied;
        assert(i == 0 || all[i].version > all[i - 1].version);
        if (apply(session, &all[i], &applied, error))
            return error->class;
        if (applied && progress)
            progress(opaque, &all[i]);
    }
    return ERROR_NONE;
}

enum error_class migrate_fail_missing(struct error *error)
{
    size_t count;
    error_set(error, ERROR_CONFIG, "SCHEMA_MISSING",
              "this database has no schema relay yet, %s is the first migration to apply", migrations(&count)->file);
    return error_hint(error, hint_apply);
}

static enum error_class check_versions(const PGresult *versions, struct error *error)
{
    size_t count;
    const struct migration *all = migrations(&count);
    for (size_t i = 0; i < count && all[i].version <= SCHEMA_OLDEST; i++) {
        if (find_version(versions, all[i].version) >= 0)
            continue;
        if (!versions)
            return migrate_fail_missing(error);
        error_set(error, ERROR_CONFIG, "SCHEMA_TOO_OLD", "migration %s was not applied to this database", all[i].file);
        return error_hint(error, hint_apply);
    }
    int32_t newest = newest_version(versions), carried = count ? all[count - 1].version : 0;
    if (newest <= carried + SCHEMA_AHEAD_MAX)
        return ERROR_NONE;
    error_set(error, ERROR_INTEGRITY, "SCHEMA_TOO_NEW",
              "schema relay of this database is at version %d, this boxrelay works with %d to %d", newest,
              SCHEMA_OLDEST, carried + SCHEMA_AHEAD_MAX);
    return error_hint(error, "install a newer boxrelay");
}

enum error_class migrate_check(struct session *session, struct error *error)
{
    PGresult *versions;
    if (read_versions(session, &versions, error))
        return error->class;
    enum error_class class = check_versions(versions, error);
    PQclear(versions);
    return class;
}
