#include "status_text.h"

#include <inttypes.h>
#include <jansson.h>
#include <string.h>

#include "pg/clean.h"

enum { MINUTE = 60, HOUR = 3600, DAY = 86400 };

static void age(double seconds, char text[32])
{
    if (seconds < 0)
        snprintf(text, 32, "-");
    else if (seconds < 2 * MINUTE)
        snprintf(text, 32, "%.1fs", seconds);
    else if (seconds < 2 * HOUR)
        snprintf(text, 32, "%.0fm", seconds / MINUTE);
    else if (seconds < 2 * DAY)
        snprintf(text, 32, "%.1fh", seconds / HOUR);
    else
        snprintf(text, 32, "%.1fd", seconds / DAY);
}

static void count_or_dash(int64_t count, bool bound, char text[32])
{
    if (count < 0)
        snprintf(text, 32, "-");
    else
        snprintf(text, 32, "%" PRId64 "%s", count, bound ? "+" : "");
}

/* Three digits and a unit. */
static void size(int64_t bytes, char text[32])
{
    static const char *const units[] = {"B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"};
    double number = (double)bytes;
    size_t unit = 0;
    for (; number >= 1000 && unit + 1 < COUNT_OF(units); unit++)
        number /= 1024;
    if (bytes < 0)
        snprintf(text, 32, "-");
    else
        snprintf(text, 32, "%.*f%s", unit && number < 9.95 ? 1 : 0, number, units[unit]);
}

static bool unknown(const struct status_stream *stream) { return strcmp(stream->state, "unknown") == 0; }

static bool is_configured(const struct settings *settings, const char *stream)
{
    const char *name = strchr(stream, '/') + 1;
    bool found = false;
    if (strncmp(stream, "inbox/", strlen("inbox/")) == 0)
        for (size_t i = 0; i < settings->inbox_count; i++)
            found = found || strcmp(settings->inboxes[i].name, name) == 0;
    else
        for (size_t i = 0; settings->outbox_on && i < settings->outbox_count; i++)
            found = found || strcmp(settings->outboxes[i].name, name) == 0;
    return found;
}

void status_text_mark_unused(struct status_stream *streams, size_t count, const struct settings *settings)
{
    for (size_t i = 0; i < count; i++) {
        bool idle = !streams[i].updated_at[0] || streams[i].pending == 0;
        if (unknown(&streams[i]) && idle && !is_configured(settings, streams[i].stream))
            snprintf(streams[i].state, sizeof streams[i].state, "unused");
    }
}

static void print_row(struct say_table *table, const struct status_stream *stream)
{
    char pending[32], oldest[32], bytes[32], kept[32], rate[32] = "-";
    count_or_dash(stream->pending, stream->pending_is_bound, pending);
    age(stream->oldest_seconds, oldest);
    size(stream->size_bytes, bytes);
    age(stream->oldest_slot_seconds, kept);
    if (stream->rows_per_second >= 0)
        snprintf(rate, sizeof rate, "%.0f", stream->rows_per_second);
    say_table_cell(table, "%s", stream->stream);
    say_table_cell(table, "%s", stream->paused_at[0] ? "paused" : stream->state);
    say_table_cell(table, "%s", pending);
    say_table_cell(table, "%s", oldest);
    say_table_cell(table, "%s", rate);
    say_table_cell(table, "%" PRId64, stream->dead);
    say_table_cell(table, "%" PRId64, stream->parked);
    say_table_cell(table, "%s", bytes);
    say_table_cell(table, "%s", kept);
    say_table_cell(table, "%s", stream->leader[0] ? stream->leader : "-");
}

static void print_note(const struct status_stream *stream, FILE *out)
{
    if (stream->paused_at[0]) {
        fputc('\n', out);
        say_wrapped(out, 2, "%s: paused by %s at %s: %s", stream->stream, stream->paused_by, stream->paused_at,
                    stream->paused_reason);
        say_wrapped(out, 4, "  what to do: boxrelay resume %s", stream->stream);
    }
    if (unknown(stream)) {
        fputc('\n', out);
        say_wrapped(out, 2,
                    stream->updated_at[0] ? "%s: no relay has reported on it for 30 seconds, last at %s"
                                          : "%s: no relay has reported on it yet%s",
                    stream->stream, stream->updated_at);
        say_wrapped(out, 4, "  what to do: see that a relay runs (boxrelay run) and reaches this database");
    }
    if (stream->held_reason[0]) {
        char since[32];
        age(stream->held_seconds, since);
        fputc('\n', out);
        say_wrapped(out, 2, "%s: cleaning is held back for %s (%s): %s", stream->stream, since, stream->held_reason,
                    stream->held_by[0] ? stream->held_by : "not known by whom");
        say_wrapped(out, 4, "  what to do: %s", clean_hint(stream->held_reason));
    }
    if (!stream->error_class[0])
        return;
    fputc('\n', out);
    say_wrapped(out, 2, "%s: %s%s%s: %s [%s]", stream->stream, say_style(out, SAY_BAD), stream->error_class,
                say_style(out, SAY_PLAIN), stream->error.text, stream->error.code);
    if (stream->error.hint[0])
        say_wrapped(out, 4, "  what to do: %s", stream->error.hint);
}

void status_text_print(const struct status_stream *streams, size_t count, FILE *out)
{
    static const char *const heads[] = {"STREAM", "STATE",  "PENDING", "OLDEST", "ROWS/S",
                                        "DEAD",   "PARKED", "SIZE",    "KEPT",   "LEADER"};
    struct say_table table;
    if (count == 0) {
        fprintf(out, "no streams are registered\n  what to do: SELECT relay.create_outbox('main')\n");
        return;
    }
    say_table_init(&table, COUNT_OF(heads), 1 << 2 | 1 << 3 | 1 << 4 | 1 << 5 | 1 << 6 | 1 << 7 | 1 << 8);
    table.may_cut = true;
    for (size_t i = 0; i < COUNT_OF(heads); i++)
        say_table_cell(&table, "%s", heads[i]);
    for (size_t i = 0; i < count; i++)
        print_row(&table, &streams[i]);
    say_table_print(&table, out);
    say_table_fini(&table);
    for (size_t i = 0; i < count; i++)
        print_note(&streams[i], out);
}

static json_t *text_or_null(const char *text) { return text[0] ? json_string(text) : json_null(); }

static json_t *number_or_null(double number) { return number < 0 ? json_null() : json_real(number); }

static json_t *stream_json(const struct status_stream *stream)
{
    json_t *item = json_object();
    json_object_set_new(item, "stream", json_string(stream->stream));
    json_object_set_new(item, "state", json_string(stream->state));
    json_object_set_new(item, "pending", stream->pending < 0 ? json_null() : json_integer(stream->pending));
    json_object_set_new(item, "pending_is_bound", json_boolean(stream->pending_is_bound));
    json_object_set_new(item, "oldest_age_seconds", number_or_null(stream->oldest_seconds));
    json_object_set_new(item, "rows_per_second", number_or_null(stream->rows_per_second));
    json_object_set_new(item, "dead", json_integer(stream->dead));
    json_object_set_new(item, "parked", json_integer(stream->parked));
    json_object_set_new(item, "size_bytes", stream->size_bytes < 0 ? json_null() : json_integer(stream->size_bytes));
    json_object_set_new(item, "oldest_slot_age_seconds", number_or_null(stream->oldest_slot_seconds));
    json_object_set_new(item, "cleanup_held_seconds", number_or_null(stream->held_seconds));
    json_object_set_new(item, "cleanup_held_reason", text_or_null(stream->held_reason));
    json_object_set_new(item, "cleanup_held_by", text_or_null(stream->held_by));
    json_object_set_new(item, "paused_at", text_or_null(stream->paused_at));
    json_object_set_new(item, "paused_by", text_or_null(stream->paused_by));
    json_object_set_new(item, "paused_reason", text_or_null(stream->paused_reason));
    json_object_set_new(item, "leader", text_or_null(stream->leader));
    json_object_set_new(item, "error_class", text_or_null(stream->error_class));
    json_object_set_new(item, "error_code", text_or_null(stream->error.code));
    json_object_set_new(item, "error_text", text_or_null(stream->error.text));
    json_object_set_new(item, "error_hint", text_or_null(stream->error.hint));
    json_object_set_new(item, "updated_at", text_or_null(stream->updated_at));
    return item;
}

json_t *status_text_list(const struct status_stream *streams, size_t count)
{
    json_t *list = json_array();
    for (size_t i = 0; i < count; i++)
        json_array_append_new(list, stream_json(&streams[i]));
    return list;
}

void status_text_json(const struct status_stream *streams, size_t count, FILE *out)
{
    json_t *list = status_text_list(streams, count);
    json_dumpf(list, out, JSON_INDENT(2) | JSON_REAL_PRECISION(9));
    fputc('\n', out);
    json_decref(list);
}

enum exit_code status_text_code(const struct status_stream *streams, size_t count)
{
    enum exit_code code = EXIT_OK;
    for (size_t i = 0; i < count; i++) {
        if (streams[i].error.class == ERROR_INTEGRITY)
            return EXIT_REFUSED;
        if (streams[i].error_class[0] || unknown(&streams[i]))
            code = EXIT_DEGRADED;
    }
    return code;
}
