#include "units.h"

#include <ctype.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

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

/* `count` digits of `*at`, which moves behind them; -1: there are not so many. */
static int digits(const char **at, int count)
{
    int number = 0;
    for (; count > 0; count--, (*at)++) {
        if (!isdigit((unsigned char)**at))
            return -1;
        number = number * 10 + (**at - '0');
    }
    return number;
}

static bool skip(const char **at, const char *one_of)
{
    if (!**at || !strchr(one_of, **at))
        return false;
    (*at)++;
    return true;
}

/* ".5" and the like, of which milliseconds count; none is 0. */
static bool parse_fraction(const char **at, int *ms)
{
    *ms = 0;
    if (!skip(at, "."))
        return true;
    if (!isdigit((unsigned char)**at))
        return false;
    for (int weight = 100; isdigit((unsigned char)**at); weight /= 10)
        *ms += weight * (*(*at)++ - '0');
    return true;
}

/* "Z", "+02:00": seconds east of UTC. */
static bool parse_zone(const char **at, int *seconds)
{
    *seconds = 0;
    if (skip(at, "Zz"))
        return true;
    int sign = **at == '-' ? -1 : 1;
    if (!skip(at, "+-"))
        return false;
    int hours = digits(at, 2);
    int minutes = skip(at, ":") ? digits(at, 2) : -1;
    *seconds = sign * (hours * 3600 + minutes * 60);
    return hours >= 0 && hours <= 23 && minutes >= 0 && minutes <= 59;
}

/* RFC 3339, section 5.6. timegm moves days that a month has not into the next one; then they differ. */
bool units_time_parse(const char *text, int64_t *unix_ms)
{
    const char *at = text;
    struct tm day = {0};
    int ms, zone;
    day.tm_year = digits(&at, 4) - 1900;
    day.tm_mon = skip(&at, "-") ? digits(&at, 2) - 1 : -1;
    day.tm_mday = skip(&at, "-") ? digits(&at, 2) : -1;
    bool good = day.tm_year >= 70 && day.tm_mon >= 0 && day.tm_mon <= 11 && day.tm_mday >= 1 && skip(&at, "Tt ");
    int hour = good ? digits(&at, 2) : -1;
    int minute = skip(&at, ":") ? digits(&at, 2) : -1;
    int second = skip(&at, ":") ? digits(&at, 2) : -1;
    good = good && hour >= 0 && hour <= 23 && minute >= 0 && minute <= 59 && second >= 0 && second <= 60;
    if (!good || !parse_fraction(&at, &ms) || !parse_zone(&at, &zone) || *at)
        return false;
    int month = day.tm_mon, date = day.tm_mday;
    int64_t midnight = timegm(&day);
    *unix_ms = (midnight + hour * 3600 + minute * 60 + second - zone) * 1000 + ms;
    return day.tm_mon == month && day.tm_mday == date && *unix_ms >= 0;
}
