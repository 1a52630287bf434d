/* libpq's connection strings, looked at without connecting. Thread: any. */
#ifndef PG_CONNINFO_H
#define PG_CONNINFO_H

#include "base/error.h"

/* ERROR_CONFIG when libpq could not parse it; the text never repeats what may be a password. */
MUST_CHECK enum error_class conninfo_check(const char *conninfo, struct error *error);

/*
 * The string as keywords and values, also of a URI, with what libpq takes for secret hidden; "" when it cannot be
 * parsed. To be freed.
 */
char *conninfo_show(const char *conninfo);

#endif
