/* Fetching, and storing what was fetched: offsets, ids, messages and dead letters in one transaction. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/fault.h"
#include "base/log.h"
#include "receiver.h"

void receiver_drop_fetch(struct receiver *receiver)
{
    for (size_t i = 0; i < receiver->intake_count; i++)
        intake_fini(&receiver->intakes[i]);
    receiver->intake_count = 0;
    fetch_empty(&receiver->fetch);
}

/* ---- fetching ---- */

/* Counts only once what was fetched with it is stored: the next report is behind that. False: a source stopped. */
static bool note_ends(struct receiver *receiver)
{
    bool good = true;
    for (size_t i = 0; i < receiver->fetch.end_count; i++) {
        const struct consumer_partition *end = &receiver->fetch.ends[i];
        struct receiver_source *source = receiver_source_of(receiver, end->topic, end->partition);
        if (source && source->checking)
            good = receiver_check_end(receiver, source, end->offset) && good;
        if (source && end->offset > source->end)
            source->end = end->offset;
    }
    return good;
}

/* False: a source stopped. */
static bool make_intakes(struct receiver *receiver)
{
    bool good = true;
    const struct fetch *fetch = &receiver->fetch;
    if (fetch->count > receiver->intake_capacity) {
        receiver->intake_capacity = fetch->count;
        receiver->intakes = reallocarray(receiver->intakes, fetch->count, sizeof receiver->intakes[0]);
        if (!receiver->intakes)
            abort();
    }
    for (size_t i = 0; i < fetch->count; i++) {
        const struct message *message = &fetch->messages[i];
        struct receiver_source *source = receiver_source_of(receiver, message->topic, message->partition);
        if (!source || source->error.class)
            continue;
        good = receiver_check_witness(receiver, source, message) && good;
        if (source->error.class || message->offset < source->store.next)
            continue; /* below `next`: stored already */
        struct intake *intake = &receiver->intakes[receiver->intake_count++];
        intake_make(message, &receiver->options, &receiver->inbox, intake);
        intake->source = (size_t)(source - receiver->sources);
        intake->row.source = source->store.id;
        intake->row.lane = intake->row.key_hash % source->store.lanes;
    }
    return good;
}

/* An outage or refusal is shown once, when it begins and when it ends; the poll goes on. */
static void show_kafka(struct receiver *receiver, const struct error *kafka)
{
    const char *code = kafka->class ? kafka->code : "";
    receiver_view_kafka(&receiver->view, kafka->class == ERROR_NONE);
    log_change(&receiver->kafka_said, LOG_WARN, kafka, "Kafka answers again", clock_monotonic_ms());
    if (strcmp(code, receiver->kafka_code) == 0)
        return;
    snprintf(receiver->kafka_code, sizeof receiver->kafka_code, "%s", code);
    if (kafka->class)
        receiver_view_error(&receiver->view, kafka);
    else
        receiver_view_mended(&receiver->view);
}

enum error_class receiver_fetch(struct receiver *receiver, enum subscriber_event *event)
{
    struct error kafka = {.class = ERROR_NONE};
    const struct inbox_stream_options *options = &receiver->options;
    receiver_drop_fetch(receiver);
    enum error_class class = receiver_report(receiver);
    if (!class)
        class = receiver_look(receiver);
    if (class)
        return class;
    if (receiver->paused) {
        receiver->paused = false;
        *event = SUBSCRIBER_IS_PAUSED;
        return ERROR_NONE;
    }
    class = consumer_poll(receiver->consumer, RECEIVER_POLL_MS, (size_t)options->batch_rows_max,
                          options->batch_bytes_max, &receiver->fetch, &kafka);
    show_kafka(receiver, &kafka);
    if (class == ERROR_INTEGRITY) {
        receiver->error = kafka;
        receiver->consumer_dead = true;
        return class;
    }
    if (receiver->fetch.rebalanced) {
        *event = SUBSCRIBER_REBALANCED;
        return ERROR_NONE;
    }
    receiver_judge_failures(receiver);
    bool good = make_intakes(receiver);
    good = note_ends(receiver) && good && receiver->fetch.failure_count == 0;
    *event = receiver->intake_count ? SUBSCRIBER_DONE : SUBSCRIBER_NOTHING;
    if (!good) { /* the rest comes again behind what is stored */
        receiver_drop_fetch(receiver);
        *event = SUBSCRIBER_NOTHING;
        return receiver_read(receiver);
    }
    return ERROR_NONE;
}

/* ---- storing ---- */

enum {
    IDS_MET_MAX = 3,     /* times that a batch is stored anew at once, because an id turned out to be known */
    DEAD_LINES_MAX = 10, /* lines of a batch about what is set aside */
};

/* What a transaction stores: intakes [first, first + count). */
struct span {
    struct intake *intakes;
    size_t count;
    bool suspects_asked; /* those that look bad were judged one by one */
};

static enum error_class move_offsets(struct receiver *receiver, const struct span *span, struct error *error)
{
    struct store_move *moves = calloc(receiver->source_count + 1, sizeof *moves);
    size_t moved = 0;
    if (!moves)
        return error_set(error, ERROR_RETRY, "NO_MEMORY", "no memory for offsets");
    for (size_t i = 0; i < span->count; i++) {
        const struct intake *intake = &span->intakes[i];
        struct store_move *move = &moves[intake->source];
        move->source = &receiver->sources[intake->source].store;
        move->next = intake->row.offset + 1;
        move->rows += intake->fate == INTAKE_STORE;
        move->bytes += intake->fate == INTAKE_STORE ? (int64_t)intake->message->value_size : 0;
        move->witness.offset = (int64_t)i; /* of the last: only its hash is needed */
    }
    for (size_t i = 0; i < receiver->source_count; i++) {
        if (!moves[i].source)
            continue;
        receiver->sources[i].moved = intake_witness(span->intakes[moves[i].witness.offset].message);
        moves[moved] = moves[i];
        moves[moved++].witness = receiver->sources[i].moved;
    }
    enum error_class class = store_offsets(receiver->session, moves, moved, error);
    free(moves);
    return class;
}

/* Gives every message that is to be stored its id; what is known already is judged. */
static enum error_class store_all_ids(struct receiver *receiver, const struct store_ground *ground,
                                      const struct span *span, struct error *error)
{
    struct store_id *ids = calloc(span->count + 1, sizeof *ids);
    size_t count = 0;
    if (!ids)
        return error_set(error, ERROR_RETRY, "NO_MEMORY", "no memory for ids");
    for (size_t i = 0; i < span->count; i++)
        if (span->intakes[i].fate == INTAKE_STORE)
            ids[count++] = span->intakes[i].id;
    enum error_class class = store_ids(receiver->session, receiver->writer, ground, ids, count, error);
    count = 0;
    for (size_t i = 0; i < span->count && !class; i++) {
        struct intake *intake = &span->intakes[i];
        if (intake->fate != INTAKE_STORE)
            continue;
        intake->id = ids[count++];
        intake_judge(intake);
    }
    free(ids);
    return class;
}

static enum error_class store_all_rows(struct receiver *receiver, const struct store_ground *ground,
                                       const struct span *span, struct error *error)
{
    const struct store_row **rows = calloc(span->count + 1, sizeof *rows);
    size_t count = 0;
    if (!rows)
        return error_set(error, ERROR_RETRY, "NO_MEMORY", "no memory for rows");
    for (size_t i = 0; i < span->count; i++)
        if (span->intakes[i].fate == INTAKE_STORE)
            rows[count++] = &span->intakes[i].row;
    enum error_class class = store_rows(receiver->session, receiver->writer, ground, rows, count, error);
    free(rows);
    receiver->notify_due = receiver->notify_due || (!class && count > 0);
    return class;
}

static enum error_class store_all_dead(struct receiver *receiver, const struct span *span, struct error *error)
{
    for (size_t i = 0; i < span->count; i++) {
        const struct intake *intake = &span->intakes[i];
        const struct store_dead dead = {.class = intake->class,
                                        .reason = intake->reason,
                                        .topic = intake->message->topic,
                                        .partition = intake->message->partition,
                                        .row = &intake->row};
        if (intake->fate == INTAKE_SET_ASIDE && store_dead(receiver->session, &receiver->inbox, &dead, error))
            return error->class;
    }
    return ERROR_NONE;
}

enum error_class receiver_notify(struct receiver *receiver)
{
    int64_t now_ms = clock_monotonic_ms();
    if (!receiver->notify_due || now_ms - receiver->notified_ms < RECEIVER_NOTIFY_GAP_MS)
        return ERROR_NONE;
    enum error_class class = store_notify(receiver->session, receiver->options.name, &receiver->error);
    receiver->notify_due = class != ERROR_NONE;
    receiver->notified_ms = now_ms;
    return class;
}

/* Planted bug: the offset is stored in a transaction of its own [I1]. */
static enum error_class commit_offsets_alone(struct receiver *receiver, struct store_ground *ground,
                                             struct error *error)
{
    enum error_class class = store_commit(receiver->session, error);
    fault_point("between_transactions");
    return class ? class : store_begin(receiver->session, &receiver->inbox, ground, error);
}

/* Counts as stored only with the ids' judgement, so offsets, which count rows, come behind it. */
static enum error_class store_span(struct receiver *receiver, const struct span *span, bool *paused,
                                   struct error *error)
{
    struct store_ground ground;
    enum error_class class = store_begin(receiver->session, &receiver->inbox, &ground, error);
    *paused = !class && ground.paused;
    if (*paused) {
        store_rollback(receiver->session);
        return ERROR_NONE;
    }
    fault_point("after_store_begin");
    if (!class)
        class = store_all_ids(receiver, &ground, span, error);
    if (!class)
        class = move_offsets(receiver, span, error);
    if (!class && fault_planted("offset_outside_transaction"))
        class = commit_offsets_alone(receiver, &ground, error);
    if (!class)
        class = store_all_rows(receiver, &ground, span, error);
    if (!class)
        class = store_all_dead(receiver, span, error);
    if (!class)
        class = receiver_notify(receiver);
    fault_point("before_store_commit");
    if (!class)
        class = store_commit(receiver->session, error);
    fault_point("after_store_commit");
    if (class)
        store_rollback(receiver->session);
    return class;
}

#ifdef BOXRELAY_FAULTS
/* Planted bug: a fenced instance takes its partitions over by itself and writes what it has [I2]. */
static enum error_class store_as_zombie(struct receiver *receiver, const struct span *span, bool *paused,
                                        struct error *error)
{
    for (size_t i = 0; i < receiver->source_count; i++) {
        struct receiver_source *source = &receiver->sources[i];
        bool found;
        if (store_take(receiver->session, &receiver->inbox, source->topic, source->partition, receiver->owner,
                       &source->store, &found, error))
            return error->class;
    }
    return store_span(receiver, span, paused, error);
}
#endif

static void log_dead(struct receiver *receiver, const struct span *span)
{
    size_t count = 0;
    for (size_t i = 0; i < span->count; i++) {
        const struct intake *intake = &span->intakes[i];
        if (intake->fate == INTAKE_SET_ASIDE && count++ < DEAD_LINES_MAX)
            log_warn("message set aside", LOG_STR("stream", receiver->stream), LOG_STR("topic", intake->message->topic),
                     LOG_INT("partition", intake->message->partition), LOG_INT("offset", intake->row.offset),
                     LOG_STR("error.class", intake->class), LOG_STR("error", intake->reason));
    }
    if (count > DEAD_LINES_MAX)
        log_warn("more messages set aside, see relay.dead_letter", LOG_STR("stream", receiver->stream),
                 LOG_INT("rows", (int64_t)(count - DEAD_LINES_MAX)));
}

/* The transaction is committed: offsets in memory follow. */
static void advance(struct receiver *receiver, const struct span *span)
{
    for (size_t i = 0; i < span->count; i++) {
        struct receiver_source *source = &receiver->sources[span->intakes[i].source];
        source->store.next = span->intakes[i].row.offset + 1;
        source->store.witness = source->moved;
    }
    receiver_view_stored(&receiver->view, span->intakes, span->count);
    log_dead(receiver, span);
}

/* A failed transaction judged nothing. */
static void judge_anew(const struct span *span)
{
    for (size_t i = 0; i < span->count; i++) {
        struct intake *intake = &span->intakes[i];
        bool by_id = intake->fate == INTAKE_DUPLICATE || strcmp(intake->class, "CONFLICT") == 0;
        if (by_id) {
            intake->fate = INTAKE_STORE;
            intake->class[0] = '\0';
        }
    }
}

/* Of payloads that do not look like JSON PostgreSQL is asked alone, so that many of them cost no halving each. *found:
 * some are set aside. */
static enum error_class ask_suspects(struct receiver *receiver, const struct span *span, bool *found)
{
    struct error *error = &receiver->error;
    *found = false;
    for (size_t i = 0; i < span->count && receiver->inbox.payload == STORE_JSON; i++) {
        struct intake *intake = &span->intakes[i];
        if (intake->fate != INTAKE_STORE || !intake->row.payload.bytes || intake_looks_like_json(intake))
            continue;
        enum error_class class = store_check_json(receiver->session, &intake->row.payload, error);
        if (class != ERROR_NONE && class != ERROR_POISON)
            return class;
        if (class == ERROR_POISON)
            intake_set_aside(intake, "POISON", "the payload is no JSON: %s", error->text);
        *found = *found || class == ERROR_POISON;
    }
    return ERROR_NONE;
}

/*
 * Stores the span; where PostgreSQL refuses a row that nothing before could know of, halves it until the row is alone,
 * and sets that one aside. Its neighbours pass.
 */
static enum error_class store_or_halve(struct receiver *receiver, struct span span, bool *paused)
{
    struct error *error = &receiver->error;
    enum error_class class = store_span(receiver, &span, paused, error);
    for (int again = 0; again < IDS_MET_MAX && class == ERROR_RETRY && strcmp(error->code, STORE_IDS_MET) == 0;
         again++) {
        receiver_view_failed_transaction(&receiver->view);
        class = store_span(receiver, &span, paused, error);
    }
#ifdef BOXRELAY_FAULTS
    if (class == ERROR_FENCED && fault_planted("zombie_write_after_revoke"))
        class = store_as_zombie(receiver, &span, paused, error);
#endif
    if (class == ERROR_NONE && !*paused)
        advance(receiver, &span);
    if (class != ERROR_POISON)
        return class;
    judge_anew(&span);
    receiver_view_failed_transaction(&receiver->view);
    if (span.count == 1 && span.intakes->fate == INTAKE_SET_ASIDE)
        return class;
    if (span.count == 1) {
        intake_set_aside(span.intakes, "POISON", "%s", error->text);
        return store_or_halve(receiver, span, paused);
    }
    bool found = false;
    if (!span.suspects_asked && ask_suspects(receiver, &span, &found))
        return receiver->error.class;
    if (found)
        return store_or_halve(receiver, (struct span){span.intakes, span.count, true}, paused);
    size_t half = span.count / 2;
    class = store_or_halve(receiver, (struct span){span.intakes, half, true}, paused);
    if (class || *paused)
        return class;
    return store_or_halve(receiver, (struct span){span.intakes + half, span.count - half, true}, paused);
}

enum error_class receiver_store(struct receiver *receiver, bool *paused)
{
    fault_point("before_store");
    enum error_class class =
        store_or_halve(receiver, (struct span){receiver->intakes, receiver->intake_count, false}, paused);
    if (class)
        receiver_view_failed_transaction(&receiver->view);
    receiver_drop_fetch(receiver);
    return class;
}
