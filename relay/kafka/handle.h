/*
 * The producer from inside the room: its struct, shared by producer.c (life, transactions) and topics.c (the cache of
 * warmed topics).
 */
#ifndef RELAY_KAFKA_HANDLE_H
#define RELAY_KAFKA_HANDLE_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include <librdkafka/rdkafka.h>

#include "kafka/producer.h"
#include "reason.h"

enum { PRODUCER_MAGIC = 0x70726f64, PRODUCER_CALL_SLICE_MS = 1000, PRODUCER_DESCRIBE_TIMEOUT_MS = 1500 };

/* OPEN <-> BEGUN; both -> FAILED, which only producer_close leaves [K1]. */
enum producer_life { PRODUCER_CLOSED, PRODUCER_OPEN, PRODUCER_BEGUN, PRODUCER_FAILED };

/* What is told of failed deliveries; a code that names a cause replaces one of the purge codes. */
struct delivery_failures {
    int64_t count;
    int code;
    int64_t tag;
    char topic[POSITION_TOPIC_NAME_MAX + 1];
};

struct warm_topic {
    char name[POSITION_TOPIC_NAME_MAX + 1];
    rd_kafka_topic_t *handle; /* kept: the library forgets a topic without one */
    struct topic_facts facts;
    uint64_t used; /* larger: used later */
};

struct producer {
    uint32_t magic;
    enum producer_life life;
    const struct kafka_settings *settings;
    const struct kafka_stop *stop;
    char *stream, *transactional_id;
    bool isolate;
    int32_t batch_bytes; /* batch.size of this handle */
    rd_kafka_t *handle;
    rd_kafka_queue_t *queue; /* its main queue */
    struct reason reason;
    char cluster_id[POSITION_CLUSTER_ID_MAX + 1];

    /* Names strictly rising; `last` is an index, for the many records in a row that go to one topic. */
    struct warm_topic **topics;
    size_t topic_count, last;
    uint64_t uses;

    /* Of the transaction. */
    int64_t begun_ms, deadline_ms;
    int64_t accepted;
    struct delivery_failures failures;
    atomic_int end_txn_sent; /* written by broker threads [K2] */
};

/* Serves events for up to timeout_ms: failed deliveries, errors, log lines. */
void producer_serve(struct producer *producer, int timeout_ms);

bool producer_stopping(const struct producer *producer);
enum error_class producer_stopped(struct error *error);

/* A name that a broker would accept. */
bool topic_name_legal(const char *name);

/* NULL: not warmed yet. */
struct warm_topic *topics_find(struct producer *producer, const char *name);

/*
 * Warms all `names` with one metadata request, learns the cluster id, describes them. Those that do not exist are
 * left out. RECREATE, code "BATCH_SIZE": one of them takes smaller batches than this handle makes.
 */
MUST_CHECK enum error_class topics_warm(struct producer *producer, const char *const *names, size_t count,
                                        int timeout_ms, struct error *error);

/* producer_topic. */
MUST_CHECK enum error_class topics_look(struct producer *producer, const char *name, bool refresh,
                                        struct topic_facts *facts, struct error *error);

/* Lets all topic handles go. */
void topics_forget(struct producer *producer);

#endif
