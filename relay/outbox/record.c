#include "record.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

enum { OWN_HEADERS = 3 };

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
    record->headers[record->header_count++] = (struct record_header){.name = name, .value = value, .value_size = size};
}

/* A row's header of one of our names is left out: first-wins and last-wins readers then agree. */
static bool name_is_ours(const char *name)
{
    return strcmp(name, "id") == 0 || strcmp(name, "type") == 0 || strcmp(name, "relay") == 0;
}

static enum error_class add_row_headers(struct record_maker *maker, const char *text, struct record *record,
                                        struct error *error)
{
    json_error_t where;
    const char *name;
    json_t *value;
    maker->headers = json_loads(text, JSON_ALLOW_NUL, &where);
    if (!json_is_object(maker->headers))
        return error_set(error, ERROR_POISON, "INVALID_HEADERS", "column headers is no JSON object: %s", where.text);
    json_object_foreach(maker->headers, name, value)
    {
        if (name_is_ours(name))
            continue;
        if (!json_is_string(value))
            return error_set(error, ERROR_POISON, "INVALID_HEADERS", "header \"%.100s\" is no string", name);
        if (record->header_count + OWN_HEADERS >= RECORD_HEADERS_MAX)
            return error_set(error, ERROR_POISON, "TOO_MANY_HEADERS", "more than %d headers",
                             RECORD_HEADERS_MAX - OWN_HEADERS);
        add_header(record, name, json_string_value(value), json_string_length(value));
    }
    return ERROR_NONE;
}

static enum error_class check_topic(const struct record_maker *maker, const char *topic, struct error *error)
{
    if (strcmp(topic, maker->positions_topic) != 0 && strncmp(topic, "__", 2) != 0)
        return ERROR_NONE;
    return error_set(error, ERROR_POISON, "TOPIC_RESERVED", "topic \"%s\" is not for messages", topic);
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
    if (check_topic(maker, row->topic, error) || (row->headers && add_row_headers(maker, row->headers, record, error)))
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
        return error_hint(error, "add partitions to the topic");
    }
    if (facts->compacted && !record->key) {
        error_set(error, ERROR_POISON, "NO_KEY", "topic \"%s\" is compacted and the row has no key", record->topic);
        return error_hint(error, "set cleanup.policy=delete on the topic");
    }
    return ERROR_NONE;
}
