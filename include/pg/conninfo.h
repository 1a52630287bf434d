/* libpq's connection strings, looked at without connecting. Thread: any. */
#ifndef PG_CONNINFO_H
#define PG_CONNINFO_H

#include <stdbool.h>
#include <stddef.h>

#include "base/error.h"

/* ERROR_CONFIG when libpq could not parse it; the text never repeats what may be a password. */
MUST_CHECK enum error_class conninfo_check(const char *conninfo, struct error *error);

/* The value of one key word ("sslcert"); false when it is not set, too long, or the string cannot be parsed. */
bool conninfo_value(const char *conninfo, const char *word, char *value, size_t size);

/*
 * The string as keywords and values, also of a URI, with what libpq takes for secret hidden; "" when it cannot be
 * parsed. To be freed.
 */
char *conninfo_show(const char *conninfo);

#endif
