/*
 * Idempotency ids [I3]; a part of pg/store.h.
 *
 * Ids are looked for first, in the open generation and in the closed ones that hold any, and those that are new are
 * copied. Both are cheaper than an INSERT with ON CONFLICT, which looks for each row too and then inserts it alone.
 * While no batch brings a known id, the look into the open generation is left out: its unique index finds them too,
 * but only by failing the transaction, which then is done again with the look.
 */
#include <endian.h>
#include <libpq-fe.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "session_internal.h"
#include "statements.h"
#include "store_internal.h"

enum { OID_UUID = 2950 }; /* PostgreSQL's pg_type.dat */

/* By id; of equal ones the first of the batch first. */
static int by_id(const void *a, const void *b)
{
    const struct store_id *left = *(struct store_id *const *)a, *right = *(struct store_id *const *)b;
    int order = memcmp(&left->id, &right->id, sizeof left->id);
    return order ? order : (left > right) - (left < right);
}

/* The ids by their order, the first of each as new for now. The caller frees; NULL: no memory. */
static struct store_id **sorted(struct store_id *ids, size_t count)
{
    struct store_id **order = malloc(count * sizeof(struct store_id *));
    for (size_t i = 0; order && i < count; i++)
        order[i] = &ids[i];
    if (!order)
        return NULL;
    qsort(order, count, sizeof(struct store_id *), by_id);
    for (size_t i = 0; i < count; i++)
        order[i]->is_new = i == 0 || !uuid_equal(&order[i]->id, &order[i - 1]->id);
    return order;
}

static enum error_class fail(struct error *error)
{
    return error_set(error, ERROR_RETRY, "NO_IDS", "no memory for the ids of a batch, or they cannot be read");
}

/* ---- what is known ---- */

static void put_32(char **at, uint32_t value)
{
    const uint32_t wire = htobe32(value);
    memcpy(*at, &wire, sizeof wire);
    *at += sizeof wire;
}

/* By their order, since most ids that are made by time are later than all of a closed generation. */
static bool can_have(const struct store_generation *generation, const struct store_id *id)
{
    return memcmp(&id->id, &generation->first, sizeof id->id) >= 0 &&
           memcmp(&id->id, &generation->last, sizeof id->id) <= 0;
}

/*
 * An array of those ids that are new so far and that the generation can have, in PostgreSQL's binary form: int32
 * dimensions, flags, type; int32 count and first index; then for each int32 size and its bytes. The caller frees; NULL:
 * there are none.
 */
static char *uuid_array(const struct store_generation *generation, struct store_id *const *order, size_t count,
                        size_t *size)
{
    enum { HEAD = 20, EACH = 4 + sizeof(struct uuid) };
    char *array = malloc(HEAD + count * EACH), *at = array;
    size_t wanted = 0;
    if (!array)
        abort();
    put_32(&at, 1);
    put_32(&at, 0);
    put_32(&at, OID_UUID);
    char *count_at = at;
    put_32(&at, 0);
    put_32(&at, 1);
    for (size_t i = 0; i < count; i++) {
        if (!order[i]->is_new || !can_have(generation, order[i]))
            continue;
        put_32(&at, sizeof(struct uuid));
        memcpy(at, &order[i]->id, sizeof(struct uuid));
        at += sizeof(struct uuid);
        wanted++;
    }
    put_32(&count_at, (uint32_t)wanted);
    *size = (size_t)(at - array);
    if (wanted > 0)
        return array;
    free(array);
    return NULL;
}

/* The first of that id in the batch. */
static struct store_id *look(struct store_id *const *order, size_t count, const struct uuid *id)
{
    size_t low = 0, high = count;
    while (low < high) {
        size_t middle = (low + high) / 2;
        if (memcmp(&order[middle]->id, id, sizeof *id) < 0)
            low = middle + 1;
        else
            high = middle;
    }
    return low < count && uuid_equal(&order[low]->id, id) ? order[low] : NULL;
}

static enum error_class take_known(const PGresult *result, struct store_id *const *order, size_t count,
                                   struct error *error)
{
    for (int i = 0; i < PQntuples(result); i++) {
        struct uuid id;
        if (PQgetlength(result, i, 0) != sizeof id || PQgetlength(result, i, 1) != sizeof id)
            return fail(error);
        memcpy(&id, PQgetvalue(result, i, 0), sizeof id);
        struct store_id *one = look(order, count, &id);
        if (!one)
            return fail(error);
        one->is_new = false;
        memcpy(&one->stored_hash, PQgetvalue(result, i, 1), sizeof id);
    }
    return ERROR_NONE;
}

static enum error_class find_in(struct session *session, const struct store_writer *writer,
                                const struct store_generation *generation, struct store_id *const *order, size_t count,
                                struct error *error)
{
    const uint16_t number = htobe16((uint16_t)generation->number);
    PGresult *result;
    size_t size;
    char *wanted = uuid_array(generation, order, count, &size);
    if (!wanted)
        return ERROR_NONE;
    const struct session_bytes parameters[] = {{(const char *)&number, sizeof number}, {wanted, (int)size}};
    enum error_class class = session_exec_binary(session, writer->known, 2, parameters, &result, error);
    free(wanted);
    if (class)
        return class;
    class = take_known(result, order, count, error);
    PQclear(result);
    return class;
}

/* Asked once for each turn of the ring, by a statement that began after the ring was locked: a generation is closed
 * only when all batches that wrote to it have ended. */
static enum error_class learn_closed(struct session *session, struct store_writer *writer,
                                     const struct store_ground *ground, struct error *error)
{
    char generation[8];
    const char *parameters[] = {generation};
    PGresult *result;
    if (writer->closed_known && writer->ground.generation == ground->generation &&
        writer->ground.generation_since_us == ground->generation_since_us)
        return ERROR_NONE;
    snprintf(generation, sizeof generation, "%d", (int)ground->generation);
    if (session_exec_prepared(session, writer->generations, 1, parameters, &result, error))
        return error->class;
    writer->closed_count = 0;
    bool good = PQntuples(result) <= STORE_GENERATIONS;
    for (int i = 0; good && i < PQntuples(result); i++) {
        struct store_generation *closed = &writer->closed[writer->closed_count++];
        closed->number = atoi(PQgetvalue(result, i, 0));
        good = uuid_parse(PQgetvalue(result, i, 1), (size_t)PQgetlength(result, i, 1), &closed->first) &&
               uuid_parse(PQgetvalue(result, i, 2), (size_t)PQgetlength(result, i, 2), &closed->last);
    }
    PQclear(result);
    writer->ground = *ground;
    writer->closed_known = good;
    return good ? ERROR_NONE : fail(error);
}

/* ---- what is new ---- */

static enum error_class copy_new(struct session *session, struct store_writer *writer,
                                 const struct store_ground *ground, struct store_id *const *order, size_t count,
                                 struct error *error)
{
    struct store_buffer *buffer = writer->buffer;
    if (session_copy_in(session, writer->ids, error))
        return error->class;
    store_buffer_begin(buffer);
    for (size_t i = 0; i < count; i++)
        if (order[i]->is_new)
            store_buffer_id(buffer, ground, order[i]);
    store_buffer_end(buffer);
    enum error_class class = session_copy_put(session, buffer->bytes, buffer->size, error);
    if (!class)
        class = session_copy_end(session, error);
    if (!class || strcmp(error->code, "23505") != 0) /* unique_violation */
        return class;
    writer->quiet_batches = 0;
    return error_set(error, ERROR_RETRY, STORE_IDS_MET, "an id is known, or was stored by another instance just now");
}

/* Of equal ids in a batch only the first can be new; the others are compared with it, or with what was stored. */
static size_t judge_equal(struct store_id *const *order, size_t count)
{
    size_t fresh = 0;
    for (size_t i = 0; i < count; i++) {
        const struct store_id *before = i ? order[i - 1] : NULL;
        if (before && uuid_equal(&order[i]->id, &before->id))
            order[i]->stored_hash = before->is_new ? before->payload_hash : before->stored_hash;
        fresh += order[i]->is_new;
    }
    return fresh;
}

static int quieter(int batches) { return batches < STORE_QUIET_BATCHES ? batches + 1 : batches; }

enum error_class store_ids(struct session *session, struct store_writer *writer, const struct store_ground *ground,
                           struct store_id *ids, size_t count, struct error *error)
{
    if (count == 0)
        return ERROR_NONE;
    struct store_id **order = sorted(ids, count);
    if (!order)
        return fail(error);
    const struct store_generation open = {ground->generation, order[0]->id, order[count - 1]->id};
    enum error_class class = learn_closed(session, writer, ground, error);
    if (!class && writer->quiet_batches < STORE_QUIET_BATCHES)
        class = find_in(session, writer, &open, order, count, error);
    for (size_t i = 0; i < writer->closed_count && !class; i++)
        class = find_in(session, writer, &writer->closed[i], order, count, error);
    size_t fresh = class ? 0 : judge_equal(order, count);
    if (!class && fresh > 0)
        class = copy_new(session, writer, ground, order, count, error);
    if (!class)
        writer->quiet_batches = fresh == count ? quieter(writer->quiet_batches) : 0;
    free(order);
    return class;
}

void store_ids_forget(struct store_writer *writer) { writer->closed_known = false; }
