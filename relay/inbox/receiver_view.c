#include "receiver_view.h"

#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include "base/clock.h"

void receiver_view_init(struct receiver_view *view, const char *stream)
{
    *view = (struct receiver_view){.stream = {.pending_rows = -1, .oldest_age_ms = -1}};
    snprintf(view->stream.stream, sizeof view->stream.stream, "%s", stream);
    view->stream.progress_ms = clock_monotonic_ms();
    view->stream.state_since_ms = clock_unix_ms();
    pthread_mutex_init(&view->lock, NULL);
}

void receiver_view_fini(struct receiver_view *view) { pthread_mutex_destroy(&view->lock); }

void receiver_view_carry_on(struct receiver_view *view, struct receiver_view *before)
{
    struct inbox_stream_view *now = &view->stream, old;
    receiver_view_copy(before, &old);
    now->postgres_reached = old.postgres_reached;
    now->schema_ok = old.schema_ok;
    now->transactions_committed = old.transactions_committed;
    now->transactions_failed = old.transactions_failed;
    memcpy(now->errors, old.errors, sizeof now->errors);
    now->stored_rows = old.stored_rows;
    now->stored_bytes = old.stored_bytes;
    now->duplicates = old.duplicates;
    now->conflicts = old.conflicts;
    now->dead_letters = old.dead_letters;
    now->topic_count = old.topic_count;
    memcpy(now->topics, old.topics, sizeof now->topics);
}

#define LOCKED(view, statements)                                                                                       \
    do {                                                                                                               \
        pthread_mutex_lock(&(view)->lock);                                                                             \
        statements;                                                                                                    \
        pthread_mutex_unlock(&(view)->lock);                                                                           \
    } while (0)

void receiver_view_state(struct receiver_view *view, const char *state, bool paused, bool full)
{
    pthread_mutex_lock(&view->lock);
    if (strcmp(view->stream.state, state) != 0) {
        snprintf(view->stream.state, sizeof view->stream.state, "%s", state);
        view->stream.state_since_ms = clock_unix_ms();
    }
    view->stream.paused = paused;
    view->stream.full = full;
    view->stream.progress_ms = clock_monotonic_ms();
    pthread_mutex_unlock(&view->lock);
}

void receiver_view_postgres(struct receiver_view *view, bool up)
{
    LOCKED(view, view->stream.postgres_up = up; view->stream.postgres_reached = view->stream.postgres_reached || up);
}

void receiver_view_schema(struct receiver_view *view, bool ok) { LOCKED(view, view->stream.schema_ok = ok); }

void receiver_view_kafka(struct receiver_view *view, bool up) { LOCKED(view, view->stream.kafka_up = up); }

void receiver_view_error(struct receiver_view *view, const struct error *error)
{
    LOCKED(view, view->stream.last_error = *error; view->stream.errors[error->class]++);
}

void receiver_view_mended(struct receiver_view *view)
{
    LOCKED(view, view->stream.last_error = (struct error){.class = ERROR_NONE});
}

void receiver_view_failed_transaction(struct receiver_view *view) { LOCKED(view, view->stream.transactions_failed++); }

/* The counter of a topic; all beyond the bound share one. Lock held. */
static uint64_t *topic_counter(struct inbox_stream_view *stream, const char *topic)
{
    for (size_t i = 0; i < stream->topic_count; i++)
        if (strcmp(stream->topics[i].topic, topic) == 0)
            return &stream->topics[i].stored;
    if (stream->topic_count < INBOX_TOPIC_METRICS_MAX)
        snprintf(stream->topics[stream->topic_count].topic, sizeof stream->topics[0].topic, "%s", topic);
    else if (stream->topic_count == INBOX_TOPIC_METRICS_MAX)
        snprintf(stream->topics[stream->topic_count].topic, sizeof stream->topics[0].topic, "other");
    else
        return &stream->topics[INBOX_TOPIC_METRICS_MAX].stored;
    return &stream->topics[stream->topic_count++].stored;
}

static void count(struct inbox_stream_view *stream, const struct intake *intake)
{
    switch (intake->fate) {
    case INTAKE_STORE:
        stream->stored_rows++;
        stream->stored_bytes += intake->message->key_size + intake->message->value_size;
        *topic_counter(stream, intake->message->topic) += 1;
        break;
    case INTAKE_DUPLICATE:
        stream->duplicates++;
        break;
    case INTAKE_SET_ASIDE:
        stream->dead_letters++;
        stream->conflicts += strcmp(intake->class, "CONFLICT") == 0;
        break;
    }
}

void receiver_view_stored(struct receiver_view *view, const struct intake *intakes, size_t number)
{
    pthread_mutex_lock(&view->lock);
    view->stream.transactions_committed++;
    view->stream.last_error = (struct error){.class = ERROR_NONE};
    for (size_t i = 0; i < number; i++)
        count(&view->stream, &intakes[i]);
    pthread_mutex_unlock(&view->lock);
}

void receiver_view_partitions(struct receiver_view *view, const struct inbox_partition_view *partitions, size_t number)
{
    pthread_mutex_lock(&view->lock);
    view->stream.partition_count = number;
    memcpy(view->stream.partitions, partitions, number * sizeof *partitions);
    pthread_mutex_unlock(&view->lock);
}

void receiver_view_pending(struct receiver_view *view, int64_t rows, int64_t oldest_age_ms)
{
    LOCKED(view, view->stream.pending_rows = rows; view->stream.oldest_age_ms = oldest_age_ms);
}

/* Of the partitions, which come last, only those that there are: the struct has room for very many. */
void receiver_view_copy(struct receiver_view *view, struct inbox_stream_view *out)
{
    const size_t head = offsetof(struct inbox_stream_view, partitions);
    LOCKED(view, memcpy(out, &view->stream, head + view->stream.partition_count * sizeof out->partitions[0]));
}
