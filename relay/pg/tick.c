#include "pg/tick.h"

#include <inttypes.h>
#include <libpq-fe.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/fault.h"
#include "session_internal.h"
#include "statements.h"

enum { NUMBER_TEXT = 24 };

/* Text forms of the parameters; each statement picks what it takes. */
struct tick_text {
    char stream[UUID_TEXT_SIZE], old_uuid[UUID_TEXT_SIZE], new_uuid[UUID_TEXT_SIZE], incarnation[UUID_TEXT_SIZE];
    char old_number[NUMBER_TEXT], new_number[NUMBER_TEXT];
    char system_identifier[NUMBER_TEXT], database_oid[NUMBER_TEXT], timeline[NUMBER_TEXT];
};

struct known_text {
    char number[NUMBER_TEXT], uuid[UUID_TEXT_SIZE], offset[NUMBER_TEXT];
    char *snapshot;
};

static void number(char text[NUMBER_TEXT], int64_t value) { snprintf(text, NUMBER_TEXT, "%" PRId64, value); }

static void format_tick(const struct tick_writing *tick, struct tick_text *text)
{
    uuid_format(&tick->stream, text->stream);
    uuid_format(&tick->old.uuid, text->old_uuid);
    uuid_format(&tick->new.uuid, text->new_uuid);
    uuid_format(&tick->incarnation, text->incarnation);
    number(text->old_number, tick->old.number);
    number(text->new_number, tick->new.number);
    /* bigint in PostgreSQL: pg_control_system() shows the 64 bits signed. */
    number(text->system_identifier, (int64_t)tick->database.system_identifier);
    number(text->database_oid, tick->database.database_oid);
    number(text->timeline, tick->database.timeline);
}

static enum error_class format_known(const struct tick_known *known, struct known_text *text, struct error *error)
{
    text->snapshot = NULL;
    if (!known->known)
        return ERROR_NONE;
    text->snapshot = malloc(SNAPSHOT_TEXT_MAX);
    if (!text->snapshot)
        return error_set(error, ERROR_RETRY, "NO_MEMORY", "no memory for a snapshot");
    snapshot_format(known->snapshot, text->snapshot, SNAPSHOT_TEXT_MAX);
    number(text->number, known->name.number);
    number(text->offset, known->offset);
    uuid_format(&known->name.uuid, text->uuid);
    return ERROR_NONE;
}

/* FENCED unless exactly `rows` rows were hit. 40001 here is on the tick row: FENCED too [T1]. */
static enum error_class update(struct session *session, const char *sql, int parameter_count,
                               const char *const *parameters, int rows, struct error *error)
{
    PGresult *result;
    if (session_exec_prepared(session, sql, parameter_count, parameters, &result, error)) {
        if (strcmp(error->code, "40001") != 0)
            return error->class;
        return error_set(error, ERROR_FENCED, "TICK_TAKEN", "another relay is writing a tick of this stream");
    }
    int hit = atoi(PQcmdTuples(result));
    PQclear(result);
    if (hit == rows)
        return ERROR_NONE;
    return error_set(error, ERROR_FENCED, "TICK_TAKEN", "another relay has written a newer tick of this stream");
}

enum error_class tick_write(struct session *session, const struct tick_writing *tick, struct error *error)
{
    struct tick_text text;
    struct known_text known;
    format_tick(tick, &text);
    if (format_known(&tick->known, &known, error))
        return error->class;
    bool is_known = tick->known.known;
    const char *parameters[] = {
        text.stream,
        text.old_number,
        text.old_uuid,
        text.new_number,
        text.new_uuid,
        text.incarnation,
        is_known ? known.number : NULL,
        is_known ? known.uuid : NULL,
        known.snapshot,
        is_known ? known.offset : NULL,
        text.system_identifier,
        text.database_oid,
        text.timeline,
    };
    enum error_class class = update(session, sql_tick_write, COUNT_OF(parameters), parameters, 1, error);
    free(known.snapshot);
    return class;
}

#ifdef BOXRELAY_FAULTS
/* What nobody sees before COMMIT answers ROLLBACK. */
static void spoil_transaction(struct session *session)
{
    struct error ignored;
    enum error_class failed = session_exec(session, "SELECT 1 / 0", 0, NULL, NULL, &ignored);
    (void)failed;
}
#endif

enum error_class batch_commit_send(struct session *session, struct error *error)
{
#ifdef BOXRELAY_FAULTS
    if (fault_point("transaction_fails"))
        spoil_transaction(session);
#endif
    return session_commit_send(session, error);
}

enum error_class batch_commit_take(struct session *session, struct error *error)
{
    if (session_commit_take(session, error) == ERROR_NONE)
        return ERROR_NONE;
    if (fault_planted("rollback_taken_for_commit") && strcmp(error->code, "ROLLED_BACK") == 0)
        return ERROR_NONE;
    return error->class;
}

enum error_class batch_commit(struct session *session, struct error *error)
{
    return batch_commit_send(session, error) ? error->class : batch_commit_take(session, error);
}

void batch_rollback(struct session *session) { session_rollback(session); }

enum error_class tick_know(struct session *session, const struct uuid *stream, const struct tick_name *tick,
                           const struct tick_known *known, struct error *error)
{
    char stream_text[UUID_TEXT_SIZE], number_text[NUMBER_TEXT], uuid_text[UUID_TEXT_SIZE];
    struct known_text text;
    if (format_known(known, &text, error))
        return error->class;
    uuid_format(stream, stream_text);
    uuid_format(&tick->uuid, uuid_text);
    number(number_text, tick->number);
    const char *parameters[] = {stream_text, number_text,   uuid_text,  text.number,
                                text.uuid,   text.snapshot, text.offset};
    enum error_class class = session_exec(session, "BEGIN; SET LOCAL synchronous_commit = on", 0, NULL, NULL, error);
    if (!class)
        class = update(session, sql_tick_know, COUNT_OF(parameters), parameters, 1, error);
    if (!class)
        class = session_commit(session, error);
    if (class)
        session_rollback(session);
    free(text.snapshot);
    return class;
}

enum error_class tick_rebase(struct session *session, const struct tick_writing *tick, struct error *error)
{
    struct tick_text text;
    format_tick(tick, &text);
    const char *parameters[] = {text.stream,      text.new_number,        text.new_uuid,
                                text.incarnation, text.system_identifier, text.database_oid,
                                text.timeline};
    return update(session, sql_tick_rebase, COUNT_OF(parameters), parameters, TICK_RING_SLOTS, error);
}

static bool read_uuid(const PGresult *result, int row, int column, struct uuid *out)
{
    return uuid_parse(PQgetvalue(result, row, column), (size_t)PQgetlength(result, row, column), out);
}

/* Columns as tick_ring.sql names them. */
static bool read_tick(const PGresult *result, int row, struct tick *tick)
{
    *tick = (struct tick){.known = !PQgetisnull(result, row, 5)};
    tick->name.number = strtoll(PQgetvalue(result, row, 0), NULL, 10);
    tick->database.system_identifier = (uint64_t)strtoll(PQgetvalue(result, row, 2), NULL, 10);
    tick->database.database_oid = (uint32_t)strtoul(PQgetvalue(result, row, 3), NULL, 10);
    tick->database.timeline = (uint32_t)strtoul(PQgetvalue(result, row, 4), NULL, 10);
    if (!read_uuid(result, row, 1, &tick->name.uuid))
        return false;
    if (!tick->known)
        return true;
    tick->known_name.number = strtoll(PQgetvalue(result, row, 5), NULL, 10);
    tick->known_offset = strtoll(PQgetvalue(result, row, 7), NULL, 10);
    return read_uuid(result, row, 6, &tick->known_name.uuid);
}

enum error_class tick_ring_read(struct session *session, const struct uuid *stream, struct tick_ring *ring,
                                struct error *error)
{
    char uuid[UUID_TEXT_SIZE];
    PGresult *result;
    uuid_format(stream, uuid);
    const char *parameters[] = {uuid};
    if (session_exec(session, sql_tick_ring, 1, parameters, &result, error))
        return error->class;
    int count = PQntuples(result);
    bool good = count >= 1 && count <= TICK_RING_SLOTS;
    for (int i = 0; good && i < count; i++)
        good = read_tick(result, i, &ring->ticks[i]);
    ring->count = good ? (uint32_t)count : 0;
    PQclear(result);
    if (good)
        return ERROR_NONE;
    error_set(error, ERROR_INTEGRITY, "TICKS_DAMAGED", "relay.tick does not hold this stream's ring of ticks");
    return error_hint(error, "somebody changed relay.tick; decide with boxrelay rebase");
}
