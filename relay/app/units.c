#include "units.h"

#include <ctype.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct unit {
    const char *name;
    int64_t factor;
};

/* The largest first: what formatting takes first. */
static const struct unit durations[] = {{"d", 86400000}, {"h", 3600000}, {"m", 60000}, {"s", 1000}, {"ms", 1}};
static const struct unit sizes[] = {
    {"GiB", 1073741824}, {"MiB", 1048576}, {"KiB", 1024}, {"B", 1},     {"", 1},
    {"GB", 1000000000},  {"MB", 1000000},  {"kB", 1000},  {"KB", 1000},
};

static bool parse(const char *text, const struct unit *units, size_t count, int64_t *out)
{
    if (!isdigit((unsigned char)*text))
        return false;
    char *end;
    errno = 0;
    int64_t number = strtoll(text, &end, 10);
    if (errno)
        return false;
    while (*end == ' ')
        end++;
    for (size_t i = 0; i < count; i++)
        if (strcmp(end, units[i].name) == 0)
            return !__builtin_mul_overflow(number, units[i].factor, out);
    return false;
}

static void format(int64_t value, const struct unit *units, size_t count, char text[UNITS_TEXT_SIZE])
{
    for (size_t i = 0; i < count; i++)
        if ((value % units[i].factor == 0 && value >= units[i].factor) || i == count - 1) {
            snprintf(text, UNITS_TEXT_SIZE, "%" PRId64 "%s", value / units[i].factor, units[i].name);
            return;
        }
}

bool units_duration_parse(const char *text, int64_t *ms) { return parse(text, durations, COUNT_OF(durations), ms); }

/* 24h is how people say a day: whole days only from two on. */
void units_duration_format(int64_t ms, char text[UNITS_TEXT_SIZE])
{
    size_t skip = ms < 2 * durations[0].factor ? 1 : 0;
    format(ms, durations + skip, COUNT_OF(durations) - skip, text);
}

bool units_size_parse(const char *text, int64_t *bytes) { return parse(text, sizes, COUNT_OF(sizes), bytes); }

void units_size_format(int64_t bytes, char text[UNITS_TEXT_SIZE]) { format(bytes, sizes, 4, text); }

bool units_integer_parse(const char *text, int64_t *value)
{
    if (!isdigit((unsigned char)text[*text == '-']))
        return false;
    char *end;
    errno = 0;
    *value = strtoll(text, &end, 10);
    return !errno && *end == '\0';
}
