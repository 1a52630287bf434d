#include "core/murmur2.h"

#include <string.h>

enum { SHIFT = 24 };

uint32_t murmur2(const void *bytes, size_t size)
{
    const uint32_t multiplier = 0x5bd1e995, seed = 0x9747b28c;
    const unsigned char *at = bytes;
    uint32_t hash = seed ^ (uint32_t)size;
    for (; size >= 4; at += 4, size -= 4) {
        uint32_t word = (uint32_t)at[0] | (uint32_t)at[1] << 8 | (uint32_t)at[2] << 16 | (uint32_t)at[3] << 24;
        word *= multiplier;
        word ^= word >> SHIFT;
        hash = hash * multiplier ^ word * multiplier;
    }
    if (size == 3)
        hash ^= (uint32_t)at[2] << 16;
    if (size >= 2)
        hash ^= (uint32_t)at[1] << 8;
    if (size >= 1)
        hash = (hash ^ at[0]) * multiplier;
    hash ^= hash >> 13;
    hash *= multiplier;
    return hash ^ hash >> 15;
}
