#include "records.h"

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* xorshift64*: the same records in each run. */
static uint64_t next_random(uint64_t *state)
{
    *state ^= *state >> 12;
    *state ^= *state << 25;
    *state ^= *state >> 27;
    return *state * 2685821657736338717ULL;
}

/* An order with as many lines as fit, then a note that fills the rest: compresses as JSON does. */
static void fill_payload(char *text, size_t bytes, uint64_t *random)
{
    char piece[96];
    size_t length = 0;
    int add =
        snprintf(piece, sizeof piece, "{\"order\":\"%016llx\",\"lines\":[", (unsigned long long)next_random(random));
    while (length + (size_t)add + 12 < bytes) {
        memcpy(text + length, piece, (size_t)add);
        length += (size_t)add;
        uint64_t value = next_random(random);
        add = snprintf(piece, sizeof piece, "{\"sku\":%u,\"count\":%u,\"price\":%u},", (unsigned)(value % 1000000),
                       (unsigned)(value >> 32) % 20, (unsigned)(value >> 40) % 10000);
    }
    memset(text + length, ' ', bytes - length);
    memcpy(text + bytes - 4, "{}]}", 4);
    text[bytes] = '\0';
}

static void fill(struct bench_record *record, int number, size_t payload_bytes, uint64_t *random)
{
    unsigned long long a = next_random(random), b = next_random(random), c = next_random(random);
    snprintf(record->key, sizeof record->key, "order-%d", number);
    snprintf(record->id, sizeof record->id, "%08llx-%04llx-4%03llx-a%03llx-%012llx", a >> 32, a & 0xffff, b & 0xfff,
             b >> 16 & 0xfff, c & 0xffffffffffff);
    snprintf(record->trace, sizeof record->trace, "00-%016llx%016llx-%016llx-01", a, b, c);
    snprintf(record->request, sizeof record->request, "%016llx", c);
    record->payload = malloc(payload_bytes + 1);
    if (!record->payload)
        abort();
    fill_payload(record->payload, payload_bytes, random);
}

struct bench_record *records_new(size_t payload_bytes)
{
    uint64_t random = 88172645463325252ULL;
    struct bench_record *records = calloc(RECORDS, sizeof *records);
    if (!records)
        abort();
    for (int i = 0; i < RECORDS; i++)
        fill(&records[i], i, payload_bytes, &random);
    return records;
}

void records_free(struct bench_record **records)
{
    for (int i = 0; i < RECORDS; i++)
        free((*records)[i].payload);
    free(*records);
    *records = NULL;
}

void records_print(const struct bench_record *records, const char *topic, int count, bool headers)
{
    for (int i = 0; i < count; i++) {
        const struct bench_record *record = &records[i % RECORDS];
        printf("%s\t%s\t%s\t%s\t", topic, record->key, record->payload, RECORD_TYPE);
        if (headers)
            printf("{\"traceparent\": \"%s\", \"request-id\": \"%s\"}", record->trace, record->request);
        else
            printf("\\N");
        printf("\t%s\n", record->id);
    }
}
