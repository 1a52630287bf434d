/*
 * Reading an outbox: the rows of one window, or the next slice of a large one, inside a tick transaction.
 *
 *   batch_begin -> batch_read -> tick_write -> batch_commit         (pg/tick.h)
 *                           \--> batch_rollback                     nothing to publish
 *
 * Thread: the stream's worker.
 */
#ifndef PG_WINDOW_H
#define PG_WINDOW_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"
#include "base/uuid.h"
#include "core/position.h"
#include "pg/session.h"

/* One row; every pointer lives until batch_free, none is copied from libpq's buffers. */
struct row {
    int64_t seq;
    const char *topic; /* NUL-terminated, as all text here */
    const void *key;   /* NULL: no key; key or key_bytes, whichever was set */
    size_t key_size;
    const void *value; /* NULL: tombstone */
    size_t value_size;
    const char *type;    /* NULL: none */
    const char *headers; /* JSON object; NULL: none */
    struct uuid id;
    int32_t partition;  /* -1: by key */
    int64_t created_ms; /* unix */
    void *memory;       /* the room's */
};

struct batch {
    struct row *rows; /* by rising seq */
    size_t count;
    size_t capacity;
    int64_t bytes;
    bool sliced; /* a slice of a window larger than a batch: the position stays between P and S */
    bool more;   /* the window has rows after these */
};

struct batch_limits {
    int64_t rows_max;  /* 1 or more */
    int64_t bytes_max; /* a batch holds at least one row, however large */
};

/* What a tick transaction stands on. */
struct batch_ground {
    struct snapshot *snapshot; /* the caller's */
    bool paused;               /* the stream's row says so */
    uint32_t timeline;
    int64_t reached; /* the last seq drawn: a ceiling of the snapshot, and once the tick is durable the next floor */
};

/* The SQL of one outbox, prepared per session; and since which transactions rows are in which slots (core/slots.h). */
struct window_reader;

/* `relation`: quoted, schema-qualified name of the outbox table. */
MUST_CHECK enum error_class window_reader_new(const char *relation, struct window_reader **out, struct error *error);
void window_reader_free(struct window_reader **reader);

/* Drops what earlier positions said of slots: the next one was read back, perhaps from another history [T3]. */
void window_reader_forget(struct window_reader *reader);

/* Begins the tick transaction [T1]. RECONNECT on a standby, CONFIG when the stream is not registered any more. */
MUST_CHECK enum error_class batch_begin(struct session *session, const struct window_reader *reader,
                                        const struct uuid *stream, struct batch_ground *ground, struct error *error);

/* The window to read from, and how much. */
struct batch_reading {
    const struct position *position;
    const struct snapshot *until; /* that closes the window: the position's own while slicing */
    int64_t ceiling;              /* the window has no row with a larger seq; INT64_MAX: not known */
    struct batch_limits limits;
};

/*
 * Reads the rows to be published next: those of the window from position->from to `until`, or, while slicing or when
 * that window is larger than the limits, its next slice by seq [W2]. An empty batch is no error.
 */
MUST_CHECK enum error_class batch_read(struct session *session, struct window_reader *reader,
                                       const struct batch_reading *reading, struct batch *batch, struct error *error);

/* Frees rows and their memory; the struct can be used again. */
void batch_free(struct batch *batch);

/* The current snapshot, outside of a transaction: equal to the last full window's, there is nothing to read [C4]. */
MUST_CHECK enum error_class poll_snapshot(struct session *session, struct snapshot *snapshot, struct error *error);

/* Makes a floor for the snapshots to come where no tick of a known floor was before (core/position.h). */
MUST_CHECK enum error_class window_make_floor(struct session *session, const struct window_reader *reader,
                                              int64_t *floor, struct error *error);

#ifdef BOXRELAY_FAULTS
/* Planted bug: looks at the sequence's value instead of the snapshot, so a late commit stays where it is [C4]. */
MUST_CHECK enum error_class window_planted_sequence_moved(struct session *session, const struct window_reader *reader,
                                                          bool *moved, struct error *error);
#endif

/* Rows behind the position, counted to `limit`; the oldest one's unix ms, 0 when there is none. */
MUST_CHECK enum error_class window_pending(struct session *session, const struct window_reader *reader,
                                           const struct position *position, int64_t limit, int64_t *rows,
                                           int64_t *oldest_ms, struct error *error);

/* Is everything that was done in `snapshot` published by the stored known position? */
MUST_CHECK enum error_class window_drained(struct session *session, const struct window_reader *reader,
                                           const struct uuid *stream, const struct snapshot *snapshot, bool *drained,
                                           struct error *error);

#endif
