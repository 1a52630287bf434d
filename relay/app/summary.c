#include "summary.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "watch.h"

struct line {
    char *text;
    size_t length;
};

static void add(struct line *line, const char *format, ...) PRINTF_LIKE(2, 3);

static void add(struct line *line, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    int length = vsnprintf(line->text + line->length, SUMMARY_MAX - line->length, format, arguments);
    va_end(arguments);
    size_t left = SUMMARY_MAX - 1 - line->length;
    line->length += length < 0 ? 0 : (size_t)length < left ? (size_t)length : left;
}

/* The first failing stream stands for the others; status shows them all. */
static void add_failing(struct line *line, const struct overview *overview, size_t count, bool others)
{
    const struct outbox_stream_view *first = overview->streams;
    while (watch_phase_of(first->state) != WATCH_FAILING)
        first++;
    add(line, "%s%zu failing (%s", others ? ", " : " ", count, first->stream);
    add(line, first->last_error.code[0] ? ": %s)" : "%s)", first->last_error.code);
}

static void add_streams(struct line *line, const struct overview *overview)
{
    static const char *const words[] = {
        [WATCH_NEW] = "found",          [WATCH_STANDBY] = "standing by", [WATCH_STARTING] = "starting",
        [WATCH_RUNNING] = "publishing", [WATCH_PAUSED] = "paused",       [WATCH_ENDED] = "ended",
    };
    size_t counts[WATCH_ENDED + 1] = {0};
    bool others = false;
    for (size_t i = 0; i < overview->stream_count; i++)
        counts[watch_phase_of(overview->streams[i].state)]++;
    add(line, overview->stream_count == 1 ? "1 stream:" : "%zu streams:", overview->stream_count);
    for (size_t phase = 0; phase <= WATCH_ENDED; phase++) {
        if (!words[phase] || !counts[phase])
            continue;
        add(line, "%s%zu %s", others ? ", " : " ", counts[phase], words[phase]);
        others = true;
    }
    if (counts[WATCH_FAILING])
        add_failing(line, overview, counts[WATCH_FAILING], others);
}

static void add_pending(struct line *line, const struct overview *overview)
{
    int64_t rows = 0;
    bool is_bound = false;
    for (size_t i = 0; i < overview->stream_count; i++) {
        rows += overview->streams[i].pending_rows > 0 ? overview->streams[i].pending_rows : 0;
        is_bound = is_bound || overview->streams[i].pending_is_bound;
    }
    if (rows > 0)
        add(line, "; %" PRId64 "%s rows pending", rows, is_bound ? "+" : "");
}

void summary_write(const struct overview *overview, char text[SUMMARY_MAX])
{
    const struct outbox_service_view *service = &overview->service;
    struct line line = {text, 0};
    text[0] = '\0';
    if (!service->postgres_reached) {
        add(&line, "waiting for PostgreSQL");
        if (service->instance_error.class != ERROR_NONE)
            add(&line, ": %s [%s]", service->instance_error.text, service->instance_error.code);
        return;
    }
    /* An outage is said below in few words; what people have to mend is said in full. */
    bool mendable = service->instance_error.class == ERROR_CONFIG || service->instance_error.class == ERROR_INTEGRITY;
    if (mendable)
        add(&line, "%s [%s]; ", service->instance_error.text, service->instance_error.code);
    if (overview->stream_count)
        add_streams(&line, overview);
    else
        add(&line, "no streams");
    add_pending(&line, overview);
    if (!service->postgres_up)
        add(&line, "; PostgreSQL is away");
    if (!service->kafka_up && service->schema_ok && !mendable)
        add(&line, "; Kafka is away");
}
