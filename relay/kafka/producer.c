#include "kafka/producer.h"

#include <assert.h>
#ifdef BOXRELAY_FAULTS
#include <pthread.h>
#endif
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/fault.h"
#include "conf.h"
#include "errors.h"
#include "handle.h"

enum {
    API_KEY_END_TXN = 26, /* Kafka protocol guide, "Api Keys" */
    SERVE_EVERY_RECORDS = 256,
    QUEUE_FULL_WAIT_MS = 10,
    PURGED_WAIT_MS = 300, /* for the delivery that names the cause behind purge codes */
};

static void check(const struct producer *producer) { assert(producer && producer->magic == PRODUCER_MAGIC); }

/* The one place where a producer's life changes, but for its birth. */
static void live_on(struct producer *producer, enum producer_life life)
{
    bool legal = life == PRODUCER_FAILED || (producer->life == PRODUCER_OPEN && life == PRODUCER_BEGUN) ||
                 (producer->life == PRODUCER_BEGUN && life == PRODUCER_OPEN) || producer->life == PRODUCER_CLOSED;
    assert(legal);
    producer->life = life;
}

bool producer_stopping(const struct producer *producer) { return producer->stop && producer->stop->requested; }

enum error_class producer_stopped(struct error *error)
{
    return error_set(error, ERROR_RETRY, "STOPPING", "interrupted by a stop request");
}

/* --- events --- */

static void note_failure(struct producer *producer, const rd_kafka_message_t *message)
{
    struct delivery_failures *failures = &producer->failures;
    bool better = failures->count == 0 || (kafka_error_is_purge(failures->code) && !kafka_error_is_purge(message->err));
    failures->count++;
    if (!better)
        return;
    failures->code = message->err;
    failures->tag = (int64_t)(intptr_t)message->_private;
    snprintf(failures->topic, sizeof failures->topic, "%s", message->rkt ? rd_kafka_topic_name(message->rkt) : "");
}

/* Only failed deliveries are reported (delivery.report.only.error); success is flush's return. */
static void note_deliveries(struct producer *producer, rd_kafka_event_t *event)
{
    const rd_kafka_message_t *message;
    while ((message = rd_kafka_event_message_next(event)))
        if (message->err != RD_KAFKA_RESP_ERR_NO_ERROR)
            note_failure(producer, message);
}

void producer_serve(struct producer *producer, int timeout_ms)
{
    rd_kafka_event_t *event;
    while ((event = rd_kafka_queue_poll(producer->queue, timeout_ms))) {
        if (rd_kafka_event_type(event) == RD_KAFKA_EVENT_DR)
            note_deliveries(producer, event);
        else
            reason_note(&producer->reason, event);
        rd_kafka_event_destroy(event);
        timeout_ms = 0;
    }
}

/* [K2] librdkafka repeats EndTxn silently; this is the only place where it shows. Runs in broker threads. */
static rd_kafka_resp_err_t count_end_txn(rd_kafka_t *handle, int socket, const char *broker, int32_t broker_id,
                                         int16_t api_key, int16_t api_version, int32_t correlation_id, size_t size,
                                         void *opaque)
{
    (void)handle, (void)socket, (void)broker, (void)broker_id, (void)api_version, (void)correlation_id, (void)size;
    struct producer *producer = opaque;
    if (api_key == API_KEY_END_TXN)
        atomic_fetch_add(&producer->end_txn_sent, 1);
    return RD_KAFKA_RESP_ERR_NO_ERROR;
}

static rd_kafka_resp_err_t listen_to_requests(rd_kafka_t *handle, const rd_kafka_conf_t *conf, void *opaque, char *why,
                                              size_t size)
{
    (void)conf, (void)why, (void)size;
    return rd_kafka_interceptor_add_on_request_sent(handle, "boxrelay", count_end_txn, opaque);
}

/* --- life --- */

static int32_t batch_size_of(rd_kafka_conf_t *conf)
{
    char text[32];
    size_t size = sizeof text;
    return rd_kafka_conf_get(conf, "batch.size", text, &size) == RD_KAFKA_CONF_OK ? (int32_t)strtol(text, NULL, 10) : 0;
}

/* A full batch must fit into every topic written; isolating, a batch is one message. */
static enum error_class size_batches(struct producer *producer, rd_kafka_conf_t *conf, struct error *error)
{
    producer->batch_bytes = batch_size_of(conf);
    int32_t limit = settings_batch_limit(producer->settings, producer->transactional_id);
    enum error_class class = ERROR_NONE;
    if (limit > 0 && limit < producer->batch_bytes) {
        producer->batch_bytes = limit;
        class = conf_set_int(conf, "batch.size", limit, error);
    }
    if (class == ERROR_NONE && producer->isolate)
        class = conf_set(conf, "batch.num.messages", "1", error);
    return class;
}

static enum error_class open_handle(struct producer *producer, const char *client_id, struct error *error)
{
    rd_kafka_conf_t *conf;
    enum error_class class = conf_make(producer->settings, CONF_PRODUCER, client_id, &conf, error);
    if (class != ERROR_NONE)
        return class;
    class = conf_set(conf, "transactional.id", producer->transactional_id, error); /* [K6] */
    if (class == ERROR_NONE)
        class = size_batches(producer, conf, error);
    if (class != ERROR_NONE) {
        rd_kafka_conf_destroy(conf);
        return class;
    }
    rd_kafka_conf_set_events(conf, RD_KAFKA_EVENT_DR | RD_KAFKA_EVENT_ERROR | RD_KAFKA_EVENT_LOG);
    rd_kafka_conf_interceptor_add_on_new(conf, "boxrelay", listen_to_requests, producer);
    class = conf_open(RD_KAFKA_PRODUCER, &conf, &producer->handle, error);
    if (class == ERROR_NONE)
        producer->queue = rd_kafka_queue_get_main(producer->handle);
    return class;
}

static void close_handle(struct producer *producer)
{
    if (!producer->handle)
        return;
    rd_kafka_purge(producer->handle,
                   RD_KAFKA_PURGE_F_QUEUE | RD_KAFKA_PURGE_F_INFLIGHT | RD_KAFKA_PURGE_F_NON_BLOCKING);
    producer_serve(producer, 0);
    topics_forget(producer);
    rd_kafka_queue_destroy(producer->queue);
    rd_kafka_destroy(producer->handle);
    producer->handle = NULL;
    producer->queue = NULL;
}

/* The code behind a fatal error; the others as they are. */
static int cause_of(struct producer *producer, int code)
{
    char text[256];
    int fatal = code == RD_KAFKA_RESP_ERR__FATAL ? rd_kafka_fatal_error(producer->handle, text, sizeof text) : 0;
    return fatal ? fatal : code;
}

static enum error_class take_init_error(struct producer *producer, rd_kafka_error_t *failed, int timeout_ms,
                                        struct error *error)
{
    producer_serve(producer, 0);
    int code = cause_of(producer, rd_kafka_error_code(failed));
    enum error_class class;
    if (code == RD_KAFKA_RESP_ERR__TIMED_OUT)
        class = reason_timed_out(&producer->reason, error, "init_transactions", timeout_ms);
    else
        class =
            kafka_error_set(error, kafka_error_class(code), code, "init_transactions", rd_kafka_error_string(failed));
    rd_kafka_error_destroy(failed);
    return class;
}

/* One handle, one try. */
static enum error_class try_open(struct producer *producer, const struct producer_options *options, int timeout_ms,
                                 int64_t left_ms, struct error *error)
{
    enum error_class class = open_handle(producer, options->client_id, error);
    if (class != ERROR_NONE)
        return class;
    /* The broker may be slow to reach; only init_transactions gains by a short time-out. */
    int warm_ms = timeout_ms < PRODUCER_CALL_SLICE_MS ? PRODUCER_CALL_SLICE_MS : timeout_ms;
    warm_ms = left_ms < warm_ms ? (int)left_ms : warm_ms;
    class = topics_warm(producer, options->topics, options->topic_count, warm_ms, error); /* [K10] */
    if (class != ERROR_NONE)
        return class;
    rd_kafka_error_t *failed = rd_kafka_init_transactions(producer->handle, timeout_ms);
    if (failed)
        return take_init_error(producer, failed, timeout_ms, error);
    if (fault_point("after_init"))
        return error_set(error, ERROR_RECREATE, "FAULT", "failpoint after_init");
    return ERROR_NONE;
}

static struct producer *make(const struct producer_options *options)
{
    struct producer *producer = calloc(1, sizeof *producer);
    if (!producer)
        abort();
    *producer = (struct producer){.magic = PRODUCER_MAGIC,
                                  .settings = options->settings,
                                  .stop = options->stop,
                                  .isolate = options->isolate,
                                  .stream = strdup(options->stream),
                                  .transactional_id = strdup(options->transactional_id),
                                  .topics = calloc(PRODUCER_TOPICS_MAX, sizeof *producer->topics)};
    if (!producer->stream || !producer->transactional_id || !producer->topics)
        abort();
    return producer;
}

static bool worth_another_try(enum error_class class, const struct error *error)
{
    return class == ERROR_RETRY || class == ERROR_RECONNECT || strcmp(error->code, "BATCH_SIZE") == 0;
}

enum error_class producer_open(const struct producer_options *options, int64_t deadline_ms, struct producer **out,
                               struct error *error)
{
    struct producer *producer = make(options);
    enum error_class class;
    int64_t started_ms = clock_monotonic_ms();
    int timeout_ms = PRODUCER_INIT_TIMEOUT_MS;
    for (;;) { /* [K12] */
        int64_t left_ms = deadline_ms - clock_monotonic_ms();
        left_ms = left_ms < 1 ? 1 : left_ms;
        class = try_open(producer, options, timeout_ms < left_ms ? timeout_ms : (int)left_ms, left_ms, error);
        if (class == ERROR_NONE)
            break;
        close_handle(producer);
        if (producer_stopping(producer))
            class = producer_stopped(error);
        else if (worth_another_try(class, error) && clock_monotonic_ms() < deadline_ms) {
            timeout_ms = timeout_ms * 2 < PRODUCER_INIT_TIMEOUT_MS_MAX ? timeout_ms * 2 : PRODUCER_INIT_TIMEOUT_MS_MAX;
            continue;
        }
        producer_close(&producer);
        return worth_another_try(class, error)
                   ? error_prefix(error, "no producer within %lld ms", (long long)(clock_monotonic_ms() - started_ms))
                   : class;
    }
    live_on(producer, PRODUCER_OPEN);
    *out = producer;
    return ERROR_NONE;
}

void producer_close(struct producer **producer)
{
    struct producer *gone = *producer;
    *producer = NULL;
    if (!gone)
        return;
    check(gone);
    close_handle(gone);
    gone->magic = 0;
    free(gone->topics);
    free(gone->stream);
    free(gone->transactional_id);
    free(gone);
}

const char *producer_cluster_id(const struct producer *producer)
{
    check(producer);
    return producer->cluster_id;
}

enum error_class producer_topic(struct producer *producer, const char *topic, bool refresh, struct topic_facts *facts,
                                struct error *error)
{
    check(producer);
    assert(producer->life == PRODUCER_OPEN || producer->life == PRODUCER_BEGUN);
    return topics_look(producer, topic, refresh, facts, error);
}

void producer_idle(struct producer *producer)
{
    check(producer);
    producer_serve(producer, 0);
}

/* --- transaction --- */

/* Every failure from here on ends the producer [K1]. */
static enum error_class fail(struct producer *producer, enum error_class class)
{
    assert(class != ERROR_NONE);
    live_on(producer, PRODUCER_FAILED);
    return class;
}

static enum error_class fail_with(struct producer *producer, int code, const char *what, const char *text,
                                  struct error *error)
{
    code = cause_of(producer, code);
    return fail(producer, kafka_error_set(error, kafka_error_class_in_transaction(code), code, what, text));
}

/*
 * Why the transaction is spoiled, NO_ERROR while it is not, with the library's text: a second begin_transaction does
 * nothing to an open transaction, and to a spoiled one it answers with the reason (librdkafka 2.0.2,
 * rdkafka_txnmgr.c, rd_kafka_txn_require_states0).
 */
static int ask_reason(struct producer *producer, char *text, size_t size)
{
    rd_kafka_error_t *answer = rd_kafka_begin_transaction(producer->handle);
    if (!answer)
        return RD_KAFKA_RESP_ERR_NO_ERROR;
    int reason = rd_kafka_error_code(answer);
    snprintf(text, size, "%s", rd_kafka_error_string(answer));
    rd_kafka_error_destroy(answer);
    return reason == RD_KAFKA_RESP_ERR__STATE || kafka_error_is_purge(reason) ? RD_KAFKA_RESP_ERR_NO_ERROR : reason;
}

/* For codes that say little: purge codes, _STATE. */
static enum error_class fail_with_reason(struct producer *producer, int code, const char *what, struct error *error)
{
    char text[REASON_TEXT_MAX] = "";
    int reason = ask_reason(producer, text, sizeof text);
    return fail_with(producer, reason ? reason : code, what, reason ? text : NULL, error);
}

enum error_class producer_begin(struct producer *producer, int64_t deadline_ms, struct error *error)
{
    check(producer);
    assert(producer->life == PRODUCER_OPEN);
    producer_serve(producer, 0);
    producer->failures = (struct delivery_failures){.tag = -1};
    producer->accepted = 0;
    producer->begun_ms = clock_monotonic_ms();
    producer->deadline_ms = deadline_ms;
    producer->reason = (struct reason){0};
    atomic_store(&producer->end_txn_sent, 0);
    rd_kafka_error_t *failed = rd_kafka_begin_transaction(producer->handle);
    if (!failed) {
        live_on(producer, PRODUCER_BEGUN);
        return ERROR_NONE;
    }
    enum error_class class =
        fail_with(producer, rd_kafka_error_code(failed), "begin_transaction", rd_kafka_error_string(failed), error);
    rd_kafka_error_destroy(failed);
    return class;
}

static rd_kafka_headers_t *make_headers(const struct record *record)
{
    if (record->header_count == 0)
        return NULL;
    assert(record->header_count <= RECORD_HEADERS_MAX);
    rd_kafka_headers_t *headers = rd_kafka_headers_new(record->header_count);
    for (uint32_t i = 0; i < record->header_count; i++) {
        const struct record_header *header = &record->headers[i];
        (void)rd_kafka_header_add(headers, header->name, (ssize_t)header->name_size, header->value,
                                  (ssize_t)header->value_size);
    }
    return headers;
}

/* The library neither changes nor frees them (flags 0, or a copy). */
static void *borrowed(const void *bytes) { return (void *)(uintptr_t)bytes; }

/* One call of produce; returns its code. An empty key or value is not NULL: NULL says "none". */
static int produce(struct producer *producer, const struct warm_topic *topic, const struct record *record)
{
    if (fault_point("produce_fails"))
        return RD_KAFKA_RESP_ERR__STATE;
    rd_kafka_headers_t *headers = make_headers(record);
    rd_kafka_vu_t arguments[] = {
        {.vtype = RD_KAFKA_VTYPE_RKT, .u.rkt = topic->handle},
        {.vtype = RD_KAFKA_VTYPE_PARTITION, .u.i32 = record->partition},
        {.vtype = RD_KAFKA_VTYPE_KEY, .u.mem = {borrowed(record->key), record->key ? record->key_size : 0}},
        {.vtype = RD_KAFKA_VTYPE_VALUE, .u.mem = {borrowed(record->value), record->value ? record->value_size : 0}},
        {.vtype = RD_KAFKA_VTYPE_MSGFLAGS, .u.i = record->copy_value && record->value ? RD_KAFKA_MSG_F_COPY : 0},
        {.vtype = RD_KAFKA_VTYPE_OPAQUE, .u.ptr = (void *)(intptr_t)record->tag},
        {.vtype = RD_KAFKA_VTYPE_HEADERS, .u.headers = headers},
    };
    rd_kafka_error_t *failed = rd_kafka_produceva(producer->handle, arguments, COUNT_OF(arguments) - (headers ? 0 : 1));
    if (!failed)
        return RD_KAFKA_RESP_ERR_NO_ERROR;
    if (headers)
        rd_kafka_headers_destroy(headers);
    int code = rd_kafka_error_code(failed);
    rd_kafka_error_destroy(failed);
    return code;
}

static enum error_class deliveries_failed(struct producer *producer, struct error *error)
{
    const struct delivery_failures *failures = &producer->failures;
    char what[POSITION_TOPIC_NAME_MAX + 64];
    snprintf(what, sizeof what, "delivery to topic \"%s\" failed", failures->topic);
    if (kafka_error_is_purge(failures->code))
        return fail_with_reason(producer, failures->code, what, error);
    return fail_with(producer, failures->code, what, NULL, error);
}

/* Bounded by the transaction's deadline [K8]; a stop lets the batch finish. ERROR_NONE: go on. */
static enum error_class check_time(struct producer *producer, const char *what, struct error *error)
{
    if (clock_monotonic_ms() < producer->deadline_ms)
        return ERROR_NONE;
    (void)reason_timed_out(&producer->reason, error, what, clock_monotonic_ms() - producer->begun_ms);
    error->class = ERROR_RECREATE;
    return fail(producer, ERROR_RECREATE);
}

static enum error_class refuse(const struct record *record, int code, struct error *error)
{
    char what[POSITION_TOPIC_NAME_MAX + 64];
    snprintf(what, sizeof what, "record for topic \"%s\"", record->topic);
    return kafka_error_set(error, ERROR_POISON, code, what, NULL);
}

static bool refused_alone(int code)
{
    return code == RD_KAFKA_RESP_ERR_MSG_SIZE_TOO_LARGE || code == RD_KAFKA_RESP_ERR__UNKNOWN_PARTITION;
}

static enum error_class find_topic(struct producer *producer, const char *name, struct warm_topic **topic,
                                   struct error *error)
{
    *topic = topics_find(producer, name);
    if (*topic)
        return ERROR_NONE;
    struct topic_facts facts;
    enum error_class class = topics_look(producer, name, false, &facts, error);
    if (class != ERROR_NONE && class != ERROR_POISON)
        return fail(producer, class);
    *topic = topics_find(producer, name);
    return class;
}

/* Purge codes come with one delivery that names the cause; give it a moment to arrive. */
static void await_cause(struct producer *producer)
{
    const struct delivery_failures *failures = &producer->failures;
    int64_t until = clock_monotonic_ms() + PURGED_WAIT_MS;
    while ((failures->count == 0 || kafka_error_is_purge(failures->code)) && clock_monotonic_ms() < until)
        producer_serve(producer, PRODUCER_FLUSH_SLICE_MS);
}

/*
 * An earlier record of the batch failed. Where a broker refused its content, commit says so and which one it was:
 * POISON from producer_send would blame the record in hand.
 */
static enum error_class spoiled(struct producer *producer, int code, const char *what, struct error *error)
{
    await_cause(producer);
    const struct delivery_failures *failures = &producer->failures;
    if (failures->count > 0 && kafka_error_class_in_transaction(failures->code) == ERROR_POISON)
        return ERROR_NONE;
    if (failures->count > 0)
        return deliveries_failed(producer, error);
    if (fail_with_reason(producer, code, what, error) == ERROR_POISON)
        error->class = ERROR_RECREATE;
    return error->class;
}

static enum error_class send_to(struct producer *producer, const struct warm_topic *topic, const struct record *record,
                                struct error *error)
{
    int code = produce(producer, topic, record);
    while (code == RD_KAFKA_RESP_ERR__QUEUE_FULL) {
        enum error_class class = check_time(producer, "produce", error);
        if (class != ERROR_NONE)
            return class;
        producer_serve(producer, QUEUE_FULL_WAIT_MS);
        if (producer->failures.count > 0)
            return spoiled(producer, code, "produce", error);
        code = produce(producer, topic, record);
    }
    if (refused_alone(code))
        return refuse(record, code, error);
    if (code != RD_KAFKA_RESP_ERR_NO_ERROR && !fault_planted("produce_error_ignored"))
        return spoiled(producer, code, "produce", error); /* [K11] */
    if (code == RD_KAFKA_RESP_ERR_NO_ERROR)
        producer->accepted++;
    return ERROR_NONE;
}

enum error_class producer_send(struct producer *producer, const struct record *record, struct error *error)
{
    check(producer);
    assert(producer->life == PRODUCER_BEGUN);
    if (fault_point("mid_produce"))
        return fail(producer, error_set(error, ERROR_RECREATE, "FAULT", "failpoint mid_produce"));
    if (record->partition < RECORD_PARTITION_BY_KEY)
        return refuse(record, RD_KAFKA_RESP_ERR__UNKNOWN_PARTITION, error);
    if (producer->accepted % SERVE_EVERY_RECORDS == 0)
        producer_serve(producer, 0);
    if (producer->failures.count > 0)
        return spoiled(producer, RD_KAFKA_RESP_ERR__STATE, "produce", error);
    struct warm_topic *topic;
    enum error_class class = find_topic(producer, record->topic, &topic, error);
    return class == ERROR_NONE ? send_to(producer, topic, record, error) : class;
}

/* A partition that may not be written spoils the transaction, but its records stay queued: flush alone would wait. */
static enum error_class check_spoiled(struct producer *producer, struct error *error)
{
    char text[REASON_TEXT_MAX] = "";
    int reason = ask_reason(producer, text, sizeof text);
    return reason ? fail_with(producer, reason, "transaction", text, error) : ERROR_NONE;
}

/* [K9] In event mode flush does not return early on a failed delivery: look for one between slices. */
static enum error_class flush(struct producer *producer, struct error *error)
{
    for (;;) {
        int code = rd_kafka_flush(producer->handle, PRODUCER_FLUSH_SLICE_MS);
        producer_serve(producer, 0);
        if (producer->failures.count > 0) {
            await_cause(producer);
            return deliveries_failed(producer, error);
        }
        if (code == RD_KAFKA_RESP_ERR_NO_ERROR)
            return ERROR_NONE;
        if (code != RD_KAFKA_RESP_ERR__TIMED_OUT)
            return fail_with_reason(producer, code, "flush", error);
        enum error_class class = check_spoiled(producer, error);
        if (class == ERROR_NONE)
            class = check_time(producer, "flush", error);
        if (class != ERROR_NONE)
            return class;
    }
}

void producer_push(struct producer *producer)
{
    check(producer);
    assert(producer->life == PRODUCER_BEGUN);
    (void)rd_kafka_flush(producer->handle, PRODUCER_FLUSH_SLICE_MS);
}

/* [K9] Called once, never resumed: a time-out means that the outcome is unknown. */
static rd_kafka_error_t *commit_once(struct producer *producer)
{
    if (!fault_planted("commit_resumed"))
        return rd_kafka_commit_transaction(producer->handle,
                                           fault_shortened("BOXRELAY_COMMIT_TIMEOUT_MS", PRODUCER_COMMIT_TIMEOUT_MS));
    enum { PLANTED_TIMEOUT_MS = 300, PLANTED_TRIES = 200 };
    rd_kafka_error_t *failed = rd_kafka_commit_transaction(producer->handle, PLANTED_TIMEOUT_MS);
    for (int i = 0; i < PLANTED_TRIES && failed && rd_kafka_error_is_retriable(failed); i++) {
        rd_kafka_error_destroy(failed);
        failed = rd_kafka_commit_transaction(producer->handle, PLANTED_TIMEOUT_MS);
    }
    return failed;
}

static enum error_class end(struct producer *producer, struct producer_commit_result *result, struct error *error)
{
    if (fault_point("before_end_txn"))
        return fail(producer, error_set(error, ERROR_RECREATE, "FAULT", "failpoint before_end_txn"));
    rd_kafka_error_t *failed = commit_once(producer);
    int sent = atomic_load(&producer->end_txn_sent);
    result->end_txn_repeated = sent > 1;
    if (fault_point("after_end_txn")) {
        if (failed)
            rd_kafka_error_destroy(failed);
        return fail(producer, error_set(error, ERROR_RECREATE, "FAULT", "failpoint after_end_txn"));
    }
    if (failed) {
        producer_serve(producer, 0);
        enum error_class class = fail_with(producer, rd_kafka_error_code(failed), "commit_transaction",
                                           rd_kafka_error_string(failed), error);
        rd_kafka_error_destroy(failed);
        return class;
    }
    if (sent != 1 && !fault_planted("endtxn_repeat_ignored")) /* [K2] */
        return fail(producer, error_set(error, ERROR_RECREATE, "END_TXN_REPEATED",
                                        "committed, but EndTxn went out %d times: a late one could end the next "
                                        "transaction, so this producer ends here",
                                        sent));
    return ERROR_NONE;
}

static enum error_class commit(struct producer *producer, int64_t expected, struct producer_commit_result *result,
                               struct error *error)
{
    enum error_class class = flush(producer, error);
    if (class == ERROR_POISON && producer->isolate)
        result->refused_tag = producer->failures.tag;
    if (class != ERROR_NONE)
        return class;
    if (producer->accepted != expected && !fault_planted("produce_error_ignored")) /* [K11] */
        return fail(producer, error_set(error, ERROR_RECREATE, "RECORDS_MISSING",
                                        "%lld records were accepted, the batch has %lld", (long long)producer->accepted,
                                        (long long)expected));
    return end(producer, result, error);
}

enum error_class producer_commit(struct producer *producer, int64_t expected, struct producer_commit_result *result,
                                 struct error *error)
{
    check(producer);
    assert(producer->life == PRODUCER_BEGUN && expected > 0);
    *result = (struct producer_commit_result){.refused_tag = -1};
    enum error_class class = commit(producer, expected, result, error);
    if (class == ERROR_NONE)
        live_on(producer, PRODUCER_OPEN);
    assert(producer->life == (class == ERROR_NONE ? PRODUCER_OPEN : PRODUCER_FAILED));
    return class;
}

#ifdef BOXRELAY_FAULTS
enum { PLANTED_SLICE_MS = 20 };

struct serving {
    struct producer *producer;
    atomic_bool done;
};

static void *serve_deliveries(void *opaque)
{
    struct serving *serving = opaque;
    while (!serving->done)
        producer_serve(serving->producer, PLANTED_SLICE_MS);
    return NULL;
}

/* In event mode abort waits for the deliveries that another thread has to serve. */
enum error_class producer_abort_for_planted_bug(struct producer *producer, struct error *error)
{
    check(producer);
    struct serving serving = {.producer = producer};
    pthread_t thread;
    if (pthread_create(&thread, NULL, serve_deliveries, &serving) != 0)
        abort();
    rd_kafka_error_t *failed = rd_kafka_abort_transaction(producer->handle, PRODUCER_COMMIT_TIMEOUT_MS);
    serving.done = true;
    pthread_join(thread, NULL);
    if (!failed) {
        producer->life = PRODUCER_OPEN;
        return ERROR_NONE;
    }
    int code = rd_kafka_error_code(failed);
    rd_kafka_error_destroy(failed);
    return kafka_error_set(error, ERROR_RECREATE, code, "abort_transaction", NULL);
}
#endif
