#include "record.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "headers.h"

void record_maker_init(struct record_maker *maker, const char *positions_topic, const struct uuid *stream, int64_t tick)
{
    char uuid[UUID_TEXT_SIZE];
    uuid_format(stream, uuid);
    maker->positions_topic = positions_topic;
    maker->headers = NULL;
    snprintf(maker->relay, sizeof maker->relay, "%.8s/%" PRId64, uuid, tick);
}

void record_maker_fini(struct record_maker *maker)
{
    json_decref(maker->headers);
    maker->headers = NULL;
}

static void add_header(struct record *record, const char *name, const char *value, size_t size)
{
    record->headers[record->header_count++] =
        (struct record_header){.name = name, .name_size = strlen(name), .value = value, .value_size = size};
}

static enum error_class check_topic(const struct record_maker *maker, const char *topic, struct error *error)
{
    if (strcmp(topic, maker->positions_topic) != 0 && strncmp(topic, "__", 2) != 0)
        return ERROR_NONE;
    error_set(error, ERROR_POISON, "TOPIC_RESERVED", "topic \"%s\" is not for messages", topic);
    return error_hint(error,
                      "topics that begin with __ are Kafka's own, and the positions topic is the relay's: let the "
                      "writer name another");
}

enum error_class record_make(struct record_maker *maker, const struct row *row, struct record *record,
                             struct error *error)
{
    record_maker_fini(maker);
    record->topic = row->topic;
    record->partition = row->partition;
    record->key = row->key;
    record->key_size = row->key_size;
    record->value = row->value;
    record->value_size = row->value_size;
    record->tag = row->seq;
    record->header_count = 0;
    if (check_topic(maker, row->topic, error) ||
        (row->headers && headers_read(row->headers, &maker->headers, record, error)))
        return error->class;
    uuid_format(&row->id, maker->id);
    add_header(record, "id", maker->id, UUID_TEXT_SIZE - 1);
    if (row->type)
        add_header(record, "type", row->type, strlen(row->type));
    add_header(record, "relay", maker->relay, strlen(maker->relay));
    return ERROR_NONE;
}

enum error_class record_fits(const struct record *record, const struct topic_facts *facts, struct error *error)
{
    if (record->partition >= facts->partition_count) {
        error_set(error, ERROR_POISON, "UNKNOWN_PARTITION",
                  "topic \"%s\" has no partition %" PRId32 ", it has %" PRId32, record->topic, record->partition,
                  facts->partition_count);
        return error_hint(error, "add partitions to the topic, or let the writer leave the column partition NULL");
    }
    if (facts->compacted && !record->key) {
        error_set(error, ERROR_POISON, "NO_KEY", "topic \"%s\" is compacted and the row has no key", record->topic);
        return error_hint(error, "set cleanup.policy=delete on the topic, or let the writer set a key");
    }
    return ERROR_NONE;
}
