/*
 * Plain models of PostgreSQL and of Kafka for tests/core/test_simulation.c: no threads, no time, each call atomic.
 *
 * PostgreSQL: transactions with rising xids; a commit may be asynchronous, so that a crash takes it back and its xid
 * is handed out again to somebody else. Kafka: one transactional id, epochs, and an EndTxn that may arrive late.
 * All of what a reader of the topic sees is judged when a transaction is committed.
 */
#ifndef TESTS_CORE_SIMULATION_H
#define TESTS_CORE_SIMULATION_H

#include "core/publisher.h"
#include "core/slots.h"
#include "core/start.h"
#include "random.h"

enum { XIDS_MAX = 512, ROWS_MAX = 512, KEYS = 3, RECORDS_MAX = 4096, POSITION_BYTES_MAX = 1024, LATE_MAX = 4 };

enum verdict { FINE, LOST, DUPLICATED, PHANTOM, OUT_OF_ORDER, STUCK, VERDICTS };

/* Mistakes of the shell that the simulation has to catch. */
enum planted {
    PLANTED_NONE,
    PLANTED_NO_TICK,
    PLANTED_TICK_AFTER_COMMIT,
    PLANTED_ADVANCE_ON_EMPTY,
    PLANTED_SEQ_READING,
    PLANTED_KEEP_AFTER_REPEATED_END,
    PLANTED_POSITION_BEFORE_INIT,
    PLANTED_RESUME_AFTER_UNKNOWN,
    PLANTED_OWN_FLOOR,
    PLANTED_LATE_BY_FLOOR,
    PLANTEDS,
};

struct transaction {
    enum { FREE, RUNNING, PREPARED, COMMITTED, ABORTED } fate;
    int64_t first_lsn, end_lsn; /* where its first and its last record stand in the WAL */
    uint32_t locked;            /* keys, a bit each */
    bool prepared;              /* a crash that takes its end back leaves it prepared */
};

struct model_row {
    uint64_t xid;
    int64_t seq, lsn;
    int key;
    bool gone; /* taken back by a crash */
    int published;
};

struct postgres {
    uint64_t next_xid;
    int64_t next_seq, lsn, flushed;
    int epoch; /* of the server's life: a session of an older one is dead */
    struct transaction transactions[XIDS_MAX];
    int row_count;
    struct model_row rows[ROWS_MAX];
    struct tick_ring ring;
    struct database_identity identity;
};

struct model_record {
    enum { OPEN, VISIBLE, DROPPED } state;
    int row;     /* of the topic */
    int barrier; /* of the positions topic; 0: a position, in text */
    size_t length;
    char text[POSITION_BYTES_MAX];
};

struct log {
    int count, first_open;
    struct model_record *records;
};

struct kafka {
    int epoch;
    bool ongoing;
    struct log topic, positions;
    int late_count, late[LATE_MAX]; /* EndTxn requests under way, by epoch */
};

struct world {
    struct postgres postgres;
    struct kafka kafka;
    struct random random;
    enum verdict verdict; /* the first thing that went wrong */
    int64_t last_of_key[KEYS];
    uint32_t serial; /* makes uuids and barriers */
};

void world_init(struct world *world, uint64_t seed);
void world_condemn(struct world *world, enum verdict verdict);
struct uuid world_uuid(struct world *world);

/* PostgreSQL, as writers use it: one random thing that some writer does. `calm`: only ends what is open. */
void postgres_write(struct world *world, bool calm);
void postgres_crash(struct world *world);
/* The server becomes what `standby` was, on the next timeline; what was open there is not. */
void postgres_fail_over(struct world *world, const struct postgres *standby);
void postgres_snapshot(const struct postgres *postgres, struct snapshot *out);
/* Would a reader with this snapshot see the row? */
bool postgres_visible(const struct postgres *postgres, const struct snapshot *snapshot, const struct model_row *row);
/* The durable tick; false: another one came first. */
bool postgres_tick(struct postgres *postgres, const struct tick_name *old, const struct tick *tick);
bool postgres_know(struct postgres *postgres, const struct tick_name *newest, const struct tick_name *known,
                   int64_t offset);

/* Kafka, as one producer uses it; false: fenced. */
int kafka_init(struct kafka *kafka);
bool kafka_send(struct kafka *kafka, int epoch, int row);
bool kafka_send_position(struct kafka *kafka, int epoch, int barrier, const char *text, size_t length);
/* EndTxn arrives: what is open becomes visible, and is judged. */
bool kafka_commit(struct world *world, int epoch);
void kafka_late(struct kafka *kafka, int epoch);
void kafka_late_arrives(struct world *world);
/* The last visible position before that barrier (0: before the end), and its offset; NULL: none. */
const struct model_record *kafka_position(const struct kafka *kafka, int barrier, int64_t *offset);

/* What is committed and not published, in the end. */
int world_unpublished(const struct world *world);

#endif
