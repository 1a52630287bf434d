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

/* Streams by what they do. */
struct counts {
    size_t all, phases[WATCH_ENDED + 1], storing;
    const char *failing; /* the first of them stands for the others; status shows them all */
    const struct error *error;
};

static void count(struct counts *counts, enum watch_phase phase, const char *stream, const struct error *error)
{
    counts->all++;
    counts->phases[phase]++;
    if (phase == WATCH_FAILING && !counts->failing) {
        counts->failing = stream;
        counts->error = error;
    }
}

static struct counts count_streams(const struct overview *overview)
{
    struct counts counts = {0};
    for (size_t i = 0; i < overview->stream_count; i++) {
        const struct outbox_stream_view *stream = &overview->streams[i];
        count(&counts, watch_phase_of_outbox(stream->state), stream->stream, &stream->last_error);
    }
    for (size_t i = 0; i < overview->inbox_count; i++) {
        const struct inbox_stream_view *stream = &overview->inboxes[i];
        enum watch_phase phase = watch_phase_of_inbox(stream);
        if (phase == WATCH_RUNNING) {
            counts.all++;
            counts.storing++;
        } else {
            count(&counts, phase, stream->stream, &stream->last_error);
        }
    }
    return counts;
}

static void add_count(struct line *line, const char **before, size_t number, const char *word)
{
    if (!number)
        return;
    add(line, "%s%zu %s", *before, number, word);
    *before = ", ";
}

static void add_streams(struct line *line, const struct counts *counts)
{
    static const char *const words[] = {
        [WATCH_NEW] = "found",          [WATCH_STANDBY] = "standing by", [WATCH_STARTING] = "starting",
        [WATCH_RUNNING] = "publishing", [WATCH_PAUSED] = "paused",       [WATCH_ENDED] = "ended",
    };
    const char *before = " ";
    add(line, counts->all == 1 ? "1 stream:" : "%zu streams:", counts->all);
    for (size_t phase = 0; phase <= WATCH_ENDED; phase++) {
        if (words[phase])
            add_count(line, &before, counts->phases[phase], words[phase]);
        if (phase == WATCH_RUNNING)
            add_count(line, &before, counts->storing, "storing");
    }
    if (!counts->failing)
        return;
    add(line, "%s%zu failing (%s", before, counts->phases[WATCH_FAILING], counts->failing);
    add(line, counts->error->code[0] ? ": %s)" : "%s)", counts->error->code);
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

static void add_waiting(struct line *line, const struct overview *overview)
{
    int64_t messages = 0;
    size_t full = 0;
    for (size_t i = 0; i < overview->inbox_count; i++) {
        messages += overview->inboxes[i].pending_rows > 0 ? overview->inboxes[i].pending_rows : 0;
        full += overview->inboxes[i].full;
    }
    if (messages > 0)
        add(line, "; %" PRId64 " messages waiting", messages);
    if (full > 0)
        add(line, full == 1 ? "; 1 inbox is full" : "; %zu inboxes are full", full);
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
    struct counts counts = count_streams(overview);
    if (counts.all)
        add_streams(&line, &counts);
    else
        add(&line, "no streams");
    add_pending(&line, overview);
    add_waiting(&line, overview);
    if (!service->postgres_up)
        add(&line, "; PostgreSQL is away");
    if (!service->kafka_up && service->schema_ok && !mendable)
        add(&line, "; Kafka is away");
}
