/*
 * What a stream may do after it has read its position back: compare Kafka's word with PostgreSQL's.
 *
 * Decided on one struct of facts, so that tests fill it from fixtures. Pure. docs/design.md [K5], [T4], section
 * "After a failover or a restore".
 */
#ifndef CORE_START_H
#define CORE_START_H

#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"
#include "core/position.h"

enum { TICK_RING_SLOTS = 16 };

/* One row of the ring of ticks; the position known committed in Kafka when it was written [T4]. */
struct tick {
    struct tick_name name;
    struct database_identity database;
    bool known; /* false: no position was known yet, the known_ fields mean nothing */
    struct tick_name known_name;
    int64_t known_offset; /* on the stream's partition of the positions topic */
};

struct tick_ring {
    uint32_t count;
    struct tick ticks[TICK_RING_SLOTS]; /* any order */
};

/* The tick with the highest number; NULL for an empty ring. */
const struct tick *tick_ring_newest(const struct tick_ring *ring);

/* Is it one of the kept ticks, or the known position of the newest one? By number and uuid. */
bool tick_ring_holds(const struct tick_ring *ring, const struct tick_name *name);

struct start_facts {
    const char *stream; /* for the messages, as "outbox/main" */
    struct uuid stream_uuid;
    const struct tick_ring *ring;      /* as read in this PostgreSQL session */
    struct database_identity database; /* of this PostgreSQL session */
    const char *cluster_id;            /* of the Kafka cluster we are connected to */
    const struct position *position;   /* last one of this stream before the barrier; NULL: none */
    int64_t position_offset;           /* its offset; unused without */
};

enum start_verdict {
    START_GO,      /* go on from the position */
    START_FIRST,   /* the very first start: commit position 0, store it as known, then poll */
    START_REFUSED, /* *error says why and which command to run */
};

/*
 * FIRST: no position, none known, and tick 0 is the newest: nothing was ever published. GO: the position is of a kept
 * tick or the known one, of this cluster, database and no higher timeline; also when none is known yet (a crash or
 * failover between position 0 and storing it as known). All else is refused, ERROR_INTEGRITY, with one of the codes
 * TICKS_MISSING, OTHER_DATABASE, TIMELINE_LOWER, POSITION_LOST, OTHER_CLUSTER, POSITION_OLD, COMMITS_LOST,
 * REBASE_UNFINISHED, and the command in the hint. The position is of stream_uuid (asserted).
 */
MUST_CHECK enum start_verdict start_decide(const struct start_facts *facts, struct error *error);

/* After START_GO: has the newest tick yet to learn of this position [C3]? What a publisher_report wants to know. */
bool start_position_newer(const struct start_facts *facts);

/*
 * The look before joining and before init_transactions, without Kafka [L2]: the same database as the ticks were
 * written in, no lower timeline. ERROR_NONE or ERROR_INTEGRITY.
 */
MUST_CHECK enum error_class start_check_database(const char *stream, const struct tick_ring *ring,
                                                 const struct database_identity *database, struct error *error);

#endif
