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
    [PUBLISHER_BACKOFF] = WATCH_FAILING,  [PUBLISHER_STOPPED] = WATCH_FAILING,   [PUBLISHER_PAUSED] = WATCH_PAUSED,
    [PUBLISHER_ENDED] = WATCH_ENDED,
};

enum watch_phase watch_phase_of(const char *state)
{
    for (int i = 0; i < PUBLISHER_STATES; i++)
        if (strcmp(state, publisher_state_name((enum publisher_state)i)) == 0)
            return phases[i];
    return WATCH_NEW;
}

bool watch_is_news(enum watch_phase from, enum watch_phase to)
{
    if (to == WATCH_NEW || to == WATCH_FAILING || to == from)
        return false;
    return !(from == WATCH_FAILING && to == WATCH_STARTING);
}

void watch_service(struct watch *watch, const struct outbox_service_view *view)
{
    if (view->postgres_up && !watch->postgres_reached)
        log_info("PostgreSQL answers", LOG_INT("schema", view->schema_version));
    if (view->kafka_up && !watch->kafka_reached)
        log_info("Kafka answers");
    watch->postgres_reached |= view->postgres_up;
    watch->kafka_reached |= view->kafka_up;
}

static void log_phase(const struct outbox_stream_view *view, enum watch_phase phase)
{
    static const char *const texts[] = {
        [WATCH_STANDBY] = "standing by: another instance leads the stream, or none does yet",
        [WATCH_STARTING] = "taking the stream over",
        [WATCH_RUNNING] = "publishing the stream",
        [WATCH_PAUSED] = "the stream is paused by an operator; boxrelay resume lets it go on",
        [WATCH_ENDED] = "the stream ended",
    };
    log_info(texts[phase], LOG_STR("stream", view->stream), LOG_STR("state", view->state));
}

void watch_stream(struct watch *watch, size_t index, const struct outbox_stream_view *view)
{
    assert(index < OUTBOX_STREAMS_MAX);
    enum watch_phase *seen = &watch->streams[index].phase;
    if (strcmp(watch->streams[index].stream, view->stream) != 0) {
        snprintf(watch->streams[index].stream, OUTBOX_STREAM_NAME_MAX, "%s", view->stream);
        *seen = WATCH_NEW;
    }
    enum watch_phase phase = watch_phase_of(view->state);
    if (watch_is_news(*seen, phase))
        log_phase(view, phase);
    if (phase == WATCH_FAILING || watch_is_news(*seen, phase))
        *seen = phase;
}
