#include "headers.h"

#include <string.h>

/* A row's header of one of our names is left out: first-wins and last-wins readers then agree. */
static bool name_is_ours(const char *name, size_t size)
{
    return (size == 2 && memcmp(name, "id", 2) == 0) || (size == 4 && memcmp(name, "type", 4) == 0) ||
           (size == 5 && memcmp(name, "relay", 5) == 0);
}

static bool has_name(const struct record *record, const struct record_header *header)
{
    for (uint32_t i = 0; i < record->header_count; i++) {
        const struct record_header *other = &record->headers[i];
        if (other->name_size == header->name_size && memcmp(other->name, header->name, header->name_size) == 0)
            return true;
    }
    return false;
}

static bool has_room(const struct record *record) { return record->header_count + HEADERS_OWN < RECORD_HEADERS_MAX; }

static const char *skip_space(const char *at)
{
    while (*at == ' ' || *at == '\t' || *at == '\n' || *at == '\r')
        at++;
    return at;
}

/* A string without escapes at `at`; returns what stands behind it, NULL: there is none. */
static const char *read_string(const char *at, const char **start, size_t *size)
{
    if (*at++ != '"')
        return NULL;
    *start = at;
    while ((unsigned char)*at >= ' ' && *at != '"' && *at != '\\')
        at++;
    *size = (size_t)(at - *start);
    return *at == '"' ? at + 1 : NULL;
}

/* False: not plain, or not right; jansson knows which. A name that comes twice is for jansson too. */
static bool read_plain(const char *at, struct record *record)
{
    at = skip_space(at);
    if (*at++ != '{')
        return false;
    for (char next = ','; next == ','; next = *at++) {
        struct record_header header;
        const char *value;
        at = read_string(skip_space(at), &header.name, &header.name_size);
        if (!at || *(at = skip_space(at)) != ':')
            return false;
        at = read_string(skip_space(at + 1), &value, &header.value_size);
        if (!at || has_name(record, &header) || !has_room(record))
            return false;
        header.value = value;
        if (!name_is_ours(header.name, header.name_size))
            record->headers[record->header_count++] = header;
        at = skip_space(at);
    }
    return at[-1] == '}' && *skip_space(at) == '\0';
}

static enum error_class read_parsed(const json_t *object, struct record *record, struct error *error)
{
    const char *name;
    json_t *value;
    json_object_foreach((json_t *)(uintptr_t)object, name, value)
    {
        size_t size = strlen(name);
        if (name_is_ours(name, size))
            continue;
        if (!json_is_string(value))
            return error_set(error, ERROR_POISON, "INVALID_HEADERS", "header \"%.100s\" is no string", name);
        if (!has_room(record))
            return error_set(error, ERROR_POISON, "TOO_MANY_HEADERS", "more than %d headers",
                             RECORD_HEADERS_MAX - HEADERS_OWN);
        record->headers[record->header_count++] = (struct record_header){.name = name,
                                                                         .name_size = size,
                                                                         .value = json_string_value(value),
                                                                         .value_size = json_string_length(value)};
    }
    return ERROR_NONE;
}

enum error_class headers_read(const char *text, json_t **parsed, struct record *record, struct error *error)
{
    json_error_t where;
    uint32_t before = record->header_count;
    if (read_plain(text, record))
        return ERROR_NONE;
    record->header_count = before;
    *parsed = json_loads(text, JSON_ALLOW_NUL, &where);
    if (!json_is_object(*parsed))
        return error_set(error, ERROR_POISON, "INVALID_HEADERS", "column headers is no JSON object: %s", where.text);
    return read_parsed(*parsed, record, error);
}
