#include "pg/window.h"

#include <assert.h>
#include <endian.h>
#include <libpq-fe.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/fault.h"
#include "session_internal.h"
#include "statements.h"
#include "window_parameters.h"

enum { ROW_COLUMNS = 11, ROW_BYTES = 200, NUMBER_TEXT = 24, POSTGRES_EPOCH_MS = 946684800 };

struct window_reader {
    char *probe, *window, *window_start, *slice, *pending, *drained;
#ifdef BOXRELAY_FAULTS
    char *planted_relation;
    struct planted {
        int64_t last; /* seq, or the sequence's value: what the planted bugs look at */
    } * planted;
#endif
};

enum error_class window_reader_new(const char *relation, struct window_reader **out, struct error *error)
{
    struct window_reader *reader = calloc(1, sizeof *reader);
    *out = reader;
    if (!reader)
        return error_set(error, ERROR_RETRY, "NO_MEMORY", "no memory for the statements of %s", relation);
    reader->probe = sql_for_relation(sql_probe, relation);
    reader->window = sql_for_relation(sql_window, relation);
    reader->window_start = sql_for_relation(sql_window_start, relation);
    reader->slice = sql_for_relation(sql_slice, relation);
    reader->pending = sql_for_relation(sql_pending, relation);
    reader->drained = sql_for_relation(sql_drained, relation);
#ifdef BOXRELAY_FAULTS
    reader->planted_relation = strdup(relation);
    reader->planted = calloc(1, sizeof *reader->planted);
#endif
    if (reader->probe && reader->window && reader->window_start && reader->slice && reader->pending && reader->drained)
        return ERROR_NONE;
    window_reader_free(out);
    return error_set(error, ERROR_RETRY, "NO_MEMORY", "no memory for the statements of %s", relation);
}

void window_reader_free(struct window_reader **reader)
{
    if (!*reader)
        return;
    free((*reader)->probe);
    free((*reader)->window);
    free((*reader)->window_start);
    free((*reader)->slice);
    free((*reader)->pending);
    free((*reader)->drained);
#ifdef BOXRELAY_FAULTS
    free((*reader)->planted_relation);
    free((*reader)->planted);
#endif
    free(*reader);
    *reader = NULL;
}

static int64_t read_int64(const PGresult *result, int column)
{
    uint64_t value;
    assert(PQgetlength(result, 0, column) == (int)sizeof value);
    memcpy(&value, PQgetvalue(result, 0, column), sizeof value);
    return (int64_t)be64toh(value);
}

static int32_t read_int32(const PGresult *result, int column)
{
    uint32_t value;
    assert(PQgetlength(result, 0, column) == (int)sizeof value);
    memcpy(&value, PQgetvalue(result, 0, column), sizeof value);
    return (int32_t)be32toh(value);
}

/* Binary results are NUL-terminated by libpq too: PostgreSQL docs, PQgetvalue. */
static const char *read_text(const PGresult *result, int column)
{
    return PQgetisnull(result, 0, column) ? NULL : PQgetvalue(result, 0, column);
}

/* The first of two columns that is not NULL: text and bytea forms of a key or payload. */
static const void *read_bytes(const PGresult *result, int column, size_t *size)
{
    *size = 0;
    for (int at = column; at < column + 2; at++) {
        if (PQgetisnull(result, 0, at))
            continue;
        *size = (size_t)PQgetlength(result, 0, at);
        return PQgetvalue(result, 0, at);
    }
    return NULL;
}

/* Columns as window.sql and slice.sql name them, in binary. Takes the result over. */
static struct row decode(PGresult *result)
{
    struct row row = {.memory = result};
    assert(PQnfields(result) == ROW_COLUMNS && PQfformat(result, 0) == 1);
    row.seq = read_int64(result, 0);
    row.topic = read_text(result, 1);
    row.key = read_bytes(result, 2, &row.key_size);
    row.value = read_bytes(result, 4, &row.value_size);
    row.type = read_text(result, 6);
    row.headers = read_text(result, 7);
    assert(PQgetlength(result, 0, 8) == (int)sizeof row.id.bytes);
    memcpy(row.id.bytes, PQgetvalue(result, 0, 8), sizeof row.id.bytes);
    row.partition = PQgetisnull(result, 0, 9) ? -1 : read_int32(result, 9);
    row.created_ms = PQgetisnull(result, 0, 10) ? 0 : read_int64(result, 10) / 1000 + POSTGRES_EPOCH_MS * 1000LL;
    return row;
}

static int64_t row_bytes(const struct row *row)
{
    return (int64_t)(ROW_BYTES + row->key_size + row->value_size + (row->headers ? strlen(row->headers) : 0));
}

static bool append(struct batch *batch, const struct row *row)
{
    if (batch->count == batch->capacity) {
        size_t capacity = batch->capacity ? batch->capacity * 2 : 64;
        struct row *rows = realloc(batch->rows, capacity * sizeof *rows);
        if (!rows)
            return false;
        batch->rows = rows;
        batch->capacity = capacity;
    }
    batch->rows[batch->count++] = *row;
    batch->bytes += row_bytes(row);
    return true;
}

static void clear_rows(struct batch *batch)
{
    for (size_t i = 0; i < batch->count; i++)
        PQclear(batch->rows[i].memory);
    batch->count = 0;
    batch->bytes = 0;
}

void batch_free(struct batch *batch)
{
    clear_rows(batch);
    free(batch->rows);
    *batch = (struct batch){0};
}

static bool has_room(const struct batch *batch, const struct row *row, const struct batch_limits *limits)
{
    return batch->count == 0 ||
           ((int64_t)batch->count < limits->rows_max && batch->bytes + row_bytes(row) <= limits->bytes_max);
}

/*
 * Streams rows into the batch. Beyond the limits the rest is read off and dropped: it comes with the next slice, whose
 * row limit the worker has learnt to choose smaller.
 */
static enum error_class stream_rows(struct session *session, const char *sql, int parameter_count,
                                    const char *const *parameters, const struct batch_limits *limits,
                                    struct batch *batch, struct error *error)
{
    if (session_stream(session, sql, parameter_count, parameters, error))
        return error->class;
    for (;;) {
        PGresult *result;
        if (session_next(session, &result, error))
            return error->class;
        if (!result)
            return ERROR_NONE;
        struct row row = decode(result);
        if (batch->more || !has_room(batch, &row, limits)) {
            batch->more = true;
            PQclear(result);
        } else if (!append(batch, &row)) {
            PQclear(result);
            return error_set(error, ERROR_RECONNECT, "NO_MEMORY", "no memory for %zu rows of a batch", batch->count);
        }
    }
}

/* One row of int8 columns. */
static enum error_class stream_numbers(struct session *session, const char *sql, int parameter_count,
                                       const char *const *parameters, int64_t *numbers, int count, struct error *error)
{
    PGresult *result, *end;
    if (session_stream(session, sql, parameter_count, parameters, error) || session_next(session, &result, error))
        return error->class;
    if (!result)
        return error_set(error, ERROR_RECONNECT, "NO_ROW", "PostgreSQL gave no row where there is always one");
    for (int i = 0; i < count; i++)
        numbers[i] = read_int64(result, i);
    PQclear(result);
    if (session_next(session, &end, error))
        return error->class;
    assert(!end);
    return ERROR_NONE;
}

static int by_seq(const void *a, const void *b)
{
    const struct row *left = a, *right = b;
    return left->seq < right->seq ? -1 : left->seq > right->seq;
}

static enum error_class read_slice(struct session *session, const struct window_reader *reader,
                                   struct window_parameters *window, int64_t last_seq,
                                   const struct batch_limits *limits, struct batch *batch, struct error *error)
{
    char last[NUMBER_TEXT], rows[NUMBER_TEXT];
    snprintf(last, sizeof last, "%lld", (long long)last_seq);
    snprintf(rows, sizeof rows, "%lld", (long long)limits->rows_max + 1); /* one more tells whether there is more */
    const char *parameters[] = {window->text[0], window->text[1], window->text[2], window->text[3], last, rows};
    batch->sliced = true;
    return stream_rows(session, reader->slice, COUNT_OF(parameters), parameters, limits, batch, error);
}

/* A window not begun yet: whole when it fits, else its first slice. */
static enum error_class read_window(struct session *session, const struct window_reader *reader,
                                    struct window_parameters *window, const struct batch_limits *limits,
                                    struct batch *batch, struct error *error)
{
    char count_max[NUMBER_TEXT];
    snprintf(count_max, sizeof count_max, "%lld", (long long)limits->rows_max + 1);
    const char *parameters[] = {window->text[0], window->text[1], window->text[2], window->text[3], count_max};
    int64_t numbers[3] = {0}; /* rows, bytes, smallest seq among those counted */
    if (stream_numbers(session, reader->probe, COUNT_OF(parameters), parameters, numbers, 3, error))
        return error->class;
    if (numbers[0] == 0)
        return ERROR_NONE;
    if (numbers[0] <= limits->rows_max && (numbers[0] == 1 || numbers[1] <= limits->bytes_max)) {
        const struct batch_limits none = {.rows_max = INT64_MAX, .bytes_max = INT64_MAX};
        if (stream_rows(session, reader->window, WINDOW_PARAMETERS, parameters, &none, batch, error))
            return error->class;
        qsort(batch->rows, batch->count, sizeof *batch->rows, by_seq);
        return ERROR_NONE;
    }
    int64_t start = 0;
    if (stream_numbers(session, reader->window_start, 4, parameters, &start, 1, error))
        return error->class;
    return read_slice(session, reader, window, start - 1, limits, batch, error);
}

#ifdef BOXRELAY_FAULTS
enum error_class window_planted_sequence_moved(struct session *session, const struct window_reader *reader, bool *moved,
                                               struct error *error)
{
    PGresult *result;
    const char *parameters[] = {reader->planted_relation};
    if (session_exec(session, "SELECT coalesce(pg_sequence_last_value(pg_get_serial_sequence($1, 'seq')), 0)", 1,
                     parameters, &result, error))
        return error->class;
    int64_t value = strtoll(PQgetvalue(result, 0, 0), NULL, 10);
    PQclear(result);
    *moved = value != reader->planted->last;
    reader->planted->last = value;
    return ERROR_NONE;
}

/* Planted bug: polling by `seq > last` loses rows that commit late. */
static enum error_class planted_read_by_seq(struct session *session, const struct window_reader *reader,
                                            const struct snapshot *until, const struct batch_limits *limits,
                                            struct batch *batch, struct error *error)
{
    struct snapshot *all = calloc(2, sizeof *all);
    struct window_parameters window;
    snapshot_first(&all[0]);
    all[1].xmin = all[1].xmax = until->xmax;
    enum error_class class = window_parameters_init(&window, &all[0], &all[1], error);
    free(all);
    if (class)
        return class;
    class = read_slice(session, reader, &window, reader->planted->last, limits, batch, error);
    window_parameters_fini(&window);
    batch->more = false;
    if (!class && batch->count)
        reader->planted->last = batch->rows[batch->count - 1].seq;
    return class;
}
#endif

enum error_class batch_read(struct session *session, const struct window_reader *reader,
                            const struct position *position, const struct snapshot *snapshot,
                            const struct batch_limits *limits, struct snapshot *until, struct batch *batch,
                            struct error *error)
{
    struct window_parameters window;
    assert(batch->count == 0 && limits->rows_max >= 1);
    batch->sliced = batch->more = false;
    snapshot_copy(until, position->slicing ? &position->until : snapshot);
#ifdef BOXRELAY_FAULTS
    if (fault_planted("read_by_seq"))
        return planted_read_by_seq(session, reader, until, limits, batch, error);
#endif
    if (window_parameters_init(&window, &position->from, until, error))
        return error->class;
    enum error_class class = position->slicing
                                 ? read_slice(session, reader, &window, position->last_seq, limits, batch, error)
                                 : read_window(session, reader, &window, limits, batch, error);
    window_parameters_fini(&window);
    if (class)
        batch_free(batch);
    return class;
}

enum error_class batch_begin(struct session *session, const struct uuid *stream, struct snapshot *snapshot,
                             bool *paused, uint32_t *timeline, struct error *error)
{
    char uuid[UUID_TEXT_SIZE];
    uuid_format(stream, uuid);
    const char *parameters[] = {uuid};
    PGresult *result;
    if (session_exec(session, "BEGIN ISOLATION LEVEL REPEATABLE READ READ WRITE; SET LOCAL synchronous_commit = on", 0,
                     NULL, NULL, error) ||
        session_exec(session, sql_snapshot, 1, parameters, &result, error))
        return error->class;
    enum error_class class = ERROR_NONE;
    if (PQntuples(result) != 1) {
        error_set(error, ERROR_CONFIG, "NOT_REGISTERED", "this outbox is not registered any more");
        class = error_hint(error, "it was dropped, or made anew: SELECT * FROM relay.status");
    } else if (strcmp(PQgetvalue(result, 0, 1), "t") == 0) {
        class = session_fail_standby(error);
    } else if (!snapshot_parse(PQgetvalue(result, 0, 0), (size_t)PQgetlength(result, 0, 0), snapshot)) {
        class =
            error_set(error, ERROR_INTEGRITY, "SNAPSHOT_TOO_LARGE",
                      "PostgreSQL's snapshot cannot be read: more than %d transactions in progress?", SNAPSHOT_XIP_MAX);
    } else {
        *paused = strcmp(PQgetvalue(result, 0, 2), "t") == 0;
        *timeline = (uint32_t)strtoul(PQgetvalue(result, 0, 3), NULL, 16);
    }
    PQclear(result);
    return class;
}

enum error_class poll_snapshot(struct session *session, struct snapshot *snapshot, struct error *error)
{
    PGresult *result;
    if (session_exec(session, sql_poll, 0, NULL, &result, error))
        return error->class;
    bool good = snapshot_parse(PQgetvalue(result, 0, 0), (size_t)PQgetlength(result, 0, 0), snapshot);
    PQclear(result);
    return good ? ERROR_NONE
                : error_set(error, ERROR_INTEGRITY, "SNAPSHOT_TOO_LARGE",
                            "PostgreSQL's snapshot cannot be read: more than %d transactions in progress?",
                            SNAPSHOT_XIP_MAX);
}

enum error_class window_pending(struct session *session, const struct window_reader *reader,
                                const struct position *position, int64_t limit, int64_t *rows, int64_t *oldest_ms,
                                struct error *error)
{
    char last[NUMBER_TEXT], count_max[NUMBER_TEXT];
    struct snapshot *now = malloc(sizeof *now);
    struct window_parameters window = {0}, slicing = {0};
    const struct snapshot *until = position->slicing ? &position->until : &position->from;
    enum error_class class = ERROR_RETRY;
    snprintf(last, sizeof last, "%lld", position->slicing ? (long long)position->last_seq : -1LL);
    snprintf(count_max, sizeof count_max, "%lld", (long long)limit);
    if (!now) {
        error_set(error, class, "NO_MEMORY", "no memory for a snapshot");
        goto out;
    }
    if ((class = poll_snapshot(session, now, error)) ||
        (class = window_parameters_init(&window, &position->from, now, error)) ||
        (class = window_parameters_init(&slicing, &position->from, until, error)))
        goto out;
    const char *parameters[] = {window.text[0], window.text[1], window.text[2],  window.text[3],
                                last,           count_max,      slicing.text[1], slicing.text[2]};
    int64_t numbers[2] = {0};
    class = stream_numbers(session, reader->pending, COUNT_OF(parameters), parameters, numbers, 2, error);
    if (!class) {
        *rows = numbers[0];
        *oldest_ms = numbers[1];
    }
out:
    window_parameters_fini(&window);
    window_parameters_fini(&slicing);
    free(now);
    return class;
}

enum error_class window_drained(struct session *session, const struct window_reader *reader, const struct uuid *stream,
                                const struct snapshot *snapshot, bool *drained, struct error *error)
{
    char uuid[UUID_TEXT_SIZE];
    char *text = malloc(SNAPSHOT_TEXT_MAX);
    PGresult *result;
    if (!text)
        return error_set(error, ERROR_RETRY, "NO_MEMORY", "no memory for a snapshot");
    uuid_format(stream, uuid);
    snapshot_format(snapshot, text, SNAPSHOT_TEXT_MAX);
    const char *parameters[] = {uuid, text};
    enum error_class class = session_exec(session, reader->drained, 2, parameters, &result, error);
    free(text);
    if (class)
        return class;
    *drained = strcmp(PQgetvalue(result, 0, 0), "t") == 0;
    PQclear(result);
    return ERROR_NONE;
}
