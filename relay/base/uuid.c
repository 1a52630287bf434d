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

static int digit_value(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    if (c >= 'a' && c <= 'f')
        return c - 'a' + 10;
    if (c >= 'A' && c <= 'F')
        return c - 'A' + 10;
    return -1;
}

static bool dash_at(size_t at) { return at == 8 || at == 13 || at == 18 || at == 23; }

bool uuid_parse(const char *text, size_t length, struct uuid *out)
{
    if (length != UUID_TEXT_LENGTH)
        return false;
    struct uuid uuid;
    size_t digits = 0;
    memset(&uuid, 0, sizeof uuid);
    for (size_t i = 0; i < length; i++) {
        if (dash_at(i)) {
            if (text[i] != '-')
                return false;
            continue;
        }
        int value = digit_value(text[i]);
        if (value < 0)
            return false;
        uuid.bytes[digits / 2] = (uint8_t)(uuid.bytes[digits / 2] << 4 | value);
        digits++;
    }
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
