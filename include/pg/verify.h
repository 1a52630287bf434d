/*
 * Compares the objects of schema relay with what its version should have, as sql/objects/ lists it. Only catalogues
 * are read, so a standby and a user with few rights will do. Thread: any, one session at a time.
 */
#ifndef PG_VERIFY_H
#define PG_VERIFY_H

#include <stddef.h>
#include <stdint.h>

#include "base/error.h"
#include "pg/session.h"

enum { VERIFY_MEND_BYTES = 2048 };

enum verify_difference { VERIFY_SAME, VERIFY_MISSING, VERIFY_CHANGED, VERIFY_UNEXPECTED };

/* One object; texts are valid during the call that hands it out. */
struct verify_object {
    const char *kind;   /* "index" */
    const char *place;  /* the table it belongs to; "" for none */
    const char *name;   /* as SQL writes it */
    const char *wanted; /* NULL: there should be none */
    const char *found;  /* NULL: there is none */
    enum verify_difference difference;
    char mend[VERIFY_MEND_BYTES]; /* SQL that ends with a semicolon, or a sentence; "" when it is the same */
};

/*
 * Calls visit(opaque, object) for each object. `version` is that of the database. CONFIG, SCHEMA_MISSING or
 * SCHEMA_TOO_OLD: no list for it; INTEGRITY, SCHEMA_TOO_NEW: a newer binary has the list.
 */
MUST_CHECK enum error_class verify_schema(struct session *session, int32_t *version,
                                          void (*visit)(void *opaque, const struct verify_object *object), void *opaque,
                                          struct error *error);

/* "missing" */
const char *verify_difference_name(enum verify_difference difference);

#endif
