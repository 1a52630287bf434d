#include "base/random.h"

#include <assert.h>
#include <sys/random.h>

void random_bytes(void *out, size_t size)
{
    assert(size <= 256);
    ssize_t got = getrandom(out, size, 0);
    assert(got == (ssize_t)size);
    (void)got;
}

uint32_t random_bits(void)
{
    uint32_t bits;
    random_bytes(&bits, sizeof bits);
    return bits;
}
