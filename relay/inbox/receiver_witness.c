/*
 * Is the partition still the one that was stored from? A topic made again is read on silently by any client, so after
 * every start of reading, and each minute, the last record stored has to be found again at its place [I5].
 */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "receiver.h"

/* It stops alone, loudly; the others go on. */
void receiver_stop_source(struct receiver *receiver, struct receiver_source *source, const struct error *error)
{
    source->error = *error;
    receiver_view_error(&receiver->view, error);
    log_error("partition stopped", LOG_STR("stream", receiver->stream), LOG_STR("topic", source->topic),
              LOG_INT("partition", source->partition), LOG_INT("offset", source->store.next), LOG_OF_ERROR(error));
}

static void advise(const struct receiver *receiver, const struct receiver_source *source, struct error *error)
{
    error_hint(error,
               "decide where to go on: boxrelay rebase %s --topic %s --partition %" PRId32
               " --to start reads it anew, --to now leaves out what is there; the other partitions go on",
               receiver->stream, source->topic, source->partition);
}

static bool is_same(const struct store_witness *witness, const struct message *message)
{
    const struct store_witness found = intake_witness(message);
    return found.checksum == witness->checksum && (witness->time_ms < 0 || found.time_ms == witness->time_ms);
}

bool receiver_check_witness(struct receiver *receiver, struct receiver_source *source, const struct message *message)
{
    struct error error;
    if (!source->checking)
        return true;
    source->checking = false;
    /* Gone by retention or compaction is no mismatch. */
    if (message->offset != source->store.witness.offset || is_same(&source->store.witness, message))
        return true;
    error_set(&error, ERROR_INTEGRITY, "OTHER_RECORD",
              "%s/%" PRId32 " has another record at offset %" PRId64
              " than the one that was stored from there: the topic was made again",
              source->topic, source->partition, message->offset);
    advise(receiver, source, &error);
    receiver_stop_source(receiver, source, &error);
    return false;
}

/* Its end was reached before any record. */
bool receiver_check_end(struct receiver *receiver, struct receiver_source *source, int64_t end)
{
    struct error error;
    source->checking = false;
    if (end >= source->store.next)
        return true;
    error_set(&error, ERROR_INTEGRITY, "SHORTER",
              "%s/%" PRId32 " ends at offset %" PRId64 ", but was stored up to %" PRId64
              ": the topic was made again or truncated",
              source->topic, source->partition, end, source->store.next);
    advise(receiver, source, &error);
    receiver_stop_source(receiver, source, &error);
    return false;
}

/* The offset to read from is not there: why? A witness that is gone, records lost, or a shorter topic. */
static void judge_range(struct receiver *receiver, struct receiver_source *source, const struct error *failure)
{
    struct error error = *failure;
    int64_t first, end;
    if (consumer_range(receiver->consumer, source->topic, source->partition, RECEIVER_ASK_MS_MAX, &first, &end,
                       &error)) {
        receiver_stop_source(receiver, source, &error); /* not known yet: asked again in a minute */
        return;
    }
    if (end < source->store.next) {
        receiver_check_end(receiver, source, end);
    } else if (first > source->store.next) {
        error_set(&error, ERROR_INTEGRITY, "RECORDS_LOST",
                  "%s/%" PRId32 " begins at offset %" PRId64 ": the records from %" PRId64
                  " on were deleted before they were stored",
                  source->topic, source->partition, first, source->store.next);
        advise(receiver, source, &error);
        receiver_stop_source(receiver, source, &error);
    } else {
        source->checking = false; /* only the witness is gone */
    }
}

/* A failure of a topic that has no partition of ours: it is the stream's. */
static void note_missing(struct receiver *receiver, const struct consumer_failure *failure)
{
    receiver_view_error(&receiver->view, &failure->error);
    log_change(&receiver->missing_said, LOG_ERROR, &failure->error, "", clock_monotonic_ms());
}

void receiver_judge_failures(struct receiver *receiver)
{
    for (size_t i = 0; i < receiver->fetch.failure_count; i++) {
        const struct consumer_failure *failure = &receiver->fetch.failures[i];
        bool ours = false;
        for (size_t k = 0; k < receiver->source_count; k++) {
            struct receiver_source *source = &receiver->sources[k];
            if (strcmp(source->topic, failure->topic) != 0 ||
                (failure->partition >= 0 && failure->partition != source->partition))
                continue;
            ours = true;
            if (failure->error.class == ERROR_INTEGRITY)
                judge_range(receiver, source, &failure->error);
            else if (source->error.class == ERROR_NONE)
                receiver_stop_source(receiver, source, &failure->error);
        }
        if (!ours && failure->partition < 0)
            note_missing(receiver, failure);
    }
}

/* What people have mended, or what has passed, is tried again; what an operator has to decide waits for him. */
static void begin_again(struct receiver *receiver)
{
    for (size_t i = 0; i < receiver->source_count; i++) {
        struct receiver_source *source = &receiver->sources[i];
        source->checking = source->store.witness.offset >= 0;
        if (source->error.class != ERROR_INTEGRITY)
            source->error = (struct error){.class = ERROR_NONE};
    }
}

static bool has_moved(const struct receiver *receiver, const struct store_next *nexts, size_t count)
{
    for (size_t i = 0; i < receiver->source_count; i++)
        for (size_t k = 0; k < count; k++)
            if (nexts[k].partition == receiver->sources[i].partition &&
                strcmp(nexts[k].topic, receiver->sources[i].topic) == 0 &&
                (nexts[k].next != receiver->sources[i].store.next || nexts[k].source != receiver->sources[i].store.id))
                return true;
    return false;
}

enum error_class receiver_compare(struct receiver *receiver)
{
    struct error *error = &receiver->error;
    struct store_next *nexts;
    size_t count;
    if (store_nexts(receiver->session, &receiver->inbox, &nexts, &count, error))
        return error->class;
    bool moved = has_moved(receiver, nexts, count);
    free(nexts);
    if (!moved)
        return ERROR_NONE;
    return error_set(error, ERROR_FENCED, "OFFSET_MOVED",
                     "an offset in the database is not the one of this instance any more: read again from there");
}

enum error_class receiver_look(struct receiver *receiver)
{
    int64_t now_ms = clock_monotonic_ms();
    if (now_ms - receiver->looked_ms < RECEIVER_LOOK_MS)
        return ERROR_NONE;
    receiver->looked_ms = now_ms;
    if (receiver_compare(receiver))
        return receiver->error.class;
    begin_again(receiver);
    return receiver_read(receiver);
}
