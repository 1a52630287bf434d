/*
 * The messages of `storing`, and the plain table that they are stored in for comparison.
 *
 *   storer fill BOOTSTRAP TOPIC KIND FIRST ROWS KNOWN SHARE    writes rows FIRST to FIRST + ROWS - 1 to the topic
 *   storer bare CONNINFO KIND FIRST ROWS KNOWN SHARE EACH      stores the same, EACH a transaction, in bench.inbox;
 *                                                              prints rows/s, CPU us a row of itself and of its backend
 *   storer pace BOOTSTRAP TOPIC RATE SECONDS                   writes one message each 1/RATE s, with the time in it
 *   storer watch CONNINFO COUNT SKIP_MS                        looks each half millisecond what is new in relay.inbox;
 *                                                              prints p50, p99 and maximum of the ages in ms
 *
 * KIND: random (UUIDs), time (UUIDs that rise by time), text. A SHARE of the rows, of a million, has the id and payload
 * of one of the rows 0 to KNOWN - 1, which were stored before; the same rows in both programs.
 */
#include <inttypes.h>
#include <libpq-fe.h>
#include <librdkafka/rdkafka.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>

#include "records.h"

enum { WAIT_MS = 60000, PAYLOAD = 200, PARTITIONS = 6, LANES = 16, COLUMNS = 8, ID_SIZE = 48, LOOK_US = 500 };

struct rows {
    const char *kind;
    int64_t first, count, known, share;
    struct bench_record *records;
};

/* A message of the number that it is made from. */
struct row {
    char id[ID_SIZE];
    const struct bench_record *record;
};

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
    fprintf(stderr, "storer: %s: %s\n", what, why);
    exit(1);
}

/* --- rows --- */

/* splitmix64 */
static uint64_t mixed(uint64_t number)
{
    number += 0x9e3779b97f4a7c15u;
    number = (number ^ number >> 30) * 0xbf58476d1ce4e5b9u;
    number = (number ^ number >> 27) * 0x94d049bb133111ebu;
    return number ^ number >> 31;
}

static void make_row(const struct rows *rows, int64_t at, struct row *row)
{
    const uint64_t chance = mixed((uint64_t)at + (1ull << 40));
    int64_t number = rows->known > 0 && (int64_t)(chance % 1000000) < rows->share
                         ? (int64_t)(mixed(chance) % (uint64_t)rows->known)
                         : at;
    const uint64_t a = mixed((uint64_t)number), b = mixed(a), time_ms = 1800000000000u + (uint64_t)number / 20;
    row->record = &rows->records[number % RECORDS];
    if (strcmp(rows->kind, "text") == 0)
        snprintf(row->id, sizeof row->id, "/shops/%u order-%" PRId64 "-placed", (unsigned)(a % 100),
                 number + 100000000);
    else if (strcmp(rows->kind, "time") == 0)
        snprintf(row->id, sizeof row->id, "%08" PRIx64 "-%04" PRIx64 "-7%03" PRIx64 "-a%03" PRIx64 "-%012" PRIx64,
                 time_ms >> 16, time_ms & 0xffff, (uint64_t)number % 20 << 7, b & 0xfff, b >> 16);
    else
        snprintf(row->id, sizeof row->id, "%08" PRIx64 "-%04" PRIx64 "-4%03" PRIx64 "-a%03" PRIx64 "-%012" PRIx64,
                 a >> 32, a & 0xffff, a >> 16 & 0xfff, b & 0xfff, b >> 16);
}

/* --- writing to Kafka --- */

static void set(rd_kafka_conf_t *conf, const char *name, const char *value)
{
    char text[256];
    if (rd_kafka_conf_set(conf, name, value, text, sizeof text) != RD_KAFKA_CONF_OK)
        die(name, text);
}

static rd_kafka_t *open_producer(const char *bootstrap, const char *linger_ms)
{
    char text[256];
    rd_kafka_conf_t *conf = rd_kafka_conf_new();
    set(conf, "bootstrap.servers", bootstrap);
    set(conf, "enable.idempotence", "true");
    set(conf, "linger.ms", linger_ms);
    set(conf, "compression.type", "lz4");
    set(conf, "partitioner", "murmur2_random");
    set(conf, "socket.nagle.disable", "true");
    set(conf, "queue.buffering.max.messages", "100000");
    rd_kafka_t *producer = rd_kafka_new(RD_KAFKA_PRODUCER, conf, text, sizeof text);
    if (!producer)
        die("producer", text);
    return producer;
}

static void produce(rd_kafka_t *producer, const char *topic, const char *key, const char *id, const char *value)
{
    for (;;) {
        rd_kafka_resp_err_t code = rd_kafka_producev(
            producer, RD_KAFKA_V_TOPIC(topic), RD_KAFKA_V_KEY((void *)(uintptr_t)key, strlen(key)),
            RD_KAFKA_V_VALUE((void *)(uintptr_t)value, strlen(value)), RD_KAFKA_V_MSGFLAGS(RD_KAFKA_MSG_F_COPY),
            RD_KAFKA_V_HEADER("id", id, -1), RD_KAFKA_V_HEADER("type", RECORD_TYPE, -1), RD_KAFKA_V_END);
        if (code == RD_KAFKA_RESP_ERR_NO_ERROR)
            return;
        if (code != RD_KAFKA_RESP_ERR__QUEUE_FULL)
            die("produce", rd_kafka_err2str(code));
        rd_kafka_poll(producer, 10);
    }
}

static void end_producer(rd_kafka_t *producer)
{
    if (rd_kafka_flush(producer, WAIT_MS))
        die("flush", "not everything was written");
    rd_kafka_destroy(producer);
}

static void fill(const char *bootstrap, const char *topic, const struct rows *rows)
{
    rd_kafka_t *producer = open_producer(bootstrap, "20");
    for (int64_t i = 0; i < rows->count; i++) {
        struct row row;
        make_row(rows, rows->first + i, &row);
        produce(producer, topic, row.record->key, row.id, row.record->payload);
        if (i % 1000 == 0)
            rd_kafka_poll(producer, 0);
    }
    end_producer(producer);
}

/* Each message at a time of its own within its share of a second, by chance. */
static void pace(const char *bootstrap, const char *topic, int rate, int seconds)
{
    struct bench_record *records = records_new(PAYLOAD - 48);
    rd_kafka_t *producer = open_producer(bootstrap, "0");
    int64_t started_us = now_us(CLOCK_MONOTONIC);
    for (int i = 0; i < rate * seconds; i++) {
        char value[PAYLOAD * 2];
        struct row row;
        const struct rows rows = {.kind = "random", .first = started_us, .records = records};
        int64_t share_us = 1000000 / rate;
        sleep_until_us(started_us + i * share_us + (int64_t)(mixed((uint64_t)i) % (uint64_t)share_us));
        make_row(&rows, started_us + i, &row);
        snprintf(value, sizeof value, "{\"at\":%" PRId64 ",\"order\":%s}", now_us(CLOCK_REALTIME), row.record->payload);
        produce(producer, topic, row.record->key, row.id, value);
        rd_kafka_poll(producer, 0);
    }
    end_producer(producer);
    records_free(&records);
}

/* --- the plain table --- */

static PGresult *must(PGconn *connection, PGresult *result, ExecStatusType status)
{
    if (PQresultStatus(result) != status)
        die("PostgreSQL", PQerrorMessage(connection));
    return result;
}

static PGconn *open_session(const char *conninfo)
{
    PGconn *connection = PQconnectdb(conninfo);
    if (PQstatus(connection) != CONNECTION_OK)
        die("PostgreSQL", PQerrorMessage(connection));
    PQclear(must(connection,
                 PQexec(connection, "SET synchronous_commit = off; SET jit = off; "
                                    "SET plan_cache_mode = force_generic_plan"),
                 PGRES_COMMAND_OK));
    return connection;
}

/* The backend runs on this machine: the scheduler's nanoseconds. */
static double backend_us(const PGconn *connection)
{
    char name[64], text[64] = "";
    snprintf(name, sizeof name, "/proc/%d/schedstat", PQbackendPID(connection));
    FILE *file = fopen(name, "r");
    if (!file || !fgets(text, sizeof text, file))
        die(name, "cannot be read");
    fclose(file);
    return strtod(text, NULL) / 1e3;
}

/* Arrays in PostgreSQL's text form. */
struct arrays {
    FILE *out[COLUMNS];
    char *text[COLUMNS];
    size_t size[COLUMNS];
};

static void put_text(FILE *out, const char *text)
{
    putc_unlocked('"', out);
    for (const char *at = text; *at; at++) {
        if (*at == '"' || *at == '\\')
            putc_unlocked('\\', out);
        putc_unlocked(*at, out);
    }
    putc_unlocked('"', out);
}

static void put_row(struct arrays *arrays, const struct row *row, int64_t at)
{
    char headers[128];
    const uint64_t hash = mixed((uint64_t)(at * 7919)) & INT32_MAX;
    const int64_t numbers[] = {(int64_t)(hash % PARTITIONS), (int64_t)(hash % LANES), at, (int64_t)hash};
    snprintf(headers, sizeof headers, "{\"id\":\"%s\",\"type\":\"%s\"}", row->id, RECORD_TYPE);
    const char *texts[] = {row->id, row->record->key, headers, row->record->payload};
    for (size_t i = 0; i < 4; i++)
        fprintf(arrays->out[i], "%" PRId64 ",", numbers[i]);
    for (size_t i = 0; i < 4; i++) {
        put_text(arrays->out[4 + i], texts[i]);
        putc_unlocked(',', arrays->out[4 + i]);
    }
}

static void store(PGconn *connection, const struct rows *rows, int64_t first, int64_t count)
{
    struct arrays arrays;
    struct row row;
    for (size_t i = 0; i < COLUMNS; i++) {
        arrays.out[i] = open_memstream(&arrays.text[i], &arrays.size[i]);
        if (!arrays.out[i])
            die("memory", "none");
        putc_unlocked('{', arrays.out[i]);
    }
    for (int64_t i = 0; i < count; i++) {
        make_row(rows, first + i, &row);
        put_row(&arrays, &row, first + i);
    }
    for (size_t i = 0; i < COLUMNS; i++) {
        fclose(arrays.out[i]);
        arrays.text[i][arrays.size[i] - 1] = '}';
    }
    PQclear(must(connection, PQexec(connection, "BEGIN"), PGRES_COMMAND_OK));
    PQclear(must(connection,
                 PQexecPrepared(connection, "store", COLUMNS, (const char *const *)arrays.text, NULL, NULL, 0),
                 PGRES_COMMAND_OK));
    PQclear(must(connection, PQexec(connection, "COMMIT"), PGRES_COMMAND_OK));
    for (size_t i = 0; i < COLUMNS; i++)
        free(arrays.text[i]);
}

static void bare(const char *conninfo, const struct rows *rows, int64_t each)
{
    PGconn *connection = open_session(conninfo);
    PQclear(must(connection,
                 PQprepare(connection, "store",
                           "INSERT INTO bench.inbox (source, lane, kafka_offset, key_hash, record_time, id, key, type, "
                           "headers, payload) SELECT source, lane, o, hash, now(), id, key, '" RECORD_TYPE
                           "', headers, payload FROM unnest($1::integer[], $2::smallint[], $3::bigint[], $4::integer[],"
                           "$5::text[], $6::text[], $7::text[], $8::text[]) AS n (source, lane, o, hash, id, key, "
                           "headers, payload) ON CONFLICT DO NOTHING",
                           0, NULL),
                 PGRES_COMMAND_OK));
    int64_t started_us = now_us(CLOCK_MONOTONIC);
    double cpu_before_us = cpu_us(), backend_before_us = backend_us(connection);
    for (int64_t i = 0; i < rows->count; i += each)
        store(connection, rows, rows->first + i, rows->count - i < each ? rows->count - i : each);
    double seconds = (double)(now_us(CLOCK_MONOTONIC) - started_us) / 1e6, count = (double)rows->count;
    printf("%.0f %.3f %.3f\n", count / seconds, (cpu_us() - cpu_before_us) / count,
           (backend_us(connection) - backend_before_us) / count);
    PQfinish(connection);
}

/* --- what is visible, and when --- */

static int by_value(const void *a, const void *b)
{
    int64_t left = *(const int64_t *)a, right = *(const int64_t *)b;
    return left < right ? -1 : left > right;
}

/* The topic has one partition and the inbox one lane, so what is new stands behind the last offset. */
static void watch(const char *conninfo, int count, int skip_ms)
{
    PGconn *connection = open_session(conninfo);
    int64_t *ages = calloc((size_t)count, sizeof *ages), deadline = now_us(CLOCK_MONOTONIC) + (int64_t)WAIT_MS * 1000;
    char offset[24] = "-1";
    int64_t first = 0, look_us = now_us(CLOCK_MONOTONIC);
    int kept = 0, read = 0;
    PQclear(must(connection,
                 PQprepare(connection, "look",
                           "SELECT kafka_offset, substr(payload, 7, 16) FROM relay.inbox WHERE lane = 0 AND source = "
                           "(SELECT max(id) FROM relay.source) AND kafka_offset > $1 ORDER BY kafka_offset",
                           0, NULL),
                 PGRES_COMMAND_OK));
    while (ages && read < count && look_us < deadline) {
        const char *parameters[] = {offset};
        sleep_until_us(look_us += LOOK_US);
        PGresult *result =
            must(connection, PQexecPrepared(connection, "look", 1, parameters, NULL, NULL, 0), PGRES_TUPLES_OK);
        int64_t seen = now_us(CLOCK_REALTIME), behind_us = now_us(CLOCK_MONOTONIC);
        look_us = behind_us > look_us + LOOK_US ? behind_us : look_us;
        for (int i = 0; i < PQntuples(result) && read < count; i++, read++) {
            int64_t written = strtoll(PQgetvalue(result, i, 1), NULL, 10);
            first = first ? first : written;
            if (written >= first + (int64_t)skip_ms * 1000)
                ages[kept++] = seen - written;
            snprintf(offset, sizeof offset, "%s", PQgetvalue(result, i, 0));
        }
        PQclear(result);
    }
    if (read < count || kept == 0)
        die("watch", "not every message came");
    qsort(ages, (size_t)kept, sizeof *ages, by_value);
    printf("%.3f %.3f %.3f\n", (double)ages[kept / 2] / 1e3, (double)ages[kept * 99 / 100] / 1e3,
           (double)ages[kept - 1] / 1e3);
    free(ages);
    PQfinish(connection);
}

static bool is_command(int argc, char **argv, const char *name, int arguments)
{
    return argc == arguments + 2 && strcmp(argv[1], name) == 0;
}

int main(int argc, char **argv)
{
    struct rows rows = {0};
    int at = argc > 2 && strcmp(argv[1], "fill") == 0 ? 4 : 3;
    if (argc >= at + 5)
        rows = (struct rows){argv[at],
                             atoll(argv[at + 1]),
                             atoll(argv[at + 2]),
                             atoll(argv[at + 3]),
                             atoll(argv[at + 4]),
                             records_new(PAYLOAD)};
    if (is_command(argc, argv, "fill", 7))
        fill(argv[2], argv[3], &rows);
    else if (is_command(argc, argv, "bare", 7))
        bare(argv[2], &rows, atoll(argv[8]));
    else if (is_command(argc, argv, "pace", 4))
        pace(argv[2], argv[3], atoi(argv[4]), atoi(argv[5]));
    else if (is_command(argc, argv, "watch", 3))
        watch(argv[2], atoi(argv[3]), atoi(argv[4]));
    else
        die("usage", "storer fill|bare|pace|watch ..., see storer.c");
    if (rows.records)
        records_free(&rows.records);
    return 0;
}
