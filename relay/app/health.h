/* Health pages in the dialects of MicroProfile, Spring and Kubernetes, and the status page. Pure but for memory.
 * Thread: any. */
#ifndef APP_HEALTH_H
#define APP_HEALTH_H

#include <stdbool.h>

#include "overview.h"

enum health_page { HEALTH_LIVE, HEALTH_READY, HEALTH_STARTED, HEALTH_ALL };

enum health_form {
    HEALTH_CONFIGURED,   /* by /health/format: one of the next two */
    HEALTH_MICROPROFILE, /* {"status": "UP", "checks": [{"name": ..., "status": ..., "data": {...}}]} */
    HEALTH_SPRING,       /* {"status": "UP", "components": {"postgres": {"status": ..., "details": {...}}}} */
    HEALTH_KUBERNETES,   /* "ok"; the checks as "[+]postgres ok" when one fails ... */
    HEALTH_VERBOSE,      /* ... or always */
};

/* The page, to be freed; *up: whether it is 200 or 503. */
char *health_render(const struct overview *overview, enum health_page page, enum health_form form, bool *up);

/* "postgres: <why>; schema: DOWN" from a page in either JSON form; "" when nothing in it is down. To be freed. */
char *health_explain(const char *body);

/* The relay and its streams as JSON, to be freed. */
char *health_render_status(const struct overview *overview);

#endif
