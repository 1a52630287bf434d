#include "core/backoff.h"

#include <assert.h>

/* Uniform in [1, limit]. */
static int64_t draw(int64_t limit, uint32_t random)
{
    return 1 + (int64_t)(((uint64_t)random * (uint64_t)limit) >> 32);
}

int64_t backoff_delay_from_ms(int64_t base_ms, uint32_t attempt, int64_t max_ms, uint32_t random)
{
    assert(attempt >= 1 && base_ms >= 1 && max_ms >= 1 && max_ms <= INT32_MAX);
    int64_t limit = base_ms;
    for (uint32_t i = 1; i < attempt && limit < max_ms; i++)
        limit *= 2;
    return draw(limit < max_ms ? limit : max_ms, random);
}

int64_t backoff_delay_ms(uint32_t attempt, int64_t max_ms, uint32_t random)
{
    return backoff_delay_from_ms(BACKOFF_BASE_MS, attempt, max_ms, random);
}

int64_t poll_delay_next_ms(int64_t delay_ms)
{
    static const int64_t steps[] = {POLL_DELAY_MIN_MS, 3, 4, 5, 7, 10, 14, 20, 28, 40, 60, POLL_DELAY_MAX_MS};
    for (unsigned i = 0; i < sizeof steps / sizeof steps[0]; i++)
        if (steps[i] > delay_ms)
            return steps[i];
    return POLL_DELAY_MAX_MS;
}
