#include "receiver.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/random.h"

static void show_state(struct receiver *receiver)
{
    receiver_view_state(&receiver->view, subscriber_state_name(receiver->subscriber.state),
                        receiver->subscriber.state == SUBSCRIBER_PAUSED, receiver->full);
}

static void let_go(struct receiver *receiver, struct subscriber_release release)
{
    struct error error;
    if (release.reading || release.consumer) {
        receiver_drop_fetch(receiver);
        receiver->source_count = 0;
        if (receiver->consumer && consumer_read(receiver->consumer, NULL, 0, &error))
            log_warn("reading does not stop", LOG_STR("stream", receiver->stream), LOG_OF_ERROR(&error));
    }
    /* While it waits for people it goes on telling why, by what may be left of the session. */
    if (release.session && receiver->subscriber.state == SUBSCRIBER_STOPPED)
        receiver->session_stale = true;
    else if (release.session)
        session_close(&receiver->session);
    if (release.consumer)
        consumer_close(&receiver->consumer);
}

static void log_failure(struct receiver *receiver, enum subscriber_state during)
{
    const struct error *error = &receiver->error;
    int64_t now_ms = clock_monotonic_ms(), wait_ms = receiver->subscriber.wait_until_ms - now_ms;
    enum log_level level = error->class >= ERROR_POISON ? LOG_ERROR : LOG_WARN;
    if (receiver->subscriber.attempt <= 1)
        receiver->said = (struct log_said){0};
    if (log_news(&receiver->said, error, during, now_ms) == LOG_NOTHING_NEW)
        level = LOG_DEBUG;
    log_write(level, error->text,
              (struct log_field[]){LOG_STR("stream", receiver->stream),
                                   LOG_STR("during", subscriber_state_name(during)),
                                   LOG_STR("state", subscriber_state_name(receiver->subscriber.state)),
                                   LOG_STR("error.class", error_class_name(error->class)),
                                   LOG_STR("error.code", error->code),
                                   LOG_INT("attempt", receiver->subscriber.attempt),
                                   LOG_INT("next_ms", wait_ms > 0 ? wait_ms : 0),
                                   LOG_STR("hint", error->hint[0] ? error->hint : NULL),
                                   {0}});
    if (level != LOG_DEBUG)
        receiver->said.unsaid = 0;
}

static void step(struct receiver *receiver, const struct subscriber_report *report)
{
    enum subscriber_state before = receiver->subscriber.state;
    let_go(receiver, subscriber_step(&receiver->subscriber, report));
    if (report->event == SUBSCRIBER_FAILED)
        receiver->failed_during = before;
    /* A batch that failed shows only by being stored that it is well. */
    if (before == SUBSCRIBER_ASSIGN && report->event == SUBSCRIBER_DONE &&
        receiver->failed_during != SUBSCRIBER_STORE && !receiver->kafka_code[0])
        receiver_view_mended(&receiver->view);
    if (report->event == SUBSCRIBER_FAILED && strcmp(receiver->error.code, "STOPPING") != 0) {
        receiver_view_error(&receiver->view, &receiver->error);
        log_failure(receiver, before);
    }
    show_state(receiver);
    if (report->event == SUBSCRIBER_FAILED)
        receiver_tell_state(receiver);
}

static enum error_class act(struct receiver *receiver, struct subscriber_report *report)
{
    bool paused = false;
    enum error_class class = ERROR_NONE;
    report->event = SUBSCRIBER_DONE;
    switch (receiver->subscriber.state) {
    case SUBSCRIBER_CONNECT:
        class = receiver_connect(receiver, &paused);
        break;
    case SUBSCRIBER_JOIN:
        return receiver_join(receiver);
    case SUBSCRIBER_START:
        return receiver_first(receiver);
    case SUBSCRIBER_ASSIGN:
        return receiver_assign(receiver);
    case SUBSCRIBER_FETCH:
        return receiver_fetch(receiver, &report->event);
    case SUBSCRIBER_STORE:
        class = receiver_store(receiver, &paused);
        break;
    default:
        assert(!"a state that only waits has no action");
    }
    if (paused)
        report->event = SUBSCRIBER_IS_PAUSED;
    return class;
}

static void work(struct receiver *receiver)
{
    struct subscriber_report report = {.random = random_bits()};
    receiver->consumer_dead = receiver->missing = false;
    enum error_class class = act(receiver, &report);
    if (class) {
        report.event = SUBSCRIBER_FAILED;
        report.error_class = class;
        report.consumer_dead = receiver->consumer_dead;
        report.missing = receiver->missing;
    }
    report.now_ms = clock_monotonic_ms();
    step(receiver, &report);
}

/* Nothing is read, so no message can come; the membership is served. */
static bool serve_membership(struct receiver *receiver, int timeout_ms)
{
    struct error ignored;
    if (!receiver->consumer) {
        usleep((useconds_t)timeout_ms * 1000);
        return false;
    }
    bool up = consumer_poll(receiver->consumer, timeout_ms, 1, 1, &receiver->fetch, &ignored) == ERROR_NONE;
    bool rebalanced = receiver->fetch.rebalanced;
    receiver_view_kafka(&receiver->view, up);
    fetch_empty(&receiver->fetch);
    return rebalanced;
}

static void wait_once(struct receiver *receiver)
{
    int64_t left = receiver->subscriber.wait_until_ms - clock_monotonic_ms();
    bool rebalanced = serve_membership(receiver, left > RECEIVER_POLL_MS ? RECEIVER_POLL_MS : left > 0 ? (int)left : 0);
    struct subscriber_report report = {.random = random_bits(), .now_ms = clock_monotonic_ms()};
    show_state(receiver);
    if (report.now_ms - receiver->reported_ms >= RECEIVER_STATE_MS)
        receiver_tell_state(receiver);
    if (rebalanced)
        report.event = SUBSCRIBER_REBALANCED;
    else if (report.now_ms >= receiver->subscriber.wait_until_ms)
        report.event = SUBSCRIBER_WAITED;
    else
        return;
    step(receiver, &report);
}

static void take_commands(struct receiver *receiver)
{
    int64_t now_ms = clock_monotonic_ms();
    if (atomic_exchange(&receiver->wake, false))
        let_go(receiver, subscriber_command(&receiver->subscriber, SUBSCRIBER_WAKE, now_ms));
    if (atomic_load(&receiver->stop) && !receiver->subscriber.stopping)
        let_go(receiver, subscriber_command(&receiver->subscriber, SUBSCRIBER_STOP, now_ms));
}

static void *run(void *opaque)
{
    struct receiver *receiver = opaque;
    assert(receiver->magic == RECEIVER_MAGIC);
    while (receiver->subscriber.state != SUBSCRIBER_ENDED) {
        take_commands(receiver);
        if (receiver->subscriber.state == SUBSCRIBER_ENDED)
            break;
        if (subscriber_waits(receiver->subscriber.state))
            wait_once(receiver);
        else
            work(receiver);
    }
    let_go(receiver, (struct subscriber_release){.reading = true, .session = true, .consumer = true});
    receiver->ended = true;
    return NULL;
}

static void make_names(struct receiver *receiver)
{
    char host[64] = "?";
    gethostname(host, sizeof host - 1);
    snprintf(receiver->owner, sizeof receiver->owner, "%s/%d", host, (int)getpid());
    snprintf(receiver->stream, sizeof receiver->stream, "inbox/%s", receiver->options.name);
    snprintf(receiver->group_id, sizeof receiver->group_id, "boxrelay.%s.inbox-%s", receiver->service->name,
             receiver->options.name);
    snprintf(receiver->application_name, sizeof receiver->application_name, "boxrelay/%s/%s", receiver->service->name,
             receiver->stream);
}

static void release(struct receiver *receiver)
{
    store_writer_free(&receiver->writer);
    fetch_free(&receiver->fetch);
    free(receiver->sources);
    free(receiver->intakes);
    free(receiver->drain_ends);
    subscriptions_drop(&receiver->subscriptions);
    receiver_view_fini(&receiver->view);
    receiver->magic = 0;
    free(receiver);
}

enum error_class receiver_start(struct subscriptions *subscriptions, const struct inbox_stream_options *options,
                                struct receiver *before, struct receiver **out, struct error *error)
{
    struct receiver *receiver = *out = calloc(1, sizeof *receiver);
    if (!receiver)
        return error_set(error, ERROR_RETRY, "NO_MEMORY", "no memory for a receiver");
    receiver->magic = RECEIVER_MAGIC;
    receiver->subscriptions = subscriptions_share(subscriptions);
    receiver->service = &subscriptions->options;
    receiver->options = *options;
    make_names(receiver);
    subscriber_init(&receiver->subscriber);
    receiver_view_init(&receiver->view, receiver->stream);
    if (before)
        receiver_view_carry_on(&receiver->view, &before->view);
    show_state(receiver);
    if (pthread_create(&receiver->thread, NULL, run, receiver) == 0)
        return ERROR_NONE;
    release(receiver);
    *out = NULL;
    return error_set(error, ERROR_RETRY, "NO_THREAD", "no thread for inbox %s", options->name);
}

void receiver_request_stop(struct receiver *receiver, bool now)
{
    receiver->session_stop.level = now ? SESSION_STOP_NOW : SESSION_STOP_DRAIN;
    receiver->stop = true;
}

void receiver_wake(struct receiver *receiver) { receiver->wake = true; }

void receiver_free(struct receiver **receiver)
{
    if (!*receiver)
        return;
    pthread_join((*receiver)->thread, NULL);
    release(*receiver);
    *receiver = NULL;
}
