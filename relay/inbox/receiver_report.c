/* What a receiver tells others: LISTENers, Kafka's lag tools, relay.status, `run --once`. */
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "receiver.h"

static struct consumer_partition named(const struct receiver_source *source, int64_t offset)
{
    struct consumer_partition partition = {.partition = source->partition, .offset = offset};
    memcpy(partition.topic, source->topic, sizeof partition.topic);
    return partition;
}

static void tell_kafka(struct receiver *receiver)
{
    struct consumer_partition *partitions = calloc(receiver->source_count + 1, sizeof *partitions);
    size_t count = 0;
    for (size_t i = 0; partitions && i < receiver->source_count; i++) {
        struct receiver_source *source = &receiver->sources[i];
        if (source->told == source->store.next)
            continue;
        source->told = source->store.next;
        partitions[count++] = named(source, source->store.next);
    }
    if (count)
        consumer_tell_offsets(receiver->consumer, partitions, count);
    free(partitions);
}

/* How far its partitions go, while nothing is fetched that would tell; NULL: no need to ask, or no answer. The caller
 * frees it. */
static struct consumer_partition *ask_ends(struct receiver *receiver)
{
    struct error ignored;
    size_t count = receiver->source_count;
    struct consumer_partition *ends = receiver->full && count ? calloc(count, sizeof *ends) : NULL;
    for (size_t i = 0; ends && i < count; i++)
        ends[i] = named(&receiver->sources[i], -1);
    if (ends && consumer_ends(receiver->consumer, ends, count, RECEIVER_ENDS_MS_MAX, &ignored)) {
        free(ends);
        return NULL;
    }
    return ends;
}

static void show_partition(struct receiver *receiver, size_t at, const struct consumer_partition *ends,
                           struct inbox_partition_view *view)
{
    const struct receiver_source *source = &receiver->sources[at];
    int64_t end = ends ? ends[at].offset : -1, next = source->store.next;
    memcpy(view->topic, source->topic, sizeof view->topic);
    view->partition = source->partition;
    view->lag_records = end < 0      ? consumer_lag(receiver->consumer, source->topic, source->partition, next)
                        : end > next ? end - next
                                     : 0;
    view->last_error = source->error;
}

/* Where there are too many to show all, those that stopped come first. */
static void show_partitions(struct receiver *receiver)
{
    struct consumer_partition *ends = ask_ends(receiver);
    struct inbox_partition_view *views = calloc(INBOX_PARTITION_METRICS_MAX, sizeof *views);
    size_t count = 0;
    for (int stopped = 1; views && stopped >= 0; stopped--)
        for (size_t i = 0; i < receiver->source_count && count < INBOX_PARTITION_METRICS_MAX; i++)
            if ((receiver->sources[i].error.class != ERROR_NONE) == (stopped == 1))
                show_partition(receiver, i, ends, &views[count++]);
    if (views)
        receiver_view_partitions(&receiver->view, views, count);
    free(views);
    free(ends);
}

/* What people have to know first: an error of the stream, else one that stops a partition of this instance. */
static struct error worst_error(const struct inbox_stream_view *view)
{
    struct error worst = view->last_error;
    size_t stopped = 0;
    for (size_t i = 0; i < view->partition_count; i++) {
        const struct error *error = &view->partitions[i].last_error;
        if (worst.class == ERROR_NONE)
            worst = *error;
        stopped += error->class != ERROR_NONE;
    }
    if (stopped > 1 && view->last_error.class == ERROR_NONE)
        error_prefix(&worst, "%zu of %zu partitions of this instance have stopped, one of them", stopped,
                     view->partition_count);
    return worst;
}

/* For people, that an inbox reads nothing because it is full says more than that it would. */
static const char *told_state(const struct inbox_stream_view *view)
{
    bool reads = strcmp(view->state, subscriber_state_name(SUBSCRIBER_FETCH)) == 0;
    return reads && view->full ? "full" : view->state;
}

static enum error_class write_state(struct receiver *receiver, int64_t since_ms, struct error *error)
{
    struct inbox_stream_view *view = malloc(sizeof *view);
    if (!view)
        return ERROR_NONE;
    receiver_view_copy(&receiver->view, view);
    uint64_t stored = view->stored_rows - receiver->stored_before;
    const struct error worst = worst_error(view);
    const struct catalog_state state = {
        .stream = receiver->inbox.uuid,
        .state = told_state(view),
        .leader = receiver->owner,
        .pending_rows = view->pending_rows,
        .oldest_ms = view->oldest_age_ms > 0 ? clock_unix_ms() - view->oldest_age_ms : 0,
        .published_rows = (int64_t)view->stored_rows,
        .rows_per_second = since_ms > 0 ? (double)stored * 1000 / (double)since_ms : 0,
        .error = &worst,
    };
    receiver->stored_before = view->stored_rows;
    enum error_class class = catalog_state_write(receiver->session, &state, error);
    free(view);
    return class;
}

void receiver_tell_state(struct receiver *receiver)
{
    struct error ignored;
    receiver->reported_ms = clock_monotonic_ms();
    if (receiver->session && receiver->writer)
        (void)write_state(receiver, 0, &ignored);
}

/* ---- ends ---- */

/* Behind the last message there may be markers of transactions: whoever waits for the end waits for them too. */
static enum error_class store_ends(struct receiver *receiver)
{
    struct error *error = &receiver->error;
    struct store_move *moves = calloc(receiver->source_count + 1, sizeof *moves);
    struct store_ground ground;
    size_t count = 0;
    if (!moves)
        return ERROR_NONE;
    for (size_t i = 0; i < receiver->source_count; i++) {
        const struct receiver_source *source = &receiver->sources[i];
        if (source->end > source->store.next)
            moves[count++] =
                (struct store_move){.source = &source->store, .next = source->end, .witness = {.offset = -1}};
    }
    enum error_class class = count ? store_begin(receiver->session, &receiver->inbox, &ground, error) : ERROR_NONE;
    if (count && !class)
        class = store_offsets(receiver->session, moves, count, error);
    if (count && !class)
        class = store_commit(receiver->session, error);
    if (class)
        store_rollback(receiver->session);
    for (size_t i = 0; !class && i < receiver->source_count; i++) {
        struct receiver_source *source = &receiver->sources[i];
        if (source->end > source->store.next)
            source->store.next = source->end;
    }
    free(moves);
    return class;
}

/* ---- run --once ---- */

/* Where the inbox stands in a partition; 0: it never read it. */
static int64_t next_of(const struct store_next *nexts, size_t count, const struct consumer_partition *partition)
{
    for (size_t i = 0; i < count; i++)
        if (nexts[i].partition == partition->partition && strcmp(nexts[i].topic, partition->topic) == 0)
            return nexts[i].next;
    return 0;
}

/* `nexts` are older than what Kafka answers, so none is behind an end, but in a topic that was made again: that is
 * never done, and whoever reads it says so. */
static enum error_class find_ends(struct receiver *receiver, const struct store_next *nexts, size_t next_count)
{
    struct error *error = &receiver->error;
    struct consumer_partition *partitions;
    size_t count;
    if (consumer_list(receiver->consumer, RECEIVER_ASK_MS_MAX, &partitions, &count, error))
        return error->class;
    for (size_t i = 0; i < count; i++) {
        int64_t first;
        if (consumer_range(receiver->consumer, partitions[i].topic, partitions[i].partition, RECEIVER_ASK_MS_MAX,
                           &first, &partitions[i].offset, error)) {
            free(partitions);
            return error->class;
        }
        if (next_of(nexts, next_count, &partitions[i]) > partitions[i].offset)
            partitions[i].offset = INT64_MAX;
    }
    receiver->drain_ends = partitions;
    receiver->drain_count = count;
    return ERROR_NONE;
}

/* Nothing of this instance is stopped, or not yet known to be what it was. */
static bool is_sound(const struct receiver *receiver)
{
    for (size_t i = 0; i < receiver->source_count; i++)
        if (receiver->sources[i].checking || receiver->sources[i].error.class)
            return false;
    return true;
}

/* Whoever reads them: PostgreSQL knows. */
static enum error_class look_at_drain(struct receiver *receiver)
{
    struct error *error = &receiver->error;
    struct store_next *nexts;
    size_t count;
    bool done = is_sound(receiver);
    if (!receiver->drain_asked || receiver->drain_done)
        return ERROR_NONE;
    if (store_nexts(receiver->session, &receiver->inbox, &nexts, &count, error))
        return error->class;
    if (!receiver->drain_ends && find_ends(receiver, nexts, count))
        done = false;
    for (size_t i = 0; i < receiver->drain_count; i++)
        done = done && next_of(nexts, count, &receiver->drain_ends[i]) >= receiver->drain_ends[i].offset;
    free(nexts);
    receiver->drain_done = done;
    return receiver->drain_ends ? ERROR_NONE : error->class;
}

/* [I6] More waits than the inbox may hold: nothing more is fetched until business code has caught up. */
static enum error_class count_waiting(struct receiver *receiver, int64_t now_ms)
{
    struct store_waiting waiting;
    if (now_ms - receiver->counted_ms < RECEIVER_WAITING_MS)
        return ERROR_NONE;
    receiver->counted_ms = now_ms;
    if (store_waiting(receiver->session, &receiver->inbox, receiver->writer, &waiting, &receiver->error))
        return receiver->error.class;
    const struct inbox_fill fill = {.rows = waiting.rows,
                                    .bytes = waiting.bytes,
                                    .rows_max = receiver->options.waiting_rows_max,
                                    .bytes_max = receiver->options.waiting_bytes_max};
    bool was_full = receiver->full;
    receiver->paused = waiting.paused;
    if (receiver->newest_source != waiting.newest_source)
        receiver->looked_ms = 0; /* perhaps a rebase: look now */
    receiver->newest_source = waiting.newest_source;
    receiver->full = subscriber_full(was_full, &fill);
    consumer_pause(receiver->consumer, receiver->full);
    int64_t age_ms = waiting.oldest_ms ? clock_unix_ms() - waiting.oldest_ms : 0;
    receiver_view_pending(&receiver->view, waiting.rows, age_ms > 0 ? age_ms : 0);
    if (receiver->full != was_full)
        log_write(receiver->full ? LOG_WARN : LOG_INFO,
                  receiver->full ? "inbox is full: its partitions pause until messages are taken"
                                 : "inbox has room again: its partitions are read on",
                  (struct log_field[]){LOG_STR("stream", receiver->stream),
                                       LOG_INT("waiting_rows", waiting.rows),
                                       LOG_INT("waiting_bytes", waiting.bytes),
                                       {0}});
    return ERROR_NONE;
}

/* One step at a time, so that batches are not kept waiting. */
static enum error_class clean(struct receiver *receiver, int64_t now_ms)
{
    bool more;
    const struct inbox_stream_options *options = &receiver->options;
    if (now_ms < receiver->clean_at_ms)
        return ERROR_NONE;
    receiver->clean_at_ms = now_ms + RECEIVER_CLEAN_MS; /* after a failure too: storing comes first */
    if (store_clean(receiver->session, &receiver->inbox, options->retention_ms, options->id_retention_ms, &more,
                    &receiver->error))
        return receiver->error.class;
    int64_t wait_ms = options->retention_ms / 8 < RECEIVER_CLEAN_MS ? options->retention_ms / 8 : RECEIVER_CLEAN_MS;
    if (more || wait_ms < RECEIVER_CLEAN_MS_MIN)
        wait_ms = RECEIVER_CLEAN_MS_MIN;
    receiver->clean_at_ms = now_ms + wait_ms;
    return ERROR_NONE;
}

enum error_class receiver_report(struct receiver *receiver)
{
    int64_t now_ms = clock_monotonic_ms(), since_ms = now_ms - receiver->reported_ms;
    bool draining = receiver->drain_asked && !receiver->drain_done, due = since_ms >= RECEIVER_STATE_MS;
    enum error_class class = receiver_notify(receiver);
    if (!class)
        class = count_waiting(receiver, now_ms);
    if (!class)
        class = clean(receiver, now_ms);
    if (!class && (due || draining))
        class = store_ends(receiver);
    if (!class && draining)
        class = look_at_drain(receiver);
    if (class || (!due && !(draining && receiver->drain_done)))
        return class;
    bool first = receiver->reported_ms == 0;
    receiver->reported_ms = now_ms;
    tell_kafka(receiver);
    show_partitions(receiver);
    return write_state(receiver, first ? 0 : since_ms, &receiver->error);
}
