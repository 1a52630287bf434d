/*
 * The outbox service: every registered outbox of the database, published by workers while this instance leads.
 *
 * Threads it owns: the registry (identity, which streams exist, state rows; own PostgreSQL session), the leadership
 * (consumer group), and a worker a stream (own session, own producer). Nothing is shared but the counters below and
 * each worker's mailbox. The functions here are for one thread, the program's main thread, except where said.
 */
#ifndef OUTBOX_SERVICE_H
#define OUTBOX_SERVICE_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"
#include "kafka/client.h"

enum {
    OUTBOX_STREAMS_MAX = 256,
    OUTBOX_NAME_MAX = 40,          /* [a-z][a-z0-9_]{0,39} */
    OUTBOX_STREAM_NAME_MAX = 48,   /* "outbox/" and the name */
    OUTBOX_TOPIC_METRICS_MAX = 64, /* topics counted one by one a stream; later ones together as "other" */
    OUTBOX_LATENCY_BUCKETS = 14,
};

/* Options of one outbox, by name; streams without an entry have the defaults of outbox_stream_defaults. */
struct outbox_stream_options {
    char name[OUTBOX_NAME_MAX + 1]; /* "main" */
    int32_t commit_interval_ms;
    int32_t batch_rows_max;
    int64_t batch_bytes_max;
    int64_t retention_ms;
    int64_t size_alarm_bytes;
    bool unknown_topic_is_poison; /* on_unknown_topic: "poison" */
    const char *const *topics;    /* allow-list, names and ^regex (POSIX extended); NULL: all */
    size_t topic_count;
};

void outbox_stream_defaults(struct outbox_stream_options *options);

/* The same but for the name? */
bool outbox_stream_same(const struct outbox_stream_options *a, const struct outbox_stream_options *b);

struct outbox_service_options {
    const char *name;        /* the relay's, "orders" */
    const char *instance_id; /* NULL: dynamic membership */
    const char *conninfo;
    const struct kafka_settings *kafka;
    const char *positions_topic;          /* "boxrelay.<name>.positions" */
    int32_t positions_replication_factor; /* 0: min(3, brokers) */
    bool positions_accept_weak;
    const struct outbox_stream_options *streams;
    size_t stream_count;
    /* Called once with `owner`, in any thread, when nothing borrows from these options any more; NULL: nobody asks. */
    void (*unused)(void *owner);
    void *owner;
};

/* Upper bounds in seconds of the end-to-end histogram; the last bucket is +Inf and not in the list. */
extern const double outbox_latency_bounds[OUTBOX_LATENCY_BUCKETS - 1];

/* How an outbox is cleaned: what the last look of its leader found. */
struct outbox_cleanup_view {
    int64_t looked_ms;     /* monotonic; 0: not yet */
    int64_t size_bytes;    /* of all slots with indexes and TOAST; -1: not known */
    bool size_alarm;       /* beyond the option size_alarm */
    int64_t oldest_age_ms; /* then, of the oldest slot that has rows; -1: none has */
    int64_t held_ms;       /* then, since something holds cleaning back; -1: nothing does */
    char held_reason[16];  /* "lock", "position"; "" */
    char held_by[384];
};

/* What the service knows about one stream at one moment: for metrics, health, status. A plain copy. */
struct outbox_stream_view {
    char stream[OUTBOX_STREAM_NAME_MAX]; /* "outbox/main" */
    char state[16];                      /* publisher_state_name */
    bool leader;
    bool paused;
    struct error last_error; /* class ERROR_NONE: none since the last success */
    int64_t state_since_ms;  /* unix */
    int64_t progress_ms;     /* monotonic: the worker's last step, for liveness */
    int64_t pending_rows;    /* bounded count; -1: not known */
    bool pending_is_bound;   /* there may be more than pending_rows */
    int64_t oldest_age_ms;   /* of the oldest pending row; 0: none; -1: not known */
    uint64_t transactions_committed, transactions_failed;
    uint64_t errors[ERROR_INTEGRITY + 1];    /* by class */
    uint64_t recreated[ERROR_INTEGRITY + 1]; /* producers recreated, by the class of the reason */
    uint64_t recreated_end_txn;              /* because EndTxn went out more than once [K2] */
    uint64_t published_rows, published_bytes;
    uint64_t latency_counts[OUTBOX_LATENCY_BUCKETS]; /* not cumulative */
    double latency_sum_seconds;
    struct outbox_cleanup_view cleanup;
    uint64_t slots_emptied;
    size_t topic_count;
    struct {
        char topic[250];
        uint64_t published;
    } topics[OUTBOX_TOPIC_METRICS_MAX + 1];
};

struct outbox_service_view {
    bool postgres_up, postgres_reached; /* now; ever since the start */
    bool kafka_up;
    bool schema_ok; /* schema version in this binary's window */
    int32_t schema_version;
    struct error instance_error; /* instance-wide refusal or outage: identity, schema, PostgreSQL, Kafka; NONE: none */
    int64_t registry_progress_ms, leadership_progress_ms; /* monotonic, for liveness */
    size_t stream_count;
};

struct outbox_service;

/*
 * Starts the threads; never waits for PostgreSQL or Kafka. Borrows everything in options until unused() is called,
 * outbox_service_free at the latest; after a failure nothing is borrowed, and unused() is not called.
 */
MUST_CHECK enum error_class outbox_service_start(const struct outbox_service_options *options,
                                                 struct outbox_service **out, struct error *error);

/*
 * Other options for a running service; name and positions have to be the same [L5]. Returns at once: streams whose
 * options changed finish their batch and go on by the new ones, all of them when `conninfo` or `kafka` did, and the
 * group is left and joined again when its own did. Borrows as outbox_service_start does.
 */
MUST_CHECK enum error_class outbox_service_reconfigure(struct outbox_service *service,
                                                       const struct outbox_service_options *options,
                                                       struct error *error);

/* Asks all threads to finish their batch and end. Returns at once; call again with `now` to abandon batches. */
void outbox_service_request_stop(struct outbox_service *service, bool now);

/* Have all threads ended? */
bool outbox_service_stopped(const struct outbox_service *service);

/* Joins the threads (after outbox_service_stopped) and frees; sets NULL. */
void outbox_service_free(struct outbox_service **service);

/* Thread: any. Copies the view of the service, and of stream `index` < stream_count; false beyond the end. */
void outbox_service_view(struct outbox_service *service, struct outbox_service_view *view);
bool outbox_service_stream(struct outbox_service *service, size_t index, struct outbox_stream_view *view);

/*
 * `run --once`: has everything that was committed before the first call been published, whoever leads [L4]?
 * ERROR_NONE with *done; INTEGRITY, POISON or CONFIG of a stream that cannot go on by itself. Non-blocking: asks the
 * registry thread, which looks again about ten times a second while this is being called.
 */
MUST_CHECK enum error_class outbox_service_drained(struct outbox_service *service, bool *done, struct error *error);

struct outbox_rebase {
    const char *stream; /* "outbox/main" */
    bool to_now;        /* only what is committed from now on; else again all that is kept */
    bool force;         /* also where the stream would go on by itself */
    const char *actor;
};

/*
 * boxrelay rebase [L4, F5]: pauses the stream, fences whoever publishes it, writes a new ring of ticks and a new
 * position, resumes what was not paused before. INTEGRITY, POSITION_FINE: the stream would go on by itself, so rows
 * would be left out or go out twice for nothing; it is as it was. Blocking; opens its own session and producer.
 * `summary` (256 bytes) says what was done.
 */
MUST_CHECK enum error_class outbox_rebase(const struct outbox_service_options *options,
                                          const struct outbox_rebase *rebase, char summary[256], struct error *error);

#endif
