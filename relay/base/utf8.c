#include "base/utf8.h"

#include <stdint.h>
#include <string.h>

/* Length of the sequence that begins with this byte, and the range of its second one; 0: none begins so. */
static size_t sequence(unsigned char first, unsigned char *low, unsigned char *high)
{
    *low = first == 0xe0 ? 0xa0 : first == 0xf0 ? 0x90 : 0x80;  /* no longer than needed */
    *high = first == 0xed ? 0x9f : first == 0xf4 ? 0x8f : 0xbf; /* no surrogates, nothing beyond U+10FFFF */
    if (first >= 0xc2 && first <= 0xdf)
        return 2;
    if (first >= 0xe0 && first <= 0xef)
        return 3;
    return first >= 0xf0 && first <= 0xf4 ? 4 : 0;
}

static bool is_sequence(const unsigned char *at, size_t length, unsigned char low, unsigned char high)
{
    if (at[1] < low || at[1] > high)
        return false;
    for (size_t i = 2; i < length; i++)
        if (at[i] < 0x80 || at[i] > 0xbf)
            return false;
    return true;
}

/* Eight bytes at once: all ASCII, none NUL? */
static bool are_plain(const unsigned char *at)
{
    uint64_t word;
    memcpy(&word, at, sizeof word);
    return !((word | (word - 0x0101010101010101u)) & 0x8080808080808080u);
}

bool utf8_is_text(const char *bytes, size_t size)
{
    const unsigned char *at = (const unsigned char *)bytes, *end = at + size;
    while (at < end) {
        if (end - at >= 8 && are_plain(at)) {
            at += 8;
            continue;
        }
        unsigned char low = 0, high = 0;
        size_t length = *at < 0x80 ? *at != 0 : sequence(*at, &low, &high);
        if (length == 0 || (size_t)(end - at) < length || (length > 1 && !is_sequence(at, length, low, high)))
            return false;
        at += length;
    }
    return true;
}
