/* Health pages in MicroProfile's JSON form, and the status page. Pure but for memory. Thread: any. */
#ifndef APP_HEALTH_H
#define APP_HEALTH_H

#include <stdbool.h>

#include "overview.h"

enum health_page { HEALTH_LIVE, HEALTH_READY, HEALTH_STARTED, HEALTH_ALL };

/* {"status": "UP", "checks": [...]}, to be freed; *up: whether it is 200 or 503. */
char *health_render(const struct overview *overview, enum health_page page, bool *up);

/* The relay and its streams as JSON, to be freed. */
char *health_render_status(const struct overview *overview);

#endif
