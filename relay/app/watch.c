#include "watch.h"

#include <assert.h>
#include <stdio.h>
#include <string.h>

#include "base/log.h"
#include "core/publisher.h"
#include "core/subscriber.h"

static const enum watch_phase publisher_phases[PUBLISHER_STATES] = {
    [PUBLISHER_IDLE] = WATCH_STANDBY,     [PUBLISHER_CONNECT] = WATCH_STARTING,  [PUBLISHER_OPEN] = WATCH_STARTING,
    [PUBLISHER_BARRIER] = WATCH_STARTING, [PUBLISHER_READBACK] = WATCH_STARTING, [PUBLISHER_FIRST] = WATCH_STARTING,
    [PUBLISHER_KNOW] = WATCH_RUNNING,     [PUBLISHER_POLL] = WATCH_RUNNING,      [PUBLISHER_READ] = WATCH_RUNNING,
    [PUBLISHER_TICK] = WATCH_RUNNING,     [PUBLISHER_COMMIT] = WATCH_RUNNING,    [PUBLISHER_HELD] = WATCH_STANDBY,
    [PUBLISHER_BACKOFF] = WATCH_FAILING,  [PUBLISHER_STOPPED] = WATCH_FAILING,   [PUBLISHER_PAUSED] = WATCH_PAUSED,
    [PUBLISHER_ENDED] = WATCH_ENDED,
};

static const enum watch_phase subscriber_phases[SUBSCRIBER_STATES] = {
    [SUBSCRIBER_CONNECT] = WATCH_STARTING, [SUBSCRIBER_JOIN] = WATCH_STARTING,   [SUBSCRIBER_START] = WATCH_STARTING,
    [SUBSCRIBER_ASSIGN] = WATCH_STARTING,  [SUBSCRIBER_FETCH] = WATCH_RUNNING,   [SUBSCRIBER_STORE] = WATCH_RUNNING,
    [SUBSCRIBER_BACKOFF] = WATCH_FAILING,  [SUBSCRIBER_STOPPED] = WATCH_FAILING, [SUBSCRIBER_PAUSED] = WATCH_PAUSED,
    [SUBSCRIBER_ENDED] = WATCH_ENDED,
};

enum watch_phase watch_phase_of_outbox(const char *state)
{
    for (int i = 0; i < PUBLISHER_STATES; i++)
        if (strcmp(state, publisher_state_name((enum publisher_state)i)) == 0)
            return publisher_phases[i];
    return WATCH_NEW;
}

enum watch_phase watch_phase_of_inbox(const struct inbox_stream_view *view)
{
    enum watch_phase phase = WATCH_NEW;
    for (int i = 0; i < SUBSCRIBER_STATES; i++)
        if (strcmp(view->state, subscriber_state_name((enum subscriber_state)i)) == 0)
            phase = subscriber_phases[i];
    return phase == WATCH_RUNNING && view->partition_count == 0 ? WATCH_STANDBY : phase;
}

bool watch_is_news(enum watch_phase from, enum watch_phase to)
{
    if (to == WATCH_NEW || to == WATCH_FAILING || to == from)
        return false;
    return !(from == WATCH_FAILING && to == WATCH_STARTING);
}

void watch_service(struct watch *watch, const struct outbox_service_view *view)
{
    if (view->postgres_up && !watch->postgres_reached && view->schema_version > 0)
        log_info("PostgreSQL answers", LOG_INT("schema", view->schema_version));
    else if (view->postgres_up && !watch->postgres_reached)
        log_info("PostgreSQL answers");
    if (view->kafka_up && !watch->kafka_reached)
        log_info("Kafka answers");
    watch->postgres_reached |= view->postgres_up;
    watch->kafka_reached |= view->kafka_up;
}

static const char *const outbox_texts[] = {
    [WATCH_STANDBY] = "standing by: another instance leads the stream, or none does yet",
    [WATCH_STARTING] = "taking the stream over",
    [WATCH_RUNNING] = "publishing the stream",
    [WATCH_PAUSED] = "the stream is paused by an operator; boxrelay resume lets it go on",
    [WATCH_ENDED] = "the stream ended",
};

static const char *const inbox_texts[] = {
    [WATCH_STANDBY] = "standing by: other instances read all partitions of the inbox's topics, or there are none",
    [WATCH_STARTING] = "joining the readers of the inbox's topics",
    [WATCH_RUNNING] = "storing messages in the inbox",
    [WATCH_PAUSED] = "the stream is paused by an operator; boxrelay resume lets it go on",
    [WATCH_ENDED] = "the stream ended",
};

/* What is compared with what was seen before. */
struct seen {
    const char *stream, *state;
    enum watch_phase phase;
    const char *const *texts;
};

static void look(struct watched *watched, const struct seen *now)
{
    if (strcmp(watched->stream, now->stream) != 0) {
        snprintf(watched->stream, sizeof watched->stream, "%s", now->stream);
        watched->phase = WATCH_NEW;
    }
    bool news = watch_is_news(watched->phase, now->phase);
    if (news)
        log_info(now->texts[now->phase], LOG_STR("stream", now->stream), LOG_STR("state", now->state));
    if (now->phase == WATCH_FAILING || news)
        watched->phase = now->phase;
}

void watch_outbox(struct watch *watch, size_t index, const struct outbox_stream_view *view)
{
    assert(index < OUTBOX_STREAMS_MAX);
    look(&watch->outboxes[index],
         &(struct seen){view->stream, view->state, watch_phase_of_outbox(view->state), outbox_texts});
}

void watch_inbox(struct watch *watch, size_t index, const struct inbox_stream_view *view)
{
    assert(index < INBOX_STREAMS_MAX);
    look(&watch->inboxes[index], &(struct seen){view->stream, view->state, watch_phase_of_inbox(view), inbox_texts});
}
