/*
 * The positions topic: made, checked, written by the streams' producers, read back behind a barrier.
 *
 * Partition i belongs to the outbox stream whose registration has partition i. Records on it:
 *   key "position/<stream uuid>"  value: core/position.h format
 *   key "barrier/<stream uuid>"   value: "boxrelay barrier 1\nbarrier <uuid>\nowner <text>\ntime <unix ms>\nend\n"
 * Records of other stream uuids are ignored. Thread: any; each call makes and destroys its own client.
 */
#ifndef KAFKA_POSITIONS_H
#define KAFKA_POSITIONS_H

#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"
#include "base/uuid.h"
#include "core/position.h"
#include "kafka/client.h"
#include "kafka/producer.h"

enum {
    POSITIONS_ENSURE_TIMEOUT_MS = 10000, /* of positions_ensure: brokers that are away for longer are RECONNECT */
    POSITIONS_SEGMENT_BYTES = 32 * 1024 * 1024, /* a transaction adds 155 bytes: compacted often enough [K5] */
};

struct positions_options {
    const struct kafka_settings *settings;
    const char *topic;
    int32_t partitions;         /* at least so many; more is no error */
    int32_t replication_factor; /* 0: min(3, brokers) */
    bool accept_weak;           /* only warn where fewer replicas than three, or min.insync.replicas 1, would refuse */
    const struct kafka_stop *stop;
};

/*
 * Creates the topic or its missing partitions, then checks it [K5]: cleanup.policy=compact alone; on three or more
 * brokers at least 3 replicas and min.insync.replicas 2 (else INTEGRITY unless accept_weak; fewer brokers: a
 * warning in the log). Another instance doing the same at the same time is no error. When `warned` is set, the
 * warning was already logged.
 */
MUST_CHECK enum error_class positions_ensure(const struct positions_options *options, bool *warned,
                                             struct error *error);

/*
 * Sends the position record through the stream's open transaction. `text` is borrowed until commit or close.
 */
MUST_CHECK enum error_class positions_send(struct producer *producer, const char *topic, int32_t partition,
                                           const struct uuid *stream, const char *text, size_t length,
                                           struct error *error);

/* Commits a transaction with a barrier record alone, or, where `text` is not NULL, with that position before it. */
MUST_CHECK enum error_class positions_barrier(struct producer *producer, const char *topic, int32_t partition,
                                              const struct uuid *stream, const struct uuid *barrier, const char *owner,
                                              const char *text, size_t length, struct error *error);

struct positions_read {
    const struct kafka_settings *settings;
    const char *topic;
    int32_t partition;
    struct uuid stream;
    struct uuid barrier;
    int64_t from_offset; /* where the tick row knows a position; -1: back from the end, doubling, to the beginning */
    int64_t deadline_ms; /* clock_monotonic_ms */
    const struct kafka_stop *stop;
};

/*
 * Reads the partition read_committed until that very barrier is seen [K3]; *found: whether a position of the stream
 * stands before it, the last one, in *position and *offset. When from_offset is gone from the log (compaction or
 * retention moved the start), reads from the start. RECONNECT: brokers away. CONFIG: rights. CONFIG with code
 * "BARRIER_NOT_VISIBLE": brokers answer but the deadline passed; never taken for "no position". INTEGRITY: the last
 * position of the stream cannot be parsed.
 */
MUST_CHECK enum error_class positions_read_back(const struct positions_read *read, bool *found,
                                                struct position *position, int64_t *offset, struct error *error);

#endif
