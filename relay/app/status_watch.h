/*
 * `boxrelay status --watch`: redrawn in place on a terminal, else one status after the other. PostgreSQL may go away
 * and come back; what was read last stays on the screen. Ends by SIGINT or SIGTERM. Thread: main.
 */
#ifndef APP_STATUS_WATCH_H
#define APP_STATUS_WATCH_H

#include "command.h"

enum { STATUS_WATCH_MS = 1000, STATUS_WATCH_MS_MIN = 100 };

/* What no waiting mends (a wrong password, no schema) ends it when it comes first, and is shown when it comes later. */
enum exit_code status_watch(const struct invocation *invocation, int64_t interval_ms);

#endif
