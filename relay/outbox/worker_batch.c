/* One batch: the tick transaction, its rows into a Kafka transaction, the tick, the commit. */
#include <assert.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "base/clock.h"
#include "base/fault.h"
#include "base/log.h"
#include "record.h"
#include "worker.h"

enum {
    ROW_BYTES_UNKNOWN = 1024,
    POLL_SHARE = 4, /* another stream's poll will do when it is no older than this part of the delay between polls */
    PAUSE_SLICE_US = 50000,
    LEAD_US_MAX = WORKER_PRODUCE_GAP_MS * 1000 / 2,
};

/* Waits that pace the stream; a stop ends them soon, other commands are looked at when they are over. */
static void pause_until(const struct worker *worker, int64_t until_us)
{
    while (!worker->kafka_stop.requested) {
        int64_t left = until_us - clock_monotonic_us();
        if (left <= 0)
            return;
        if (left > PAUSE_SLICE_US)
            left = PAUSE_SLICE_US;
        nanosleep(&(struct timespec){.tv_nsec = left * 1000}, NULL);
    }
}

/*
 * [K13] Only a transaction's first record has to keep its distance from the commit before. So the poll and the reading
 * come before the distance is over, by as long as they take.
 */
static void pause_before_poll(struct worker *worker)
{
    pause_until(worker, worker->committed_us + worker->options.commit_interval_ms * 1000LL - worker->lead_us);
    worker->polled_us = clock_monotonic_us();
}

static void pause_before_produce(struct worker *worker)
{
    int64_t least_ms = WORKER_PRODUCE_GAP_MS;
    if (worker->polled_us) {
        int64_t lead_us = clock_monotonic_us() - worker->polled_us;
        lead_us = lead_us < LEAD_US_MAX ? lead_us : LEAD_US_MAX;
        worker->lead_us += (lead_us - worker->lead_us) / 8;
        if (least_ms < worker->options.commit_interval_ms)
            least_ms = worker->options.commit_interval_ms;
    }
    worker->polled_us = 0;
    pause_until(worker, worker->committed_us + least_ms * 1000);
}

enum error_class worker_poll(struct worker *worker, bool *changed)
{
    pause_before_poll(worker);
#ifdef BOXRELAY_FAULTS
    if (fault_planted("poll_by_sequence"))
        return window_planted_sequence_moved(worker->session, worker->reader, changed, &worker->error);
#endif
    int64_t now_ms = clock_monotonic_ms();
    struct last_poll *last = &worker->configuration->last_poll;
    if (!last_poll_take(last, &worker->sleeper, now_ms - worker->publisher.poll_delay_ms / POLL_SHARE, worker->until)) {
        if (poll_snapshot(worker->session, worker->until, &worker->error))
            return worker->error.class;
        last_poll_give(last, now_ms, worker->until);
    }
    *changed = !worker->has_last_full || worker->position->slicing || !snapshot_equal(worker->until, worker->last_full);
    return ERROR_NONE;
}

static struct batch_limits limits(const struct worker *worker)
{
    int64_t average = worker->row_bytes_average ? worker->row_bytes_average : ROW_BYTES_UNKNOWN;
    int64_t rows = worker->options.batch_bytes_max / average + 1;
    if (rows > worker->options.batch_rows_max)
        rows = worker->options.batch_rows_max;
    return (struct batch_limits){.rows_max = rows, .bytes_max = worker->options.batch_bytes_max};
}

/* The rows behind the position in its window up to `until`. */
static enum error_class read_window(struct worker *worker, const struct position *position, struct batch *batch)
{
    const struct batch_reading reading = {
        .position = position, .until = worker->until, .ceiling = worker->ceiling, .limits = limits(worker)};
    return batch_read(worker->session, worker->reader, &reading, batch, &worker->error);
}

/* The window from the position to the transaction's snapshot, which last_full holds. */
static enum error_class read_new_window(struct worker *worker, const struct batch_ground *ground)
{
    snapshot_copy(worker->until, ground->snapshot);
    worker->until_floor = worker->floor;
    worker->ceiling = ground->reached;
    return read_window(worker, worker->position, &worker->batch);
}

/*
 * Reads the next rows. An empty slice means that its window is done: the set of a closed window never changes [W2], so
 * the position is the same as one that stands at the window's S, and the window after it is read at once.
 */
static enum error_class read_rows(struct worker *worker, const struct batch_ground *ground, bool *newer)
{
    if (!worker->position->slicing)
        return read_new_window(worker, ground);
    snapshot_copy(worker->until, &worker->position->until);
    worker->until_floor = worker->position->until_floor;
    enum error_class class = read_window(worker, worker->position, &worker->batch);
    if (class || worker->batch.count > 0)
        return class;
    position_close_window(worker->position);
    worker_set_known(worker);
    *newer = true;
    return read_new_window(worker, ground);
}

static void note_reason(struct worker *worker, const struct row *row)
{
    struct worker_row *reason = &worker->reason;
    reason->seq = row->seq;
    reason->partition = row->partition;
    uuid_format(&row->id, reason->id);
    snprintf(reason->topic, sizeof reason->topic, "%s", row->topic);
    trace_id(row->headers, reason->trace_id);
}

/* Which row it was, and the way on: the reason alone does not tell an operator. */
static enum error_class explain_row(struct worker *worker, const struct row *row)
{
    char hint[ERROR_HINT_MAX];
    struct error *error = &worker->error;
    note_reason(worker, row);
    const char *again = worker->topic_missing ? "the stream waits for the topic and looks every few seconds"
                                              : "the stream waits and tries again each minute";
    error_prefix(error, "row with seq %" PRId64 ", id %s, for topic \"%s\" (%zu bytes) cannot be published", row->seq,
                 worker->reason.id, row->topic, row->key_size + row->value_size);
    memcpy(hint, error->hint, sizeof hint);
    return error_hint(error, "%s%s%s; or give up every unpublished row: boxrelay rebase %s --to now --force", hint,
                      hint[0] ? "; " : "", again, worker->stream.name);
}

static enum error_class check_row(struct worker *worker, struct record *record)
{
    struct topic_facts facts;
    struct error *error = &worker->error;
    if (!allow_list_has(worker->allowed, record->topic)) {
        error_set(error, ERROR_POISON, "TOPIC_NOT_ALLOWED", "the configuration's topics do not allow it");
        return error_hint(error, "add it to /outbox/%s/topics", worker->stream.short_name);
    }
    enum error_class class = producer_topic(worker->producer, record->topic, false, &facts, error);
    if (!class && record_fits(record, &facts, error) != ERROR_NONE) {
        class = producer_topic(worker->producer, record->topic, true, &facts, error);
        if (!class)
            class = record_fits(record, &facts, error);
    }
    if (class == ERROR_CONFIG && strcmp(error->code, "UNKNOWN_TOPIC_OR_PART") == 0) {
        worker->topic_missing = true;
        if (worker->options.unknown_topic_is_poison)
            class = error->class = ERROR_POISON;
    }
    return class;
}

static enum error_class send_row(struct worker *worker, struct record_maker *maker, const struct row *row,
                                 struct record *record)
{
    if (row->seq == worker->refused_seq) {
        worker->error = worker->refusal;
        return worker->error.class;
    }
    if (record_make(maker, row, record, &worker->error) || check_row(worker, record))
        return worker->error.class;
    if (!worker->transaction_open) {
        pause_before_produce(worker);
        if (producer_begin(worker->producer, clock_monotonic_ms() + PRODUCER_BATCH_MS_MAX, &worker->error))
            return worker->error.class;
        worker->transaction_open = true;
    }
    return producer_send(worker->producer, record, &worker->error);
}

/* A row that cannot go out now and leaves the transaction clean: the rows before it go, then the stream waits at it. */
static bool waits_at_row(const struct worker *worker, enum error_class class)
{
    return class == ERROR_POISON || (class == ERROR_CONFIG && worker->topic_missing);
}

static enum error_class send_rows(struct worker *worker)
{
    static __thread struct record record; /* 3 KiB of header slots, too much to clear for each row */
    struct record_maker maker;
    enum error_class class = ERROR_NONE;
    record_maker_init(&maker, worker->service->positions_topic, &worker->stream.uuid, worker->newest.number + 1);
    for (worker->sendable = 0; !class && worker->sendable < worker->batch.count; worker->sendable++)
        class = send_row(worker, &maker, &worker->batch.rows[worker->sendable], &record);
    record_maker_fini(&maker);
    if (!class)
        return ERROR_NONE;
    worker->sendable--;
    if (!waits_at_row(worker, class))
        return class;
    if (worker->sendable > 0)
        return ERROR_NONE;
    return explain_row(worker, &worker->batch.rows[0]);
}

static enum error_class begin(struct worker *worker, struct batch_ground *ground)
{
    if (batch_begin(worker->session, worker->reader, &worker->stream.uuid, ground, &worker->error))
        return worker->error.class;
    if (ground->timeline != worker->database.timeline)
        return error_set(&worker->error, ERROR_RECONNECT, "TIMELINE_CHANGED",
                         "PostgreSQL is on timeline %" PRIu32 " now, was on %" PRIu32, ground->timeline,
                         worker->database.timeline);
    return ERROR_NONE;
}

static enum error_class send_position(struct worker *worker)
{
    size_t length = position_format(worker->next, worker->text, POSITION_TEXT_MAX);
    return positions_send(worker->producer, worker->service->positions_topic, worker->stream.partition,
                          &worker->stream.uuid, worker->text, length, &worker->error);
}

#ifdef BOXRELAY_FAULTS
/* Planted bug: an empty window moves the position, though no tick made durable what the snapshot stands on. */
static enum error_class advance_on_empty(struct worker *worker)
{
    struct producer_commit_result result;
    position_copy(worker->next, worker->position);
    snapshot_copy(&worker->next->from, worker->until);
    worker->next->slicing = false;
    if (producer_begin(worker->producer, clock_monotonic_ms() + PRODUCER_BATCH_MS_MAX, &worker->error))
        return worker->error.class;
    worker->transaction_open = true;
    if (send_position(worker) || producer_commit(worker->producer, 1, &result, &worker->error))
        return worker->error.class;
    worker->transaction_open = false;
    position_copy(worker->position, worker->next);
    return ERROR_NONE;
}
#endif

static enum error_class note_nothing(struct worker *worker)
{
    snapshot_copy(worker->last_full, worker->until);
    worker->has_last_full = true;
#ifdef BOXRELAY_FAULTS
    if (fault_planted("advance_on_empty"))
        return advance_on_empty(worker);
#endif
    return ERROR_NONE;
}

/*
 * While the open batch is being committed in Kafka, PostgreSQL reads the next slice of its window. It is the same set
 * whenever it is read [W2]; its tick is written only after that commit. What fails here is left to the next READ.
 */
static void read_ahead(struct worker *worker)
{
    struct batch_ground ground = {.snapshot = worker->last_full};
    assert(worker->next->slicing && worker->ahead.count == 0);
    if (begin(worker, &ground) || ground.paused || read_window(worker, worker->next, &worker->ahead) ||
        worker->ahead.count == 0)
        batch_rollback(worker->session);
    worker->ahead_reached = ground.reached;
}

void worker_drop_ahead(struct worker *worker)
{
    if (worker->ahead.count == 0)
        return;
    batch_free(&worker->ahead);
    if (worker->session)
        batch_rollback(worker->session);
}

static enum error_class take_ahead(struct worker *worker)
{
    worker->batch = worker->ahead;
    worker->ahead = (struct batch){0};
    worker->reached = worker->ahead_reached;
    return ERROR_NONE;
}

static enum error_class read_batch(struct worker *worker, bool *paused, bool *newer)
{
    struct batch_ground ground = {.snapshot = worker->last_full};
    enum error_class class = begin(worker, &ground);
    *paused = !class && ground.paused;
    worker->reached = ground.reached;
    return class || *paused ? class : read_rows(worker, &ground, newer);
}

enum error_class worker_read(struct worker *worker, bool *paused, bool *nothing, bool *newer)
{
    assert(!worker->transaction_open && worker->batch.count == 0);
    worker->topic_missing = false;
    worker->has_last_full = false; /* valid again once its window was read to its end */
    enum error_class class = worker->ahead.count ? take_ahead(worker) : read_batch(worker, paused, newer);
    if (class || *paused)
        goto rollback;
    *nothing = worker->batch.count == 0;
    if (*nothing) {
        class = note_nothing(worker);
        goto rollback;
    }
    if ((class = send_rows(worker)))
        goto rollback;
    return ERROR_NONE;
rollback:
    /* The rows stay until the producer that borrows them is closed; without a transaction nobody borrows them. */
    if (worker->session)
        batch_rollback(worker->session);
    if (!worker->transaction_open)
        batch_free(&worker->batch);
    return class;
}

/*
 * While PostgreSQL flushes its WAL, Kafka takes the records. Not of a backlog: there the next slice is read meanwhile,
 * once COMMIT has answered.
 */
static enum error_class commit_tick(struct worker *worker)
{
    if (batch_commit_send(worker->session, &worker->error))
        return worker->error.class;
    if (worker->transaction_open && !worker->next->slicing)
        producer_push(worker->producer);
    return batch_commit_take(worker->session, &worker->error);
}

/*
 * [T1, T2] Returns only after COMMIT said so: the Kafka transaction must not be committed before. The position goes
 * first: librdkafka registers partitions a millisecond after the first record, and one that comes later by itself.
 */
static enum error_class write_tick(struct worker *worker)
{
    const struct tick_writing tick = {.stream = worker->stream.uuid,
                                      .old = worker->newest,
                                      .new = worker->next->tick,
                                      .incarnation = worker->incarnation,
                                      .database = worker->database,
                                      .known = worker_known(worker)};
    fault_point("before_tick");
    if ((worker->transaction_open && send_position(worker)) || tick_write(worker->session, &tick, &worker->error) ||
        commit_tick(worker)) {
        batch_rollback(worker->session);
        return worker->error.class;
    }
    fault_point("after_tick");
    worker->newest = tick.new;
    worker->floor = worker->reached;
    return ERROR_NONE;
}

/* Is the window read to its end with this batch? */
static bool window_closed(const struct worker *worker)
{
    return worker->sendable == worker->batch.count && !worker->batch.more;
}

/* What the position will be: P moves to S when the window is closed, else the last seq moves. */
static enum error_class prepare_next(struct worker *worker)
{
    struct position *next = worker->next;
    position_copy(next, worker->position);
    next->tick = (struct tick_name){.number = worker->newest.number + 1, .uuid = uuid_random()};
    if (fault_planted("no_tick"))
        next->tick = worker->newest;
    next->database = worker->database;
    next->last_seq = worker->batch.rows[worker->sendable - 1].seq;
    next->slicing = !window_closed(worker);
    snapshot_copy(next->slicing ? &next->until : &next->from, worker->until);
    *(next->slicing ? &next->until_floor : &next->from_floor) = worker->until_floor;
    int64_t now_ms = clock_unix_ms();
    for (size_t i = 0; i < worker->sendable; i++) {
        const char *topic = worker->batch.rows[i].topic;
        if (i > 0 && strcmp(topic, worker->batch.rows[i - 1].topic) == 0)
            continue;
        if (!position_topic_written(next, topic, now_ms, now_ms - worker->options.retention_ms))
            return error_set(&worker->error, ERROR_CONFIG, "TOO_MANY_TOPICS",
                             "more than %d topics were written within the retention", POSITION_TOPICS_MAX);
    }
    return ERROR_NONE;
}

enum error_class worker_tick(struct worker *worker)
{
    assert(worker->transaction_open && worker->sendable > 0);
    if (prepare_next(worker)) {
        batch_rollback(worker->session);
        return worker->error.class;
    }
    if (fault_planted("tick_after_end_txn"))
        return send_position(worker);
    if (fault_planted("no_tick")) {
        batch_rollback(worker->session);
        return send_position(worker);
    }
    return write_tick(worker);
}

static void advance(struct worker *worker)
{
    struct position *committed = worker->next;
    worker->next = worker->position;
    worker->position = committed;
    worker_set_known(worker);
    worker->has_last_full = !committed->slicing;
    if (worker->has_last_full)
        snapshot_copy(worker->last_full, &committed->from);
    worker->committed_us = clock_monotonic_us();
    view_committed(&worker->view, worker->batch.rows, worker->sendable);
    view_position(&worker->view, committed);
    batch_free(&worker->batch);
}

/* In isolation exactly one delivery carries the real code; the next batch ends before that row. */
static void note_refused(struct worker *worker, const struct producer_commit_result *result)
{
    if (worker->error.class != ERROR_POISON || result->refused_tag < 0)
        return;
    worker->refused_seq = result->refused_tag;
    worker->refusal = worker->error;
    worker->poison_found = true;
}

struct committing {
    struct worker *worker;
    enum error_class class;
    struct producer_commit_result result;
    struct error error;
};

static void *commit(void *opaque)
{
    struct committing *committing = opaque;
    const struct worker *worker = committing->worker;
    committing->class =
        producer_commit(worker->producer, (int64_t)worker->sendable + 1, &committing->result, &committing->error);
    return NULL;
}

/* With a backlog the two servers work at the same time: the producer is the other thread's until it has ended. */
static void commit_reading_ahead(struct worker *worker, struct committing *committing)
{
    pthread_t thread;
    bool backlog = worker->next->slicing && !worker->publisher.isolate && !fault_planted("tick_after_end_txn");
    if (!backlog || pthread_create(&thread, NULL, commit, committing) != 0) {
        commit(committing);
        return;
    }
    read_ahead(worker);
    pthread_join(thread, NULL);
}

enum error_class worker_commit(struct worker *worker, bool *more)
{
    struct committing committing = {.worker = worker};
    assert(worker->transaction_open && worker->sendable > 0);
    worker->poison_found = false;
    worker->row_bytes_average = worker->batch.bytes / (int64_t)worker->batch.count + 1;
    commit_reading_ahead(worker, &committing);
    if (committing.class) {
        worker->error = committing.error;
        note_refused(worker, &committing.result);
        return committing.class;
    }
    worker->transaction_open = false;
    fault_point("after_commit");
    if (fault_planted("tick_after_end_txn") && write_tick(worker))
        return worker->error.class;
    *more = !window_closed(worker);
    advance(worker);
    return ERROR_NONE;
}
