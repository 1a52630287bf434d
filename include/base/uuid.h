/* UUIDs: streams, ticks, barriers, incarnations. Thread: any. */
#ifndef BASE_UUID_H
#define BASE_UUID_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { UUID_TEXT_SIZE = 37 }; /* 8-4-4-4-12 hex digits and a NUL */

struct uuid {
    uint8_t bytes[16];
};

/* Version 4, from getrandom(2): the kernel's generator, so it cannot fail once the system is up. */
struct uuid uuid_random(void);

/* `length` bytes at `text`, exactly the 36 characters of the canonical form, either case; else false. */
bool uuid_parse(const char *text, size_t length, struct uuid *out);

/* Lower case, NUL-terminated. */
void uuid_format(const struct uuid *uuid, char text[UUID_TEXT_SIZE]);

bool uuid_equal(const struct uuid *a, const struct uuid *b);

#endif
