/* The two clocks. Core never reads them: time is an input there. Thread: any. */
#ifndef BASE_CLOCK_H
#define BASE_CLOCK_H

#include <stdint.h>

int64_t clock_monotonic_ms(void); /* for waiting and measuring; origin unspecified */
int64_t clock_monotonic_us(void); /* the same in microseconds */
int64_t clock_unix_ms(void);      /* wall clock, milliseconds since 1970-01-01 UTC */

#endif
