/* A tiny HTTP client for `boxrelay health`: one GET to the relay's own port. Thread: any. */
#ifndef APP_PROBE_H
#define APP_PROBE_H

#include "base/error.h"

enum { PROBE_TIMEOUT_S = 5, PROBE_BYTES_MAX = 1 << 18 };

/* *status and the body, to be freed. RECONNECT when nobody answers at `listen` (names_listen's form). */
MUST_CHECK enum error_class probe_get(const char *listen, const char *path, int *status, char **body,
                                      struct error *error);

#endif
