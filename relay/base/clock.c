#include "base/clock.h"

#include <stdio.h>
#include <time.h>

static int64_t read_us(clockid_t id)
{
    struct timespec now;
    clock_gettime(id, &now);
    return (int64_t)now.tv_sec * 1000000 + now.tv_nsec / 1000;
}

int64_t clock_monotonic_us(void) { return read_us(CLOCK_MONOTONIC); }

int64_t clock_monotonic_ms(void) { return read_us(CLOCK_MONOTONIC) / 1000; }

int64_t clock_unix_ms(void) { return read_us(CLOCK_REALTIME) / 1000; }

void clock_format(int64_t unix_ms, bool milliseconds, char text[CLOCK_TEXT_SIZE])
{
    time_t seconds = (time_t)(unix_ms / 1000);
    struct tm parts;
    size_t length = strftime(text, CLOCK_TEXT_SIZE, "%Y-%m-%dT%H:%M:%S", gmtime_r(&seconds, &parts));
    if (milliseconds)
        snprintf(text + length, CLOCK_TEXT_SIZE - length, ".%03dZ", (int)(unix_ms % 1000));
    else
        snprintf(text + length, CLOCK_TEXT_SIZE - length, "Z");
}
