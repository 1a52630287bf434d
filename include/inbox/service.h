/*
 * The inbox service: every configured inbox, each fed by a worker that shares the partitions of its topics with the
 * other instances of the relay through the consumer group "boxrelay.<name>.inbox-<inbox>".
 *
 * Threads it owns: a receiver an inbox (own PostgreSQL session, own consumer). Nothing is shared but the views below
 * and some flags. The functions here are for one thread, the program's main thread, except where said.
 */
#ifndef INBOX_SERVICE_H
#define INBOX_SERVICE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"
#include "kafka/client.h"

enum {
    INBOX_STREAMS_MAX = 64,
    INBOX_NAME_MAX = 40,               /* [a-z][a-z0-9_]{0,39} */
    INBOX_STREAM_NAME_MAX = 48,        /* "inbox/" and the name */
    INBOX_TOPICS_MAX = 256,            /* subscribed by one inbox: names and ^regex */
    INBOX_ID_HEADERS_MAX = 16,         /* looked at for the idempotency id */
    INBOX_PARTITION_METRICS_MAX = 256, /* partitions shown one by one a stream */
    INBOX_TOPIC_METRICS_MAX = 64,      /* topics counted one by one a stream; later ones together as "other" */
};

/* What happens with a partition that is read for the very first time, in an inbox that never read before [I2]. */
enum inbox_start { INBOX_START_EARLIEST, INBOX_START_LATEST, INBOX_START_REFUSE, INBOX_START_TIME };

enum inbox_missing_id {
    INBOX_MISSING_ID_DEAD_LETTER,
    INBOX_MISSING_ID_COORDINATES, /* topic/partition/offset is the id: no deduplication of what is sent twice */
};

/* Options of one inbox. */
struct inbox_stream_options {
    char name[INBOX_NAME_MAX + 1]; /* "main" */
    const char *const *topics;     /* names and ^regex (librdkafka's), 1 or more */
    size_t topic_count;
    enum inbox_start start;
    int64_t start_ms; /* INBOX_START_TIME: unix */
    /* The id is the value of the first of these headers that a message has; "ce_source+ce_id" joins two, as
     * CloudEvents wants it. 1 or more. */
    const char *const *id_headers;
    size_t id_header_count;
    enum inbox_missing_id on_missing_id;
    int64_t waiting_rows_max, waiting_bytes_max; /* more in the inbox: its partitions pause [I6] */
    int64_t retention_ms, id_retention_ms;
    int32_t batch_rows_max; /* stored in one transaction */
    int64_t batch_bytes_max;
};

/* Everything but name and topics; id_headers is static memory: ce_source+ce_id, id, idempotency-key. */
void inbox_stream_defaults(struct inbox_stream_options *options);

/* The same but for the name? */
bool inbox_stream_same(const struct inbox_stream_options *a, const struct inbox_stream_options *b);

struct inbox_service_options {
    const char *name;        /* the relay's, "orders" */
    const char *instance_id; /* NULL: dynamic membership */
    const char *conninfo;
    const struct kafka_settings *kafka;
    const char *positions_topic; /* never subscribed, whatever a regex matches [K5] */
    const struct inbox_stream_options *streams;
    size_t stream_count;
    /* Called once with `owner`, in any thread, when nothing borrows from these options any more; NULL: nobody asks. */
    void (*unused)(void *owner);
    void *owner;
};

/* A partition that this instance reads. */
struct inbox_partition_view {
    char topic[250];
    int32_t partition;
    int64_t lag_records;     /* records behind the stored offset, as of the last fetch; -1: not known */
    struct error last_error; /* the partition is stopped [I5]; class ERROR_NONE: it is read */
};

/* What the service knows about one stream at one moment: for metrics, health, status. A plain copy. */
struct inbox_stream_view {
    char stream[INBOX_STREAM_NAME_MAX]; /* "inbox/main" */
    char state[16];                     /* subscriber_state_name */
    bool paused;
    bool full;                          /* its partitions pause: too much waits in the inbox [I6] */
    struct error last_error;            /* class ERROR_NONE: none since the last success */
    int64_t state_since_ms;             /* unix */
    int64_t progress_ms;                /* monotonic: the worker's last step, for liveness */
    bool postgres_up, postgres_reached; /* now; ever since the start */
    bool kafka_up;
    bool schema_ok;        /* schema version in this binary's window; meaningful once postgres_reached */
    int64_t pending_rows;  /* waiting messages; -1: not known */
    int64_t oldest_age_ms; /* of the oldest waiting message; 0: none; -1: not known */
    uint64_t transactions_committed, transactions_failed;
    uint64_t errors[ERROR_INTEGRITY + 1]; /* by class */
    uint64_t stored_rows, stored_bytes, duplicates, conflicts, dead_letters;
    size_t topic_count;
    struct {
        char topic[250];
        uint64_t stored;
    } topics[INBOX_TOPIC_METRICS_MAX + 1];
    size_t partition_count;
    struct inbox_partition_view partitions[INBOX_PARTITION_METRICS_MAX];
};

struct inbox_service;

/*
 * Starts the workers; never waits for PostgreSQL or Kafka. Borrows everything in options until unused() is called,
 * inbox_service_free at the latest; after a failure nothing is borrowed, and unused() is not called.
 */
MUST_CHECK enum error_class inbox_service_start(const struct inbox_service_options *options, struct inbox_service **out,
                                                struct error *error);

/*
 * Other options for a running service; the name has to be the same. Returns at once: inboxes whose options changed
 * finish their batch and go on by the new ones, new ones begin, ones that are gone end. Borrows as
 * inbox_service_start does, and after a failure goes on with the options from before. An inbox whose thread cannot be
 * started is tried again, and logged.
 */
MUST_CHECK enum error_class inbox_service_reconfigure(struct inbox_service *service,
                                                      const struct inbox_service_options *options, struct error *error);

/* Asks all threads to finish their batch and end. Returns at once; call again with `now` to abandon batches. */
void inbox_service_request_stop(struct inbox_service *service, bool now);

/* Have all threads ended? */
bool inbox_service_stopped(struct inbox_service *service);

/* Joins the threads (after inbox_service_stopped) and frees; sets NULL. */
void inbox_service_free(struct inbox_service **service);

/* Thread: any. */
size_t inbox_service_count(struct inbox_service *service);
/* Thread: any. Copies the view of stream `index`; false beyond the end. */
bool inbox_service_stream(struct inbox_service *service, size_t index, struct inbox_stream_view *view);

/*
 * `run --once`: has everything that was in the subscribed partitions at the first call been stored, by whichever
 * instance? ERROR_NONE with *done; INTEGRITY, POISON or CONFIG of a stream that cannot go on by itself. Non-blocking.
 */
MUST_CHECK enum error_class inbox_service_drained(struct inbox_service *service, bool *done, struct error *error);

/* Where an inbox goes on after a partition is not what it was [I5]. */
enum inbox_rebase_target { INBOX_REBASE_NOW, INBOX_REBASE_START, INBOX_REBASE_TIME };

struct inbox_rebase {
    const char *stream; /* "inbox/main" */
    enum inbox_rebase_target target;
    int64_t time_ms;   /* INBOX_REBASE_TIME: unix */
    bool force;        /* also where ids were forgotten already */
    const char *topic; /* NULL: all that the inbox has read */
    int32_t partition; /* -1: all of the topic */
    const char *actor;
};

/*
 * boxrelay rebase: reads the partitions anew from their first record, from a time, or from behind the last, as a new
 * generation [I7]: messages of the older one are finished first. Whoever reads them is fenced and goes on there within
 * seconds. INTEGRITY, IDS_FORGOTTEN: records would be read of a time whose ids are forgotten [I4]. Blocking; opens its
 * own session and Kafka client. `summary` (256 bytes) says what was done.
 */
MUST_CHECK enum error_class inbox_rebase(const struct inbox_service_options *options, const struct inbox_rebase *rebase,
                                         char summary[256], struct error *error);

#endif
