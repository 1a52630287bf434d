/*
 * From a row to a Kafka record: its headers, and what can be known before producing (isolation of a refused record
 * costs a producer each). Thread: the stream's worker.
 */
#ifndef OUTBOX_RECORD_H
#define OUTBOX_RECORD_H

#include <jansson.h>

#include "base/error.h"
#include "base/uuid.h"
#include "kafka/producer.h"
#include "pg/window.h"

/* What the records of one batch have in common, and where the parts of the current one live. */
struct record_maker {
    const char *positions_topic; /* rows must not name it */
    char relay[32];              /* header "relay": first 8 hex digits of the stream uuid, "/", tick */
    char id[UUID_TEXT_SIZE];
    json_t *headers; /* of the current row where they were not plain; its strings are borrowed by the record */
};

void record_maker_init(struct record_maker *maker, const char *positions_topic, const struct uuid *stream,
                       int64_t tick);
void record_maker_fini(struct record_maker *maker);

/*
 * Fills `record` from `row`; it borrows from both until the next call. POISON: topic of our own or of Kafka's, headers
 * that are no flat object of strings or too many.
 */
MUST_CHECK enum error_class record_make(struct record_maker *maker, const struct row *row, struct record *record,
                                        struct error *error);

/* POISON: no such partition, no key on a compacted topic. */
MUST_CHECK enum error_class record_fits(const struct record *record, const struct topic_facts *facts,
                                        struct error *error);

#endif
