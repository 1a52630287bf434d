#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "daemon_internal.h"
#include "notify.h"
#include "pg/catalog.h"
#include "pg/status.h"
#include "text.h"

/* What differs between the running configuration and a fresh one. */
struct comparison {
    const struct settings *running, *fresh;
    struct problems *problems; /* gets what a running relay cannot change */
    size_t changed;
    bool listen; /* the HTTP port's address */
    bool log;    /* each change is logged, instead of judged */
};

static void compare(void *opaque, const struct option *option, const char *path)
{
    struct comparison *comparison = opaque;
    const struct settings_origin *origin = settings_origin(comparison->fresh, path);
    if (!origin && !settings_origin(comparison->running, path))
        return; /* a default that is made from another option */
    comparison->changed++;
    comparison->listen = comparison->listen || strcmp(path, "/http/listen") == 0;
    if (comparison->log)
        log_info("configuration changed", LOG_STR("option", path),
                 LOG_STR("applied", option_reload_name(option->reload)));
    else if (option->reload == RELOAD_REFUSED)
        problems_add(comparison->problems,
                     (struct where){.source = origin ? origin->source : "default",
                                    .line = origin ? origin->line : 0,
                                    .column = origin ? origin->column : 0,
                                    .pointer = path},
                     "a running relay keeps its name and what it knows of its positions, else it would publish rows "
                     "again or leave them out; restart it to change this, or take the change back");
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

/* The new address is tried first: a reload that cannot have it changes nothing. */
static enum error_class listen_anew(struct daemon *daemon, const struct settings *fresh, struct error *error)
{
    char address[128];
    struct error ignored;
    http_close(&daemon->http);
    if (daemon_listen(daemon, fresh, address, error) == ERROR_NONE) {
        log_info("health, metrics and status moved", LOG_STR("http", address));
        return ERROR_NONE;
    }
    if (daemon_listen(daemon, daemon->settings, address, &ignored) != ERROR_NONE)
        log_error("the address before cannot be listened on again either: no health, metrics and status",
                  LOG_OF_ERROR(&ignored));
    return error->class;
}

/* All of it or nothing. */
static enum error_class apply(struct daemon *daemon, struct settings *fresh, struct comparison *comparison,
                              struct error *error)
{
    if (comparison->listen && listen_anew(daemon, fresh, error) != ERROR_NONE)
        return error->class;
    if (services_reconfigure(&daemon->services, daemon->settings, fresh, error) != ERROR_NONE)
        return error->class;
    log_init((enum log_format)fresh->log_format, (enum log_level)fresh->log_level);
    comparison->log = true;
    settings_compare(daemon->settings, fresh, compare, comparison);
    daemon_take_settings(daemon, fresh);
    return ERROR_NONE;
}

/* {} under /outbox is no value of an option. */
static void compare_outbox_on(const struct comparison *comparison)
{
    if (comparison->running->outbox_on == comparison->fresh->outbox_on)
        return;
    problems_add(comparison->problems, (struct where){.source = "configuration", .pointer = "/outbox"},
                 "a running relay cannot turn its outbox %s; restart it to change this, or take the change back",
                 comparison->fresh->outbox_on ? "on" : "off");
}

/* False: said in `problems`, or in the log. */
static bool take_fresh(struct daemon *daemon, struct settings *fresh, struct problems *problems)
{
    struct error error;
    struct comparison comparison = {.running = daemon->settings, .fresh = fresh, .problems = problems};
    settings_compare(daemon->settings, fresh, compare, &comparison);
    compare_outbox_on(&comparison);
    if (problems->count > 0)
        return false;
    size_t changed = comparison.changed;
    if (apply(daemon, fresh, &comparison, &error) != ERROR_NONE) {
        log_error("configuration not applied; the running one stays", LOG_OF_ERROR(&error));
        return false;
    }
    log_info("configuration read again", LOG_INT("changed", changed));
    return true;
}

void daemon_reload(struct daemon *daemon)
{
    struct problems problems = {0}, warnings = {0};
    struct settings *fresh = NULL;
    if (daemon->stage != DAEMON_RUNNING)
        return;
    notify_reloading();
    bool good = settings_load(daemon->source, &fresh, &problems, &warnings) && take_fresh(daemon, fresh, &problems);
    log_problems(&warnings, LOG_WARN);
    log_problems(&problems, LOG_ERROR);
    if (problems.count > 0)
        log_error("configuration not applied: it has errors; the running one stays",
                  LOG_INT("errors", problems.count + problems.left_out));
    atomic_store(&daemon->reload_success, good);
    settings_free(&fresh);
    problems_fini(&problems);
    problems_fini(&warnings);
    notify_send(good ? "READY=1\nSTATUS=running" : "READY=1\nSTATUS=running; the last reload was refused, see the log");
}

/* Outboxes and inboxes alike. */
static enum error_class operate_all(struct daemon *daemon, struct session *session)
{
    struct error *error = &daemon->operation_error;
    struct status_stream *streams;
    size_t count;
    enum error_class class = status_read(session, &streams, &count, error);
    for (size_t i = 0; class == ERROR_NONE && i < count; i++) {
        class = daemon->operation_pauses ? catalog_pause(session, streams[i].stream, "SIGUSR1 to the relay", error)
                                         : catalog_resume(session, streams[i].stream, error);
        daemon->operation_count += class == ERROR_NONE;
    }
    free(streams);
    return class;
}

/* In a thread of libuv's pool. */
static void operate(uv_work_t *work)
{
    struct daemon *daemon = work->data;
    struct session_options options = {
        .conninfo = daemon->operation_settings->postgres,
        .application_name = "boxrelay/signal",
        .stop = &daemon->operation_stop,
    };
    struct session *session = NULL;
    daemon->operation_error = (struct error){0};
    daemon->operation_count = 0;
    enum error_class class = session_open(&options, &session, &daemon->operation_error);
    if (class == ERROR_NONE)
        class = operate_all(daemon, session);
    daemon->operation_error.class = class;
    session_close(&session);
}

static void operated(uv_work_t *work, int status)
{
    struct daemon *daemon = work->data;
    (void)status;
    daemon->operating = false;
    settings_free(&daemon->operation_settings);
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
    daemon->operation_settings = settings_share(daemon->settings);
    daemon->operating = uv_queue_work(&daemon->loop, &daemon->operation, operate, operated) == 0;
    if (!daemon->operating)
        settings_free(&daemon->operation_settings);
}
