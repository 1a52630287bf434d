#include "daemon.h"

#include <assert.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "daemon_internal.h"
#include "health.h"
#include "kafka/client.h"
#include "notify.h"
#include "summary.h"
#include "text.h"

static void take_overview(struct daemon *daemon, struct overview *overview)
{
    overview->name = daemon->name;
    overview->version = BOXRELAY_VERSION;
    overview->library_version = kafka_library_version();
    overview->started = atomic_load(&daemon->started);
    overview->stopping = atomic_load(&daemon->stopping);
    overview->reload_success = atomic_load(&daemon->reload_success);
    overview->beat_ms = atomic_load(&daemon->beat_ms);
    overview->ready_requires_kafka = atomic_load(&daemon->ready_requires_kafka);
    overview->health_spring = atomic_load(&daemon->health_spring);
    if (overview->started)
        overview_take(overview, &daemon->services);
    overview->now_ms = clock_monotonic_ms();
}

void daemon_overview(void *opaque, struct overview *overview)
{
    struct daemon *daemon = opaque;
    take_overview(daemon, overview);
    overview->process.start_seconds = daemon->start_seconds;
    overview->certificate_count = certificate_files(daemon->settings, overview->certificates);
    overview_take_process(overview);
}

static void on_beat(uv_timer_t *timer)
{
    struct daemon *daemon = timer->data;
    atomic_store(&daemon->beat_ms, clock_monotonic_ms());
}

/* The service manager hears that we live only while everything that has work makes progress. */
static void on_watchdog(uv_timer_t *timer)
{
    struct daemon *daemon = timer->data;
    if (daemon->live)
        notify_send("WATCHDOG=1");
}

static void tell_summary(struct daemon *daemon, const struct overview *overview)
{
    char line[SUMMARY_MAX], state[SUMMARY_MAX + 8];
    summary_write(overview, line);
    if (overview->stopping || strcmp(line, daemon->summary) == 0)
        return;
    memcpy(daemon->summary, line, sizeof line);
    snprintf(state, sizeof state, "STATUS=%s", line);
    notify_send(state);
}

static void look_at_life(struct daemon *daemon, const struct overview *overview)
{
    struct error error = {.class = ERROR_NONE};
    bool up;
    if (overview->now_ms < daemon->life_at_ms)
        return;
    daemon->life_at_ms = overview->now_ms + DAEMON_BEAT_MS;
    char *body = health_render(overview, HEALTH_LIVE, HEALTH_MICROPROFILE, &up);
    if (!up) {
        char *why = health_explain(body);
        error_set(&error, ERROR_RETRY, "NOT_LIVE", "not live: %s", why);
        error_hint(&error, "a call has not returned for very long; a service manager with a watchdog or a liveness "
                           "probe restarts the process, which is safe");
        free(why);
    }
    free(body);
    daemon->live = up;
    log_change(&daemon->life_said, LOG_ERROR, &error, "live again", overview->now_ms);
}

static void on_look(uv_timer_t *timer)
{
    struct daemon *daemon = timer->data;
    struct overview *overview = text_memory(1, sizeof *overview);
    take_overview(daemon, overview);
    watch_service(&daemon->watch, &overview->service);
    for (size_t i = 0; i < overview->stream_count; i++)
        watch_outbox(&daemon->watch, i, &overview->streams[i]);
    for (size_t i = 0; i < overview->inbox_count; i++)
        watch_inbox(&daemon->watch, i, &overview->inboxes[i]);
    tell_summary(daemon, overview);
    look_at_life(daemon, overview);
    overview_fini(overview);
    free(overview);
}

/* The one place where the stage changes. */
static void set_stage(struct daemon *daemon, enum daemon_stage stage)
{
    int64_t now = clock_monotonic_ms();
    assert(stage > daemon->stage);
    daemon->stage = stage;
    switch (stage) {
    case DAEMON_DRAINING:
        atomic_store(&daemon->stopping, true);
        notify_send("STOPPING=1\nSTATUS=finishing the batches in flight");
        log_info("stopping: finishing the batches in flight; another signal stops at once",
                 LOG_STR("signal", daemon->stop_signal));
        services_request_stop(&daemon->services, false);
        daemon->deadline_ms = now + DAEMON_DRAIN_MS;
        return;
    case DAEMON_ABANDONING:
        log_warn("stopping at once: batches in flight are given up, and done again by whoever is next",
                 LOG_STR("signal", daemon->stop_signal));
        services_request_stop(&daemon->services, true);
        daemon->deadline_ms = now + DAEMON_ABANDON_MS;
        return;
    default:
        uv_stop(&daemon->loop);
    }
}

/* A crash is safe by design, so is an end in the middle of a Kafka call that has a minute to answer. */
static _Noreturn void end_hard(void)
{
    log_warn("stopped without waiting for a call that does not return; nothing is lost or doubled by it");
    _exit(EXIT_OK);
}

static void on_stop_look(uv_timer_t *timer)
{
    struct daemon *daemon = timer->data;
    if (services_stopped(&daemon->services))
        set_stage(daemon, DAEMON_ENDED);
    else if (clock_monotonic_ms() < daemon->deadline_ms)
        return;
    else if (daemon->stage == DAEMON_DRAINING) {
        daemon->stop_signal = NULL; /* by itself: the time is up */
        set_stage(daemon, DAEMON_ABANDONING);
    } else
        end_hard();
}

static void stop(struct daemon *daemon, const char *signal)
{
    daemon->stop_signal = signal;
    if (daemon->stage == DAEMON_RUNNING) {
        set_stage(daemon, DAEMON_DRAINING);
        uv_timer_start(&daemon->stop_look, on_stop_look, DAEMON_STOP_LOOK_MS, DAEMON_STOP_LOOK_MS);
    } else if (daemon->stage == DAEMON_DRAINING) {
        set_stage(daemon, DAEMON_ABANDONING);
    }
}

static void on_signal(uv_signal_t *handle, int signal)
{
    struct daemon *daemon = handle->data;
    switch (signal) {
    case SIGTERM:
        stop(daemon, "SIGTERM");
        return;
    case SIGINT:
        stop(daemon, "SIGINT");
        return;
    case SIGHUP:
        daemon_reload(daemon);
        return;
    default:
        daemon_pause_all(daemon, signal == SIGUSR1);
    }
}

static void loop_init(struct daemon *daemon)
{
    static const int numbers[DAEMON_SIGNALS] = {SIGTERM, SIGINT, SIGHUP, SIGUSR1, SIGUSR2};
    uv_timer_t *const timers[] = {&daemon->beat, &daemon->look, &daemon->stop_look, &daemon->watchdog};
    uint64_t watchdog_ms = (uint64_t)notify_watchdog_ms();
    int failed = uv_loop_init(&daemon->loop);
    for (size_t i = 0; !failed && i < DAEMON_SIGNALS; i++) {
        failed = uv_signal_init(&daemon->loop, &daemon->signals[i]) ||
                 uv_signal_start(&daemon->signals[i], on_signal, numbers[i]);
        daemon->signals[i].data = daemon;
    }
    for (size_t i = 0; !failed && i < COUNT_OF(timers); i++) {
        failed = uv_timer_init(&daemon->loop, timers[i]);
        timers[i]->data = daemon;
    }
    if (failed) { /* no file descriptor or memory is left at the very start */
        log_error("the main loop cannot start", LOG_STR("error", uv_strerror(failed)));
        exit(EXIT_FAILED);
    }
    signal(SIGPIPE, SIG_IGN);
    uv_timer_start(&daemon->beat, on_beat, 0, DAEMON_BEAT_MS);
    uv_timer_start(&daemon->look, on_look, DAEMON_WATCH_MS, DAEMON_WATCH_MS);
    if (watchdog_ms)
        uv_timer_start(&daemon->watchdog, on_watchdog, 0, watchdog_ms);
}

static void close_handle(uv_handle_t *handle, void *opaque)
{
    (void)opaque;
    if (!uv_is_closing(handle))
        uv_close(handle, NULL);
}

/* Waits for a pause or resume that is being written: its session sees the stop. */
static void loop_fini(struct daemon *daemon)
{
    daemon->operation_stop.level = SESSION_STOP_NOW;
    uv_walk(&daemon->loop, close_handle, NULL);
    uv_run(&daemon->loop, UV_RUN_DEFAULT);
    int busy = uv_loop_close(&daemon->loop);
    assert(busy == 0);
}

static const char *purpose(const struct settings *settings)
{
    if (settings->inbox_count == 0)
        return "boxrelay starts: publishes every outbox that is registered in the database";
    return settings->outbox_on ? "boxrelay starts: publishes every outbox that is registered in the database, and "
                                 "feeds the inboxes that are configured"
                               : "boxrelay starts: feeds the inboxes that are configured";
}

/* One line: what this process is going to do. */
static void log_start(const struct daemon *daemon, const char *address)
{
    const struct settings *settings = daemon->settings;
    struct text outboxes, inboxes;
    text_init(&outboxes, 2048);
    text_init(&inboxes, 2048);
    for (size_t i = 0; i < settings->outbox_count; i++)
        text_addf(&outboxes, "%s%s", i ? "," : "", settings->outboxes[i].name);
    for (size_t i = 0; i < settings->inbox_count; i++)
        text_addf(&inboxes, "%s%s", i ? "," : "", settings->inboxes[i].name);
    log_info(purpose(settings), LOG_STR("name", settings->name), LOG_STR("version", BOXRELAY_VERSION),
             LOG_STR("librdkafka", kafka_library_version()), LOG_STR("kafka", settings_bootstrap(settings)),
             LOG_STR("positions", settings->positions_topic), LOG_STR("http", address),
             LOG_STR("outboxes_with_options", outboxes.bytes), LOG_STR("inboxes", inboxes.bytes),
             LOG_STR("config", daemon->source->file ? daemon->source->file : "environment"));
    text_fini(&outboxes);
    text_fini(&inboxes);
}

void daemon_take_settings(struct daemon *daemon, struct settings *settings)
{
    struct settings *old = daemon->settings;
    daemon->settings = settings_share(settings);
    atomic_store(&daemon->ready_requires_kafka, settings->ready_requires_kafka);
    atomic_store(&daemon->health_spring, settings->health_spring);
    settings_free(&old);
}

enum error_class daemon_listen(struct daemon *daemon, const struct settings *settings, char address[128],
                               struct error *error)
{
    snprintf(address, 128, "off");
    if (strcmp(settings->http_listen, "off") == 0)
        return ERROR_NONE;
    struct http_options options = {.listen = settings->http_listen, .take = daemon_overview, .opaque = daemon};
    return http_open(&options, address, &daemon->http, error);
}

static enum exit_code refuse_start(struct daemon *daemon, const struct error *error)
{
    log_error("boxrelay cannot start", LOG_OF_ERROR(error));
    http_close(&daemon->http);
    loop_fini(daemon);
    return EXIT_FAILED;
}

enum exit_code daemon_run(struct settings *settings, const struct settings_source *source)
{
    char address[128];
    struct error error;
    struct daemon *daemon = text_memory(1, sizeof *daemon);
    daemon_take_settings(daemon, settings);
    snprintf(daemon->name, sizeof daemon->name, "%s", settings->name);
    daemon->source = source;
    daemon->start_seconds = (double)clock_unix_ms() / 1000;
    daemon->live = true;
    atomic_store(&daemon->beat_ms, clock_monotonic_ms());
    atomic_store(&daemon->reload_success, true);
    enum exit_code code = EXIT_OK;
    loop_init(daemon);
    /* The port first: a second copy of the same relay must not get as far as Kafka. */
    if (daemon_listen(daemon, settings, address, &error) != ERROR_NONE) {
        code = refuse_start(daemon, &error);
        goto out;
    }
    log_start(daemon, address);
    if (services_start(&daemon->services, settings, &error) != ERROR_NONE) {
        code = refuse_start(daemon, &error);
        goto out;
    }
    atomic_store(&daemon->started, true);
    notify_send("READY=1\nSTATUS=starting");
    uv_run(&daemon->loop, UV_RUN_DEFAULT);
    http_close(&daemon->http);
    loop_fini(daemon);
    services_free(&daemon->services);
    log_info("boxrelay stopped");
out:
    settings_free(&daemon->settings);
    free(daemon);
    return code;
}
