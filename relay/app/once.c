#include "once.h"

#include <inttypes.h>
#include <signal.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "outbox/service.h"
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

static void show_progress(struct outbox_service *service)
{
    struct outbox_stream_view *stream;
    struct text line;
    if (!isatty(STDERR_FILENO))
        return;
    stream = text_memory(1, sizeof *stream);
    text_init(&line, 200);
    for (size_t i = 0; outbox_service_stream(service, i, stream); i++) {
        text_addf(&line, "%s%s: %" PRIu64 " published", i ? ", " : "", stream->stream, stream->published_rows);
        if (stream->pending_rows > 0)
            text_addf(&line, ", %" PRId64 "%s to go", stream->pending_rows, stream->pending_is_bound ? "+" : "");
    }
    say_progress(line.bytes);
    text_fini(&line);
    free(stream);
}

/* After the time-out: what was not reached, and why. */
static void say_missing(struct outbox_service *service)
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

/* What no waiting mends: a schema that is missing or newer, a wrong password, another relay's database. */
static bool hopeless(struct outbox_service *service, struct error *error)
{
    struct outbox_service_view view;
    outbox_service_view(service, &view);
    *error = view.instance_error;
    return error->class == ERROR_CONFIG || error->class == ERROR_INTEGRITY;
}

static enum exit_code wait_drained(struct outbox_service *service, int64_t timeout_ms)
{
    int64_t deadline_ms = clock_monotonic_ms() + timeout_ms;
    struct error error;
    for (bool done = false;;) {
        if (outbox_service_drained(service, &done, &error) != ERROR_NONE || (!done && hopeless(service, &error))) {
            say_progress(NULL);
            return say_error(&error, "cannot publish what is there");
        }
        if (done || interrupted || clock_monotonic_ms() >= deadline_ms) {
            say_progress(NULL);
            if (done)
                return EXIT_OK;
            break;
        }
        show_progress(service);
        usleep(ONCE_LOOK_MS * 1000);
    }
    say_message(interrupted ? "interrupted before all was published"
                            : "not all was published in time; run it again, or give it more --timeout");
    say_missing(service);
    return EXIT_TRY_AGAIN;
}

static bool wait_stopped(struct outbox_service *service, int64_t timeout_ms)
{
    int64_t deadline_ms = clock_monotonic_ms() + timeout_ms;
    while (!outbox_service_stopped(service) && clock_monotonic_ms() < deadline_ms)
        usleep(ONCE_LOOK_MS * 100);
    return outbox_service_stopped(service);
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

enum exit_code once_run(const struct settings *settings, int64_t timeout_ms)
{
    struct outbox_service_options options;
    struct outbox_service *service = NULL;
    struct error error;
    settings_service(settings, &options);
    catch_signals();
    if (outbox_service_start(&options, &service, &error) != ERROR_NONE)
        return say_error(&error, "cannot start");
    enum exit_code code = wait_drained(service, timeout_ms);
    if (code == EXIT_OK)
        log_info("all published", LOG_INT("rows", count_published(service)));
    outbox_service_request_stop(service, code != EXIT_OK);
    if (!wait_stopped(service, ONCE_STOP_MS)) {
        outbox_service_request_stop(service, true);
        if (!wait_stopped(service, ONCE_ABANDON_MS)) {
            fflush(NULL);
            _exit((int)code); /* safe by design, as a crash is */
        }
    }
    outbox_service_free(&service);
    return code;
}
