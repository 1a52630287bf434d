#include "once.h"

#include <inttypes.h>
#include <signal.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "services.h"
#include "text.h"

static volatile sig_atomic_t interrupted;

static void on_signal(int signal)
{
    (void)signal;
    interrupted = 1;
}

static void catch_signals(void)
{
    struct sigaction action = {.sa_handler = on_signal};
    sigaction(SIGTERM, &action, NULL);
    sigaction(SIGINT, &action, NULL);
    signal(SIGPIPE, SIG_IGN);
}

static void add_outboxes(struct text *line, struct outbox_service *service)
{
    struct outbox_stream_view *stream = text_memory(1, sizeof *stream);
    for (size_t i = 0; service && outbox_service_stream(service, i, stream); i++) {
        text_addf(line, "%s%s: %" PRIu64 " published", line->length ? ", " : "", stream->stream,
                  stream->published_rows);
        if (stream->pending_rows > 0)
            text_addf(line, ", %" PRId64 "%s to go", stream->pending_rows, stream->pending_is_bound ? "+" : "");
    }
    free(stream);
}

/* Records behind the stored offsets, as far as they are known. */
static int64_t lag_of(const struct inbox_stream_view *stream)
{
    int64_t records = 0;
    for (size_t i = 0; i < stream->partition_count; i++)
        records += stream->partitions[i].lag_records > 0 ? stream->partitions[i].lag_records : 0;
    return records;
}

static void add_inboxes(struct text *line, struct inbox_service *service)
{
    struct inbox_stream_view *stream = text_memory(1, sizeof *stream);
    for (size_t i = 0; service && inbox_service_stream(service, i, stream); i++) {
        int64_t lag = lag_of(stream);
        text_addf(line, "%s%s: %" PRIu64 " stored", line->length ? ", " : "", stream->stream, stream->stored_rows);
        if (lag > 0)
            text_addf(line, ", %" PRId64 " to go", lag);
    }
    free(stream);
}

static void show_progress(struct services *services)
{
    struct text line;
    if (!isatty(STDERR_FILENO))
        return;
    text_init(&line, 200);
    add_outboxes(&line, services->outbox);
    add_inboxes(&line, services->inbox);
    say_progress(line.bytes);
    text_fini(&line);
}

/* After the time-out: what was not reached, and why. */
static void say_missing_outboxes(struct outbox_service *service)
{
    struct outbox_service_view view;
    struct outbox_stream_view *stream = text_memory(1, sizeof *stream);
    outbox_service_view(service, &view);
    if (view.instance_error.class != ERROR_NONE)
        (void)say_error(&view.instance_error, "nothing could be published");
    for (size_t i = 0; outbox_service_stream(service, i, stream); i++) {
        char pending[64] = "an unknown number of rows";
        if (stream->pending_rows >= 0)
            snprintf(pending, sizeof pending, "%" PRId64 "%s", stream->pending_rows,
                     stream->pending_is_bound    ? " or more rows"
                     : stream->pending_rows == 1 ? " row"
                                                 : " rows");
        say_message("%s: %s to go, state %s%s", stream->stream, pending, stream->state,
                    stream->leader ? "" : " (another instance leads it, or nobody does yet)");
        if (stream->last_error.class != ERROR_NONE)
            (void)say_error(&stream->last_error, stream->stream);
    }
    free(stream);
}

static void say_missing_inboxes(struct inbox_service *service)
{
    struct inbox_stream_view *stream = text_memory(1, sizeof *stream);
    for (size_t i = 0; inbox_service_stream(service, i, stream); i++) {
        say_message("%s: %" PRId64 " records to go in the %zu partitions that this instance reads, state %s%s",
                    stream->stream, lag_of(stream), stream->partition_count, stream->state,
                    stream->full ? " (the inbox is full: business code has to take messages first)" : "");
        if (stream->last_error.class != ERROR_NONE)
            (void)say_error(&stream->last_error, stream->stream);
    }
    free(stream);
}

/* What no waiting mends: a schema that is missing or newer, a wrong password, another relay's database. */
static bool hopeless(struct outbox_service *service, struct error *error)
{
    struct outbox_service_view view;
    outbox_service_view(service, &view);
    *error = view.instance_error;
    return error->class == ERROR_CONFIG || error->class == ERROR_INTEGRITY;
}

/* Both are asked each time: what was there at the first question counts. */
static enum error_class drained(struct services *services, bool *done, const char **doing, struct error *error)
{
    bool published = true, stored = true;
    *doing = "cannot publish what is there";
    if (services->outbox) {
        if (outbox_service_drained(services->outbox, &published, error) != ERROR_NONE)
            return error->class;
        if (!published && hopeless(services->outbox, error))
            return error->class;
    }
    *doing = "cannot store what is there";
    if (services->inbox && inbox_service_drained(services->inbox, &stored, error) != ERROR_NONE)
        return error->class;
    *done = published && stored;
    return ERROR_NONE;
}

static enum exit_code give_up(struct services *services)
{
    const char *what = !services->inbox ? "published" : !services->outbox ? "stored" : "published and stored";
    if (interrupted)
        say_message("interrupted before all was %s", what);
    else
        say_message("not all was %s in time; run it again, or give it more --timeout", what);
    if (services->outbox)
        say_missing_outboxes(services->outbox);
    if (services->inbox)
        say_missing_inboxes(services->inbox);
    return EXIT_TRY_AGAIN;
}

static enum exit_code wait_drained(struct services *services, int64_t timeout_ms)
{
    int64_t deadline_ms = clock_monotonic_ms() + timeout_ms;
    const char *doing;
    struct error error;
    for (bool done = false;;) {
        if (drained(services, &done, &doing, &error) != ERROR_NONE) {
            say_progress(NULL);
            return say_error(&error, doing);
        }
        if (done || interrupted || clock_monotonic_ms() >= deadline_ms) {
            say_progress(NULL);
            return done ? EXIT_OK : give_up(services);
        }
        show_progress(services);
        usleep(ONCE_LOOK_MS * 1000);
    }
}

static bool wait_stopped(struct services *services, int64_t timeout_ms)
{
    int64_t deadline_ms = clock_monotonic_ms() + timeout_ms;
    while (!services_stopped(services) && clock_monotonic_ms() < deadline_ms)
        usleep(ONCE_LOOK_MS * 100);
    return services_stopped(services);
}

static uint64_t count_published(struct outbox_service *service)
{
    struct outbox_stream_view *stream = text_memory(1, sizeof *stream);
    uint64_t rows = 0;
    for (size_t i = 0; outbox_service_stream(service, i, stream); i++)
        rows += stream->published_rows;
    free(stream);
    return rows;
}

static uint64_t count_stored(struct inbox_service *service)
{
    struct inbox_stream_view *stream = text_memory(1, sizeof *stream);
    uint64_t rows = 0;
    for (size_t i = 0; inbox_service_stream(service, i, stream); i++)
        rows += stream->stored_rows;
    free(stream);
    return rows;
}

static void log_counts(struct services *services)
{
    if (services->outbox)
        log_info("all published", LOG_INT("rows", count_published(services->outbox)));
    if (services->inbox)
        log_info("all stored", LOG_INT("rows", count_stored(services->inbox)));
}

enum exit_code once_run(struct settings *settings, int64_t timeout_ms)
{
    struct services services = {NULL};
    struct error error;
    catch_signals();
    if (services_start(&services, settings, &error) != ERROR_NONE)
        return say_error(&error, "cannot start");
    enum exit_code code = wait_drained(&services, timeout_ms);
    if (code == EXIT_OK)
        log_counts(&services);
    services_request_stop(&services, code != EXIT_OK);
    if (!wait_stopped(&services, ONCE_STOP_MS)) {
        services_request_stop(&services, true);
        if (!wait_stopped(&services, ONCE_ABANDON_MS)) {
            fflush(NULL);
            _exit((int)code); /* safe by design, as a crash is */
        }
    }
    services_free(&services);
    return code;
}
