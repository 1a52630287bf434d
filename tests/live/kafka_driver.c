/*
 * Drives the kafka room for tests with real servers: a command a line on stdin, a JSON object a line on stdout.
 *
 *   set NAME VALUE                       a librdkafka property, before the first client
 *   open TXID TIMEOUT_MS ISOLATE TOPICS  TOPICS: names with commas, or -
 *   topic NAME REFRESH | idle | close | abort
 *   begin MS | send TOPIC PARTITION KEY VALUE TAG [NAME=VALUE...] | many TOPIC COUNT SIZE KEYS PREFIX | commit EXPECTED
 *   position TOPIC PARTITION STREAM      a position record in the open transaction
 *   ensure TOPIC PARTITIONS FACTOR ACCEPT_WEAK
 *   barrier TOPIC PARTITION STREAM BARRIER FIRST
 *   readback TOPIC PARTITION STREAM BARRIER FROM TIMEOUT_MS
 *   join GROUP TOPIC INSTANCE | poll MS | leave
 *   stop 0|1                             the stop flag; with "stop-in MS" it is raised by another thread later
 *
 * Bytes are "-" (NULL), "x" and hex digits, or "*N" (N times the letter a).
 */
#include <jansson.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "kafka/client.h"
#include "kafka/group.h"
#include "kafka/positions.h"
#include "kafka/producer.h"

enum { WORDS_MAX = 64, LINE_MAX_BYTES = 4 << 20, KEPT_MAX = 100000, LIST_MAX = 64 };

struct bytes {
    void *data;
    size_t size;
};

static struct kafka_settings *settings;
static struct producer *producer;
static struct group *group;
static struct kafka_stop stop;
static json_t *changes, *answer;
static void *kept[KEPT_MAX]; /* values are borrowed until commit or close */
static size_t kept_count;

static char **words;

static void *keep(void *memory)
{
    if (kept_count == KEPT_MAX)
        abort();
    return kept[kept_count++] = memory;
}

static void release(void)
{
    while (kept_count > 0)
        free(kept[--kept_count]);
}

static struct bytes bytes_of(const char *word)
{
    if (strcmp(word, "-") == 0)
        return (struct bytes){0};
    size_t size = word[0] == '*' ? (size_t)atoll(word + 1) : strlen(word + 1) / 2;
    char *data = keep(malloc(size + 1));
    memset(data, 'a', size);
    for (size_t i = 0; word[0] == 'x' && i < size; i++) {
        unsigned value;
        sscanf(word + 1 + 2 * i, "%2x", &value);
        data[i] = (char)value;
    }
    return (struct bytes){data, size};
}

static struct uuid uuid_of(const char *word)
{
    struct uuid uuid;
    if (!uuid_parse(word, strlen(word), &uuid))
        abort();
    return uuid;
}

static double now_ms(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec * 1e3 + (double)t.tv_nsec / 1e6;
}

static enum error_class do_set(struct error *error)
{
    return kafka_settings_add(settings, KAFKA_ALL, words[1], words[2], error);
}

static enum error_class do_open(struct error *error)
{
    const char *topics[LIST_MAX];
    size_t count = 0;
    char *rest = NULL;
    for (char *t = strcmp(words[4], "-") ? strtok_r(words[4], ",", &rest) : NULL; t; t = strtok_r(NULL, ",", &rest))
        topics[count++] = t;
    struct producer_options options = {.settings = settings,
                                       .stream = "outbox/test",
                                       .transactional_id = words[1],
                                       .client_id = words[1],
                                       .isolate = atoi(words[3]),
                                       .topics = topics,
                                       .topic_count = count,
                                       .stop = &stop};
    enum error_class class = producer_open(&options, clock_monotonic_ms() + atoi(words[2]), &producer, error);
    if (class == ERROR_NONE)
        json_object_set_new(answer, "cluster", json_string(producer_cluster_id(producer)));
    return class;
}

static enum error_class do_topic(struct error *error)
{
    struct topic_facts facts = {0};
    enum error_class class = producer_topic(producer, words[1], atoi(words[2]), &facts, error);
    json_object_set_new(answer, "partitions", json_integer(facts.partition_count));
    json_object_set_new(answer, "bytes_max", json_integer(facts.message_bytes_max));
    json_object_set_new(answer, "compacted", json_boolean(facts.compacted));
    return class;
}

static enum error_class do_idle(struct error *error)
{
    (void)error;
    producer_idle(producer);
    return ERROR_NONE;
}

static enum error_class do_close(struct error *error)
{
    (void)error;
    producer_close(&producer);
    release();
    return ERROR_NONE;
}

static enum error_class do_abort(struct error *error)
{
#ifdef BOXRELAY_FAULTS
    return producer_abort_for_planted_bug(producer, error);
#else
    return error_set(error, ERROR_CONFIG, "NO_FAULTS", "built without BOXRELAY_FAULTS");
#endif
}

static enum error_class do_begin(struct error *error)
{
    return producer_begin(producer, clock_monotonic_ms() + atoi(words[1]), error);
}

static enum error_class do_send(struct error *error)
{
    struct bytes key = bytes_of(words[3]), value = bytes_of(words[4]);
    struct record record = {.topic = words[1],
                            .partition = atoi(words[2]),
                            .key = key.data,
                            .key_size = key.size,
                            .value = value.data,
                            .value_size = value.size,
                            .tag = atoll(words[5])};
    for (char **word = &words[6]; *word; word++) {
        char *equals = strchr(*word, '=');
        *equals = '\0';
        struct bytes header = bytes_of(equals + 1);
        record.headers[record.header_count++] = (struct record_header){
            .name = *word, .name_size = strlen(*word), .value = header.data, .value_size = header.size};
    }
    return producer_send(producer, &record, error);
}

static enum error_class do_many(struct error *error)
{
    int count = atoi(words[2]), keys = atoi(words[4]);
    size_t size = (size_t)atoi(words[3]);
    static struct record record;
    for (int i = 0; i < count; i++) {
        char key[32];
        char *value = keep(calloc(1, size + 64));
        int length = snprintf(value, 64, "%s-%d", words[5], i);
        memset(value + length, '.', size > (size_t)length ? size - (size_t)length : 0);
        record = (struct record){.topic = words[1], .partition = RECORD_PARTITION_BY_KEY, .key = key, .tag = i};
        record.key_size = (size_t)snprintf(key, sizeof key, "key-%d", keys ? i % keys : i);
        record.value = value;
        record.value_size = size > (size_t)length ? size : (size_t)length;
        enum error_class class = producer_send(producer, &record, error);
        if (class != ERROR_NONE)
            return class;
    }
    return ERROR_NONE;
}

static enum error_class do_commit(struct error *error)
{
    struct producer_commit_result result;
    enum error_class class = producer_commit(producer, atoll(words[1]), &result, error);
    json_object_set_new(answer, "refused", json_integer(result.refused_tag));
    json_object_set_new(answer, "repeated", json_boolean(result.end_txn_repeated));
    if (class == ERROR_NONE)
        release();
    return class;
}

static size_t first_position(char *text, const struct uuid *stream)
{
    static struct position position;
    struct database_identity database = {.system_identifier = 7, .database_oid = 5, .timeline = 1};
    struct tick_name tick = {.number = 0, .uuid = *stream};
    position_first(&position, stream, &tick, &database, "cluster");
    return position_format(&position, text, POSITION_TEXT_MAX);
}

static enum error_class do_position(struct error *error)
{
    struct uuid stream = uuid_of(words[3]);
    char *text = keep(malloc(POSITION_TEXT_MAX));
    size_t length = first_position(text, &stream);
    return positions_send(producer, words[1], atoi(words[2]), &stream, text, length, error);
}

static enum error_class do_ensure(struct error *error)
{
    struct positions_options options = {.settings = settings,
                                        .topic = words[1],
                                        .partitions = atoi(words[2]),
                                        .replication_factor = atoi(words[3]),
                                        .accept_weak = atoi(words[4]),
                                        .stop = &stop};
    bool warned = false;
    enum error_class class = positions_ensure(&options, &warned, error);
    json_object_set_new(answer, "warned", json_boolean(warned));
    return class;
}

static enum error_class do_barrier(struct error *error)
{
    struct uuid stream = uuid_of(words[3]), barrier = uuid_of(words[4]);
    bool first = atoi(words[5]);
    char *text = malloc(POSITION_TEXT_MAX);
    size_t length = first ? first_position(text, &stream) : 0;
    enum error_class class = positions_barrier(producer, words[1], atoi(words[2]), &stream, &barrier, "driver",
                                               first ? text : NULL, length, error);
    free(text);
    return class;
}

static enum error_class do_readback(struct error *error)
{
    static struct position position;
    struct positions_read read = {.settings = settings,
                                  .topic = words[1],
                                  .partition = atoi(words[2]),
                                  .stream = uuid_of(words[3]),
                                  .barrier = uuid_of(words[4]),
                                  .from_offset = atoll(words[5]),
                                  .deadline_ms = clock_monotonic_ms() + atoi(words[6]),
                                  .stop = &stop};
    bool found = false;
    int64_t offset = -1;
    enum error_class class = positions_read_back(&read, &found, &position, &offset, error);
    json_object_set_new(answer, "found", json_boolean(found));
    json_object_set_new(answer, "offset", json_integer(found ? offset : -1));
    return class;
}

static void note_change(void *opaque, enum group_change change, const int32_t *partitions, size_t count)
{
    static const char *const names[] = {"assigned", "revoked", "lost"};
    json_t *list = json_array();
    (void)opaque;
    for (size_t i = 0; i < count; i++)
        json_array_append_new(list, json_integer(partitions[i]));
    json_array_append_new(changes, json_pack("{s:s, s:o}", "change", names[change], "partitions", list));
}

static enum error_class do_join(struct error *error)
{
    struct group_options options = {.settings = settings,
                                    .group_id = words[1],
                                    .topic = words[2],
                                    .instance_id = strcmp(words[3], "-") ? words[3] : NULL,
                                    .client_id = "driver",
                                    .changed = note_change};
    return group_open(&options, &group, error);
}

static enum error_class do_poll(struct error *error) { return group_poll(group, atoi(words[1]), error); }

static enum error_class do_leave(struct error *error)
{
    (void)error;
    group_close(&group);
    return ERROR_NONE;
}

static enum error_class do_stop(struct error *error)
{
    (void)error;
    stop.requested = atoi(words[1]);
    return ERROR_NONE;
}

static void *raise_stop(void *argument)
{
    usleep((useconds_t)(intptr_t)argument * 1000);
    stop.requested = true;
    return NULL;
}

static enum error_class do_stop_in(struct error *error)
{
    (void)error;
    pthread_t thread;
    pthread_create(&thread, NULL, raise_stop, (void *)(intptr_t)atoi(words[1]));
    pthread_detach(thread);
    return ERROR_NONE;
}

static const struct {
    const char *name;
    int arguments;
    enum error_class (*run)(struct error *error);
} commands[] = {
    {"set", 2, do_set},         {"open", 4, do_open},         {"topic", 2, do_topic},       {"idle", 0, do_idle},
    {"close", 0, do_close},     {"abort", 0, do_abort},       {"begin", 1, do_begin},       {"send", 5, do_send},
    {"many", 5, do_many},       {"commit", 1, do_commit},     {"position", 3, do_position}, {"ensure", 4, do_ensure},
    {"barrier", 5, do_barrier}, {"readback", 6, do_readback}, {"join", 3, do_join},         {"poll", 1, do_poll},
    {"leave", 0, do_leave},     {"stop", 1, do_stop},         {"stop-in", 1, do_stop_in},
};

static int run_command(int count)
{
    for (size_t i = 0; i < COUNT_OF(commands); i++) {
        if (strcmp(commands[i].name, words[0]) != 0 || count <= commands[i].arguments)
            continue;
        struct error error = {0};
        answer = json_object();
        changes = json_array();
        double started = now_ms();
        enum error_class class = commands[i].run(&error);
        json_object_set_new(answer, "ms", json_real(now_ms() - started));
        json_object_set_new(answer, "class", json_string(error_class_name(class)));
        if (class != ERROR_NONE) {
            json_object_set_new(answer, "code", json_string(error.code));
            json_object_set_new(answer, "text", json_string(error.text));
            json_object_set_new(answer, "hint", json_string(error.hint));
        }
        json_object_set_new(answer, "changes", changes);
        json_dumpf(answer, stdout, JSON_COMPACT);
        fputc('\n', stdout);
        fflush(stdout);
        json_decref(answer);
        return 0;
    }
    fprintf(stderr, "kafka_driver: cannot run \"%s\" with %d arguments\n", words[0], count - 1);
    return 2;
}

int main(void)
{
    char *line = malloc(LINE_MAX_BYTES);
    words = calloc(WORDS_MAX + 1, sizeof *words);
    settings = kafka_settings_new();
    log_init(LOG_FORMAT_TEXT, getenv("KAFKA_DRIVER_DEBUG") ? LOG_DEBUG : LOG_INFO);
    int status = 0;
    while (status == 0 && fgets(line, LINE_MAX_BYTES, stdin)) {
        int count = 0;
        char *rest = NULL;
        for (char *word = strtok_r(line, " \n", &rest); word && count < WORDS_MAX; word = strtok_r(NULL, " \n", &rest))
            words[count++] = word;
        words[count] = NULL;
        status = count ? run_command(count) : 0;
    }
    producer_close(&producer);
    group_close(&group);
    release();
    kafka_settings_free(&settings);
    free(words);
    free(line);
    return status;
}
