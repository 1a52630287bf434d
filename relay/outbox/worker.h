/*
 * A worker: the thread of one outbox stream, with its own PostgreSQL session and its own producer.
 *
 * It performs the action of the publisher's state (core/publisher.h decides, worker_start.c and worker_batch.c act),
 * reports one event, and lets go what the publisher says. Its struct belongs to its thread; others use the mailbox,
 * the stop flags and the view, which has its own lock.
 */
#ifndef OUTBOX_WORKER_H
#define OUTBOX_WORKER_H

#include <pthread.h>
#include <stdatomic.h>

#include "allow.h"
#include "base/log.h"
#include "configuration.h"
#include "core/publisher.h"
#include "core/start.h"
#include "kafka/positions.h"
#include "last_poll.h"
#include "mailbox.h"
#include "outbox/service.h"
#include "pg/catalog.h"
#include "pg/tick.h"
#include "pg/window.h"
#include "trace.h"
#include "view.h"

enum {
    WORKER_MAGIC = 0x776f726b,   /* "work" */
    WORKER_START_MS_MAX = 30000, /* opening a producer, reading back: given up and tried again */
    WORKER_PRODUCE_GAP_MS = 5,   /* between a commit and the next produce [K13] */
    WORKER_OWNER_MAX = 128,
};

/* The row that is the reason of a failure, as log lines name it; never its key, payload or other headers. */
struct worker_row {
    int64_t seq; /* -1: the failure has no row */
    int32_t partition;
    char id[UUID_TEXT_SIZE];
    char topic[256];
    char trace_id[TRACE_ID_SIZE];
};

struct worker {
    unsigned magic;
    struct configuration *configuration;          /* what it was started with, to its end */
    const struct outbox_service_options *service; /* in it */
    struct outbox_stream_options options;
    struct catalog_stream stream; /* as registered; name, uuid, partition and relation never change */
    struct uuid incarnation;      /* of this process */
    char owner[WORKER_OWNER_MAX]; /* host and pid, for the barrier and relay.status */
    char transactional_id[256];
    char application_name[160];

    pthread_t thread;
    atomic_bool ended;
    struct mailbox mailbox;
    struct poll_sleeper sleeper; /* in the configuration's last poll */
    struct session_stop session_stop;
    struct kafka_stop kafka_stop;
    struct view view;

    struct publisher publisher;
    struct session *session;
    struct window_reader *reader;
    struct allow_list *allowed;
    struct producer *producer;
    int64_t served_ms; /* monotonic: when an idle one's events were last let go */
    struct tick_ring ring;
    struct database_identity database;

    /* The position: as read back, then advanced by each committed batch. */
    struct position *position;
    struct position *next;   /* what the open batch commits */
    int64_t position_offset; /* of the position read back: never ahead of the newest one */
    struct tick_name newest; /* tick */
    struct tick_name known;  /* the newest position known committed in Kafka; has_known */
    bool has_known;
    struct snapshot *known_snapshot;
    struct snapshot *last_full; /* S of the last window read to its end; has_last_full [C4] */
    bool has_last_full;
    int64_t floor;       /* of the snapshots to come: what the sequence had reached before the last durable tick */
    struct uuid barrier; /* the last one committed */
#ifdef BOXRELAY_FAULTS
    bool planted_found;
    struct producer *planted_kept;
#endif
    char *text; /* POSITION_TEXT_MAX: the position record, borrowed by the producer */

    /* The open batch. */
    struct batch batch;
    struct snapshot *until; /* S of its window, and its floor and ceiling */
    int64_t until_floor, ceiling;
    int64_t reached; /* by the sequence, in its tick transaction */
    size_t sendable; /* rows of the batch that go out: those before a row that cannot */
    size_t sent;     /* of those, handed to the producer */
    bool transaction_open;
    bool topic_missing;
    bool poison_found; /* the failed commit told which row: refused_seq */
    /* The next slice of the same window, read while the open batch is being committed; its transaction is open too. */
    struct batch ahead;
    int64_t ahead_reached;
    int64_t row_bytes_average;
    int64_t committed_us; /* monotonic: the last commit */
    int64_t polled_us;    /* monotonic: when the last poll began; 0: the batch was not polled for */
    int64_t lead_us;      /* from a poll to its first record, on average */

    int64_t refused_seq; /* the row a broker refused, found in isolation; -1: none */
    struct error refusal;
    struct error error;       /* of the last failed action */
    struct worker_row reason; /* of that error */
    struct log_said said;     /* failures since the last success */
};

/* `before`: the ended worker whose place it takes and whose counters it carries on; NULL: the stream's first. CONFIG
 * for an allow-list that does not compile. */
MUST_CHECK enum error_class worker_start(struct configuration *configuration, const struct catalog_stream *stream,
                                         const struct uuid *incarnation, struct worker *before, struct worker **out,
                                         struct error *error);

/* Thread: any. */
void worker_send(struct worker *worker, enum publisher_command command);
void worker_request_stop(struct worker *worker, bool now);

/* Joins and frees; after it has ended. */
void worker_free(struct worker **worker);

/* The actions, one a state: ERROR_NONE or the class in worker->error. */
enum error_class worker_connect(struct worker *worker);
enum error_class worker_open(struct worker *worker);
enum error_class worker_barrier(struct worker *worker);
enum error_class worker_read_back(struct worker *worker, bool *no_position, bool *newer);
enum error_class worker_first(struct worker *worker);
enum error_class worker_know(struct worker *worker);
enum error_class worker_poll(struct worker *worker, bool *changed);
enum error_class worker_read(struct worker *worker, bool *paused, bool *nothing, bool *newer);
enum error_class worker_tick(struct worker *worker);
enum error_class worker_commit(struct worker *worker, bool *more);

/* Gives up what was read ahead, for every state but READ. */
void worker_drop_ahead(struct worker *worker);

/* The position's name, snapshot and offset as a tick stores it. */
struct tick_known worker_known(const struct worker *worker);
/* The position in hand is the newest known one. */
void worker_set_known(struct worker *worker);

#endif
