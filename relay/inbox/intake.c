#include "intake.h"

#include <inttypes.h>
#include <jansson.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* EVP looks the algorithm up and allocates for each hash, which costs more than hashing a message. */
#define OPENSSL_SUPPRESS_DEPRECATED
#include <openssl/sha.h>

#include "base/fault.h"
#include "base/utf8.h"
#include "core/murmur2.h"
#include "header_list.h"

void intake_set_aside(struct intake *intake, const char *class, const char *format, ...)
{
    va_list arguments;
    intake->fate = INTAKE_SET_ASIDE;
    snprintf(intake->class, sizeof intake->class, "%s", class);
    va_start(arguments, format);
    vsnprintf(intake->reason, sizeof intake->reason, format, arguments);
    va_end(arguments);
}

/* The first 16 bytes of SHA-256, in the shape of a uuid; of nothing: zeros. */
static struct uuid hash(const void *bytes, size_t size)
{
    unsigned char digest[SHA256_DIGEST_LENGTH] = {0};
    SHA256_CTX context;
    struct uuid out;
    if (bytes) {
        SHA256_Init(&context);
        SHA256_Update(&context, bytes, size);
        SHA256_Final(digest, &context);
    }
    memcpy(out.bytes, digest, sizeof out.bytes);
    return out;
}

struct store_witness intake_witness(const struct message *message)
{
    const struct uuid key = hash(message->key, message->key_size), value = hash(message->value, message->value_size);
    struct store_witness witness = {.offset = message->offset, .time_ms = message->time_ms};
    for (int i = 0; i < 4; i++)
        witness.checksum = witness.checksum << 8 | (uint32_t)(key.bytes[i] ^ value.bytes[i + 4]);
    return witness;
}

/* ---- the id ---- */

/* "ce_source+ce_id" names two headers, whose values are joined by a space in `out`: a URI has none. *id is there, or
 * the one header's value. */
static bool id_by(const struct header_list *headers, const char *names, char out[INTAKE_ID_MAX + 1], const char **id,
                  size_t *size)
{
    size_t length = 0;
    *id = out;
    for (const char *at = names; *at;) {
        size_t span = strcspn(at, "+");
        const struct header *found = header_find(headers, at, span);
        if (!found || !found->value || found->size == 0)
            return false;
        if (at == names && at[span] == '\0') {
            *id = found->value;
            *size = found->size;
            return true;
        }
        if (length + found->size + 1 > INTAKE_ID_MAX) {
            *size = INTAKE_ID_MAX + 1;
            return true;
        }
        if (length)
            out[length++] = ' ';
        memcpy(out + length, found->value, found->size);
        length += found->size;
        at += span + (at[span] == '+');
    }
    *size = length;
    return length > 0;
}

/*
 * Ids that count up, as "order-1234567", are stored close to each other, where the index is in memory, and above those
 * of closed generations, which need not be looked at: their longest number, by the thousand, stands before 96 bits of
 * the hash. Among 10^10 ids two have the same 96 bits once in 10^9.
 */
static struct uuid counting_hash(const char *id, size_t size)
{
    enum { WINDOW_BITS = 10 };
    struct uuid out = hash(id, size);
    uint64_t longest = 0;
    size_t digits = 0;
    for (size_t i = 0; i < size; i++) {
        uint64_t number = 0;
        size_t first = i;
        for (; i < size && id[i] >= '0' && id[i] <= '9'; i++)
            number = number * 10 + (uint64_t)(id[i] - '0');
        if (i - first > digits) {
            digits = i - first;
            longest = number;
        }
    }
    for (int i = 0; digits > 0 && i < 4; i++)
        out.bytes[i] = (uint8_t)(longest >> (WINDOW_BITS + 24 - 8 * i));
    return out;
}

/* An id that is a uuid in its canonical form is stored as it is, so that those that rise by time stay together. */
static struct uuid id_key(const char *id, size_t size)
{
    struct uuid out;
    bool canonical = uuid_parse(id, size, &out);
    for (size_t i = 0; canonical && i < size; i++)
        canonical = id[i] < 'A' || id[i] > 'F';
    return canonical ? out : counting_hash(id, size);
}

/* `copy`: it does not live as long as the message. */
static void take_id(struct intake *intake, const char *id, size_t size, bool copy)
{
    if (size > INTAKE_ID_MAX) {
        intake_set_aside(intake, "POISON", "the id is longer than %d bytes", INTAKE_ID_MAX);
        return;
    }
    if (!utf8_is_text(id, size)) {
        intake_set_aside(intake, "POISON", "the id is not UTF-8 text");
        return;
    }
    intake->id_text = copy ? strndup(id, size) : NULL;
    if (copy && !intake->id_text)
        abort();
    intake->row.id = (struct store_text){copy ? intake->id_text : id, size};
    intake->id.id = id_key(id, size);
    if (fault_planted("dedup_per_partition"))
        intake->id.id.bytes[0] ^= (uint8_t)intake->message->partition;
}

static void find_id(struct intake *intake, const struct header_list *headers,
                    const struct inbox_stream_options *options)
{
    char made[INTAKE_ID_MAX + 1];
    const char *id;
    size_t size;
    for (size_t i = 0; i < options->id_header_count; i++)
        if (id_by(headers, options->id_headers[i], made, &id, &size)) {
            take_id(intake, id, size, id == made);
            return;
        }
    if (options->on_missing_id == INBOX_MISSING_ID_DEAD_LETTER) {
        intake_set_aside(intake, "NO_ID", "none of the headers that hold an idempotency id is there");
        return;
    }
    const struct message *message = intake->message;
    size = (size_t)snprintf(made, sizeof made, "%s/%" PRId32 "/%" PRId64, message->topic, message->partition,
                            message->offset);
    take_id(intake, made, size, true);
}

/* ---- key, value, headers ---- */

static struct store_text text(const void *bytes, size_t size) { return (struct store_text){bytes ? bytes : "", size}; }

static void take_key(struct intake *intake, bool keyless_in_order)
{
    const struct message *message = intake->message;
    struct store_row *row = &intake->row;
    if (!message->key) {
        row->key_hash = keyless_in_order ? 0 : (int32_t)(message->offset & INT32_MAX);
        return;
    }
    if (utf8_is_text(message->key, message->key_size))
        row->key = text(message->key, message->key_size);
    else
        row->key_bytes = text(message->key, message->key_size);
    row->key_hash = (int32_t)(murmur2(message->key, message->key_size) & INT32_MAX);
}

static void take_value(struct intake *intake, enum store_payload payload)
{
    const struct message *message = intake->message;
    intake->id.payload_hash = hash(message->value, message->value_size);
    if (!message->value)
        return;
    bool is_text = payload != STORE_BYTES && utf8_is_text(message->value, message->value_size);
    if (is_text)
        intake->row.payload = text(message->value, message->value_size);
    else
        intake->row.payload_bytes = text(message->value, message->value_size);
    if (message->value_size > INTAKE_BYTES_MAX)
        intake_set_aside(intake, "POISON", "the payload has %zu bytes, at most %d can be taken", message->value_size,
                         INTAKE_BYTES_MAX);
    else if (payload != STORE_BYTES && !is_text)
        intake_set_aside(intake, "POISON", "the payload is not UTF-8 text, or has a NUL in it");
}

static void take_headers(struct intake *intake, const struct header_list *headers)
{
    const struct header *type = header_find(headers, "type", strlen("type"));
    if (!type)
        type = header_find(headers, "ce_type", strlen("ce_type"));
    if (type && type->value && utf8_is_text(type->value, type->size))
        intake->row.type = text(type->value, type->size);
    if (headers->count == 0)
        return;
    header_list_render(headers, &intake->headers, &intake->headers_bytes);
    if (intake->headers)
        intake->row.headers = text(intake->headers, strlen(intake->headers));
    if (intake->headers_bytes)
        intake->row.headers_bytes = text(intake->headers_bytes, strlen(intake->headers_bytes));
}

void intake_make(const struct message *message, const struct inbox_stream_options *options,
                 const struct store_inbox *inbox, struct intake *intake)
{
    struct header_list headers;
    *intake = (struct intake){.message = message, .row = {.offset = message->offset, .time_ms = message->time_ms}};
    take_key(intake, inbox->keyless_in_order);
    header_list_read(message, &headers);
    take_headers(intake, &headers);
    find_id(intake, &headers, options);
    take_value(intake, inbox->payload);
    if (headers.truncated)
        intake_set_aside(intake, "POISON", "it has more than %d headers, or more than %d bytes of them",
                         INTAKE_HEADERS_MAX, INTAKE_HEADER_BYTES_MAX);
}

bool intake_looks_like_json(const struct intake *intake)
{
    const struct store_text *payload = &intake->row.payload;
    json_error_t ignored;
    json_t *value = json_loadb(payload->bytes, payload->size, JSON_DECODE_ANY, &ignored);
    json_decref(value);
    return value != NULL;
}

void intake_fini(struct intake *intake)
{
    free(intake->id_text);
    free(intake->headers);
    free(intake->headers_bytes);
    intake->id_text = intake->headers = intake->headers_bytes = NULL;
}

void intake_judge(struct intake *intake)
{
    char first[UUID_TEXT_SIZE], this[UUID_TEXT_SIZE];
    if (intake->id.is_new)
        return;
    if (uuid_equal(&intake->id.stored_hash, &intake->id.payload_hash)) {
        intake->fate = INTAKE_DUPLICATE;
        return;
    }
    uuid_format(&intake->id.stored_hash, first);
    uuid_format(&intake->id.payload_hash, this);
    intake_set_aside(intake, "CONFLICT", "its id came before with another payload: hash %s, this one %s", first, this);
}
