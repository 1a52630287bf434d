/*
 * The transactional producer of one stream: one handle's life from init_transactions to its first failure.
 *
 *   open -> (begin -> send* -> commit)* -> close
 *
 * After any failure between begin and the end of commit the only legal call is producer_close: a handle is never
 * used after a failure and a transaction is never aborted [K1]. Asserted. A commit during which EndTxn went out more
 * than once is reported as a failure although it may be in the log [K2].
 *
 * Memory: key, value and header bytes of a record are borrowed: value until commit returned or producer_close
 * returned (zero copy), the rest until producer_send returned. Thread: one, the stream's worker.
 */
#ifndef KAFKA_PRODUCER_H
#define KAFKA_PRODUCER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"
#include "core/position.h"
#include "kafka/client.h"

enum {
    PRODUCER_TRANSACTION_TIMEOUT_MS = 30000, /* transaction.timeout.ms [K8] */
    PRODUCER_BATCH_MS_MAX = 10000,           /* a transaction is never open longer [K8] */
    PRODUCER_COMMIT_TIMEOUT_MS = 60000,      /* the one commit call [K9] */
    PRODUCER_FLUSH_SLICE_MS = 20,            /* flush between looks at delivery failures [K9] */
    PRODUCER_INIT_TIMEOUT_MS = 60,           /* of the first init_transactions; doubled each attempt [K12] */
    PRODUCER_INIT_TIMEOUT_MS_MAX = 3840,     /* not doubled beyond: a stop request waits for it */
    PRODUCER_TOPICS_MAX = 1024,              /* warmed topic handles kept [K10] */
    RECORD_HEADERS_MAX = 128,
    RECORD_PARTITION_BY_KEY = -1,
};

struct record_header {
    const char *name; /* need not be NUL-terminated */
    size_t name_size;
    const void *value;
    size_t value_size;
};

struct record {
    const char *topic;
    int32_t partition; /* or RECORD_PARTITION_BY_KEY */
    const void *key;   /* NULL: no key; an empty key is not NULL */
    size_t key_size;
    const void *value; /* NULL: tombstone */
    size_t value_size;
    uint32_t header_count;
    struct record_header headers[RECORD_HEADERS_MAX];
    bool copy_value; /* copied by producer_send: the value need not outlive the call */
    int64_t tag;     /* the caller's name for it: what producer_commit names a refused record by; >= 0 */
};

struct producer_options {
    const struct kafka_settings *settings;
    const char *stream;           /* "outbox/main", for messages */
    const char *transactional_id; /* constant per stream [K6] */
    const char *client_id;
    bool isolate;              /* batch.num.messages=1: exactly one delivery carries the real code */
    const char *const *topics; /* warmed before init_transactions; missing ones are no error here */
    size_t topic_count;
    const struct kafka_stop *stop;
};

struct producer; /* magic-numbered, opaque */

/*
 * New handle, topics warmed, init_transactions: first with a short time-out, each further attempt with a new handle
 * and the double [K12], until `deadline_ms` (clock_monotonic_ms). Error classes: RECONNECT (brokers away), CONFIG
 * (authentication, authorization; the text carries librdkafka's last error event), RETRY (time-out, stopping).
 */
MUST_CHECK enum error_class producer_open(const struct producer_options *options, int64_t deadline_ms,
                                          struct producer **out, struct error *error);

/* Purges, destroys, sets NULL. After it no borrowed byte is used. NULL inside is fine. */
void producer_close(struct producer **producer);

/* The Kafka cluster id; NUL-terminated, owned by the producer. "" when the cluster has none. */
const char *producer_cluster_id(const struct producer *producer);

struct topic_facts {
    int32_t partition_count;
    int32_t message_bytes_max; /* max.message.bytes; 0: not known (no right to describe) */
    bool compacted;            /* cleanup.policy contains compact; false when not known */
};

/*
 * Checks and warms a topic before its first use in a transaction [K10]; cached afterwards. `refresh` asks the broker
 * again (a partition may have been added). POISON when no topic can have that name. RECREATE with code "BATCH_SIZE"
 * when the topic takes smaller batches than this producer makes: the next one opened with the same settings and
 * transactional_id makes smaller ones. CONFIG with code "UNKNOWN_TOPIC_OR_PART" when it does not exist, other
 * CONFIG without the right to see it, RECONNECT, RETRY.
 */
MUST_CHECK enum error_class producer_topic(struct producer *producer, const char *topic, bool refresh,
                                           struct topic_facts *facts, struct error *error);

/* Lets the library's events go while no transaction is open: call it now and then (about each second) when idle. */
void producer_idle(struct producer *producer);

/* Starts a transaction. `deadline_ms`: commit fails rather than keep it open longer [K8]. */
MUST_CHECK enum error_class producer_begin(struct producer *producer, int64_t deadline_ms, struct error *error);

/*
 * Queues one record; waits while the queue is full (serving deliveries), until the transaction's deadline. POISON
 * with the transaction still clean: the record alone can never pass (too large for the client, no such partition) and
 * was not queued. Anything else: the batch has failed, close [K11].
 */
MUST_CHECK enum error_class producer_send(struct producer *producer, const struct record *record, struct error *error);

/*
 * Lets what was queued go now, without librdkafka's linger, and waits for its deliveries, PRODUCER_FLUSH_SLICE_MS at
 * most: for a caller that has something else to wait for. What became of them shows in producer_commit.
 */
void producer_push(struct producer *producer);

struct producer_commit_result {
    int64_t refused_tag;   /* POISON only: the record whose delivery carried the real code in isolate mode, else -1 */
    bool end_txn_repeated; /* [K2] */
};

/*
 * Flush in slices until all `expected` records sent are delivered [K11], then the one commit_transaction [K9].
 * ERROR_NONE: committed, exactly one EndTxn went out. POISON: a broker refused a record's content (not isolate mode:
 * which one is not known). Else RECREATE, FENCED (taken as "recreate if we still lead" [K7]), CONFIG, RECONNECT.
 * On error the outcome is unknown or not committed: close and read back.
 */
MUST_CHECK enum error_class producer_commit(struct producer *producer, int64_t expected,
                                            struct producer_commit_result *result, struct error *error);

#ifdef BOXRELAY_FAULTS
/*
 * For the planted bug "producer_reused_after_abort" only: after a failure, aborts the transaction and makes the
 * producer usable again, which [K1] forbids.
 */
MUST_CHECK enum error_class producer_abort_for_planted_bug(struct producer *producer, struct error *error);
#endif

#endif
