/*
 * The records of the drain: made once, so that librdkafka alone and the outbox get the very same ones. A pool of
 * RECORDS rows is used over and over; it is larger than what lz4 looks back, so that no row compresses by its twin.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>

enum { RECORDS = 10000, RECORD_KEY_SIZE = 24, RECORD_ID_SIZE = 37, RECORD_TRACE_SIZE = 56, RECORD_REQUEST_SIZE = 17 };

#define RECORD_TYPE "OrderPlaced"

struct bench_record {
    char key[RECORD_KEY_SIZE];
    char id[RECORD_ID_SIZE];
    char trace[RECORD_TRACE_SIZE];     /* header traceparent, if headers are wanted */
    char request[RECORD_REQUEST_SIZE]; /* header request-id */
    char *payload;                     /* JSON of exactly the bytes asked for, NUL-terminated */
};

/* RECORDS records with payloads of that many bytes; records_free ends them. */
struct bench_record *records_new(size_t payload_bytes);
void records_free(struct bench_record **records);

/* Prints COPY's text form of `count` rows: topic, key, payload, type, headers, id. */
void records_print(const struct bench_record *records, const char *topic, int count, bool headers);
