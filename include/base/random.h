/* Random bits from the kernel's generator, for jitter. Thread: any. */
#ifndef BASE_RANDOM_H
#define BASE_RANDOM_H

#include <stddef.h>
#include <stdint.h>

uint32_t random_bits(void);

/* Up to 256 bytes: getrandom(2) never cuts those short once the system is up. */
void random_bytes(void *out, size_t size);

#endif
