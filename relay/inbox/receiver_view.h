/* What a receiver shows of itself to other threads: inbox_stream_view under a lock. Thread: the receiver, but
 * receiver_view_copy. */
#ifndef INBOX_RECEIVER_VIEW_H
#define INBOX_RECEIVER_VIEW_H

#include <pthread.h>

#include "inbox/service.h"
#include "intake.h"

struct receiver_view {
    pthread_mutex_t lock;
    struct inbox_stream_view stream;
};

void receiver_view_init(struct receiver_view *view, const char *stream);
void receiver_view_fini(struct receiver_view *view);

/* Goes on counting where the view of an ended receiver of the stream stopped. */
void receiver_view_carry_on(struct receiver_view *view, struct receiver_view *before);

void receiver_view_state(struct receiver_view *view, const char *state, bool paused, bool full);
void receiver_view_postgres(struct receiver_view *view, bool up);
void receiver_view_schema(struct receiver_view *view, bool ok);
void receiver_view_kafka(struct receiver_view *view, bool up);
void receiver_view_error(struct receiver_view *view, const struct error *error);
void receiver_view_mended(struct receiver_view *view); /* the last error is over */
void receiver_view_failed_transaction(struct receiver_view *view);
/* A committed batch. */
void receiver_view_stored(struct receiver_view *view, const struct intake *intakes, size_t count);
void receiver_view_partitions(struct receiver_view *view, const struct inbox_partition_view *partitions, size_t count);
void receiver_view_pending(struct receiver_view *view, int64_t rows, int64_t oldest_age_ms);

/* Thread: any. */
void receiver_view_copy(struct receiver_view *view, struct inbox_stream_view *out);

#endif
