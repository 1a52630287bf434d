#include "pg/store.h"

#include <inttypes.h>
#include <libpq-fe.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/fault.h"
#include "session_internal.h"
#include "statements.h"
#include "store_internal.h"

enum { NUMBER_TEXT = 24 };

enum error_class store_writer_new(const char *relation, struct store_writer **out, struct error *error)
{
    struct store_writer *writer = *out = calloc(1, sizeof *writer);
    if (writer) {
        writer->ids = sql_for_relation(sql_inbox_ids, "inbox", relation);
        writer->generations = sql_for_relation(sql_inbox_generations, "inbox", relation);
        writer->known = sql_for_relation(sql_inbox_known, "inbox", relation);
        writer->copy = sql_for_relation(sql_inbox_copy, "inbox", relation);
        writer->waiting = sql_for_relation(sql_inbox_waiting, "inbox", relation);
        writer->buffer = calloc(1, sizeof *writer->buffer);
    }
    if (writer && writer->ids && writer->known && writer->generations && writer->copy && writer->waiting &&
        writer->buffer)
        return ERROR_NONE;
    store_writer_free(out);
    return error_set(error, ERROR_RETRY, "NO_MEMORY", "no memory for the statements of %s", relation);
}

void store_writer_free(struct store_writer **writer)
{
    struct store_writer *gone = *writer;
    *writer = NULL;
    if (!gone)
        return;
    free(gone->ids);
    free(gone->known);
    free(gone->generations);
    free(gone->copy);
    free(gone->waiting);
    if (gone->buffer)
        store_buffer_free(gone->buffer);
    free(gone->buffer);
    free(gone);
}

/* ---- the inbox, and where its partitions stand ---- */

static bool is_true(const PGresult *result, int column) { return strcmp(PQgetvalue(result, 0, column), "t") == 0; }

static int64_t number_at(const PGresult *result, int column)
{
    return strtoll(PQgetvalue(result, 0, column), NULL, 10);
}

static enum store_payload payload_named(const char *name)
{
    return strcmp(name, "json") == 0 ? STORE_JSON : strcmp(name, "text") == 0 ? STORE_TEXT : STORE_BYTES;
}

enum error_class store_find(struct session *session, const char *name, struct store_inbox *inbox, struct error *error)
{
    const char *parameters[] = {name};
    PGresult *result;
    if (session_exec_prepared(session, sql_inbox_find, 1, parameters, &result, error)) {
        if (strcmp(error->code, "42P01") != 0) /* undefined_table */
            return error->class;
        error_set(error, ERROR_CONFIG, "NO_INBOX", "this database has no inboxes yet: migration 4 was not applied");
        return error_hint(error, "apply it with your migration tool, or run: boxrelay migrate up");
    }
    bool found = PQntuples(result) == 1;
    if (found) {
        *inbox = (struct store_inbox){.payload = payload_named(PQgetvalue(result, 0, 2)),
                                      .keyless_in_order = is_true(result, 4),
                                      .started = is_true(result, 5),
                                      .paused = is_true(result, 6),
                                      .ids_since_ms = PQgetisnull(result, 0, 7) ? -1 : number_at(result, 7)};
        snprintf(inbox->relation, sizeof inbox->relation, "%s", PQgetvalue(result, 0, 1));
        found = uuid_parse(PQgetvalue(result, 0, 0), (size_t)PQgetlength(result, 0, 0), &inbox->uuid);
    }
    PQclear(result);
    if (found)
        return ERROR_NONE;
    error_set(error, ERROR_CONFIG, "NO_INBOX", "there is no inbox \"%s\" in this database", name);
    return error_hint(error, "SELECT relay.create_inbox('%s') in a migration makes it; the relay goes on by itself",
                      name);
}

/* Runs a statement with stream, topic, partition and offset as its parameters. */
static enum error_class with_source(struct session *session, const char *sql, const struct store_inbox *inbox,
                                    const char *topic, int32_t partition, int64_t first, struct error *error)
{
    char stream[UUID_TEXT_SIZE], number[NUMBER_TEXT], offset[NUMBER_TEXT];
    uuid_format(&inbox->uuid, stream);
    snprintf(number, sizeof number, "%" PRId32, partition);
    snprintf(offset, sizeof offset, "%" PRId64, first);
    const char *parameters[] = {stream, topic, number, offset};
    return session_exec_prepared(session, sql, 4, parameters, NULL, error);
}

enum error_class store_make(struct session *session, const struct store_inbox *inbox, const char *topic,
                            int32_t partition, int64_t first, struct error *error)
{
    enum error_class class = with_source(session, sql_inbox_make_source, inbox, topic, partition, first, error);
    if (class && strcmp(error->code, "23505") == 0)
        return error_set(error, ERROR_RETRY, "OTHER_INSTANCE", "another instance begins %s/%d just now", topic,
                         (int)partition);
    return class;
}

enum error_class store_rebase(struct session *session, const struct store_inbox *inbox, const char *topic,
                              int32_t partition, int64_t first, struct error *error)
{
    return with_source(session, sql_inbox_rebase, inbox, topic, partition, first, error);
}

/* Has this instance to apply the policy? */
static enum error_class claim_start(struct session *session, const struct store_inbox *inbox, bool *mine,
                                    struct error *error)
{
    char stream[UUID_TEXT_SIZE];
    PGresult *result;
    uuid_format(&inbox->uuid, stream);
    const char *parameters[] = {stream};
    if (session_exec(session, sql_inbox_start, 1, parameters, &result, error))
        return error->class;
    *mine = PQntuples(result) == 1;
    PQclear(result);
    return ERROR_NONE;
}

enum error_class store_start(struct session *session, const struct store_inbox *inbox,
                             const struct store_start *partitions, size_t count, struct error *error)
{
    bool mine = false;
    enum error_class class = session_exec(session, "BEGIN", 0, NULL, NULL, error);
    if (!class)
        class = claim_start(session, inbox, &mine, error);
    for (size_t i = 0; !class && mine && i < count; i++)
        class = store_make(session, inbox, partitions[i].topic, partitions[i].partition, partitions[i].first, error);
    if (!class)
        class = session_commit(session, error);
    if (class)
        session_rollback(session);
    return class;
}

enum error_class store_take(struct session *session, const struct store_inbox *inbox, const char *topic,
                            int32_t partition, const char *owner, struct store_source *source, bool *found,
                            struct error *error)
{
    char stream[UUID_TEXT_SIZE], number[NUMBER_TEXT];
    PGresult *result;
    uuid_format(&inbox->uuid, stream);
    snprintf(number, sizeof number, "%" PRId32, partition);
    const char *parameters[] = {stream, topic, number, owner};
    if (session_exec_prepared(session, sql_inbox_take, 4, parameters, &result, error))
        return error->class;
    *found = PQntuples(result) == 1;
    if (*found) {
        *source = (struct store_source){
            .id = (int32_t)number_at(result, 0),
            .lanes = (int32_t)number_at(result, 1),
            .next = number_at(result, 2),
            .epoch = number_at(result, 3),
            .witness = {.offset = PQgetisnull(result, 0, 4) ? -1 : number_at(result, 4),
                        .checksum = (uint32_t)number_at(result, 5),
                        .time_ms = PQgetisnull(result, 0, 6) ? -1 : number_at(result, 6)},
        };
    }
    PQclear(result);
    return ERROR_NONE;
}

enum error_class store_nexts(struct session *session, const struct store_inbox *inbox, struct store_next **nexts,
                             size_t *count, struct error *error)
{
    char stream[UUID_TEXT_SIZE];
    PGresult *result;
    uuid_format(&inbox->uuid, stream);
    const char *parameters[] = {stream};
    if (session_exec_prepared(session, sql_inbox_nexts, 1, parameters, &result, error))
        return error->class;
    *count = (size_t)PQntuples(result);
    *nexts = calloc(*count + 1, sizeof **nexts);
    for (size_t i = 0; *nexts && i < *count; i++) {
        struct store_next *next = &(*nexts)[i];
        snprintf(next->topic, sizeof next->topic, "%s", PQgetvalue(result, (int)i, 0));
        next->partition = atoi(PQgetvalue(result, (int)i, 1));
        next->next = strtoll(PQgetvalue(result, (int)i, 2), NULL, 10);
        next->source = atoi(PQgetvalue(result, (int)i, 3));
    }
    PQclear(result);
    return *nexts ? ERROR_NONE : error_set(error, ERROR_RETRY, "NO_MEMORY", "no memory for partitions");
}

enum error_class store_waiting(struct session *session, const struct store_inbox *inbox,
                               const struct store_writer *writer, struct store_waiting *waiting, struct error *error)
{
    char stream[UUID_TEXT_SIZE];
    PGresult *result;
    uuid_format(&inbox->uuid, stream);
    const char *parameters[] = {stream};
    if (session_exec_prepared(session, writer->waiting, 1, parameters, &result, error))
        return error->class;
    *waiting = (struct store_waiting){
        .paused = is_true(result, 0),
        .newest_source = (int32_t)number_at(result, 1),
        .rows = number_at(result, 2),
        .bytes = number_at(result, 3),
        .oldest_ms = PQgetisnull(result, 0, 4) ? 0 : number_at(result, 4),
    };
    PQclear(result);
    return ERROR_NONE;
}

enum error_class store_clean(struct session *session, const struct store_inbox *inbox, int64_t retention_ms,
                             int64_t id_retention_ms, bool *more, struct error *error)
{
    char stream[UUID_TEXT_SIZE], retention[NUMBER_TEXT], id_retention[NUMBER_TEXT];
    PGresult *result;
    uuid_format(&inbox->uuid, stream);
    snprintf(retention, sizeof retention, "%" PRId64, retention_ms);
    snprintf(id_retention, sizeof id_retention, "%" PRId64, id_retention_ms);
    const char *parameters[] = {stream, retention, id_retention};
    *more = false;
    if (session_exec(session, sql_inbox_clean, 3, parameters, &result, error))
        return strcmp(error->code, "42883") == 0 ? ERROR_NONE : error->class; /* no such function: schema 4 */
    const char *step = PQgetvalue(result, 0, 0);
    *more = strcmp(step, "nothing") != 0 && strcmp(step, "later") != 0;
    PQclear(result);
    return ERROR_NONE;
}

/* ---- one batch ---- */

/* Both copies of a row are undone together by a crash of the server, and Kafka still has the message: no flush of
 * the WAL is waited for. Whoever takes the message and commits waits for it with his own. */
static const char begin[] = "BEGIN; SET LOCAL synchronous_commit = off";

#ifdef BOXRELAY_FAULTS
/* Planted bug: the ring may turn while a batch goes by it [I4]. */
static const char ring_unlocked[] =
    "SELECT r.slot, r.generation, false, (extract(epoch FROM r.generation_since) * 1000000)::bigint "
    "FROM relay.ring AS r WHERE r.stream = $1::uuid";
#endif

enum error_class store_begin(struct session *session, const struct store_inbox *inbox, struct store_ground *ground,
                             struct error *error)
{
    char stream[UUID_TEXT_SIZE];
    PGresult *result;
    uuid_format(&inbox->uuid, stream);
    const char *parameters[] = {stream}, *sql = sql_inbox_ring;
#ifdef BOXRELAY_FAULTS
    if (fault_planted("ring_unlocked"))
        sql = ring_unlocked;
#endif
    if (session_exec(session, begin, 0, NULL, NULL, error) ||
        session_exec_prepared(session, sql, 1, parameters, &result, error))
        return error->class;
    bool found = PQntuples(result) == 1;
    if (found) {
        ground->slot = (int32_t)number_at(result, 0);
        ground->generation = (int32_t)number_at(result, 1);
        ground->paused = is_true(result, 2);
        ground->generation_since_us = number_at(result, 3);
    }
    PQclear(result);
    if (found)
        return ERROR_NONE;
    return error_set(error, ERROR_CONFIG, "NO_INBOX", "the inbox was dropped");
}

/* Arrays as PostgreSQL's text form, of numbers. */
struct number_arrays {
    FILE *out[9];
    char *text[9];
    size_t size[9];
};

static bool arrays_open(struct number_arrays *arrays)
{
    bool good = true;
    memset(arrays, 0, sizeof *arrays);
    for (size_t i = 0; i < COUNT_OF(arrays->out); i++) {
        arrays->out[i] = open_memstream(&arrays->text[i], &arrays->size[i]);
        good = good && arrays->out[i];
        if (arrays->out[i])
            fputc('{', arrays->out[i]);
    }
    return good;
}

static void arrays_close(struct number_arrays *arrays)
{
    for (size_t i = 0; i < COUNT_OF(arrays->out); i++)
        if (arrays->out[i]) {
            fputc('}', arrays->out[i]);
            fclose(arrays->out[i]);
        }
}

static void put_move(struct number_arrays *arrays, const struct store_move *move, bool first)
{
    const int64_t numbers[] = {
        move->source->id,      move->source->next,     move->next, move->source->epoch, move->witness.offset,
        move->witness.time_ms, move->witness.checksum, move->rows, move->bytes,
    };
    for (size_t i = 0; i < COUNT_OF(numbers); i++)
        fprintf(arrays->out[i], "%s%" PRId64, first ? "" : ",", numbers[i]);
}

#ifdef BOXRELAY_FAULTS
/* Planted bug: whoever comes last wins [I1]. */
static const char offsets_unchecked[] =
    "UPDATE relay.source_offset AS o SET next = n.next FROM unnest($1::integer[], $2::bigint[], $3::bigint[], "
    "$4::bigint[], $5::bigint[], $6::bigint[], $7::bigint[], $8::bigint[], $9::bigint[]) "
    "AS n (source, expected, next, e, o, t, c, r, b) WHERE o.source = n.source";
#endif

enum error_class store_offsets(struct session *session, const struct store_move *moves, size_t count,
                               struct error *error)
{
    struct number_arrays arrays;
    PGresult *result;
    enum error_class class = ERROR_NONE;
    bool good = arrays_open(&arrays);
    for (size_t i = 0; good && i < count; i++)
        put_move(&arrays, &moves[i], i == 0);
    arrays_close(&arrays);
    const char *sql = sql_inbox_offsets;
#ifdef BOXRELAY_FAULTS
    if (fault_planted("no_epoch_check"))
        sql = offsets_unchecked;
#endif
    if (!good)
        class = error_set(error, ERROR_RETRY, "NO_MEMORY", "no memory for offsets");
    if (!class)
        class = session_exec_prepared(session, sql, COUNT_OF(arrays.text), (const char *const *)arrays.text, &result,
                                      error);
    for (size_t i = 0; i < COUNT_OF(arrays.text); i++)
        free(arrays.text[i]);
    if (class)
        return class;
    size_t moved = (size_t)atoi(PQcmdTuples(result));
    PQclear(result);
    if (moved == count)
        return ERROR_NONE;
    return error_set(error, ERROR_FENCED, "OFFSET_TAKEN", "another instance has taken over %zu of %zu partitions",
                     count - moved, count);
}

enum error_class store_rows(struct session *session, const struct store_writer *writer,
                            const struct store_ground *ground, const struct store_row *const *rows, size_t count,
                            struct error *error)
{
    struct store_buffer *buffer = writer->buffer;
    if (count == 0)
        return ERROR_NONE;
    if (session_copy_in(session, writer->copy, error))
        return error->class;
    store_buffer_begin(buffer);
    for (size_t i = 0; i < count; i++) {
        store_buffer_row(buffer, ground, rows[i]);
        if (store_buffer_is_large(buffer)) {
            if (session_copy_put(session, buffer->bytes, buffer->size, error))
                return error->class;
            buffer->size = 0;
        }
    }
    store_buffer_end(buffer);
    if (session_copy_put(session, buffer->bytes, buffer->size, error))
        return error->class;
    return session_copy_end(session, error);
}

enum error_class store_check_json(struct session *session, const struct store_text *text, struct error *error)
{
    const struct session_bytes parameters[] = {{text->bytes, (int)text->size}};
    PGresult *result;
    if (session_exec_binary(session, sql_inbox_check, 1, parameters, &result, error))
        return error->class;
    PQclear(result);
    return ERROR_NONE;
}

/* Parameters of one row: texts are NUL-terminated or bytea literals made here. */
enum error_class store_dead(struct session *session, const struct store_inbox *inbox, const struct store_dead *dead,
                            struct error *error)
{
    const struct store_row *row = dead->row;
    const struct store_text *payload = row->payload.bytes ? &row->payload : &row->payload_bytes;
    char stream[UUID_TEXT_SIZE], partition[NUMBER_TEXT], offset[NUMBER_TEXT], time[NUMBER_TEXT];
    char *key = store_hex(&row->key_bytes), *headers = store_hex(&row->headers_bytes), *value = store_hex(payload);
    uuid_format(&inbox->uuid, stream);
    snprintf(partition, sizeof partition, "%" PRId32, dead->partition);
    snprintf(offset, sizeof offset, "%" PRId64, row->offset);
    snprintf(time, sizeof time, "%" PRId64, row->time_ms);
    char *text_key = store_copy(&row->key), *text_headers = store_copy(&row->headers), *id = store_copy(&row->id);
    const char *parameters[] = {stream,
                                dead->class,
                                dead->reason,
                                dead->topic,
                                partition,
                                offset,
                                id,
                                text_key,
                                key,
                                text_headers,
                                headers,
                                value,
                                row->time_ms < 0 ? NULL : time};
    enum error_class class =
        session_exec_prepared(session, sql_inbox_dead, COUNT_OF(parameters), parameters, NULL, error);
    free(key), free(headers), free(value), free(text_key), free(text_headers), free(id);
    return class;
}

enum error_class store_notify(struct session *session, const char *inbox, struct error *error)
{
    const char *parameters[] = {inbox};
    return session_exec_prepared(session, "SELECT pg_notify('relay_inbox', $1)", 1, parameters, NULL, error);
}

enum error_class store_transaction(struct session *session, struct error *error)
{
    return session_exec(session, "BEGIN", 0, NULL, NULL, error);
}

enum error_class store_commit(struct session *session, struct error *error) { return session_commit(session, error); }

void store_rollback(struct session *session) { session_rollback(session); }
