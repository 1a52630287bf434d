/*
 * The baseline of the benches, and their reader: librdkafka alone, with the settings that the relay uses.
 *
 *   bare rows TOPIC ROWS BYTES HEADERS                      prints the drain's rows for COPY
 *   bare drain BOOTSTRAP TOPIC ROWS BYTES HEADERS EACH      sends them, EACH a transaction; prints rows/s and CPU us a
 * row bare send BOOTSTRAP TOPIC COUNT INTERVAL_US             one-record transactions, one each interval bare watch
 * BOOTSTRAP TOPIC PARTITIONS COUNT SKIP_MS     reads COUNT records read_committed; prints p50, p99 and maximum of their
 * ages in ms, without the first SKIP_MS bare follow BOOTSTRAP TOPIC PARTITIONS                  prints for each record
 * when it was written and when seen
 *
 * HEADERS: 0 or 1, the two headers of a row. The payload of send and of the outbox writer begins with the unix time in
 * microseconds.
 */
#include <librdkafka/rdkafka.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>

#include "records.h"

enum { WAIT_MS = 60000, WATCH_POLL_MS = 100, TIME_TEXT = 24, PADDED = 200 };

static int64_t now_us(clockid_t clock)
{
    struct timespec now;
    clock_gettime(clock, &now);
    return (int64_t)now.tv_sec * 1000000 + now.tv_nsec / 1000;
}

static void sleep_until_us(int64_t monotonic_us)
{
    struct timespec until = {.tv_sec = monotonic_us / 1000000, .tv_nsec = monotonic_us % 1000000 * 1000};
    clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &until, NULL);
}

static double cpu_us(void)
{
    struct rusage used;
    getrusage(RUSAGE_SELF, &used);
    return (double)(used.ru_utime.tv_sec + used.ru_stime.tv_sec) * 1e6 +
           (double)(used.ru_utime.tv_usec + used.ru_stime.tv_usec);
}

static void die(const char *what, const char *why)
{
    fprintf(stderr, "bare: %s: %s\n", what, why);
    exit(1);
}

static void check(rd_kafka_error_t *error, const char *what)
{
    if (error)
        die(what, rd_kafka_error_string(error));
}

/* --- sending --- */

static void set(rd_kafka_conf_t *conf, const char *name, const char *value)
{
    char text[256];
    if (rd_kafka_conf_set(conf, name, value, text, sizeof text) != RD_KAFKA_CONF_OK)
        die(name, text);
}

static rd_kafka_t *open_client(rd_kafka_type_t type, rd_kafka_conf_t *conf)
{
    char text[256];
    rd_kafka_t *client = rd_kafka_new(type, conf, text, sizeof text);
    if (!client)
        die("client", text);
    return client;
}

static rd_kafka_t *open_producer(const char *bootstrap)
{
    rd_kafka_conf_t *conf = rd_kafka_conf_new();
    set(conf, "bootstrap.servers", bootstrap);
    set(conf, "transactional.id", "bare");
    set(conf, "linger.ms", "5");
    set(conf, "compression.type", "lz4");
    set(conf, "partitioner", "murmur2_random");
    set(conf, "socket.nagle.disable", "true");
    rd_kafka_conf_set_events(conf, RD_KAFKA_EVENT_DR);
    set(conf, "delivery.report.only.error", "true");
    rd_kafka_t *producer = open_client(RD_KAFKA_PRODUCER, conf);
    check(rd_kafka_init_transactions(producer, WAIT_MS), "init_transactions");
    return producer;
}

/* Known before the clock starts, as the relay's warm topics [K10]. */
static rd_kafka_topic_t *open_topic(rd_kafka_t *producer, const char *name)
{
    rd_kafka_topic_t *topic = rd_kafka_topic_new(producer, name, NULL);
    const struct rd_kafka_metadata *metadata;
    rd_kafka_resp_err_t code = rd_kafka_metadata(producer, 0, topic, &metadata, WAIT_MS);
    if (code)
        die(name, rd_kafka_err2str(code));
    rd_kafka_metadata_destroy(metadata);
    return topic;
}

static void serve(rd_kafka_t *producer)
{
    rd_kafka_queue_t *queue = rd_kafka_queue_get_main(producer);
    rd_kafka_event_t *event;
    while ((event = rd_kafka_queue_poll(queue, 0))) {
        if (rd_kafka_event_type(event) == RD_KAFKA_EVENT_DR)
            die("delivery", "failed");
        rd_kafka_event_destroy(event);
    }
    rd_kafka_queue_destroy(queue);
}

static rd_kafka_headers_t *make_headers(const struct bench_record *record, bool headers)
{
    rd_kafka_headers_t *made = rd_kafka_headers_new(5);
    if (headers) {
        rd_kafka_header_add(made, "traceparent", -1, record->trace, RECORD_TRACE_SIZE - 1);
        rd_kafka_header_add(made, "request-id", -1, record->request, RECORD_REQUEST_SIZE - 1);
    }
    rd_kafka_header_add(made, "id", -1, record->id, RECORD_ID_SIZE - 1);
    rd_kafka_header_add(made, "type", -1, RECORD_TYPE, -1);
    rd_kafka_header_add(made, "relay", -1, "00000000/100", -1);
    return made;
}

static void produce(rd_kafka_t *producer, rd_kafka_topic_t *topic, const struct bench_record *record, bool headers,
                    char *value, size_t size)
{
    rd_kafka_headers_t *made = make_headers(record, headers);
    for (;;) {
        rd_kafka_resp_err_t code = rd_kafka_producev(
            producer, RD_KAFKA_V_RKT(topic), RD_KAFKA_V_KEY((void *)(uintptr_t)record->key, strlen(record->key)),
            RD_KAFKA_V_VALUE(value, size), RD_KAFKA_V_HEADERS(made), RD_KAFKA_V_END);
        if (code == RD_KAFKA_RESP_ERR_NO_ERROR)
            return;
        if (code != RD_KAFKA_RESP_ERR__QUEUE_FULL)
            die("produce", rd_kafka_err2str(code));
        serve(producer);
        rd_kafka_flush(producer, 10);
    }
}

static void commit(rd_kafka_t *producer)
{
    while (rd_kafka_flush(producer, 20) == RD_KAFKA_RESP_ERR__TIMED_OUT)
        serve(producer);
    check(rd_kafka_commit_transaction(producer, WAIT_MS), "commit_transaction");
}

static void drain(const char *bootstrap, const char *name, int rows, size_t bytes, bool headers, int each)
{
    struct bench_record *records = records_new(bytes);
    rd_kafka_t *producer = open_producer(bootstrap);
    rd_kafka_topic_t *topic = open_topic(producer, name);
    int64_t started_us = now_us(CLOCK_MONOTONIC);
    double cpu_before_us = cpu_us();
    for (int row = 0; row < rows; row++) {
        const struct bench_record *record = &records[row % RECORDS];
        if (row % each == 0)
            check(rd_kafka_begin_transaction(producer), "begin_transaction");
        produce(producer, topic, record, headers, record->payload, bytes);
        if (row % each == each - 1 || row == rows - 1)
            commit(producer);
    }
    double seconds = (double)(now_us(CLOCK_MONOTONIC) - started_us) / 1e6;
    printf("%.0f %.3f\n", rows / seconds, (cpu_us() - cpu_before_us) / rows);
    rd_kafka_topic_destroy(topic);
    rd_kafka_destroy(producer);
    records_free(&records);
}

/* Paced: back to back, each would meet CONCURRENT_TRANSACTIONS and librdkafka's sleep of 20 ms [K13]. */
static void send_paced(const char *bootstrap, const char *name, int count, int interval_us)
{
    struct bench_record *records = records_new(PADDED);
    rd_kafka_t *producer = open_producer(bootstrap);
    rd_kafka_topic_t *topic = open_topic(producer, name);
    int64_t started_us = now_us(CLOCK_MONOTONIC);
    for (int i = 0; i < count; i++) {
        char value[PADDED + 1];
        sleep_until_us(started_us + (int64_t)i * interval_us);
        snprintf(value, sizeof value, "%lld %s", (long long)now_us(CLOCK_REALTIME), records[i % RECORDS].payload);
        check(rd_kafka_begin_transaction(producer), "begin_transaction");
        produce(producer, topic, &records[i % RECORDS], false, value, PADDED);
        commit(producer);
    }
    rd_kafka_topic_destroy(topic);
    rd_kafka_destroy(producer);
    records_free(&records);
}

/* --- reading --- */

static int by_value(const void *a, const void *b)
{
    int64_t left = *(const int64_t *)a, right = *(const int64_t *)b;
    return left < right ? -1 : left > right;
}

static rd_kafka_t *open_reader(const char *bootstrap, const char *topic, int partitions)
{
    rd_kafka_conf_t *conf = rd_kafka_conf_new();
    set(conf, "bootstrap.servers", bootstrap);
    set(conf, "group.id", "bare-watch");
    set(conf, "isolation.level", "read_committed");
    set(conf, "enable.auto.commit", "false");
    set(conf, "auto.offset.reset", "earliest");
    rd_kafka_t *consumer = open_client(RD_KAFKA_CONSUMER, conf);
    rd_kafka_topic_partition_list_t *list = rd_kafka_topic_partition_list_new(partitions);
    for (int i = 0; i < partitions; i++)
        rd_kafka_topic_partition_list_add(list, topic, i)->offset = RD_KAFKA_OFFSET_BEGINNING;
    rd_kafka_poll_set_consumer(consumer);
    if (rd_kafka_assign(consumer, list))
        die("assign", topic);
    rd_kafka_topic_partition_list_destroy(list);
    return consumer;
}

static int64_t written_us(const rd_kafka_message_t *message)
{
    char text[TIME_TEXT];
    snprintf(text, sizeof text, "%.*s", (int)message->len, (const char *)message->payload);
    return strtoll(text, NULL, 10);
}

/* The next record's two times; false when none came. */
static bool next_record(rd_kafka_t *consumer, int64_t *written, int64_t *seen)
{
    rd_kafka_message_t *message = rd_kafka_consumer_poll(consumer, WATCH_POLL_MS);
    bool got = message && !message->err;
    *seen = now_us(CLOCK_REALTIME);
    if (got)
        *written = written_us(message);
    if (message)
        rd_kafka_message_destroy(message);
    return got;
}

static void watch(const char *bootstrap, const char *topic, int partitions, int count, int skip_ms)
{
    rd_kafka_t *consumer = open_reader(bootstrap, topic, partitions);
    int64_t *ages = calloc((size_t)count, sizeof *ages);
    int64_t deadline = now_us(CLOCK_MONOTONIC) + (int64_t)WAIT_MS * 1000;
    int64_t first = 0, written, seen;
    int kept = 0, read = 0;
    if (!ages)
        die("memory", "none");
    while (read < count && now_us(CLOCK_MONOTONIC) < deadline) {
        if (!next_record(consumer, &written, &seen))
            continue;
        if (read++ == 0)
            first = written;
        if (written >= first + (int64_t)skip_ms * 1000)
            ages[kept++] = seen - written;
    }
    if (read < count || kept == 0)
        die("watch", "not every record came");
    qsort(ages, (size_t)kept, sizeof *ages, by_value);
    printf("%.3f %.3f %.3f\n", (double)ages[kept / 2] / 1e3, (double)ages[kept * 99 / 100] / 1e3,
           (double)ages[kept - 1] / 1e3);
    free(ages);
    rd_kafka_consumer_close(consumer);
    rd_kafka_destroy(consumer);
}

/* Until it is killed. */
static void follow(const char *bootstrap, const char *topic, int partitions)
{
    rd_kafka_t *consumer = open_reader(bootstrap, topic, partitions);
    int64_t written, seen;
    setvbuf(stdout, NULL, _IOLBF, 0);
    for (;;)
        if (next_record(consumer, &written, &seen))
            printf("%lld %lld\n", (long long)written, (long long)seen);
}

static bool is_command(int argc, char **argv, const char *name, int arguments)
{
    return argc == arguments + 2 && strcmp(argv[1], name) == 0;
}

int main(int argc, char **argv)
{
    if (is_command(argc, argv, "rows", 4)) {
        struct bench_record *records = records_new((size_t)atoi(argv[4]));
        records_print(records, argv[2], atoi(argv[3]), atoi(argv[5]) != 0);
        records_free(&records);
    } else if (is_command(argc, argv, "drain", 6)) {
        drain(argv[2], argv[3], atoi(argv[4]), (size_t)atoi(argv[5]), atoi(argv[6]) != 0, atoi(argv[7]));
    } else if (is_command(argc, argv, "send", 4)) {
        send_paced(argv[2], argv[3], atoi(argv[4]), atoi(argv[5]));
    } else if (is_command(argc, argv, "watch", 5)) {
        watch(argv[2], argv[3], atoi(argv[4]), atoi(argv[5]), atoi(argv[6]));
    } else if (is_command(argc, argv, "follow", 3)) {
        follow(argv[2], argv[3], atoi(argv[4]));
    } else {
        die("usage", "bare rows|drain|send|watch|follow ..., see bare.c");
    }
    return 0;
}
