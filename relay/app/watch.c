#include "watch.h"

#include <assert.h>
#include <stdio.h>
#include <string.h>

#include "base/log.h"
#include "core/publisher.h"

static const enum watch_phase phases[PUBLISHER_STATES] = {
    [PUBLISHER_IDLE] = WATCH_STANDBY,     [PUBLISHER_CONNECT] = WATCH_STARTING,  [PUBLISHER_OPEN] = WATCH_STARTING,
    [PUBLISHER_BARRIER] = WATCH_STARTING, [PUBLISHER_READBACK] = WATCH_STARTING, [PUBLISHER_FIRST] = WATCH_STARTING,
    [PUBLISHER_KNOW] = WATCH_RUNNING,     [PUBLISHER_POLL] = WATCH_RUNNING,      [PUBLISHER_READ] = WATCH_RUNNING,
    [PUBLISHER_TICK] = WATCH_RUNNING,     [PUBLISHER_COMMIT] = WATCH_RUNNING,    [PUBLISHER_HELD] = WATCH_STANDBY,
    [PUBLISHER_BACKOFF] = WATCH_WAITING,  [PUBLISHER_STOPPED] = WATCH_STOPPED,   [PUBLISHER_PAUSED] = WATCH_PAUSED,
    [PUBLISHER_ENDED] = WATCH_ENDED,
};

enum watch_phase watch_phase_of(const struct outbox_stream_view *view)
{
    for (int state = 0; state < PUBLISHER_STATES; state++)
        if (strcmp(view->state, publisher_state_name((enum publisher_state)state)) == 0)
            return phases[state];
    return WATCH_NEW;
}

static void remember(char code[ERROR_CODE_MAX], const struct error *error)
{
    snprintf(code, ERROR_CODE_MAX, "%s", error->class == ERROR_NONE ? "" : error->code);
}

void watch_service(struct watch *watch, const struct outbox_service_view *view)
{
    const struct error *error = &view->instance_error;
    if (view->postgres_up != watch->postgres_up)
        log_info(view->postgres_up ? "PostgreSQL answers" : "PostgreSQL is away");
    if (view->kafka_up != watch->kafka_up)
        log_info(view->kafka_up ? "Kafka answers" : "Kafka is away");
    watch->postgres_up = view->postgres_up;
    watch->kafka_up = view->kafka_up;
    const char *code = error->class == ERROR_NONE ? "" : error->code;
    if (strcmp(code, watch->code) == 0)
        return;
    if (error->class == ERROR_INTEGRITY || error->class == ERROR_CONFIG)
        log_error("nothing can be published until this is mended", LOG_OF_ERROR(error));
    else if (error->class != ERROR_NONE)
        log_warn("nothing can be published for now; retrying", LOG_OF_ERROR(error));
    else
        log_info("the instance is well again");
    remember(watch->code, error);
}

static void log_stream(const struct outbox_stream_view *view, enum watch_phase phase)
{
    const struct error *error = &view->last_error;
    struct log_field stream = LOG_STR("stream", view->stream), state = LOG_STR("state", view->state);
    switch (phase) {
    case WATCH_STANDBY:
        log_info("another instance publishes the stream, or nobody does yet", stream, state);
        return;
    case WATCH_STARTING:
        log_info("taking the stream over", stream, state);
        return;
    case WATCH_RUNNING:
        log_info("publishing the stream", stream, state);
        return;
    case WATCH_WAITING:
        log_warn("the stream failed and is tried again", stream, state, LOG_OF_ERROR(error));
        return;
    case WATCH_STOPPED:
        log_error("the stream is stopped until this is mended", stream, state, LOG_OF_ERROR(error));
        return;
    case WATCH_PAUSED:
        log_warn("the stream is paused by an operator", stream, state);
        return;
    default:
        log_info("the stream ended", stream, state);
    }
}

/* A state read between two others (starting again after a wait) is no news: it is the next wait or success that is. */
static bool is_news(const struct watch_stream *seen, enum watch_phase phase, const struct error *error)
{
    bool failing = seen->phase == WATCH_WAITING || seen->phase == WATCH_STOPPED;
    if (phase == WATCH_NEW || (failing && phase == WATCH_STARTING))
        return false;
    if (phase == WATCH_WAITING || phase == WATCH_STOPPED)
        return phase != seen->phase || strcmp(seen->code, error->code) != 0;
    return phase != seen->phase;
}

void watch_stream(struct watch *watch, size_t index, const struct outbox_stream_view *view)
{
    assert(index < OUTBOX_STREAMS_MAX);
    struct watch_stream *seen = &watch->streams[index];
    if (index >= watch->count || strcmp(seen->stream, view->stream) != 0) {
        *seen = (struct watch_stream){.phase = WATCH_NEW};
        snprintf(seen->stream, sizeof seen->stream, "%s", view->stream);
        if (index >= watch->count)
            watch->count = index + 1;
    }
    enum watch_phase phase = watch_phase_of(view);
    if (!is_news(seen, phase, &view->last_error))
        return;
    log_stream(view, phase);
    seen->phase = phase;
    remember(seen->code, &view->last_error);
}
