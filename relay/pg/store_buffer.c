#include "store_buffer.h"

#include <endian.h>
#include <stdlib.h>
#include <string.h>

enum { FIELDS = 14, ID_FIELDS = 3 };

#define POSTGRES_EPOCH_MS 946684800000LL /* 2000-01-01 in unix ms */

static void reserve(struct store_buffer *buffer, size_t more)
{
    if (buffer->size + more <= buffer->capacity)
        return;
    buffer->capacity = (buffer->size + more) * 2;
    buffer->bytes = realloc(buffer->bytes, buffer->capacity);
    if (!buffer->bytes)
        abort();
}

static void put(struct store_buffer *buffer, const void *bytes, size_t size)
{
    reserve(buffer, size);
    memcpy(buffer->bytes + buffer->size, bytes, size);
    buffer->size += size;
}

static void put_16(struct store_buffer *buffer, int16_t value)
{
    uint16_t wire = htobe16((uint16_t)value);
    put(buffer, &wire, sizeof wire);
}

static void put_32(struct store_buffer *buffer, int32_t value)
{
    uint32_t wire = htobe32((uint32_t)value);
    put(buffer, &wire, sizeof wire);
}

static void put_64(struct store_buffer *buffer, int64_t value)
{
    uint64_t wire = htobe64((uint64_t)value);
    put(buffer, &wire, sizeof wire);
}

static void field_16(struct store_buffer *buffer, int32_t value)
{
    put_32(buffer, sizeof(int16_t));
    put_16(buffer, (int16_t)value);
}

static void field_32(struct store_buffer *buffer, int32_t value)
{
    put_32(buffer, sizeof(int32_t));
    put_32(buffer, value);
}

static void field_64(struct store_buffer *buffer, int64_t value)
{
    put_32(buffer, sizeof(int64_t));
    put_64(buffer, value);
}

static void field_time(struct store_buffer *buffer, int64_t unix_ms)
{
    if (unix_ms < 0)
        put_32(buffer, -1);
    else
        field_64(buffer, (unix_ms - POSTGRES_EPOCH_MS) * 1000);
}

static void field_text(struct store_buffer *buffer, const struct store_text *text)
{
    put_32(buffer, text->bytes ? (int32_t)text->size : -1);
    if (text->bytes)
        put(buffer, text->bytes, text->size);
}

void store_buffer_begin(struct store_buffer *buffer)
{
    static const char signature[11] = "PGCOPY\n\377\r\n"; /* with its NUL */
    buffer->size = 0;
    put(buffer, signature, sizeof signature);
    put_32(buffer, 0);
    put_32(buffer, 0);
}

void store_buffer_row(struct store_buffer *buffer, const struct store_ground *ground, const struct store_row *row)
{
    put_16(buffer, FIELDS);
    field_16(buffer, ground->slot);
    field_32(buffer, row->source);
    field_16(buffer, row->lane);
    field_64(buffer, row->offset);
    field_32(buffer, row->key_hash);
    field_time(buffer, row->time_ms);
    field_text(buffer, &row->id);
    field_text(buffer, &row->key);
    field_text(buffer, &row->key_bytes);
    field_text(buffer, &row->type);
    field_text(buffer, &row->headers);
    field_text(buffer, &row->headers_bytes);
    field_text(buffer, &row->payload);
    field_text(buffer, &row->payload_bytes);
}

static void field_uuid(struct store_buffer *buffer, const struct uuid *uuid)
{
    put_32(buffer, sizeof uuid->bytes);
    put(buffer, uuid->bytes, sizeof uuid->bytes);
}

void store_buffer_id(struct store_buffer *buffer, const struct store_ground *ground, const struct store_id *id)
{
    put_16(buffer, ID_FIELDS);
    field_16(buffer, ground->generation);
    field_uuid(buffer, &id->id);
    field_uuid(buffer, &id->payload_hash);
}

void store_buffer_end(struct store_buffer *buffer) { put_16(buffer, -1); }

bool store_buffer_is_large(const struct store_buffer *buffer) { return buffer->size >= STORE_BUFFER_LARGE; }

void store_buffer_free(struct store_buffer *buffer)
{
    free(buffer->bytes);
    *buffer = (struct store_buffer){0};
}

char *store_hex(const struct store_text *text)
{
    static const char digits[] = "0123456789abcdef";
    if (!text->bytes)
        return NULL;
    char *hex = malloc(2 * text->size + 3), *at = hex;
    if (!hex)
        abort();
    *at++ = '\\';
    *at++ = 'x';
    for (size_t i = 0; i < text->size; i++) {
        *at++ = digits[(unsigned char)text->bytes[i] >> 4];
        *at++ = digits[text->bytes[i] & 15];
    }
    *at = '\0';
    return hex;
}

char *store_copy(const struct store_text *text)
{
    if (!text->bytes)
        return NULL;
    char *copy = strndup(text->bytes, text->size);
    if (!copy)
        abort();
    return copy;
}
