/* Which changes are news, what status says, and the exit codes that follow. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "../../relay/app/status_text.h"
#include "../../relay/app/watch.h"
#include "core/publisher.h"
#include "core/subscriber.h"

static void test_phases(void **state)
{
    (void)state;
    for (int i = 0; i < PUBLISHER_STATES; i++)
        assert_int_not_equal(watch_phase_of_outbox(publisher_state_name((enum publisher_state)i)), WATCH_NEW);
    assert_int_equal(watch_phase_of_outbox("some later state"), WATCH_NEW);
}

static void test_phases_of_inboxes(void **state)
{
    (void)state;
    struct inbox_stream_view *view = calloc(1, sizeof *view);
    assert_non_null(view);
    view->partition_count = 1;
    for (int i = 0; i < SUBSCRIBER_STATES; i++) {
        snprintf(view->state, sizeof view->state, "%s", subscriber_state_name((enum subscriber_state)i));
        assert_int_not_equal(watch_phase_of_inbox(view), WATCH_NEW);
    }
    snprintf(view->state, sizeof view->state, "some later one");
    assert_int_equal(watch_phase_of_inbox(view), WATCH_NEW);
    snprintf(view->state, sizeof view->state, "fetch");
    assert_int_equal(watch_phase_of_inbox(view), WATCH_RUNNING);
    view->partition_count = 0; /* other instances read them all */
    assert_int_equal(watch_phase_of_inbox(view), WATCH_STANDBY);
    free(view);
}

static void test_news(void **state)
{
    (void)state;
    assert_true(watch_is_news(WATCH_NEW, WATCH_STANDBY));
    assert_true(watch_is_news(WATCH_STARTING, WATCH_RUNNING));
    assert_true(watch_is_news(WATCH_FAILING, WATCH_RUNNING));
    assert_true(watch_is_news(WATCH_RUNNING, WATCH_PAUSED));
    assert_false(watch_is_news(WATCH_RUNNING, WATCH_RUNNING));
    assert_false(watch_is_news(WATCH_RUNNING, WATCH_FAILING));
    assert_false(watch_is_news(WATCH_FAILING, WATCH_STARTING));
    assert_false(watch_is_news(WATCH_RUNNING, WATCH_NEW));
}

static struct status_stream stream_of(const char *state)
{
    struct status_stream stream = {
        .pending = 3, .oldest_seconds = 90, .rows_per_second = 12.4, .size_bytes = 81920, .oldest_slot_seconds = 7300};
    snprintf(stream.stream, sizeof stream.stream, "outbox/main");
    snprintf(stream.state, sizeof stream.state, "%s", state);
    snprintf(stream.updated_at, sizeof stream.updated_at, "2026-01-02T03:04:05Z");
    return stream;
}

static void fail_with(struct status_stream *stream, enum error_class class)
{
    snprintf(stream->error_class, sizeof stream->error_class, "%s", error_class_name(class));
    (void)error_set(&stream->error, class, "CODE", "what happened");
    (void)error_hint(&stream->error, "what helps");
}

static void test_status_code(void **state)
{
    (void)state;
    struct status_stream streams[] = {stream_of("poll"), stream_of("poll")};
    assert_int_equal(status_text_code(streams, 2), EXIT_OK);
    assert_int_equal(status_text_code(streams, 0), EXIT_OK);
    snprintf(streams[0].state, sizeof streams[0].state, "unknown");
    assert_int_equal(status_text_code(streams, 2), EXIT_DEGRADED);
    fail_with(&streams[1], ERROR_INTEGRITY);
    assert_int_equal(status_text_code(streams, 2), EXIT_REFUSED);
    streams[0] = stream_of("backoff");
    streams[1] = stream_of("backoff");
    fail_with(&streams[1], ERROR_CONFIG);
    assert_int_equal(status_text_code(streams, 2), EXIT_DEGRADED);
}

static void test_status_text(void **state)
{
    (void)state;
    struct status_stream streams[] = {stream_of("stopped"), stream_of("poll")};
    char *text;
    size_t size;
    fail_with(&streams[0], ERROR_INTEGRITY);
    snprintf(streams[1].stream, sizeof streams[1].stream, "outbox/other");
    snprintf(streams[1].paused_at, sizeof streams[1].paused_at, "2026-01-02T03:04:05Z");
    snprintf(streams[1].paused_by, sizeof streams[1].paused_by, "ann");
    snprintf(streams[1].paused_reason, sizeof streams[1].paused_reason, "upgrade");
    streams[1].pending = -1;
    streams[1].oldest_seconds = -1;
    streams[1].size_bytes = -1;
    streams[1].oldest_slot_seconds = -1;
    FILE *out = open_memstream(&text, &size);
    status_text_print(streams, 2, out);
    fclose(out);
    assert_string_equal(text, "STREAM        STATE    PENDING  OLDEST  ROWS/S  DEAD  PARKED   SIZE  KEPT  LEADER\n"
                              "outbox/main   stopped        3   90.0s      12     0       0  80KiB  2.0h  -\n"
                              "outbox/other  paused         -       -      12     0       0      -     -  -\n"
                              "\n"
                              "outbox/main: integrity: what happened [CODE]\n"
                              "  what to do: what helps\n"
                              "\n"
                              "outbox/other: paused by ann at 2026-01-02T03:04:05Z: upgrade\n"
                              "  what to do: boxrelay resume outbox/other\n");
    free(text);
}

/* The schema makes an outbox and an inbox main; one that is not configured is shown, and nothing is wrong. */
static void test_status_of_unused_streams(void **state)
{
    (void)state;
    static struct settings settings = {.outbox_on = false,
                                       .outbox_count = 1,
                                       .outboxes[0].name = "main",
                                       .inbox_count = 1,
                                       .inboxes[0].name = "bills"};
    struct status_stream streams[] = {
        {.stream = "inbox/bills", .state = "unknown"},
        {.stream = "inbox/main", .state = "unknown"},
        {.stream = "inbox/other", .state = "fetch", .updated_at = "2026-01-02T03:04:05Z"},
        {.stream = "outbox/left", .state = "unknown", .updated_at = "2026-01-02T03:04:05Z", .pending = 3},
        {.stream = "outbox/main", .state = "unknown"},
    };
    status_text_mark_unused(streams, COUNT_OF(streams), &settings);
    assert_string_equal(streams[0].state, "unknown");
    assert_string_equal(streams[1].state, "unused");
    assert_string_equal(streams[2].state, "fetch");
    assert_string_equal(streams[3].state, "unknown");
    assert_string_equal(streams[4].state, "unused");
    assert_int_equal(status_text_code(&streams[1], 2), EXIT_OK);
    settings.outbox_on = true;
    snprintf(streams[4].state, sizeof streams[4].state, "unknown");
    status_text_mark_unused(&streams[4], 1, &settings);
    assert_string_equal(streams[4].state, "unknown");
}

static void test_wrapped(void **state)
{
    (void)state;
    static const char words[] =
        "outbox/main: config: row with seq 12 for topic \"orders\" cannot be published: broker: "
        "unknown topic or partition [UNKNOWN_TOPIC_OR_PART]";
    char *text;
    size_t size;
    FILE *out = open_memstream(&text, &size);
    say_wrapped(out, 2, "%s", words);
    say_wrapped(out, 4, "  what to do: %s", "short");
    say_wrapped(out, 4, "  %s",
                "a-word-that-is-longer-than-a-line-of-eighty-columns-and-so-it-is-left-as-it-is-whatever-comes");
    say_wrapped(out, 4, "%s", "");
    fclose(out);
    assert_string_equal(
        text, "outbox/main: config: row with seq 12 for topic \"orders\" cannot be published:\n"
              "  broker: unknown topic or partition [UNKNOWN_TOPIC_OR_PART]\n"
              "  what to do: short\n"
              "  a-word-that-is-longer-than-a-line-of-eighty-columns-and-so-it-is-left-as-it-is-whatever-comes\n"
              "\n");
    free(text);
}

static void test_exit_codes(void **state)
{
    (void)state;
    assert_int_equal(say_code(ERROR_NONE), 0);
    assert_int_equal(say_code(ERROR_CONFIG), 1);
    assert_int_equal(say_code(ERROR_POISON), 1);
    assert_int_equal(say_code(ERROR_INTEGRITY), 4);
    assert_int_equal(say_code(ERROR_RETRY), 75);
    assert_int_equal(say_code(ERROR_RECONNECT), 75);
    assert_int_equal(say_code(ERROR_FENCED), 75);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_phases),
        cmocka_unit_test(test_news),
        cmocka_unit_test(test_status_code),
        cmocka_unit_test(test_phases_of_inboxes),
        cmocka_unit_test(test_status_of_unused_streams),
        cmocka_unit_test(test_status_text),
        cmocka_unit_test(test_wrapped),
        cmocka_unit_test(test_exit_codes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
