/* How long to wait: after failures, and between polls. Pure: random values and times are inputs. */
#ifndef CORE_BACKOFF_H
#define CORE_BACKOFF_H

#include <stdint.h>

enum {
    BACKOFF_BASE_MS = 100,
    BACKOFF_BASE_QUICK_MS = 20, /* where a new producer probably mends it: a take-over takes about as long */
    BACKOFF_MAX_MS = 30000,
    POLL_DELAY_MIN_MS = 2,
    POLL_DELAY_MAX_MS = 100,
};

/*
 * Exponential back-off with full jitter: uniform in [1, min(max_ms, BASE * 2^(attempt - 1))].
 * `attempt` counts from 1; `random` is any 32 random bits.
 */
int64_t backoff_delay_ms(uint32_t attempt, int64_t max_ms, uint32_t random);

/* The same from another base, >= 1 and <= max_ms. */
int64_t backoff_delay_from_ms(int64_t base_ms, uint32_t attempt, int64_t max_ms, uint32_t random);

/*
 * The poll delay after one that found nothing: from 0 (found something) 2 ms, then about half as much again, up to 100.
 * So a row waits for half as long at most as the outbox was idle before it.
 */
int64_t poll_delay_next_ms(int64_t delay_ms);

#endif
