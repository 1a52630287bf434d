/* Idempotency ids [I3]; a part of pg/store.h. */
#include <libpq-fe.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "session_internal.h"
#include "statements.h"
#include "store_internal.h"

/* A row of the answer. */
struct found_id {
    struct uuid id, hash;
    bool used; /* by the first of the batch that has the id */
};

static int by_id(const void *a, const void *b) { return memcmp(a, b, sizeof(struct uuid)); }

/* Ids of a result by their order; its second column is a hash where there is one. NULL: no memory, or no ids. */
static struct found_id *sorted(const PGresult *result, size_t *count)
{
    *count = (size_t)PQntuples(result);
    struct found_id *found = calloc(*count + 1, sizeof *found);
    for (size_t i = 0; found && i < *count; i++) {
        bool good = uuid_parse(PQgetvalue(result, (int)i, 0), (size_t)PQgetlength(result, (int)i, 0), &found[i].id);
        if (good && PQnfields(result) > 1)
            good = uuid_parse(PQgetvalue(result, (int)i, 1), (size_t)PQgetlength(result, (int)i, 1), &found[i].hash);
        if (!good) {
            free(found);
            return NULL;
        }
    }
    if (found)
        qsort(found, *count, sizeof *found, by_id);
    return found;
}

static struct found_id *look(struct found_id *found, size_t count, const struct uuid *id)
{
    return bsearch(id, found, count, sizeof *found, by_id);
}

/* An array of uuids in PostgreSQL's text form, of those ids that `wanted` takes. The caller frees. */
static char *uuid_array(const struct store_id *ids, size_t count, bool hashes, bool only_known)
{
    char *array = malloc(count * UUID_TEXT_SIZE + 3), *at = array;
    if (!array)
        abort();
    *at++ = '{';
    for (size_t i = 0; i < count; i++) {
        if (only_known && ids[i].is_new)
            continue;
        uuid_format(hashes ? &ids[i].payload_hash : &ids[i].id, at);
        at += UUID_TEXT_SIZE - 1;
        *at++ = ',';
    }
    at -= at[-1] == ',';
    *at++ = '}';
    *at = '\0';
    return array;
}

static enum error_class fail(struct error *error)
{
    return error_set(error, ERROR_RETRY, "NO_IDS", "no memory for the ids of a batch, or they cannot be read");
}

/* The first of each id that the server took is new. */
static enum error_class mark_new(const PGresult *result, struct store_id *ids, size_t count, struct error *error)
{
    size_t taken;
    struct found_id *found = sorted(result, &taken);
    if (!found)
        return fail(error);
    for (size_t i = 0; i < count; i++) {
        struct found_id *one = look(found, taken, &ids[i].id);
        ids[i].is_new = one && !one->used;
        if (one)
            one->used = true;
    }
    free(found);
    return ERROR_NONE;
}

static enum error_class insert(struct session *session, const struct store_writer *writer,
                               const struct store_ground *ground, struct store_id *ids, size_t count, size_t *inserted,
                               struct error *error)
{
    char generation[8], *id = uuid_array(ids, count, false, false), *hash = uuid_array(ids, count, true, false);
    PGresult *result;
    snprintf(generation, sizeof generation, "%d", (int)ground->generation);
    const char *parameters[] = {generation, id, hash};
    enum error_class class = session_exec_prepared(session, writer->ids, 3, parameters, &result, error);
    free(id);
    free(hash);
    if (class)
        return class;
    *inserted = (size_t)PQntuples(result);
    class = mark_new(result, ids, count, error);
    PQclear(result);
    return class;
}

static enum error_class take_stored(const PGresult *result, struct store_id *ids, size_t count, struct error *error)
{
    size_t known;
    struct found_id *found = sorted(result, &known);
    if (!found)
        return fail(error);
    enum error_class class = ERROR_NONE;
    for (size_t i = 0; i < count && !class; i++) {
        if (ids[i].is_new)
            continue;
        const struct found_id *one = look(found, known, &ids[i].id);
        if (one)
            ids[i].stored_hash = one->hash;
        else /* its generation was emptied between the two statements */
            class = error_set(error, ERROR_RETRY, "IDS_TURNED", "an id was forgotten just now");
    }
    free(found);
    return class;
}

enum error_class store_ids(struct session *session, const struct store_writer *writer,
                           const struct store_ground *ground, struct store_id *ids, size_t count, struct error *error)
{
    size_t inserted = 0;
    PGresult *result;
    if (count == 0)
        return ERROR_NONE;
    if (insert(session, writer, ground, ids, count, &inserted, error))
        return error->class;
    if (inserted == count)
        return ERROR_NONE;
    char *known = uuid_array(ids, count, false, true);
    const char *parameters[] = {known};
    enum error_class class = session_exec_prepared(session, writer->known, 1, parameters, &result, error);
    free(known);
    if (class)
        return class;
    class = take_stored(result, ids, count, error);
    PQclear(result);
    return class;
}
