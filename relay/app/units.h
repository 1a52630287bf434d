/* Durations, sizes and times as people write them: 30s, 24h, 4MiB, 2030-01-31T12:00:00Z. Thread: any. */
#ifndef APP_UNITS_H
#define APP_UNITS_H

#include <stdbool.h>
#include <stdint.h>

#include "base/attributes.h"

enum { UNITS_TEXT_SIZE = 32 };

/* The units as alternatives of a regular expression. */
#define UNITS_DURATIONS "ms|s|m|h|d"
#define UNITS_SIZES     "B|KiB|MiB|GiB|kB|KB|MB|GB"

/* A whole number and ms, s, m, h or d; no unit is no duration. False: not one, or beyond int64_t. */
MUST_CHECK bool units_duration_parse(const char *text, int64_t *ms);
void units_duration_format(int64_t ms, char text[UNITS_TEXT_SIZE]);

/* A whole number and nothing, B, KiB, MiB, GiB (1024) or kB, KB, MB, GB (1000). */
MUST_CHECK bool units_size_parse(const char *text, int64_t *bytes);
void units_size_format(int64_t bytes, char text[UNITS_TEXT_SIZE]);

/* A whole number, perhaps negative, and nothing else. */
MUST_CHECK bool units_integer_parse(const char *text, int64_t *value);

/* A date and time of RFC 3339, in unix milliseconds: "2030-01-31T12:00:00.5+02:00". Years 1970 to 9999. */
MUST_CHECK bool units_time_parse(const char *text, int64_t *unix_ms);

#endif
