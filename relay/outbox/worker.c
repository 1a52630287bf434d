#include "worker.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/fault.h"
#include "base/log.h"
#include "base/random.h"

/* The longest wait for a command at once: the worker shows that it lives at least so often. */
enum { WAIT_MS_MAX = 5000, SERVE_MS = 1000 };

static void show_state(struct worker *worker)
{
    const struct publisher *publisher = &worker->publisher;
    bool drained = publisher->state == PUBLISHER_POLL && worker->has_last_full;
    view_state(&worker->view, publisher_state_name(publisher->state), publisher->leading, publisher->paused, drained);
}

#ifdef BOXRELAY_FAULTS
/* Planted bug: a producer is used again after its transaction was aborted. */
static void keep_aborted(struct worker *worker)
{
    struct error ignored;
    if (!fault_planted("producer_reused_after_abort") || !worker->producer || !worker->transaction_open)
        return;
    if (producer_abort_for_planted_bug(worker->producer, &ignored))
        return;
    worker->planted_kept = worker->producer;
    worker->producer = NULL;
}
#endif

/* Does not wait for the next poll any more; `polls`: because it is about to make it. */
static void get_up(struct worker *worker, bool polls)
{
    last_poll_get_up(&worker->configuration->last_poll, &worker->sleeper, polls);
}

/* The producer goes before the batch whose bytes it borrows. That may take its time, so others poll first. */
static void let_go(struct worker *worker, struct publisher_release release)
{
    if (release.producer || release.session)
        get_up(worker, false);
    if (release.producer) {
#ifdef BOXRELAY_FAULTS
        keep_aborted(worker);
#endif
        producer_close(&worker->producer);
        worker->transaction_open = false;
        batch_free(&worker->batch);
    }
    if (release.session)
        session_close(&worker->session);
}

/* A failure that stays, perhaps for days, is said more and more rarely. */
static void log_failure(struct worker *worker, enum publisher_state during)
{
    const struct publisher *publisher = &worker->publisher;
    const struct error *error = &worker->error;
    const struct worker_row *row = worker->reason.seq >= 0 ? &worker->reason : NULL;
    int64_t now_ms = clock_monotonic_ms(), wait_ms = publisher->wait_until_ms - now_ms;
    if (publisher->attempt <= 1)
        worker->said = (struct log_said){0};
    enum log_level level = error->class >= ERROR_POISON ? LOG_ERROR : LOG_WARN;
    if (log_news(&worker->said, error, worker->reason.seq, now_ms) == LOG_NOTHING_NEW)
        level = LOG_DEBUG;
    log_write(level, error->text,
              (struct log_field[]){LOG_STR("stream", worker->stream.name),
                                   LOG_STR("during", publisher_state_name(during)),
                                   LOG_STR("state", publisher_state_name(publisher->state)),
                                   LOG_STR("topic", row ? row->topic : NULL),
                                   LOG_INT_IF("partition", row ? row->partition : 0, row && row->partition >= 0),
                                   LOG_STR("id", row ? row->id : NULL),
                                   LOG_INT_IF("seq", row ? row->seq : 0, row),
                                   LOG_STR("trace_id", row && row->trace_id[0] ? row->trace_id : NULL),
                                   LOG_STR("error.class", error_class_name(error->class)),
                                   LOG_STR("error.code", error->code),
                                   LOG_INT("attempt", publisher->attempt),
                                   LOG_INT_IF("repeated", worker->said.unsaid, worker->said.unsaid > 0),
                                   LOG_INT("next_ms", wait_ms > 0 ? wait_ms : 0),
                                   LOG_STR("hint", error->hint[0] ? error->hint : NULL),
                                   {0}});
    if (level != LOG_DEBUG)
        worker->said.unsaid = 0;
}

static void note_failure(struct worker *worker, enum publisher_state during, bool had_producer)
{
    view_error(&worker->view, &worker->error);
    if (had_producer && !worker->producer)
        view_recreated(&worker->view, worker->error.class, strcmp(worker->error.code, "END_TXN_REPEATED") == 0);
    log_failure(worker, during);
}

/* A stop that was tried again is judged afresh: an operator may have raised the limit that the row met. */
static void forget_refusal(struct worker *worker)
{
    if (worker->publisher.state == PUBLISHER_STOPPED)
        worker->refused_seq = -1;
}

static void obey(struct worker *worker, enum publisher_command command)
{
    if (command == PUBLISHER_WAKE || command == PUBLISHER_RESUME)
        forget_refusal(worker);
    /* A rebase's pause is over before anybody looks; without it a worker that waits would keep its old position. */
    if (command == PUBLISHER_RESUME)
        let_go(worker, publisher_command(&worker->publisher, PUBLISHER_PAUSE, clock_monotonic_ms()));
    let_go(worker, publisher_command(&worker->publisher, command, clock_monotonic_ms()));
    show_state(worker);
}

/* Waits for the state's time or a command; true when a command came. */
static bool wait_for_command(struct worker *worker)
{
    int64_t now_ms = clock_monotonic_ms();
    int64_t until_ms = worker->publisher.wait_until_ms;
    if (until_ms > now_ms + WAIT_MS_MAX || until_ms == 0)
        until_ms = now_ms + WAIT_MS_MAX;
    enum publisher_command command;
    if (!mailbox_take(&worker->mailbox, until_ms, &command))
        return false;
    obey(worker, command);
    return true;
}

static void take_commands(struct worker *worker)
{
    enum publisher_command command;
    while (mailbox_take(&worker->mailbox, 0, &command))
        obey(worker, command);
}

/* Performs a working state's action; fills the report. */
static enum error_class act(struct worker *worker, struct publisher_report *report)
{
    bool no_position = false, changed = true, paused = false, nothing = false;
    enum error_class class = ERROR_NONE;
    report->event = PUBLISHER_DONE;
    switch (worker->publisher.state) {
    case PUBLISHER_CONNECT:
        return worker_connect(worker);
    case PUBLISHER_OPEN:
        return worker_open(worker);
    case PUBLISHER_BARRIER:
        return worker_barrier(worker);
    case PUBLISHER_READBACK:
        class = worker_read_back(worker, &no_position, &report->position_newer);
        report->event = no_position ? PUBLISHER_NO_POSITION : PUBLISHER_DONE;
        return class;
    case PUBLISHER_FIRST:
        return worker_first(worker);
    case PUBLISHER_KNOW:
        return worker_know(worker);
    case PUBLISHER_POLL:
        class = worker_poll(worker, &changed);
        report->event = changed ? PUBLISHER_DONE : PUBLISHER_NOTHING;
        return class;
    case PUBLISHER_READ:
        class = worker_read(worker, &paused, &nothing, &report->position_newer);
        report->event = paused ? PUBLISHER_IS_PAUSED : nothing ? PUBLISHER_NOTHING : PUBLISHER_DONE;
        return class;
    case PUBLISHER_TICK:
        return worker_tick(worker);
    case PUBLISHER_COMMIT:
        return worker_commit(worker, &report->more);
    default:
        assert(!"a state that only waits has no action");
        return ERROR_NONE;
    }
}

static void step(struct worker *worker, const struct publisher_report *report)
{
    enum publisher_state before = worker->publisher.state;
    bool had_producer = worker->producer != NULL;
    struct publisher_release release = publisher_step(&worker->publisher, report);
    if (report->event == PUBLISHER_FAILED && release.session)
        last_poll_forget(&worker->configuration->last_poll);
    let_go(worker, release);
    if (report->event == PUBLISHER_FAILED)
        note_failure(worker, before, had_producer);
    show_state(worker);
}

static void work(struct worker *worker)
{
    struct publisher_report report = {.random = random_bits()};
    worker->reason.seq = -1;
    enum error_class class = act(worker, &report);
    if (class) {
        report.event = PUBLISHER_FAILED;
        report.error_class = class;
        report.transaction_open = worker->transaction_open;
        report.topic_missing = worker->topic_missing;
        report.poison_found = worker->poison_found;
    }
    report.now_ms = clock_monotonic_ms();
    step(worker, &report);
}

static bool waiting(const struct worker *worker)
{
    const struct publisher *publisher = &worker->publisher;
    if (publisher->state == PUBLISHER_POLL)
        return clock_monotonic_ms() < publisher->wait_until_ms;
    return publisher_waits(publisher->state);
}

/* Polls are ten times as frequent. */
static void serve_producer(struct worker *worker)
{
    int64_t now_ms = clock_monotonic_ms();
    if (!worker->producer || now_ms - worker->served_ms < SERVE_MS)
        return;
    worker->served_ms = now_ms;
    producer_idle(worker->producer);
}

/* [C4] An idle stream whose last window is what the last poll of them all saw need not look by itself. */
static void rest(struct worker *worker)
{
    const struct publisher *publisher = &worker->publisher;
    bool idle = publisher->state == PUBLISHER_POLL && publisher->poll_delay_ms >= POLL_DELAY_MAX_MS;
    if (!idle || !worker->has_last_full || worker->position->slicing || fault_planted("poll_by_sequence"))
        return;
    if (last_poll_rest(&worker->configuration->last_poll, &worker->sleeper, worker->last_full))
        (void)publisher_command(&worker->publisher, PUBLISHER_REST, clock_monotonic_ms());
}

static void wait_once(struct worker *worker)
{
    show_state(worker);
    serve_producer(worker);
    rest(worker);
    if (wait_for_command(worker))
        return;
    int64_t now_ms = clock_monotonic_ms();
    if (worker->publisher.state == PUBLISHER_POLL || worker->publisher.wait_until_ms == 0 ||
        now_ms < worker->publisher.wait_until_ms)
        return;
    forget_refusal(worker);
    const struct publisher_report report = {.event = PUBLISHER_WAITED, .now_ms = now_ms, .random = random_bits()};
    step(worker, &report);
}

static void *run(void *opaque)
{
    struct worker *worker = opaque;
    assert(worker->magic == WORKER_MAGIC);
    while (worker->publisher.state != PUBLISHER_ENDED) {
        take_commands(worker);
        if (worker->publisher.state != PUBLISHER_READ)
            worker_drop_ahead(worker);
        if (worker->publisher.state == PUBLISHER_ENDED)
            break;
        if (waiting(worker)) {
            wait_once(worker);
            continue;
        }
        get_up(worker, worker->publisher.state == PUBLISHER_POLL);
        work(worker);
    }
    get_up(worker, false);
    worker_drop_ahead(worker);
    let_go(worker, (struct publisher_release){.producer = true, .session = true});
    worker->ended = true;
    return NULL;
}

static void make_names(struct worker *worker)
{
    char host[64] = "?";
    gethostname(host, sizeof host - 1);
    snprintf(worker->owner, sizeof worker->owner, "%s/%d", host, (int)getpid());
    snprintf(worker->transactional_id, sizeof worker->transactional_id, "boxrelay-%s-outbox-%s", worker->service->name,
             worker->stream.short_name);
    snprintf(worker->application_name, sizeof worker->application_name, "boxrelay/%s/%s", worker->service->name,
             worker->stream.name);
}

static bool allocate(struct worker *worker)
{
    worker->position = calloc(1, sizeof *worker->position);
    worker->next = calloc(1, sizeof *worker->next);
    worker->known_snapshot = calloc(1, sizeof *worker->known_snapshot);
    worker->last_full = calloc(1, sizeof *worker->last_full);
    worker->until = calloc(1, sizeof *worker->until);
    worker->text = calloc(1, POSITION_TEXT_MAX);
    return worker->position && worker->next && worker->known_snapshot && worker->last_full && worker->until &&
           worker->text;
}

static void release(struct worker *worker)
{
#ifdef BOXRELAY_FAULTS
    producer_close(&worker->planted_kept);
#endif
    allow_list_free(&worker->allowed);
    window_reader_free(&worker->reader);
    free(worker->position);
    free(worker->next);
    free(worker->known_snapshot);
    free(worker->last_full);
    free(worker->until);
    free(worker->text);
    configuration_drop(&worker->configuration);
    view_fini(&worker->view);
    mailbox_fini(&worker->mailbox);
    worker->magic = 0;
    free(worker);
}

enum error_class worker_start(struct configuration *configuration, const struct catalog_stream *stream,
                              const struct uuid *incarnation, struct worker *before, struct worker **out,
                              struct error *error)
{
    struct worker *worker = calloc(1, sizeof *worker);
    *out = NULL;
    if (!worker)
        return error_set(error, ERROR_RETRY, "NO_MEMORY", "no memory for a worker");
    worker->magic = WORKER_MAGIC;
    worker->configuration = configuration_share(configuration);
    worker->service = &configuration->options;
    worker->stream = *stream;
    worker->incarnation = *incarnation;
    worker->refused_seq = -1;
    configuration_stream(configuration, stream->short_name, &worker->options);
    make_names(worker);
    publisher_init(&worker->publisher);
    mailbox_init(&worker->mailbox);
    worker->sleeper.mailbox = &worker->mailbox;
    bool viewed = view_init(&worker->view, stream->name);
    if (!viewed || !allocate(worker)) {
        error_set(error, ERROR_RETRY, "NO_MEMORY", "no memory for a worker");
        goto fail;
    }
    if (before)
        view_carry_on(&worker->view, &before->view);
    if (allow_list_new(worker->options.topics, worker->options.topic_count, &worker->allowed, error) ||
        window_reader_new(stream->relation, &worker->reader, error))
        goto fail;
    if (pthread_create(&worker->thread, NULL, run, worker) != 0) {
        error_set(error, ERROR_RETRY, "NO_THREAD", "no thread for stream %s", stream->name);
        goto fail;
    }
    *out = worker;
    return ERROR_NONE;
fail:
    release(worker);
    return error->class;
}

void worker_send(struct worker *worker, enum publisher_command command) { mailbox_send(&worker->mailbox, command); }

void worker_request_stop(struct worker *worker, bool now)
{
    worker->session_stop.level = now ? SESSION_STOP_NOW : SESSION_STOP_DRAIN;
    worker->kafka_stop.requested = true;
    mailbox_send(&worker->mailbox, PUBLISHER_STOP);
}

void worker_free(struct worker **worker)
{
    if (!*worker)
        return;
    pthread_join((*worker)->thread, NULL);
    release(*worker);
    *worker = NULL;
}
