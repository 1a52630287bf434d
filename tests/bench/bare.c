/*
 * The baseline of the benches: librdkafka alone, with the settings that the relay uses.
 *
 *   bare drain BOOTSTRAP TOPIC ROWS BYTES ROWS_PER_TRANSACTION    prints rows per second
 *   bare send BOOTSTRAP TOPIC COUNT                               one-record transactions, one after the other
 *   bare watch BOOTSTRAP TOPIC COUNT                              reads COUNT records read_committed, prints latencies
 *
 * send's and the outbox writer's payload is the unix time in microseconds; watch prints how old each was when seen.
 */
#include <librdkafka/rdkafka.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { WAIT_MS = 60000, WATCH_POLL_MS = 100, KEYS = 1000, KEY_TEXT = 24 };

static int64_t now_us(clockid_t clock)
{
    struct timespec now;
    clock_gettime(clock, &now);
    return (int64_t)now.tv_sec * 1000000 + now.tv_nsec / 1000;
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

static void produce(rd_kafka_t *producer, rd_kafka_topic_t *topic, char *key, char *value, size_t size)
{
    rd_kafka_headers_t *headers = rd_kafka_headers_new(2);
    rd_kafka_header_add(headers, "id", -1, "00000000-0000-0000-0000-000000000000", 36);
    rd_kafka_header_add(headers, "relay", -1, "00000000/1", 10);
    for (;;) {
        rd_kafka_resp_err_t code =
            rd_kafka_producev(producer, RD_KAFKA_V_RKT(topic), RD_KAFKA_V_KEY(key, strlen(key)),
                              RD_KAFKA_V_VALUE(value, size), RD_KAFKA_V_HEADERS(headers), RD_KAFKA_V_END);
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

static void drain(const char *bootstrap, const char *name, int rows, int bytes, int per_transaction)
{
    rd_kafka_t *producer = open_producer(bootstrap);
    rd_kafka_topic_t *topic = rd_kafka_topic_new(producer, name, NULL);
    char *value = malloc((size_t)bytes);
    char key[KEY_TEXT];
    if (!value)
        die("memory", "none");
    memset(value, 'x', (size_t)bytes);
    int64_t started = now_us(CLOCK_MONOTONIC);
    for (int row = 0; row < rows; row++) {
        if (row % per_transaction == 0)
            check(rd_kafka_begin_transaction(producer), "begin_transaction");
        snprintf(key, sizeof key, "k%d", row % KEYS);
        produce(producer, topic, key, value, (size_t)bytes);
        if (row % per_transaction == per_transaction - 1 || row == rows - 1)
            commit(producer);
    }
    printf("%.0f\n", rows / ((double)(now_us(CLOCK_MONOTONIC) - started) / 1e6));
    free(value);
    rd_kafka_topic_destroy(topic);
    rd_kafka_destroy(producer);
}

static void send_one_by_one(const char *bootstrap, const char *name, int count)
{
    rd_kafka_t *producer = open_producer(bootstrap);
    rd_kafka_topic_t *topic = rd_kafka_topic_new(producer, name, NULL);
    char key[] = "k", value[KEY_TEXT];
    for (int i = 0; i < count; i++) {
        check(rd_kafka_begin_transaction(producer), "begin_transaction");
        int length = snprintf(value, sizeof value, "%lld", (long long)now_us(CLOCK_REALTIME));
        produce(producer, topic, key, value, (size_t)length);
        commit(producer);
    }
    rd_kafka_topic_destroy(topic);
    rd_kafka_destroy(producer);
}

static int by_value(const void *a, const void *b)
{
    int64_t left = *(const int64_t *)a, right = *(const int64_t *)b;
    return left < right ? -1 : left > right;
}

static rd_kafka_t *open_watcher(const char *bootstrap, const char *topic)
{
    rd_kafka_conf_t *conf = rd_kafka_conf_new();
    set(conf, "bootstrap.servers", bootstrap);
    set(conf, "group.id", "bare-watch");
    set(conf, "isolation.level", "read_committed");
    set(conf, "auto.offset.reset", "earliest");
    set(conf, "fetch.wait.max.ms", "500");
    rd_kafka_t *consumer = open_client(RD_KAFKA_CONSUMER, conf);
    rd_kafka_topic_partition_list_t *list = rd_kafka_topic_partition_list_new(1);
    rd_kafka_topic_partition_list_add(list, topic, 0)->offset = RD_KAFKA_OFFSET_BEGINNING;
    rd_kafka_poll_set_consumer(consumer);
    if (rd_kafka_assign(consumer, list))
        die("assign", topic);
    rd_kafka_topic_partition_list_destroy(list);
    return consumer;
}

static int64_t age_us(const rd_kafka_message_t *message)
{
    char text[KEY_TEXT];
    snprintf(text, sizeof text, "%.*s", (int)message->len, (const char *)message->payload);
    return now_us(CLOCK_REALTIME) - strtoll(text, NULL, 10);
}

static void watch(const char *bootstrap, const char *topic, int count)
{
    rd_kafka_t *consumer = open_watcher(bootstrap, topic);
    int64_t *ages = calloc((size_t)count, sizeof *ages);
    int64_t deadline = now_us(CLOCK_MONOTONIC) + (int64_t)WAIT_MS * 1000;
    int seen = 0;
    if (!ages)
        die("memory", "none");
    while (seen < count && now_us(CLOCK_MONOTONIC) < deadline) {
        rd_kafka_message_t *message = rd_kafka_consumer_poll(consumer, WATCH_POLL_MS);
        if (message && !message->err)
            ages[seen++] = age_us(message);
        if (message)
            rd_kafka_message_destroy(message);
    }
    if (seen < count)
        die("watch", "not every record came");
    qsort(ages, (size_t)count, sizeof *ages, by_value);
    printf("%.2f %.2f %.2f\n", (double)ages[count / 2] / 1e3, (double)ages[count * 99 / 100] / 1e3,
           (double)ages[count - 1] / 1e3);
    free(ages);
    rd_kafka_consumer_close(consumer);
    rd_kafka_destroy(consumer);
}

int main(int argc, char **argv)
{
    if (argc == 7 && strcmp(argv[1], "drain") == 0)
        drain(argv[2], argv[3], atoi(argv[4]), atoi(argv[5]), atoi(argv[6]));
    else if (argc == 5 && strcmp(argv[1], "send") == 0)
        send_one_by_one(argv[2], argv[3], atoi(argv[4]));
    else if (argc == 5 && strcmp(argv[1], "watch") == 0)
        watch(argv[2], argv[3], atoi(argv[4]));
    else
        die("usage", "bare drain|send|watch ...");
    return 0;
}
