/* boxrelay rebase inbox/...: the operator's choice where a partition is not what it was [I5]. */
#include <inttypes.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "inbox/service.h"
#include "kafka/consumer.h"
#include "pg/catalog.h"
#include "pg/migrate.h"
#include "pg/store.h"

enum {
    ASK_MS_MAX = 10000,
    CLOCKS_MS = 5 * 60 * 1000, /* how far clocks of producers may be ahead of PostgreSQL's */
};

struct rebasing {
    const struct inbox_rebase *wanted;
    struct session *session;
    struct consumer *consumer;
    struct store_inbox inbox;
    struct store_next *nexts;
    size_t count;
    int64_t *firsts; /* of those that are wanted; -1: not wanted */
    size_t wanted_count;
};

static enum error_class open_all(struct rebasing *r, const struct inbox_service_options *options, struct error *error)
{
    char group_id[256];
    const char *name = r->wanted->stream + strlen("inbox/");
    const struct session_options session = {.conninfo = options->conninfo, .application_name = "boxrelay rebase"};
    snprintf(group_id, sizeof group_id, "boxrelay.%s.inbox-%s", options->name, name);
    const struct consumer_options consumer = {
        .settings = options->kafka, .group_id = group_id, .client_id = "boxrelay rebase"};
    if (session_open(&session, &r->session, error) || migrate_check(r->session, error) ||
        catalog_claim(r->session, options->name, error) || store_find(r->session, name, &r->inbox, error) ||
        store_nexts(r->session, &r->inbox, &r->nexts, &r->count, error))
        return error->class;
    return consumer_open(&consumer, &r->consumer, error);
}

static bool is_wanted(const struct inbox_rebase *wanted, const struct store_next *next)
{
    return (!wanted->topic || strcmp(wanted->topic, next->topic) == 0) &&
           (wanted->partition < 0 || wanted->partition == next->partition);
}

/* In whole seconds, not before it. */
static void format_time(int64_t unix_ms, char text[CLOCK_TEXT_SIZE]) { clock_format(unix_ms + 999, false, text); }

/* The offset of the first record that is not older. */
static enum error_class seek(struct rebasing *r, const struct store_next *next, int64_t unix_ms, int64_t *offset,
                             struct error *error)
{
    struct consumer_partition found = {.partition = next->partition};
    snprintf(found.topic, sizeof found.topic, "%s", next->topic);
    enum error_class class = consumer_seek_time(r->consumer, &found, 1, unix_ms, ASK_MS_MAX, error);
    *offset = found.offset;
    return class;
}

/*
 * [I4] An id is kept for its retention after its message was stored, which is not before the record's own time, but for
 * what clocks differ. What is younger than the oldest ids is known if it was ever stored; what is older could be stored
 * a second time.
 */
static enum error_class check_ids(struct rebasing *r, const struct store_next *next, int64_t first, struct error *error)
{
    int64_t known;
    char since[CLOCK_TEXT_SIZE];
    if (r->inbox.ids_since_ms < 0 || r->wanted->force || first >= next->next)
        return ERROR_NONE;
    if (seek(r, next, r->inbox.ids_since_ms + CLOCKS_MS, &known, error))
        return error->class;
    if (first >= known)
        return ERROR_NONE;
    format_time(r->inbox.ids_since_ms + CLOCKS_MS, since);
    error_set(error, ERROR_INTEGRITY, "IDS_FORGOTTEN",
              "%s/%d would be read from offset %" PRId64 ", but of messages before offset %" PRId64
              ", which are older than %s, the ids may be forgotten: they would be stored a second time",
              next->topic, (int)next->partition, first, known, since);
    return error_hint(error, "--to %s reads what is newer; --force reads them all the same", since);
}

static enum error_class find_first(struct rebasing *r, const struct store_next *next, int64_t *first,
                                   struct error *error)
{
    int64_t begin, end;
    if (r->wanted->target == INBOX_REBASE_TIME)
        return seek(r, next, r->wanted->time_ms, first, error);
    enum error_class class = consumer_range(r->consumer, next->topic, next->partition, ASK_MS_MAX, &begin, &end, error);
    *first = r->wanted->target == INBOX_REBASE_START ? begin : end;
    return class;
}

/* Asks Kafka before anything is written. */
static enum error_class find_firsts(struct rebasing *r, struct error *error)
{
    r->firsts = calloc(r->count + 1, sizeof *r->firsts);
    if (!r->firsts)
        return error_set(error, ERROR_RETRY, "NO_MEMORY", "no memory for partitions");
    for (size_t i = 0; i < r->count; i++) {
        const struct store_next *next = &r->nexts[i];
        r->firsts[i] = -1;
        if (!is_wanted(r->wanted, next))
            continue;
        if (find_first(r, next, &r->firsts[i], error) || check_ids(r, next, r->firsts[i], error))
            return error->class;
        r->wanted_count++;
    }
    if (r->wanted_count)
        return ERROR_NONE;
    error_set(error, ERROR_CONFIG, "NO_PARTITION", "%s has never read such a partition", r->wanted->stream);
    return error_hint(error, "SELECT topic, partition FROM relay.source shows which it has");
}

/* For the audit. The caller frees it. */
static char *describe(const struct inbox_rebase *wanted, const char *to)
{
    json_t *detail = json_pack("{s:s, s:s*, s:b}", "to", to, "topic", wanted->topic, "force", (int)wanted->force);
    if (detail && wanted->partition >= 0)
        json_object_set_new(detail, "partition", json_integer(wanted->partition));
    char *text = detail ? json_dumps(detail, 0) : NULL;
    json_decref(detail);
    return text;
}

static enum error_class write_all(struct rebasing *r, char summary[256], struct error *error)
{
    static const char *const places[] = {
        [INBOX_REBASE_NOW] = "behind the last record", [INBOX_REBASE_START] = "the first record"};
    static const char *const names[] = {[INBOX_REBASE_NOW] = "now", [INBOX_REBASE_START] = "start"};
    char time[CLOCK_TEXT_SIZE];
    bool by_time = r->wanted->target == INBOX_REBASE_TIME;
    format_time(r->wanted->time_ms, time);
    char *detail = describe(r->wanted, by_time ? time : names[r->wanted->target]);
    enum error_class class = store_transaction(r->session, error);
    for (size_t i = 0; i < r->count && !class; i++)
        if (r->firsts[i] >= 0)
            class = store_rebase(r->session, &r->inbox, r->nexts[i].topic, r->nexts[i].partition, r->firsts[i], error);
    snprintf(summary, 256, "%s: %zu partition%s read anew from %s", r->wanted->stream, r->wanted_count,
             r->wanted_count == 1 ? " is" : "s are", by_time ? time : places[r->wanted->target]);
    if (!class)
        class = catalog_audit(r->session, r->wanted->actor, "rebase", r->wanted->stream, detail ? detail : "{}", error);
    if (!class)
        class = store_commit(r->session, error);
    if (class)
        store_rollback(r->session);
    free(detail);
    return class;
}

enum error_class inbox_rebase(const struct inbox_service_options *options, const struct inbox_rebase *rebase,
                              char summary[256], struct error *error)
{
    struct rebasing r = {.wanted = rebase};
    enum error_class class = open_all(&r, options, error);
    if (!class)
        class = find_firsts(&r, error);
    if (!class)
        class = write_all(&r, summary, error);
    consumer_close(&r.consumer);
    session_close(&r.session);
    free(r.nexts);
    free(r.firsts);
    return class;
}
