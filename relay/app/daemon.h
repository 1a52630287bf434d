/*
 * `boxrelay run`: the main loop (libuv) with signals, timers and supervision; the services and the HTTP pages have
 * threads of their own. Thread: main.
 */
#ifndef APP_DAEMON_H
#define APP_DAEMON_H

#include "say.h"
#include "settings.h"

enum {
    DAEMON_BEAT_MS = 1000,
    DAEMON_WATCH_MS = 250,
    DAEMON_STOP_LOOK_MS = 20,
    DAEMON_DRAIN_MS = 7500,   /* TERM: for batches in flight; then they are abandoned ... */
    DAEMON_ABANDON_MS = 2000, /* ... and then the process ends whatever its threads do: within 10 s in all */
};

/* `source` is what `settings` were loaded from, for a reload. Returns when the daemon was asked to stop. */
enum exit_code daemon_run(struct settings *settings, const struct settings_source *source);

#endif
