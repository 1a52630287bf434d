/* What a worker shows of itself to other threads: outbox_stream_view under a lock. */
#ifndef OUTBOX_VIEW_H
#define OUTBOX_VIEW_H

#include <pthread.h>

#include "core/position.h"
#include "outbox/service.h"
#include "pg/window.h"

struct view {
    pthread_mutex_t lock;
    struct outbox_stream_view stream;
    struct position *position; /* a copy, for counting what is pending */
    bool positioned;
    bool is_latest; /* nobody else has led the stream since the position was taken */
    bool drained;   /* nothing was left at the last look, a poll ago at most */
};

MUST_CHECK bool view_init(struct view *view, const char *stream);
void view_fini(struct view *view);

/* Goes on counting where the view of an ended worker of the stream stopped. Before the new worker's thread begins. */
void view_carry_on(struct view *view, struct view *before);

void view_state(struct view *view, const char *state, bool leader, bool paused, bool drained);
void view_error(struct view *view, const struct error *error);
void view_recreated(struct view *view, enum error_class class, bool end_txn);
void view_pending(struct view *view, int64_t rows, bool is_bound, int64_t oldest_age_ms);
/* The position was read back, or advanced; clears the last error. */
void view_position(struct view *view, const struct position *position);
/* A committed batch of these rows. */
void view_committed(struct view *view, const struct row *rows, size_t count);
void view_cleanup(struct view *view, const struct outbox_cleanup_view *cleanup);
void view_slot_emptied(struct view *view);
/*
 * Kafka's and PostgreSQL's accounts of what is published were compared and agree, or the stream was paused before they
 * could be. A refused stream keeps its rows: an operator may choose to send them again.
 */
bool view_may_clean(struct view *view, bool *refused);

/* Of the topics only the first topic_count. Thread: any. */
void view_copy(struct view *view, struct outbox_stream_view *out);
/* The position that this instance led to last; false: there is none, or another has led since. */
bool view_latest_position(struct view *view, struct position *out);
/* Another leads. */
void view_outdate(struct view *view);

/* Where there may be rows to count: false when the position is not known, or *drained. */
bool view_copy_position(struct view *view, struct position *out, bool *drained);

#endif
