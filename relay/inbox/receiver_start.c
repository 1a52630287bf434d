/* From a session to partitions that may be read: connect, join, apply the policy of a first start, take over. */
#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/fault.h"
#include "base/log.h"
#include "pg/migrate.h"
#include "receiver.h"

static enum error_class check_database(struct receiver *receiver, struct error *error)
{
    struct database_identity identity;
    enum error_class class = migrate_check(receiver->session, error);
    if (class == ERROR_NONE || class == ERROR_CONFIG || class == ERROR_INTEGRITY)
        receiver_view_schema(&receiver->view, class == ERROR_NONE);
    if (class || session_identity(receiver->session, &identity, error))
        return error->class;
    return catalog_claim(receiver->session, receiver->service->name, error);
}

/* The SQL belongs to the table, whose name follows from the inbox's: it outlives sessions, and an inbox made again. A
 * session knows statements by where their text stands, so this stays. What is remembered of ids does not. */
static enum error_class make_writer(struct receiver *receiver, struct error *error)
{
    if (receiver->writer) {
        store_ids_forget(receiver->writer);
        return ERROR_NONE;
    }
    return store_writer_new(receiver->inbox.relation, &receiver->writer, error);
}

static enum error_class open_session(struct receiver *receiver, struct error *error)
{
    const struct session_options options = {.conninfo = receiver->service->conninfo,
                                            .application_name = receiver->application_name,
                                            .stop = &receiver->session_stop};
    if (receiver->session_stale)
        session_close(&receiver->session);
    receiver->session_stale = false;
    if (receiver->session)
        return ERROR_NONE;
    return session_open(&options, &receiver->session, error);
}

enum error_class receiver_connect(struct receiver *receiver, bool *paused)
{
    struct error *error = &receiver->error;
    struct store_inbox found;
    enum error_class class = open_session(receiver, error);
    if (!class)
        class = check_database(receiver, error);
    receiver_view_postgres(&receiver->view, class != ERROR_RECONNECT && receiver->session);
    if (!class)
        class = store_find(receiver->session, receiver->options.name, &found, error);
    receiver->missing = class == ERROR_CONFIG && strcmp(error->code, "NO_INBOX") == 0;
    if (class)
        return class;
    receiver->inbox = found;
    receiver->subscriber.started = found.started;
    *paused = found.paused;
    return make_writer(receiver, error);
}

enum error_class receiver_join(struct receiver *receiver)
{
    const struct consumer_options options = {
        .settings = receiver->service->kafka,
        .group_id = receiver->group_id,
        .instance_id = receiver->service->instance_id,
        .client_id = receiver->application_name,
        .topics = receiver->options.topics,
        .topic_count = receiver->options.topic_count,
        .excluded = receiver->service->positions_topic,
    };
    if (receiver->consumer)
        return ERROR_NONE;
    return consumer_open(&options, &receiver->consumer, &receiver->error);
}

/* ---- the first start ---- */

/* By the policy: at the first record that is there, behind the last, or at a time. */
static enum error_class find_first(struct receiver *receiver, struct consumer_partition *partitions, size_t count,
                                   struct error *error)
{
    if (receiver->options.start == INBOX_START_TIME)
        return consumer_seek_time(receiver->consumer, partitions, count, receiver->options.start_ms,
                                  RECEIVER_ASK_MS_MAX, error);
    for (size_t i = 0; i < count; i++) {
        int64_t first, end;
        if (consumer_range(receiver->consumer, partitions[i].topic, partitions[i].partition, RECEIVER_ASK_MS_MAX,
                           &first, &end, error))
            return error->class;
        partitions[i].offset = receiver->options.start == INBOX_START_LATEST ? end : first;
    }
    return ERROR_NONE;
}

static enum error_class store_first(struct receiver *receiver, const struct consumer_partition *partitions,
                                    size_t count, struct error *error)
{
    struct store_start *starts = calloc(count + 1, sizeof *starts);
    if (!starts)
        return error_set(error, ERROR_RETRY, "NO_MEMORY", "no memory for partitions");
    for (size_t i = 0; i < count; i++)
        starts[i] = (struct store_start){partitions[i].topic, partitions[i].partition, partitions[i].offset};
    enum error_class class = store_start(receiver->session, &receiver->inbox, starts, count, error);
    free(starts);
    return class;
}

enum error_class receiver_first(struct receiver *receiver)
{
    struct error *error = &receiver->error;
    struct consumer_partition *partitions = NULL;
    size_t count = 0;
    if (receiver->options.start == INBOX_START_REFUSE) {
        error_set(error, ERROR_INTEGRITY, "NOT_STARTED", "inbox %s was never read, and its option start is refuse",
                  receiver->options.name);
        return error_hint(error, "set start to earliest, latest or a time for its first start");
    }
    enum error_class class = consumer_list(receiver->consumer, RECEIVER_ASK_MS_MAX, &partitions, &count, error);
    receiver->missing = class == ERROR_CONFIG && strcmp(error->code, "UNKNOWN_TOPIC_OR_PART") == 0;
    if (!class)
        class = find_first(receiver, partitions, count, error);
    if (!class)
        class = store_first(receiver, partitions, count, error);
    free(partitions);
    if (!class)
        log_info("inbox starts", LOG_STR("stream", receiver->stream), LOG_INT("partitions", count));
    return class;
}

/* ---- taking over ---- */

static enum error_class take(struct receiver *receiver, struct receiver_source *source, struct error *error)
{
    bool found = false;
    for (int round = 0; round < 2 && !found; round++) {
        int64_t first, end;
        if (store_take(receiver->session, &receiver->inbox, source->topic, source->partition, receiver->owner,
                       &source->store, &found, error))
            return error->class;
        if (found)
            break;
        if (consumer_range(receiver->consumer, source->topic, source->partition, RECEIVER_ASK_MS_MAX, &first, &end,
                           error))
            return error->class;
        if (fault_planted("latest_after_data"))
            first = end;
        if (store_make(receiver->session, &receiver->inbox, source->topic, source->partition, first, error))
            return error->class;
        log_info("partition found, read from its beginning", LOG_STR("stream", receiver->stream),
                 LOG_STR("topic", source->topic), LOG_INT("partition", source->partition), LOG_INT("offset", first));
    }
    if (found)
        return ERROR_NONE;
    return error_set(error, ERROR_RETRY, "NO_SOURCE", "the offset of %s/%d is not there", source->topic,
                     (int)source->partition);
}

static int by_name(const void *a, const void *b)
{
    const struct receiver_source *left = a, *right = b;
    int order = strcmp(left->topic, right->topic);
    return order ? order : (left->partition > right->partition) - (left->partition < right->partition);
}

struct receiver_source *receiver_source_of(struct receiver *receiver, const char *topic, int32_t partition)
{
    struct receiver_source wanted = {.partition = partition};
    if (receiver->last_source < receiver->source_count) {
        struct receiver_source *last = &receiver->sources[receiver->last_source];
        if (last->partition == partition && strcmp(last->topic, topic) == 0)
            return last;
    }
    snprintf(wanted.topic, sizeof wanted.topic, "%s", topic);
    struct receiver_source *found =
        receiver->source_count ? bsearch(&wanted, receiver->sources, receiver->source_count, sizeof wanted, by_name)
                               : NULL;
    if (found)
        receiver->last_source = (size_t)(found - receiver->sources);
    return found;
}

enum error_class receiver_read(struct receiver *receiver)
{
    struct consumer_partition *partitions = calloc(receiver->source_count + 1, sizeof *partitions);
    size_t count = 0;
    if (!partitions)
        return error_set(&receiver->error, ERROR_RETRY, "NO_MEMORY", "no memory for partitions");
    for (size_t i = 0; i < receiver->source_count; i++) {
        struct receiver_source *source = &receiver->sources[i];
        source->end = 0; /* what was fetched up to it may have been dropped */
        if (source->error.class)
            continue;
        partitions[count] =
            (struct consumer_partition){.partition = source->partition,
                                        .offset = source->checking ? source->store.witness.offset : source->store.next};
        memcpy(partitions[count++].topic, source->topic, sizeof source->topic);
    }
    enum error_class class = consumer_read(receiver->consumer, partitions, count, &receiver->error);
    free(partitions);
    return class;
}

enum error_class receiver_assign(struct receiver *receiver)
{
    const struct consumer_partition *assigned;
    size_t count = consumer_assigned(receiver->consumer, &assigned);
    receiver_drop_fetch(receiver);
    receiver->source_count = 0;
    receiver->sources = reallocarray(receiver->sources, count + 1, sizeof receiver->sources[0]);
    if (!receiver->sources)
        abort();
    for (size_t i = 0; i < count; i++) {
        struct receiver_source *source = &receiver->sources[i];
        *source = (struct receiver_source){.partition = assigned[i].partition, .told = -1};
        memcpy(source->topic, assigned[i].topic, sizeof source->topic);
        if (take(receiver, source, &receiver->error))
            return receiver->error.class;
        source->checking = source->store.witness.offset >= 0;
    }
    receiver->source_count = count;
    receiver->looked_ms = clock_monotonic_ms();
    /* A take that had to wait for a rebase got the generation from before: a new statement sees the newer one [I7]. */
    if (count && receiver_compare(receiver))
        return receiver->error.class;
    qsort(receiver->sources, count, sizeof receiver->sources[0], by_name);
    receiver->reported_ms = 0; /* it is well: told at once */
    if (count)
        log_info("partitions taken over", LOG_STR("stream", receiver->stream), LOG_INT("partitions", count));
    return receiver_read(receiver);
}
