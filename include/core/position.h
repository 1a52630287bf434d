/*
 * A position: how far an outbox has been published. It lives in Kafka, in the same transaction as the messages.
 *
 *   not slicing: every row done in P is published, none other.
 *   slicing:     besides, of the window from P to S, the rows with seq <= last_seq [W2].
 *
 * A snapshot's floor is what the sequence had reached before the last tick began that was durable when the snapshot was
 * taken. Transactions from the snapshot's xmax on have ids beyond that tick's, so they began later, and drew every seq
 * of theirs later still: beyond the floor. (Not beyond what the sequence had reached at the snapshot itself: xmax is
 * one more than the newest id that is *done*, and transactions beyond it may have written already.) So reading by seq
 * need not look at what was published long before.
 *
 * Wire format 1 is text, one field a line, so that an operator can read it with any consumer; the order of the lines
 * is fixed, the parser takes nothing else:
 *
 *   boxrelay position 1
 *   stream <uuid>
 *   tick <number> <uuid>
 *   from <pg_snapshot> <floor>
 *   until <pg_snapshot> <floor> <last seq>  only while slicing
 *   cluster <Kafka cluster id>
 *   database <system identifier> <oid> <timeline>
 *   request <number of the last request done, 0: none>
 *   topic <name> <unix ms of the last write>   0 to POSITION_TOPICS_MAX of them, names strictly rising
 *   end
 *
 * Pure. Bounds: POSITION_TEXT_MAX bytes, below Kafka's default max.message.bytes.
 */
#ifndef CORE_POSITION_H
#define CORE_POSITION_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"
#include "base/uuid.h"
#include "core/snapshot.h"

enum {
    POSITION_FORMAT = 1,
    POSITION_TOPICS_MAX = 512,
    POSITION_TOPIC_NAME_MAX = 249, /* Kafka's limit: Topic.MAX_NAME_LENGTH */
    POSITION_CLUSTER_ID_MAX = 63,
    POSITION_TEXT_MAX = 2 * SNAPSHOT_TEXT_MAX + POSITION_TOPICS_MAX * (POSITION_TOPIC_NAME_MAX + 29) + 1024,
};

/* Which database, and which history of it, a tick or position was written in. */
struct database_identity {
    uint64_t system_identifier;
    uint32_t database_oid;
    uint32_t timeline;
};

/* A tick's name: number and uuid together; the uuid tells two histories with the same number apart. */
struct tick_name {
    int64_t number;
    struct uuid uuid;
};

struct position_topic {
    char name[POSITION_TOPIC_NAME_MAX + 1];
    int64_t written_ms;
};

struct position {
    struct uuid stream;
    struct tick_name tick;
    struct snapshot from; /* P */
    int64_t from_floor;
    bool slicing;
    struct snapshot until; /* S; only while slicing */
    int64_t until_floor;   /* only while slicing */
    int64_t last_seq;      /* only while slicing */
    char cluster_id[POSITION_CLUSTER_ID_MAX + 1];
    struct database_identity database;
    int64_t request;
    uint32_t topic_count;
    struct position_topic topics[POSITION_TOPICS_MAX];
};

/* Position 0 of a stream: before every row, with tick 0's name; database and cluster as given. */
void position_first(struct position *out, const struct uuid *stream, const struct tick_name *tick,
                    const struct database_identity *database, const char *cluster_id);

/* The window is read to its end: the position stands at its S. Only while slicing. */
void position_close_window(struct position *position);

/* A floor of every snapshot taken from now on. */
int64_t position_floor(const struct position *position);

/* Was it written in this Kafka cluster? Ids are compared as position_first stores them: cut, and as one word. */
bool position_in_cluster(const struct position *position, const char *cluster_id);

/* Copies only the used parts. */
void position_copy(struct position *to, const struct position *from);

/*
 * Notes a write to `topic` now; forgets topics last written before `oldest_ms`. False: no room for one more, or no
 * legal topic name.
 */
MUST_CHECK bool position_topic_written(struct position *position, const char *topic, int64_t now_ms, int64_t oldest_ms);

/* Writes format 1; returns the length (no NUL counted). `size` must be >= POSITION_TEXT_MAX (asserted). */
size_t position_format(const struct position *position, char *text, size_t size);

/* Parses any bytes; ERROR_INTEGRITY with what is wrong and at which line when they are no position of ours. */
MUST_CHECK enum error_class position_parse(const char *text, size_t length, struct position *out, struct error *error);

#endif
