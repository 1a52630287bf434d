/* The two clocks. Core never reads them: time is an input there. Thread: any. */
#ifndef BASE_CLOCK_H
#define BASE_CLOCK_H

#include <stdbool.h>
#include <stdint.h>

int64_t clock_monotonic_ms(void); /* for waiting and measuring; origin unspecified */
int64_t clock_monotonic_us(void); /* the same in microseconds */
int64_t clock_unix_ms(void);      /* wall clock, milliseconds since 1970-01-01 UTC */

enum { CLOCK_TEXT_SIZE = 32 };

/* RFC 3339 in UTC: "2030-01-31T12:00:00Z", or with milliseconds "2030-01-31T12:00:00.250Z". Years 1970 to 9999. */
void clock_format(int64_t unix_ms, bool milliseconds, char text[CLOCK_TEXT_SIZE]);

#endif
