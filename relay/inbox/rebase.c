/* boxrelay rebase inbox/...: the operator's choice where a partition is not what it was [I5]. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "inbox/service.h"
#include "kafka/consumer.h"
#include "pg/catalog.h"
#include "pg/migrate.h"
#include "pg/store.h"

enum { ASK_MS_MAX = 10000 };

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

/* Asks Kafka before anything is written. */
static enum error_class find_firsts(struct rebasing *r, struct error *error)
{
    r->firsts = calloc(r->count + 1, sizeof *r->firsts);
    if (!r->firsts)
        return error_set(error, ERROR_RETRY, "NO_MEMORY", "no memory for partitions");
    for (size_t i = 0; i < r->count; i++) {
        const struct store_next *next = &r->nexts[i];
        int64_t first, end;
        r->firsts[i] = -1;
        if (!is_wanted(r->wanted, next))
            continue;
        if (consumer_range(r->consumer, next->topic, next->partition, ASK_MS_MAX, &first, &end, error))
            return error->class;
        r->firsts[i] = r->wanted->target == INBOX_REBASE_START ? first : end;
        r->wanted_count++;
    }
    if (r->wanted_count)
        return ERROR_NONE;
    error_set(error, ERROR_CONFIG, "NO_PARTITION", "%s has never read such a partition", r->wanted->stream);
    return error_hint(error, "SELECT topic, partition FROM relay.source shows which it has");
}

static enum error_class write_all(struct rebasing *r, char summary[256], struct error *error)
{
    enum error_class class = store_transaction(r->session, error);
    for (size_t i = 0; i < r->count && !class; i++)
        if (r->firsts[i] >= 0)
            class = store_rebase(r->session, &r->inbox, r->nexts[i].topic, r->nexts[i].partition, r->firsts[i], error);
    snprintf(summary, 256, "%s: %zu partition%s read anew from %s", r->wanted->stream, r->wanted_count,
             r->wanted_count == 1 ? " is" : "s are",
             r->wanted->target == INBOX_REBASE_START ? "the first record" : "behind the last record");
    if (!class)
        class = catalog_audit(r->session, r->wanted->actor, "rebase", r->wanted->stream, "{}", error);
    if (!class)
        class = store_commit(r->session, error);
    if (class)
        store_rollback(r->session);
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
