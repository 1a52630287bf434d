#include <stdlib.h>

#include "base/log.h"
#include "daemon_internal.h"
#include "pg/catalog.h"
#include "text.h"

static void say_change(void *opaque, const char *path, bool live)
{
    size_t *restarts = opaque;
    if (live) {
        log_info("configuration changed and applied", LOG_STR("option", path));
        return;
    }
    ++*restarts;
    log_warn("configuration changed, applied by a restart only", LOG_STR("option", path));
}

static void log_problems(const struct problems *problems, enum log_level level)
{
    for (size_t i = 0; i < problems->count; i++) {
        const struct problem *problem = &problems->items[i];
        struct log_field fields[] = {
            LOG_STR("source", problem->source),
            LOG_INT("line", problem->line),
            LOG_INT("column", problem->column),
            LOG_STR("error", problem->text),
            {0},
        };
        log_write(level, "configuration", fields);
    }
}

static void apply(struct daemon *daemon, const struct settings *fresh)
{
    size_t restarts = 0;
    settings_compare(daemon->settings, fresh, say_change, &restarts);
    daemon->settings->log_level = fresh->log_level;
    log_init((enum log_format)daemon->settings->log_format, (enum log_level)fresh->log_level);
    log_info("configuration read again", LOG_INT("needing_restart", restarts));
}

void daemon_reload(struct daemon *daemon)
{
    struct problems problems = {0}, warnings = {0};
    struct settings *fresh;
    bool good = settings_load(daemon->source, &fresh, &problems, &warnings);
    log_problems(&warnings, LOG_WARN);
    log_problems(&problems, LOG_ERROR);
    if (good)
        apply(daemon, fresh);
    else
        log_error("configuration not applied: it has errors; the running one stays", LOG_INT("errors", problems.count));
    atomic_store(&daemon->reload_success, good);
    settings_free(&fresh);
    problems_fini(&problems);
    problems_fini(&warnings);
}

static enum error_class operate_all(struct daemon *daemon, struct session *session, struct catalog_stream *streams)
{
    struct error *error = &daemon->operation_error;
    size_t count;
    if (catalog_streams(session, streams, OUTBOX_STREAMS_MAX, &count, error) != ERROR_NONE)
        return error->class;
    for (size_t i = 0; i < count; i++) {
        enum error_class class = daemon->operation_pauses
                                     ? catalog_pause(session, streams[i].name, "SIGUSR1 to the relay", error)
                                     : catalog_resume(session, streams[i].name, error);
        if (class != ERROR_NONE)
            return class;
        daemon->operation_count++;
    }
    return ERROR_NONE;
}

/* In a thread of libuv's pool. */
static void operate(uv_work_t *work)
{
    struct daemon *daemon = work->data;
    struct session_options options = {
        .conninfo = daemon->settings->postgres,
        .application_name = "boxrelay/signal",
        .stop = &daemon->operation_stop,
    };
    struct session *session = NULL;
    struct catalog_stream *streams = text_memory(OUTBOX_STREAMS_MAX, sizeof *streams);
    daemon->operation_error = (struct error){0};
    daemon->operation_count = 0;
    enum error_class class = session_open(&options, &session, &daemon->operation_error);
    if (class == ERROR_NONE)
        class = operate_all(daemon, session, streams);
    daemon->operation_error.class = class;
    session_close(&session);
    free(streams);
}

static void operated(uv_work_t *work, int status)
{
    struct daemon *daemon = work->data;
    (void)status;
    daemon->operating = false;
    if (daemon->operation_error.class == ERROR_NONE)
        log_info(daemon->operation_pauses ? "all streams paused; SIGUSR2 or boxrelay resume lets them go on"
                                          : "all streams resumed",
                 LOG_INT("streams", daemon->operation_count));
    else
        log_error(daemon->operation_pauses ? "pausing all streams failed; send the signal again"
                                           : "resuming all streams failed; send the signal again",
                  LOG_OF_ERROR(&daemon->operation_error));
}

void daemon_pause_all(struct daemon *daemon, bool pause)
{
    if (daemon->operating) {
        log_warn("the signal before it is still being worked on; send it again later");
        return;
    }
    log_info(pause ? "pausing all streams, in the database" : "resuming all streams, in the database",
             LOG_STR("signal", pause ? "SIGUSR1" : "SIGUSR2"));
    daemon->operation_pauses = pause;
    daemon->operation.data = daemon;
    daemon->operating = uv_queue_work(&daemon->loop, &daemon->operation, operate, operated) == 0;
}
