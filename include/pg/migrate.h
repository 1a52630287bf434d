/*
 * Migrations of schema relay: numbered files embedded by the build. Thread: any, one session at a time.
 */
#ifndef PG_MIGRATE_H
#define PG_MIGRATE_H

#include <stddef.h>
#include <stdint.h>

#include "base/error.h"
#include "pg/session.h"

struct migration {
    int32_t version;
    const char *name; /* "outbox" of 0002_outbox.sql */
    const char *file; /* "0002_outbox.sql" */
    const char *text;
    const char *objects; /* what the schema has after it, from sql/objects/; NULL: not listed */
};

/* The embedded ones, by rising version. */
const struct migration *migrations(size_t *count);

/* sql/grants.sql, embedded: roles and least rights. */
const char *migration_grants(void);

/* The highest version in relay.schema_version; 0: the schema is not there. */
MUST_CHECK enum error_class migrate_version(struct session *session, int32_t *version, struct error *error);

struct migration_applied {
    int32_t version; /* 0: not applied */
    char applied_at[40];
};

/* `applied` has as many elements as there are migrations. */
MUST_CHECK enum error_class migrate_status(struct session *session, struct migration_applied *applied,
                                           struct error *error);

/*
 * Applies what is missing, each in its own transaction, all under one advisory lock so that two runners cannot
 * collide; progress(opaque, migration) is called after each. The session needs the rights of an owner.
 */
MUST_CHECK enum error_class migrate_up(struct session *session,
                                       void (*progress)(void *opaque, const struct migration *migration), void *opaque,
                                       struct error *error);

/* ERROR_NONE when this binary can work with the schema; CONFIG with the missing migration, INTEGRITY when newer. */
MUST_CHECK enum error_class migrate_check(struct session *session, struct error *error);

/* CONFIG, SCHEMA_MISSING: there is no schema at all. */
enum error_class migrate_fail_missing(struct error *error);

#endif
