/* The daemon's one struct, shared by its source files. */
#ifndef APP_DAEMON_INTERNAL_H
#define APP_DAEMON_INTERNAL_H

#include <stdatomic.h>
#include <stdint.h>
#include <uv.h>

#include "base/log.h"
#include "daemon.h"
#include "http.h"
#include "names.h"
#include "pg/session.h"
#include "services.h"
#include "summary.h"
#include "watch.h"

enum daemon_stage {
    DAEMON_RUNNING,
    DAEMON_DRAINING,   /* batches in flight are finished */
    DAEMON_ABANDONING, /* batches in flight are given up */
    DAEMON_ENDED,
};

enum { DAEMON_SIGNALS = 5 };

struct daemon {
    struct settings *settings; /* the running ones; a share of ours */
    const struct settings_source *source;
    uv_loop_t loop;
    uv_signal_t signals[DAEMON_SIGNALS];
    uv_timer_t beat, look, stop_look, watchdog;
    enum daemon_stage stage;
    const char *stop_signal; /* that brought the stage about; NULL: none */
    int64_t deadline_ms;     /* monotonic, of the present stage */
    double start_seconds;
    struct services services; /* the pointers in it are freed after HTTP has ended */
    struct http *http;
    struct watch watch;
    bool live;          /* at the last look at it */
    int64_t life_at_ms; /* when the next one is due */
    struct log_said life_said;
    char summary[SUMMARY_MAX]; /* as told to the service manager last */
    /* Read by the HTTP thread. */
    atomic_bool started, stopping, reload_success, ready_requires_kafka, health_spring;
    char name[NAMES_RELAY_MAX + 1];
    _Atomic int64_t beat_ms;
    /* Pausing and resuming all streams, in a thread of libuv's pool. */
    uv_work_t operation;
    bool operating, operation_pauses;
    struct settings *operation_settings;
    struct session_stop operation_stop;
    size_t operation_count;
    struct error operation_error;
};

/* The running settings from now on; takes a share. */
void daemon_take_settings(struct daemon *daemon, struct settings *settings);

/* Opens the HTTP port that the settings name; "off": opens none. */
enum error_class daemon_listen(struct daemon *daemon, const struct settings *settings, char address[128],
                               struct error *error);

/* SIGHUP: reads the configuration again and applies all of it, or nothing and says why. */
void daemon_reload(struct daemon *daemon);

/* SIGUSR1, SIGUSR2: pauses or resumes all streams, in the database. */
void daemon_pause_all(struct daemon *daemon, bool pause);

/* Fills an overview; called in the HTTP thread. */
void daemon_overview(void *opaque, struct overview *overview);

#endif
