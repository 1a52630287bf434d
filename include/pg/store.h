/*
 * Storing into an inbox: messages, ids and offsets in one transaction.
 *
 *   store_find -> store_start (once ever) -> store_take ...          where each partition stands [I1, I2]
 *   store_begin -> store_ids -> store_offsets -> store_rows -> store_dead -> store_commit
 *             \--> store_rollback                                    at any point
 *
 * Thread: the stream's worker.
 */
#ifndef PG_STORE_H
#define PG_STORE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"
#include "base/uuid.h"
#include "pg/session.h"

enum store_payload { STORE_JSON, STORE_TEXT, STORE_BYTES };

/* An inbox as it is registered. */
struct store_inbox {
    struct uuid uuid;
    char relation[160]; /* quoted and qualified */
    enum store_payload payload;
    bool keyless_in_order;
    bool started; /* the policy for a first start was applied */
    bool paused;
    int64_t ids_since_ms; /* unix; ids stored before are forgotten. -1: none is */
};

/* CONFIG, NO_INBOX: there is none of this name. */
MUST_CHECK enum error_class store_find(struct session *session, const char *name, struct store_inbox *inbox,
                                       struct error *error);

struct store_start {
    const char *topic;
    int32_t partition;
    int64_t first; /* offset */
};

/* Stores where each partition starts, unless another instance has done it. */
MUST_CHECK enum error_class store_start(struct session *session, const struct store_inbox *inbox,
                                        const struct store_start *partitions, size_t count, struct error *error);

/* The record that was stored last, to be found again at its place [I5]. */
struct store_witness {
    int64_t offset; /* -1: none yet */
    int64_t time_ms;
    uint32_t checksum; /* of key and value */
};

/* A partition that this instance has taken over. */
struct store_source {
    int32_t id;
    int32_t lanes;
    int64_t next; /* offset to be read next */
    int64_t epoch;
    struct store_witness witness;
};

/* [I2] *found false: the partition was never read, see store_make. Each is a transaction of its own. */
MUST_CHECK enum error_class store_take(struct session *session, const struct store_inbox *inbox, const char *topic,
                                       int32_t partition, const char *owner, struct store_source *source, bool *found,
                                       struct error *error);

/* A partition found after the first start: read from `first` on. */
MUST_CHECK enum error_class store_make(struct session *session, const struct store_inbox *inbox, const char *topic,
                                       int32_t partition, int64_t first, struct error *error);

struct store_next {
    char topic[250];
    int32_t partition;
    int64_t next;
    int32_t source; /* id, of the newest generation */
};

/* Where every partition of the inbox stands, whoever reads it. The caller frees the array. */
MUST_CHECK enum error_class store_nexts(struct session *session, const struct store_inbox *inbox,
                                        struct store_next **nexts, size_t *count, struct error *error);

/* Reads a partition anew from `first` on, as its next generation [I7]. Within the caller's transaction, or its own. */
MUST_CHECK enum error_class store_rebase(struct session *session, const struct store_inbox *inbox, const char *topic,
                                         int32_t partition, int64_t first, struct error *error);

/* The SQL of one inbox, prepared per session. */
struct store_writer;

MUST_CHECK enum error_class store_writer_new(const char *relation, struct store_writer **out, struct error *error);
void store_writer_free(struct store_writer **writer);

struct store_waiting {
    bool paused;
    int32_t newest_source; /* id; another one than before: somebody has begun a partition, or a generation of one */
    int64_t rows, bytes;
    int64_t oldest_ms; /* unix, when the oldest was stored; 0: none waits */
};

MUST_CHECK enum error_class store_waiting(struct session *session, const struct store_inbox *inbox,
                                          const struct store_writer *writer, struct store_waiting *waiting,
                                          struct error *error);

/*
 * One step of cleaning, by relay.clean_inbox; *more: there may be another. A transaction of its own. Without migration
 * 5 nothing is cleaned.
 */
MUST_CHECK enum error_class store_clean(struct session *session, const struct store_inbox *inbox, int64_t retention_ms,
                                        int64_t id_retention_ms, bool *more, struct error *error);

/* What a storing transaction stands on. */
struct store_ground {
    int32_t slot, generation; /* of the rings, locked [I4] */
    int64_t generation_since_us;
    bool paused;
};

MUST_CHECK enum error_class store_begin(struct session *session, const struct store_inbox *inbox,
                                        struct store_ground *ground, struct error *error);

/* A source's part of a batch. */
struct store_move {
    const struct store_source *source;
    int64_t next;
    struct store_witness witness;
    int64_t rows, bytes; /* stored of it in this batch */
};

/* [I1] FENCED: another instance has taken one of them over, or rows came back by a failover. */
MUST_CHECK enum error_class store_offsets(struct session *session, const struct store_move *moves, size_t count,
                                          struct error *error);

struct store_id {
    struct uuid id, payload_hash;
    bool is_new;             /* out: stored now. The first of its id in the batch, and of all */
    struct uuid stored_hash; /* out: where it is not new, of the payload that came first */
};

#define STORE_IDS_MET "IDS_MET"

/*
 * [I3] RETRY, STORE_IDS_MET: one of the ids turned out to be known only when it was stored. The transaction has failed;
 * the same batch can be stored at once, and then its ids are looked for before.
 */
MUST_CHECK enum error_class store_ids(struct session *session, struct store_writer *writer,
                                      const struct store_ground *ground, struct store_id *ids, size_t count,
                                      struct error *error);

/* For a new session, or another inbox of that name: what is remembered of the ids may not hold there. */
void store_ids_forget(struct store_writer *writer);

struct store_text {
    const char *bytes; /* NULL: SQL's NULL */
    size_t size;
};

struct store_row {
    int32_t source, lane, key_hash;
    int64_t offset;
    int64_t time_ms; /* -1: none */
    struct store_text id, key, key_bytes, type, headers, headers_bytes, payload, payload_bytes;
};

/* POISON: one of the rows can never be stored, its text says why; the transaction has failed. */
MUST_CHECK enum error_class store_rows(struct session *session, const struct store_writer *writer,
                                       const struct store_ground *ground, const struct store_row *const *rows,
                                       size_t count, struct error *error);

/* POISON: it is no JSON that PostgreSQL takes. Outside of a transaction. */
MUST_CHECK enum error_class store_check_json(struct session *session, const struct store_text *text,
                                             struct error *error);

struct store_dead {
    const char *class, *reason;
    const char *topic;
    int32_t partition;
    const struct store_row *row; /* payload in payload or payload_bytes; source, lane and hash do not matter */
};

MUST_CHECK enum error_class store_dead(struct session *session, const struct store_inbox *inbox,
                                       const struct store_dead *dead, struct error *error);

/* Tells LISTENers of channel relay_inbox at the commit, or at once outside of a transaction. */
MUST_CHECK enum error_class store_notify(struct session *session, const char *inbox, struct error *error);

/* A transaction that only rebases. */
MUST_CHECK enum error_class store_transaction(struct session *session, struct error *error);
MUST_CHECK enum error_class store_commit(struct session *session, struct error *error);
void store_rollback(struct session *session);

#endif
