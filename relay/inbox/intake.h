/*
 * From a Kafka message to a row of an inbox: its idempotency id, its hash, its text or bytes; or the reason why it is
 * set aside. Thread: the stream's receiver.
 */
#ifndef INBOX_INTAKE_H
#define INBOX_INTAKE_H

#include <stdbool.h>
#include <stddef.h>

#include "inbox/service.h"
#include "kafka/consumer.h"
#include "pg/store.h"

enum {
    INTAKE_HEADERS_MAX = 256,
    INTAKE_ID_MAX = 1024,              /* bytes of an id */
    INTAKE_BYTES_MAX = 64 << 20,       /* of a value */
    INTAKE_HEADER_BYTES_MAX = 1 << 20, /* of all headers */
    INTAKE_REASON_MAX = 256,
};

/* What is done with a message. */
enum intake_fate {
    INTAKE_STORE,
    INTAKE_DUPLICATE, /* known id, same payload: counted */
    INTAKE_SET_ASIDE, /* a dead letter: `class` and `reason` */
};

struct intake {
    const struct message *message; /* whose bytes the row borrows */
    size_t source;                 /* index of the receiver's */
    struct store_row row;
    struct store_id id;
    enum intake_fate fate;
    char class[16];
    char reason[INTAKE_REASON_MAX];
    char *id_text, *headers, *headers_bytes; /* owned */
};

/* Fills *intake but for `source`, row.source and row.lane. */
void intake_make(const struct message *message, const struct inbox_stream_options *options,
                 const struct store_inbox *inbox, struct intake *intake);
void intake_fini(struct intake *intake);

/* It is to be set aside for this reason. */
void intake_set_aside(struct intake *intake, const char *class, const char *format, ...) PRINTF_LIKE(3, 4);

/* Does the payload look like JSON? PostgreSQL alone knows: it takes more numbers, and not all escapes. */
bool intake_looks_like_json(const struct intake *intake);

/* [I3] After the ids were stored: new, a duplicate, or a conflict, which is set aside. */
void intake_judge(struct intake *intake);

/* To find the message again at its place [I5]. */
struct store_witness intake_witness(const struct message *message);

#endif
