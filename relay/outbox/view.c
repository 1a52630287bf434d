#include "view.h"

#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"

const double outbox_latency_bounds[OUTBOX_LATENCY_BUCKETS - 1] = {0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5,
                                                                  1,     2.5,  5,     10,   30,  60};

bool view_init(struct view *view, const char *stream)
{
    *view = (struct view){.stream = {.pending_rows = -1, .oldest_age_ms = -1}};
    snprintf(view->stream.stream, sizeof view->stream.stream, "%s", stream);
    snprintf(view->stream.state, sizeof view->stream.state, "idle");
    view->stream.progress_ms = clock_monotonic_ms();
    view->position = calloc(1, sizeof *view->position);
    pthread_mutex_init(&view->lock, NULL);
    return view->position != NULL;
}

void view_fini(struct view *view)
{
    free(view->position);
    pthread_mutex_destroy(&view->lock);
}

void view_carry_on(struct view *view, struct view *before)
{
    const struct outbox_stream_view fresh = view->stream;
    view_copy(before, &view->stream);
    memcpy(view->stream.state, fresh.state, sizeof view->stream.state);
    view->stream.leader = view->stream.paused = false;
    view->stream.last_error = fresh.last_error;
    view->stream.state_since_ms = fresh.state_since_ms;
    view->stream.progress_ms = fresh.progress_ms;
}

void view_state(struct view *view, const char *state, bool leader, bool paused, bool drained)
{
    pthread_mutex_lock(&view->lock);
    if (strcmp(view->stream.state, state) != 0) {
        snprintf(view->stream.state, sizeof view->stream.state, "%s", state);
        view->stream.state_since_ms = clock_unix_ms();
    }
    view->stream.leader = leader;
    view->stream.paused = paused;
    view->drained = drained;
    view->stream.progress_ms = clock_monotonic_ms();
    pthread_mutex_unlock(&view->lock);
}

void view_error(struct view *view, const struct error *error)
{
    pthread_mutex_lock(&view->lock);
    view->stream.last_error = *error;
    view->stream.errors[error->class]++;
    pthread_mutex_unlock(&view->lock);
}

void view_recreated(struct view *view, enum error_class class, bool end_txn)
{
    pthread_mutex_lock(&view->lock);
    view->stream.transactions_failed++;
    view->stream.recreated[class]++;
    view->stream.recreated_end_txn += end_txn;
    pthread_mutex_unlock(&view->lock);
}

void view_pending(struct view *view, int64_t rows, bool is_bound, int64_t oldest_age_ms)
{
    pthread_mutex_lock(&view->lock);
    view->stream.pending_rows = rows;
    view->stream.pending_is_bound = is_bound;
    view->stream.oldest_age_ms = oldest_age_ms;
    pthread_mutex_unlock(&view->lock);
}

void view_position(struct view *view, const struct position *position)
{
    pthread_mutex_lock(&view->lock);
    position_copy(view->position, position);
    view->positioned = view->is_latest = true;
    view->stream.last_error.class = ERROR_NONE;
    pthread_mutex_unlock(&view->lock);
}

static uint64_t *topic_counter(struct outbox_stream_view *stream, const char *topic)
{
    for (size_t i = 0; i < stream->topic_count; i++)
        if (strcmp(stream->topics[i].topic, topic) == 0)
            return &stream->topics[i].published;
    if (stream->topic_count > OUTBOX_TOPIC_METRICS_MAX)
        return &stream->topics[OUTBOX_TOPIC_METRICS_MAX].published;
    size_t at = stream->topic_count++;
    snprintf(stream->topics[at].topic, sizeof stream->topics[at].topic, "%s",
             at < OUTBOX_TOPIC_METRICS_MAX ? topic : "other");
    return &stream->topics[at].published;
}

static void count_latency(struct outbox_stream_view *stream, int64_t latency_ms)
{
    size_t bucket = 0;
    double seconds = latency_ms > 0 ? (double)latency_ms / 1000 : 0;
    while (bucket < OUTBOX_LATENCY_BUCKETS - 1 && seconds > outbox_latency_bounds[bucket])
        bucket++;
    stream->latency_counts[bucket]++;
    stream->latency_sum_seconds += seconds;
}

void view_committed(struct view *view, const struct row *rows, size_t count)
{
    int64_t now_ms = clock_unix_ms();
    uint64_t *published = NULL;
    pthread_mutex_lock(&view->lock);
    for (size_t i = 0; i < count; i++) {
        if (i == 0 || strcmp(rows[i].topic, rows[i - 1].topic) != 0)
            published = topic_counter(&view->stream, rows[i].topic);
        ++*published;
        view->stream.published_bytes += rows[i].key_size + rows[i].value_size;
        count_latency(&view->stream, rows[i].created_ms ? now_ms - rows[i].created_ms : 0);
    }
    view->stream.published_rows += count;
    view->stream.transactions_committed++;
    pthread_mutex_unlock(&view->lock);
}

void view_cleanup(struct view *view, const struct outbox_cleanup_view *cleanup)
{
    pthread_mutex_lock(&view->lock);
    view->stream.cleanup = *cleanup;
    pthread_mutex_unlock(&view->lock);
}

void view_slot_emptied(struct view *view)
{
    pthread_mutex_lock(&view->lock);
    view->stream.slots_emptied++;
    pthread_mutex_unlock(&view->lock);
}

bool view_may_clean(struct view *view, bool *refused)
{
    pthread_mutex_lock(&view->lock);
    *refused = view->stream.last_error.class == ERROR_INTEGRITY;
    bool may = !*refused && (view->positioned || view->stream.paused);
    pthread_mutex_unlock(&view->lock);
    return may;
}

/* Four times a second for each stream, and nearly all of it is room for topics. */
void view_copy(struct view *view, struct outbox_stream_view *out)
{
    pthread_mutex_lock(&view->lock);
    size_t topics = view->stream.topic_count * sizeof view->stream.topics[0];
    memcpy(out, &view->stream, offsetof(struct outbox_stream_view, topics) + topics);
    pthread_mutex_unlock(&view->lock);
}

bool view_latest_position(struct view *view, struct position *out)
{
    pthread_mutex_lock(&view->lock);
    bool is_latest = view->is_latest;
    if (is_latest)
        position_copy(out, view->position);
    pthread_mutex_unlock(&view->lock);
    return is_latest;
}

void view_outdate(struct view *view)
{
    pthread_mutex_lock(&view->lock);
    view->is_latest = false;
    pthread_mutex_unlock(&view->lock);
}

bool view_copy_position(struct view *view, struct position *out, bool *drained)
{
    pthread_mutex_lock(&view->lock);
    *drained = view->drained;
    bool positioned = view->positioned && !view->drained;
    if (positioned)
        position_copy(out, view->position);
    pthread_mutex_unlock(&view->lock);
    return positioned;
}
