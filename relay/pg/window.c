#include "pg/window.h"

#include <assert.h>
#include <endian.h>
#include <inttypes.h>
#include <libpq-fe.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/fault.h"
#include "core/slots.h"
#include "session_internal.h"
#include "statements.h"
#include "window_parameters.h"

enum { ROW_COLUMNS = 11, ROW_BYTES = 200, NUMBER_TEXT = 24, POSTGRES_EPOCH_MS = 946684800 };

/* The statements written for relay.outbox, with another outbox's table. */
enum statement {
    SNAPSHOT,
    REACHED,
    WINDOW,
    WINDOW_LATE,
    SLICE,
    SLICE_LATE,
    PENDING,
    PENDING_SLICING,
    DRAINED,
    STATEMENTS
};

struct window_reader {
    char *sql[STATEMENTS];
    struct slot_history history;
#ifdef BOXRELAY_FAULTS
    char *planted_relation;
    struct planted {
        int64_t last; /* seq, or the sequence's value: what the planted bugs look at */
    } * planted;
#endif
};

enum error_class window_reader_new(const char *relation, struct window_reader **out, struct error *error)
{
    static const char *const written[STATEMENTS] = {
        [SNAPSHOT] = sql_snapshot, [REACHED] = sql_reached,
        [WINDOW] = sql_window,     [WINDOW_LATE] = sql_window_late,
        [SLICE] = sql_slice,       [SLICE_LATE] = sql_slice_late,
        [PENDING] = sql_pending,   [PENDING_SLICING] = sql_pending_slicing,
        [DRAINED] = sql_drained,
    };
    struct window_reader *reader = calloc(1, sizeof *reader);
    bool good = reader != NULL;
    *out = reader;
    for (int i = 0; good && i < STATEMENTS; i++)
        good = (reader->sql[i] = sql_for_relation(written[i], "outbox", relation)) != NULL;
#ifdef BOXRELAY_FAULTS
    if (reader) {
        reader->planted_relation = strdup(relation);
        reader->planted = calloc(1, sizeof *reader->planted);
    }
#endif
    if (good)
        return ERROR_NONE;
    window_reader_free(out);
    return error_set(error, ERROR_RETRY, "NO_MEMORY", "no memory for the statements of %s", relation);
}

void window_reader_forget(struct window_reader *reader) { reader->history.count = 0; }

void window_reader_free(struct window_reader **reader)
{
    if (!*reader)
        return;
    for (int i = 0; i < STATEMENTS; i++)
        free((*reader)->sql[i]);
#ifdef BOXRELAY_FAULTS
    free((*reader)->planted_relation);
    free((*reader)->planted);
#endif
    free(*reader);
    *reader = NULL;
}

/* The fields of one row in binary form; a size of -1 is NULL. */
struct cells {
    char *data[ROW_COLUMNS];
    int32_t size[ROW_COLUMNS];
};

static int64_t int64_of(const char *data)
{
    uint64_t value;
    memcpy(&value, data, sizeof value);
    return (int64_t)be64toh(value);
}

static int32_t int32_of(const char *data)
{
    uint32_t value;
    memcpy(&value, data, sizeof value);
    return (int32_t)be32toh(value);
}

/* NUL-terminated by libpq in binary results too (PostgreSQL docs, PQgetvalue), and by cells_of_copy. */
static const char *text_of(const struct cells *cells, int column)
{
    return cells->size[column] < 0 ? NULL : cells->data[column];
}

/* The first of two columns that is not NULL: text and bytea forms of a key or payload. */
static const void *bytes_of(const struct cells *cells, int column, size_t *size)
{
    int at = cells->size[column] < 0 ? column + 1 : column;
    *size = cells->size[at] < 0 ? 0 : (size_t)cells->size[at];
    return cells->size[at] < 0 ? NULL : cells->data[at];
}

static void cells_of_result(const PGresult *result, struct cells *cells)
{
    assert(PQnfields(result) == ROW_COLUMNS && PQfformat(result, 0) == 1);
    for (int i = 0; i < ROW_COLUMNS; i++) {
        cells->data[i] = PQgetvalue(result, 0, i);
        cells->size[i] = PQgetisnull(result, 0, i) ? -1 : PQgetlength(result, 0, i);
    }
}

/*
 * A row as COPY sends it: int16 count of fields, then for each an int32 size (-1: NULL) and its bytes. Texts get their
 * NUL where the size of the next field stood. False: not such a row.
 */
static bool cells_of_copy(const struct copied_row *row, struct cells *cells)
{
    char *at = row->bytes + sizeof(int16_t), *end = row->bytes + row->size;
    if (row->size < sizeof(int16_t) || row->bytes[0] != 0 || row->bytes[1] != ROW_COLUMNS)
        return false;
    for (int i = 0; i < ROW_COLUMNS; i++) {
        if (end - at < (ptrdiff_t)sizeof(int32_t))
            return false;
        cells->size[i] = int32_of(at);
        cells->data[i] = at + sizeof(int32_t);
        if (cells->size[i] > end - cells->data[i])
            return false;
        at = cells->data[i] + (cells->size[i] < 0 ? 0 : cells->size[i]);
    }
    for (int i = 0; i < ROW_COLUMNS; i++)
        if (cells->size[i] >= 0)
            cells->data[i][cells->size[i]] = '\0'; /* behind the last one PQgetCopyData has put a NUL already */
    return true;
}

/* Columns as window.sql and slice.sql name them. Takes the memory over. */
static struct row decode(const struct cells *cells, void *memory)
{
    struct row row = {.memory = memory};
    assert(cells->size[0] == sizeof(int64_t) && cells->size[1] >= 0 && cells->size[8] == sizeof row.id.bytes);
    row.seq = int64_of(cells->data[0]);
    row.topic = text_of(cells, 1);
    row.key = bytes_of(cells, 2, &row.key_size);
    row.value = bytes_of(cells, 4, &row.value_size);
    row.type = text_of(cells, 6);
    row.headers = text_of(cells, 7);
    memcpy(row.id.bytes, cells->data[8], sizeof row.id.bytes);
    row.partition = cells->size[9] < 0 ? -1 : int32_of(cells->data[9]);
    row.created_ms = cells->size[10] < 0 ? 0 : int64_of(cells->data[10]) / 1000 + POSTGRES_EPOCH_MS * 1000LL;
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

/* Slices come by COPY, windows as results. */
static void free_row(const struct batch *batch, void *memory)
{
    if (batch->sliced)
        PQfreemem(memory);
    else
        PQclear(memory);
}

static void clear_rows(struct batch *batch)
{
    for (size_t i = 0; i < batch->count; i++)
        free_row(batch, batch->rows[i].memory);
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
 * Takes a row into the batch, or frees it. Beyond the limits the rest is read off and dropped: it comes with the next
 * slice, whose row limit the worker has learnt to choose smaller.
 */
static bool take(struct batch *batch, const struct row *row, const struct batch_limits *limits, struct error *error)
{
    if (batch->more || !has_room(batch, row, limits)) {
        batch->more = true;
        free_row(batch, row->memory);
        return true;
    }
    if (append(batch, row))
        return true;
    free_row(batch, row->memory);
    error_set(error, ERROR_RECONNECT, "NO_MEMORY", "no memory for %zu rows of a batch", batch->count);
    return false;
}

static enum error_class stream_rows(struct session *session, const char *sql, int parameter_count,
                                    const char *const *parameters, const struct batch_limits *limits,
                                    struct batch *batch, struct error *error)
{
    if (session_stream(session, sql, parameter_count, parameters, error))
        return error->class;
    for (;;) {
        PGresult *result;
        struct cells cells;
        if (session_next(session, &result, error))
            return error->class;
        if (!result)
            return ERROR_NONE;
        cells_of_result(result, &cells);
        const struct row row = decode(&cells, result);
        if (!take(batch, &row, limits, error))
            return error->class;
    }
}

static enum error_class copy_rows(struct session *session, const char *sql, int parameter_count,
                                  const char *const *parameters, const struct batch_limits *limits, struct batch *batch,
                                  struct error *error)
{
    if (session_copy(session, sql, parameter_count, parameters, error))
        return error->class;
    for (;;) {
        struct copied_row copied;
        struct cells cells;
        if (session_copy_next(session, &copied, error))
            return error->class;
        if (!copied.memory)
            return ERROR_NONE;
        if (!cells_of_copy(&copied, &cells)) {
            PQfreemem(copied.memory);
            return error_set(error, ERROR_RECONNECT, "NO_ROW", "PostgreSQL's COPY gave a row that is none");
        }
        const struct row row = decode(&cells, copied.memory);
        if (!take(batch, &row, limits, error))
            return error->class;
    }
}

static void number_text(int64_t number, char text[NUMBER_TEXT]) { snprintf(text, NUMBER_TEXT, "%" PRId64, number); }

static int by_seq(const void *a, const void *b)
{
    const struct row *left = a, *right = b;
    return left->seq < right->seq ? -1 : left->seq > right->seq;
}

/*
 * Rows of transactions that began after P have a seq beyond P's floor, so the index on seq is read from there on; only
 * the late ones can stand before it, and are found by their xid.
 */
static enum error_class read_slice(struct session *session, struct window_reader *reader,
                                   const struct window_parameters *window, const struct batch_reading *reading,
                                   struct batch *batch, struct error *error)
{
    const struct position *position = reading->position;
    int64_t sent = position->slicing ? position->last_seq : 0;
    char behind[NUMBER_TEXT], ceiling[NUMBER_TEXT], rows[NUMBER_TEXT], last[NUMBER_TEXT];
    number_text(sent > position->from_floor ? sent : position->from_floor, behind);
    number_text(reading->ceiling, ceiling);
    number_text(reading->limits.rows_max + 1, rows); /* one more tells whether there is more */
    number_text(sent, last);
    const char *parameters[] = {
        window->text[0], window->text[1], window->text[2], behind, ceiling, rows, window->text[3], last};
    batch->sliced = true;
    return copy_rows(session, reader->sql[window->late_count ? SLICE_LATE : SLICE], COUNT_OF(parameters), parameters,
                     &reading->limits, batch, error);
}

struct slot_texts {
    char first[NUMBER_TEXT], last[NUMBER_TEXT];
};

static void slot_texts(const struct slot_range *range, struct slot_texts *texts)
{
    number_text(range->first, texts->first);
    number_text(range->last, texts->last);
}

/* Where late rows can be; what P's floor says holds only for the others. */
static struct slot_range late_slots(const struct window_reader *reader, const struct window_parameters *window,
                                    const struct batch_reading *reading)
{
    if (fault_planted("late_by_floor"))
        return slots_between(reading->position->from_floor, reading->ceiling);
    return slot_history_find(&reader->history, window->late_oldest, reading->ceiling);
}

/*
 * A window not begun yet: whole when it fits, else its first slice. That it does not fit shows by one row or byte too
 * many; what was read till then, a batch at most, came in the order of transactions and is dropped.
 */
static enum error_class read_window(struct session *session, struct window_reader *reader,
                                    const struct window_parameters *window, const struct batch_reading *reading,
                                    struct batch *batch, struct error *error)
{
    const struct position *position = reading->position;
    char rows[NUMBER_TEXT];
    struct slot_texts slots, slots_late;
    bool late = window->late_count > 0;
    slot_history_note(&reader->history, position->from.xmax, position->from_floor);
    const struct slot_range range = slots_between(position->from_floor, reading->ceiling);
    const struct slot_range range_late = late_slots(reader, window, reading);
    slot_texts(&range, &slots);
    slot_texts(&range_late, &slots_late);
    number_text(reading->limits.rows_max + 1, rows);
    const char *parameters[] = {window->text[0], window->text[1], window->text[2],  rows,           slots.first,
                                slots.last,      window->text[3], slots_late.first, slots_late.last};
    if (stream_rows(session, reader->sql[late ? WINDOW_LATE : WINDOW], late ? 9 : 6, parameters, &reading->limits,
                    batch, error))
        return error->class;
    if (!batch->more) {
        if (batch->count > 1)
            qsort(batch->rows, batch->count, sizeof *batch->rows, by_seq);
        return ERROR_NONE;
    }
    batch_free(batch);
    return read_slice(session, reader, window, reading, batch, error);
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
                                            const struct batch_reading *reading, struct batch *batch,
                                            struct error *error)
{
    char until[NUMBER_TEXT], behind[NUMBER_TEXT], ceiling[NUMBER_TEXT], rows[NUMBER_TEXT];
    number_text((int64_t)reading->until->xmax.value, until);
    number_text(reader->planted->last, behind);
    number_text(INT64_MAX, ceiling);
    number_text(reading->limits.rows_max, rows);
    const char *parameters[] = {"3", until, "{}", behind, ceiling, rows};
    batch->sliced = true;
    if (copy_rows(session, reader->sql[SLICE], COUNT_OF(parameters), parameters, &reading->limits, batch, error))
        return error->class;
    batch->more = false;
    if (batch->count)
        reader->planted->last = batch->rows[batch->count - 1].seq;
    return ERROR_NONE;
}
#endif

enum error_class batch_read(struct session *session, struct window_reader *reader, const struct batch_reading *reading,
                            struct batch *batch, struct error *error)
{
    struct window_parameters window;
    assert(batch->count == 0 && reading->limits.rows_max >= 1);
    batch->sliced = batch->more = false;
#ifdef BOXRELAY_FAULTS
    if (fault_planted("read_by_seq"))
        return planted_read_by_seq(session, reader, reading, batch, error);
#endif
    if (window_parameters_init(&window, &reading->position->from, reading->until, error))
        return error->class;
    enum error_class class =
        (reading->position->slicing ? read_slice : read_window)(session, reader, &window, reading, batch, error);
    window_parameters_fini(&window);
    if (class)
        batch_free(batch);
    return class;
}

static enum error_class parse_snapshot(const PGresult *result, struct snapshot *snapshot, struct error *error)
{
    if (snapshot_parse(PQgetvalue(result, 0, 0), (size_t)PQgetlength(result, 0, 0), snapshot))
        return ERROR_NONE;
    error_set(error, ERROR_INTEGRITY, "SNAPSHOT_TOO_LARGE",
              "PostgreSQL's snapshot cannot be read: more than %d transactions in progress?", SNAPSHOT_XIP_MAX);
    return error_hint(error, "end forgotten and prepared transactions (pg_stat_activity, pg_prepared_xacts)");
}

static int64_t number_of(const PGresult *result, int column)
{
    return strtoll(PQgetvalue(result, 0, column), NULL, 10);
}

/* Columns as snapshot.sql names them. */
static enum error_class take_ground(const PGresult *result, struct batch_ground *ground, struct error *error)
{
    if (PQntuples(result) != 1) {
        error_set(error, ERROR_CONFIG, "NOT_REGISTERED", "this outbox is not registered any more");
        return error_hint(error, "it was dropped, or made anew: SELECT * FROM relay.status");
    }
    if (strcmp(PQgetvalue(result, 0, 1), "t") == 0)
        return session_fail_standby(error);
    ground->paused = strcmp(PQgetvalue(result, 0, 2), "t") == 0;
    ground->timeline = (uint32_t)strtoul(PQgetvalue(result, 0, 3), NULL, 16);
    ground->reached = number_of(result, 4);
    return parse_snapshot(result, ground->snapshot, error);
}

enum error_class batch_begin(struct session *session, const struct window_reader *reader, const struct uuid *stream,
                             struct batch_ground *ground, struct error *error)
{
    char uuid[UUID_TEXT_SIZE];
    uuid_format(stream, uuid);
    const char *parameters[] = {uuid};
    PGresult *result;
    if (session_exec(session, "BEGIN ISOLATION LEVEL REPEATABLE READ READ WRITE; SET LOCAL synchronous_commit = on", 0,
                     NULL, NULL, error) ||
        session_exec_prepared(session, reader->sql[SNAPSHOT], COUNT_OF(parameters), parameters, &result, error))
        return error->class;
    enum error_class class = take_ground(result, ground, error);
    PQclear(result);
    return class;
}

enum error_class poll_snapshot(struct session *session, struct snapshot *snapshot, struct error *error)
{
    PGresult *result;
    if (session_exec_prepared(session, sql_poll, 0, NULL, &result, error))
        return error->class;
    enum error_class class = parse_snapshot(result, snapshot, error);
    PQclear(result);
    return class;
}

enum error_class window_make_floor(struct session *session, const struct window_reader *reader, int64_t *floor,
                                   struct error *error)
{
    PGresult *result;
    if (session_exec(session, reader->sql[REACHED], 0, NULL, &result, error))
        return error->class;
    *floor = number_of(result, 0);
    PQclear(result);
    return session_exec(session, sql_begin_and_end, 0, NULL, NULL, error);
}

enum error_class window_pending(struct session *session, const struct window_reader *reader,
                                const struct position *position, int64_t limit, int64_t *rows, int64_t *oldest_ms,
                                struct error *error)
{
    char last[NUMBER_TEXT], count_max[NUMBER_TEXT];
    struct snapshot *now = malloc(sizeof *now);
    struct window_parameters window = {0};
    if (!now)
        return error_set(error, ERROR_RETRY, "NO_MEMORY", "no memory for a snapshot");
    enum error_class class = poll_snapshot(session, now, error);
    if (!class)
        class = window_parameters_init(&window, &position->from, now, error);
    free(now);
    if (class)
        return class;
    number_text(position->last_seq, last);
    number_text(limit, count_max);
    const char *parameters[] = {window.text[0], window.text[1], window.text[2],
                                position->slicing ? last : window.text[3], count_max};
    PGresult *result;
    class = session_exec(session, reader->sql[position->slicing ? PENDING_SLICING : PENDING], COUNT_OF(parameters),
                         parameters, &result, error);
    window_parameters_fini(&window);
    if (class)
        return class;
    *rows = number_of(result, 0);
    *oldest_ms = number_of(result, 1);
    PQclear(result);
    return ERROR_NONE;
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
    enum error_class class = session_exec(session, reader->sql[DRAINED], 2, parameters, &result, error);
    free(text);
    if (class)
        return class;
    *drained = strcmp(PQgetvalue(result, 0, 0), "t") == 0;
    PQclear(result);
    return ERROR_NONE;
}
