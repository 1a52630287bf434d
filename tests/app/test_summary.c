/* The line that the service manager shows, and how often it is told that we live. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <unistd.h>

#include "../../relay/app/notify.h"
#include "../../relay/app/summary.h"

static struct outbox_stream_view streams[OUTBOX_STREAMS_MAX];

/* One stream for each word of `states`. */
static struct overview overview_of(const char *states)
{
    struct overview overview = {
        .started = true,
        .streams = streams,
        .service = {.schema_ok = true, .postgres_up = true, .postgres_reached = true, .kafka_up = true}};
    memset(streams, 0, sizeof streams);
    for (const char *at = states; *at; at += strspn(at, " ")) {
        struct outbox_stream_view *stream = &streams[overview.stream_count++];
        size_t span = strcspn(at, " ");
        snprintf(stream->stream, sizeof stream->stream, "outbox/s%zu", overview.stream_count);
        snprintf(stream->state, sizeof stream->state, "%.*s", (int)span, at);
        stream->pending_rows = -1;
        at += span;
    }
    return overview;
}

static void expect(const struct overview *overview, const char *expected)
{
    char line[SUMMARY_MAX];
    summary_write(overview, line);
    assert_string_equal(line, expected);
}

static void test_streams(void **state)
{
    (void)state;
    struct overview overview = overview_of("");
    expect(&overview, "no streams");
    overview = overview_of("poll");
    expect(&overview, "1 stream: 1 publishing");
    overview = overview_of("poll tick idle paused stopped backoff connect");
    expect(&overview, "7 streams: 1 standing by, 1 starting, 2 publishing, 1 paused, 2 failing (outbox/s5)");
    (void)error_set(&streams[4].last_error, ERROR_CONFIG, "UNKNOWN_TOPIC_OR_PART", "no topic");
    streams[0].pending_rows = 12;
    streams[1].pending_rows = 10000;
    streams[1].pending_is_bound = true;
    overview.service.kafka_up = overview.service.postgres_up = false;
    expect(&overview, "7 streams: 1 standing by, 1 starting, 2 publishing, 1 paused, 2 failing (outbox/s5: "
                      "UNKNOWN_TOPIC_OR_PART); 10012+ rows pending; PostgreSQL is away; Kafka is away");
}

static void test_inboxes(void **state)
{
    (void)state;
    struct inbox_stream_view *inboxes = calloc(3, sizeof *inboxes);
    assert_non_null(inboxes);
    struct overview overview = overview_of("poll");
    overview.inboxes = inboxes;
    overview.inbox_count = 3;
    static const char *const states[] = {"store", "fetch", "stopped"};
    for (size_t i = 0; i < 3; i++) {
        snprintf(inboxes[i].stream, sizeof inboxes[i].stream, "inbox/s%zu", i);
        snprintf(inboxes[i].state, sizeof inboxes[i].state, "%s", states[i]);
        inboxes[i].pending_rows = -1;
    }
    inboxes[0].partition_count = 1;
    inboxes[0].pending_rows = 40;
    inboxes[0].full = true;
    (void)error_set(&inboxes[2].last_error, ERROR_CONFIG, "INBOX_MISSING", "no inbox");
    expect(&overview, "4 streams: 1 standing by, 1 publishing, 1 storing, 1 failing (inbox/s2: INBOX_MISSING); "
                      "40 messages waiting; 1 inbox is full");
    overview.stream_count = 0;
    overview.inbox_count = 1;
    inboxes[0].full = false;
    expect(&overview, "1 stream: 1 storing; 40 messages waiting");
    free(inboxes);
}

static void test_instance(void **state)
{
    (void)state;
    struct overview overview = overview_of("");
    overview.service.postgres_up = overview.service.postgres_reached = false;
    expect(&overview, "waiting for PostgreSQL");
    (void)error_set(&overview.service.instance_error, ERROR_RECONNECT, "CONNECT_FAILED", "refused");
    expect(&overview, "waiting for PostgreSQL: refused [CONNECT_FAILED]");
    overview.service.postgres_up = overview.service.postgres_reached = true;
    (void)error_set(&overview.service.instance_error, ERROR_CONFIG, "SCHEMA_MISSING", "no schema");
    expect(&overview, "no schema [SCHEMA_MISSING]; no streams");
    char line[SUMMARY_MAX];
    memset(overview.service.instance_error.text, 'x', sizeof overview.service.instance_error.text - 1);
    summary_write(&overview, line);
    assert_int_equal(strlen(line), SUMMARY_MAX - 1);
}

static void test_watchdog_period(void **state)
{
    (void)state;
    char own[16];
    snprintf(own, sizeof own, "%d", (int)getpid());
    static const struct {
        const char *period;
        int64_t half_ms;
    } cases[] = {{"30000000", 15000}, {"1000", 1}, {"0", 0}, {"-5", 0}, {"often", 0}, {"", 0}};
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        setenv("WATCHDOG_USEC", cases[i].period, 1);
        assert_int_equal(notify_watchdog_ms(), cases[i].half_ms);
    }
    setenv("WATCHDOG_USEC", "2000000", 1);
    setenv("WATCHDOG_PID", "1", 1);
    assert_int_equal(notify_watchdog_ms(), 0);
    setenv("WATCHDOG_PID", own, 1);
    assert_int_equal(notify_watchdog_ms(), 1000);
    unsetenv("WATCHDOG_USEC");
    assert_int_equal(notify_watchdog_ms(), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_streams),
        cmocka_unit_test(test_inboxes),
        cmocka_unit_test(test_instance),
        cmocka_unit_test(test_watchdog_period),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
