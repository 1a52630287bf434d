/*
 * Writes one-row transactions to an outbox at a steady rate, with synchronous_commit=off, over a few pipelined
 * connections of one thread: cheap enough not to be what is measured.
 *
 *   writer CONNINFO TOPIC RATE SECONDS       prints the rate reached, and the latest that a row was sent, in ms
 *
 * Each row has a time of its own within its share of a second, by chance: a fixed rhythm could keep step with the
 * relay's. The payload begins with the server's clock as unix time in microseconds, taken in the INSERT, whose commit
 * follows at once.
 */
#include <libpq-fe.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { CONNECTIONS = 4, KEYS = 1000, FILLER = 183 };

struct lane {
    PGconn *connection;
    int pending; /* transactions sent and not yet answered */
};

static void die(const char *what, const char *why)
{
    fprintf(stderr, "writer: %s: %s\n", what, why);
    exit(1);
}

static int64_t now_us(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000000 + now.tv_nsec / 1000;
}

static void sleep_until_us(int64_t monotonic_us)
{
    struct timespec until = {.tv_sec = monotonic_us / 1000000, .tv_nsec = monotonic_us % 1000000 * 1000};
    clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &until, NULL);
}

static void must(struct lane *lane, bool good)
{
    if (!good)
        die("PostgreSQL", PQerrorMessage(lane->connection));
}

static void open_lane(struct lane *lane, const char *conninfo)
{
    lane->connection = PQconnectdb(conninfo);
    must(lane, PQstatus(lane->connection) == CONNECTION_OK);
    PGresult *result = PQexec(lane->connection, "SET synchronous_commit = off");
    must(lane, PQresultStatus(result) == PGRES_COMMAND_OK);
    PQclear(result);
    result = PQprepare(lane->connection, "write",
                       "INSERT INTO relay.outbox (topic, key, payload) VALUES ($1, $2, "
                       "(extract(epoch FROM clock_timestamp()) * 1000000)::bigint::text || ' ' || $3)",
                       0, NULL);
    must(lane, PQresultStatus(result) == PGRES_COMMAND_OK);
    PQclear(result);
    must(lane, PQsetnonblocking(lane->connection, 1) == 0 && PQenterPipelineMode(lane->connection) == 1);
}

/* Takes the answers that are there, or waits for all of them. */
static void take_answers(struct lane *lane, bool wait)
{
    while (lane->pending > 0) {
        if (!wait) {
            must(lane, PQconsumeInput(lane->connection));
            if (PQisBusy(lane->connection))
                return;
        }
        PGresult *result = PQgetResult(lane->connection);
        if (!result)
            continue;
        if (PQresultStatus(result) == PGRES_PIPELINE_SYNC)
            lane->pending--;
        else
            must(lane, PQresultStatus(result) == PGRES_COMMAND_OK);
        PQclear(result);
    }
}

/* A sync after each statement: each is a transaction of its own. */
static void write_row(struct lane *lane, const char *topic, int number, const char *filler)
{
    char key[24];
    snprintf(key, sizeof key, "k%d", number % KEYS);
    const char *values[] = {topic, key, filler};
    must(lane, PQsendQueryPrepared(lane->connection, "write", 3, values, NULL, NULL, 0));
    must(lane, PQpipelineSync(lane->connection));
    must(lane, PQflush(lane->connection) >= 0);
    lane->pending++;
}

int main(int argc, char **argv)
{
    struct lane lanes[CONNECTIONS] = {0};
    char filler[FILLER + 1];
    if (argc != 5 || atoi(argv[3]) < 1)
        die("usage", "writer CONNINFO TOPIC RATE SECONDS");
    int rate = atoi(argv[3]), rows = rate * atoi(argv[4]);
    memset(filler, 'x', FILLER);
    filler[FILLER] = '\0';
    for (int i = 0; i < CONNECTIONS; i++)
        open_lane(&lanes[i], argv[1]);
    int64_t started = now_us(), late_max = 0;
    for (int i = 0; i < rows; i++) {
        struct lane *lane = &lanes[i % CONNECTIONS];
        int64_t due = started + (int64_t)(1e6 / rate * (i + drand48()));
        sleep_until_us(due);
        int64_t late = now_us() - due;
        late_max = late > late_max ? late : late_max;
        take_answers(lane, false);
        write_row(lane, argv[2], i, filler);
    }
    for (int i = 0; i < CONNECTIONS; i++) {
        take_answers(&lanes[i], true);
        PQfinish(lanes[i].connection);
    }
    printf("%.0f %.1f\n", rows / ((double)(now_us() - started) / 1e6), (double)late_max / 1e3);
    return 0;
}
