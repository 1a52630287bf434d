/*
 * Reading subscribed topics as a member of a consumer group. The group says which partitions are ours; which of them
 * are read, and from where, says the caller, because offsets live in PostgreSQL [I1].
 *
 *   consumer_poll: rebalanced -> consumer_assigned -> (offsets from PostgreSQL) -> consumer_read -> messages
 *
 * From a rebalance until consumer_read nothing is read: a member that has to wait for PostgreSQL keeps its membership
 * by polling. Thread: all calls from one thread.
 */
#ifndef KAFKA_CONSUMER_H
#define KAFKA_CONSUMER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"
#include "kafka/client.h"

enum { CONSUMER_TOPIC_MAX = 249, CONSUMER_FAILURES_MAX = 16 };

struct consumer_options {
    const struct kafka_settings *settings;
    const char *group_id;    /* "boxrelay.<name>.inbox-main" */
    const char *instance_id; /* group.instance.id; NULL: dynamic membership */
    const char *client_id;
    const char *const *topics; /* names and ^regex; none: stays out of the group, only asks */
    size_t topic_count;
    const char *excluded; /* a topic that no regex may match */
};

struct consumer_partition {
    char topic[CONSUMER_TOPIC_MAX + 1];
    int32_t partition;
    int64_t offset;
};

/* One message; every pointer lives until fetch_free. */
struct message {
    const char *topic;
    int32_t partition;
    int64_t offset;
    int64_t time_ms; /* unix, to the end of year 9999; -1: the record has none, or another */
    const void *key; /* NULL: none */
    size_t key_size;
    const void *value; /* NULL: tombstone */
    size_t value_size;
    void *memory;
    const void *record; /* the room's, both */
};

/* What one poll brought. */
struct fetch {
    struct message *messages; /* of each partition by rising offset */
    size_t count, capacity;
    int64_t bytes;   /* of keys and values */
    bool rebalanced; /* what is assigned has changed: nothing is read until consumer_read */
    /* Partitions whose end was reached, with the offset of the next record there will be: all before it, markers of
     * transactions too, was given out. */
    struct consumer_partition *ends;
    size_t end_count, end_capacity;
    /* Partitions that cannot be read on: offset out of range, topic deleted, not authorized. */
    size_t failure_count;
    struct consumer_failure {
        char topic[CONSUMER_TOPIC_MAX + 1];
        int32_t partition; /* -1: the topic as a whole */
        struct error error;
    } failures[CONSUMER_FAILURES_MAX];
};

struct consumer;

/* Joins. CONFIG for refused settings; brokers away are no error here, they show in consumer_poll. */
MUST_CHECK enum error_class consumer_open(const struct consumer_options *options, struct consumer **out,
                                          struct error *error);

/*
 * Serves the membership, and adds messages to `fetch` until it holds `rows_max` or `bytes_max`, waiting up to
 * `timeout_ms` for the first. A rebalance ends the poll and empties the fetch: what it held may be another's now.
 * ERROR_NONE, or what stands in the way now: RECONNECT, CONFIG, INTEGRITY as group_poll of kafka/group.h.
 */
MUST_CHECK enum error_class consumer_poll(struct consumer *consumer, int timeout_ms, size_t rows_max, int64_t bytes_max,
                                          struct fetch *fetch, struct error *error);

/* Lets the messages go; the struct can be used again. Zeroed memory is an empty fetch. */
void fetch_empty(struct fetch *fetch);
void fetch_free(struct fetch *fetch);

/* The header at `index`; false beyond the last. *value is NULL for a header without one. */
bool message_header(const struct message *message, size_t index, const char **name, const void **value, size_t *size);

/* The partitions that the group gave us, without offsets; borrowed until the next poll. */
size_t consumer_assigned(const struct consumer *consumer, const struct consumer_partition **partitions);

/* Reads exactly these of them from now on, from their offsets. */
MUST_CHECK enum error_class consumer_read(struct consumer *consumer, const struct consumer_partition *partitions,
                                          size_t count, struct error *error);

/* Stops and resumes fetching what is read; the membership is kept by polling on [I6]. */
void consumer_pause(struct consumer *consumer, bool pause);

/*
 * All partitions that there are of the subscribed topics, by topic and number, for a first start. The caller frees the
 * array. CONFIG UNKNOWN_TOPIC_OR_PART: a topic subscribed by name is not there.
 */
MUST_CHECK enum error_class consumer_list(struct consumer *consumer, int timeout_ms,
                                          struct consumer_partition **partitions, size_t *count, struct error *error);

/* First offset and the one behind the last, asked from the leader (read_committed: of what is committed). */
MUST_CHECK enum error_class consumer_range(struct consumer *consumer, const char *topic, int32_t partition,
                                           int timeout_ms, int64_t *first, int64_t *end, struct error *error);

/* Sets each offset to the first record at or after `unix_ms`, or the end where there is none. */
MUST_CHECK enum error_class consumer_seek_time(struct consumer *consumer, struct consumer_partition *partitions,
                                               size_t count, int64_t unix_ms, int timeout_ms, struct error *error);

/* Sets each offset to the end of its partition, asked from the leaders all at once. */
MUST_CHECK enum error_class consumer_ends(struct consumer *consumer, struct consumer_partition *partitions,
                                          size_t count, int timeout_ms, struct error *error);

/* Records behind `next` as of the last fetch; -1: not known. */
int64_t consumer_lag(struct consumer *consumer, const char *topic, int32_t partition, int64_t next);

/* Kafka's committed offsets, for lag tools only; never waited for. */
void consumer_tell_offsets(struct consumer *consumer, const struct consumer_partition *partitions, size_t count);

/* Leaves the group, destroys, sets NULL. */
void consumer_close(struct consumer **consumer);

#endif
