#include "base/uuid.h"

#include <string.h>

#include "base/random.h"

enum { UUID_TEXT_LENGTH = UUID_TEXT_SIZE - 1 };

struct uuid uuid_random(void)
{
    struct uuid uuid;
    random_bytes(uuid.bytes, sizeof uuid.bytes);
    uuid.bytes[6] = (uint8_t)((uuid.bytes[6] & 0x0f) | 0x40); /* RFC 9562: version 4 */
    uuid.bytes[8] = (uint8_t)((uuid.bytes[8] & 0x3f) | 0x80); /* RFC 9562: variant 10 */
    return uuid;
}

/* Of the characters from '0' on; 16 and more: no digit. */
static unsigned digit_value(char c)
{
    static const uint8_t values[] = {
        0,  1,  2,  3,  4,  5,  6,  7,  8,  9,  16, 16, 16, 16, 16, 16, 16, 10, 11, 12, 13, 14, 15, 16, 16, 16, 16, 16,
        16, 16, 16, 16, 16, 16, 16, 16, 16, 16, 16, 16, 16, 16, 16, 16, 16, 16, 16, 16, 16, 10, 11, 12, 13, 14, 15,
    };
    unsigned at = (unsigned)(unsigned char)c - '0';
    return at < sizeof values ? values[at] : 16;
}

static bool dash_at(size_t at) { return at == 8 || at == 13 || at == 18 || at == 23; }

bool uuid_parse(const char *text, size_t length, struct uuid *out)
{
    if (length != UUID_TEXT_LENGTH)
        return false;
    struct uuid uuid;
    unsigned wrong = 0;
    for (size_t i = 0, at = 0; i < sizeof uuid.bytes; i++, at += 2) {
        if (dash_at(at))
            wrong |= text[at++] != '-' ? 16 : 0;
        unsigned high = digit_value(text[at]), low = digit_value(text[at + 1]);
        wrong |= high | low;
        uuid.bytes[i] = (uint8_t)(high << 4 | low);
    }
    if (wrong & 16)
        return false;
    *out = uuid;
    return true;
}

void uuid_format(const struct uuid *uuid, char text[UUID_TEXT_SIZE])
{
    static const char digits[] = "0123456789abcdef";
    size_t at = 0;
    for (size_t i = 0; i < sizeof uuid->bytes; i++) {
        if (dash_at(at))
            text[at++] = '-';
        text[at++] = digits[uuid->bytes[i] >> 4];
        text[at++] = digits[uuid->bytes[i] & 15];
    }
    text[at] = '\0';
}

bool uuid_equal(const struct uuid *a, const struct uuid *b) { return memcmp(a->bytes, b->bytes, sizeof a->bytes) == 0; }
