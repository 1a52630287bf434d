/* The subscriber's table: every state and event, the path of a start, and long random walks. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdlib.h>
#include <string.h>

#include "core/backoff.h"
#include "core/subscriber.h"
#include "random.h"

enum { NOW_MS = 1000000, WALK_STEPS = 2000000 };

static bool is_taken(enum subscriber_state state) { return state == SUBSCRIBER_FETCH || state == SUBSCRIBER_STORE; }

static struct subscriber in_state(enum subscriber_state state)
{
    struct subscriber subscriber;
    subscriber_init(&subscriber);
    subscriber.state = state;
    subscriber.joined = state != SUBSCRIBER_CONNECT && state != SUBSCRIBER_JOIN;
    subscriber.taken = is_taken(state);
    subscriber.wait_until_ms = subscriber_waits(state) ? NOW_MS : 0;
    return subscriber;
}

static struct subscriber_release step(struct subscriber *subscriber, enum subscriber_event event)
{
    return subscriber_step(subscriber, &(struct subscriber_report){.event = event, .now_ms = NOW_MS});
}

static struct subscriber_release failed(struct subscriber *subscriber, enum error_class class)
{
    return subscriber_step(
        subscriber, &(struct subscriber_report){.event = SUBSCRIBER_FAILED, .error_class = class, .now_ms = NOW_MS});
}

/* Whatever is reported, the state that follows is one, and no line of the table is missing or said twice. */
static void test_every_event(void **state)
{
    (void)state;
    for (int s = 0; s < SUBSCRIBER_STATES; s++)
        for (int e = 0; e < SUBSCRIBER_EVENTS; e++) {
            struct subscriber subscriber = in_state((enum subscriber_state)s);
            step(&subscriber, (enum subscriber_event)e);
            assert_in_range(subscriber.state, 0, SUBSCRIBER_STATES - 1);
            if (s == SUBSCRIBER_ENDED)
                assert_int_equal(subscriber.state, SUBSCRIBER_ENDED);
        }
}

static void test_start(void **state)
{
    struct subscriber subscriber;
    (void)state;
    subscriber_init(&subscriber);
    static const struct {
        enum subscriber_event event;
        enum subscriber_state next;
    } path[] = {
        {SUBSCRIBER_DONE, SUBSCRIBER_JOIN},      {SUBSCRIBER_DONE, SUBSCRIBER_START},
        {SUBSCRIBER_DONE, SUBSCRIBER_ASSIGN},    {SUBSCRIBER_DONE, SUBSCRIBER_FETCH},
        {SUBSCRIBER_NOTHING, SUBSCRIBER_FETCH},  {SUBSCRIBER_REBALANCED, SUBSCRIBER_ASSIGN},
        {SUBSCRIBER_DONE, SUBSCRIBER_FETCH},     {SUBSCRIBER_DONE, SUBSCRIBER_STORE},
        {SUBSCRIBER_DONE, SUBSCRIBER_FETCH},     {SUBSCRIBER_IS_PAUSED, SUBSCRIBER_PAUSED},
        {SUBSCRIBER_WAITED, SUBSCRIBER_CONNECT}, {SUBSCRIBER_DONE, SUBSCRIBER_JOIN},
        {SUBSCRIBER_DONE, SUBSCRIBER_ASSIGN}, /* started before */
    };
    for (size_t i = 0; i < sizeof path / sizeof path[0]; i++) {
        step(&subscriber, path[i].event);
        assert_int_equal(subscriber.state, path[i].next);
    }
}

/* [I1]: a partition that was taken over costs the offsets, not the session nor the membership. */
static void test_failures(void **state)
{
    struct subscriber subscriber = in_state(SUBSCRIBER_STORE);
    (void)state;
    struct subscriber_release release = failed(&subscriber, ERROR_FENCED);
    assert_int_equal(subscriber.state, SUBSCRIBER_BACKOFF);
    assert_true(release.reading && !release.session && !release.consumer);
    subscriber = in_state(SUBSCRIBER_STORE);
    release = failed(&subscriber, ERROR_RECONNECT);
    assert_int_equal(subscriber.state, SUBSCRIBER_BACKOFF);
    assert_true(release.reading && release.session && !release.consumer);
    subscriber = in_state(SUBSCRIBER_START);
    release = failed(&subscriber, ERROR_INTEGRITY);
    assert_int_equal(subscriber.state, SUBSCRIBER_STOPPED);
    assert_true(subscriber.wait_until_ms >= NOW_MS + SUBSCRIBER_STOPPED_MS);
}

/* A stop asked for during a batch ends behind it. */
static void test_stop(void **state)
{
    struct subscriber subscriber = in_state(SUBSCRIBER_FETCH);
    (void)state;
    step(&subscriber, SUBSCRIBER_DONE);
    subscriber_command(&subscriber, SUBSCRIBER_STOP, NOW_MS);
    assert_int_equal(subscriber.state, SUBSCRIBER_STORE);
    struct subscriber_release release = step(&subscriber, SUBSCRIBER_DONE);
    assert_int_equal(subscriber.state, SUBSCRIBER_ENDED);
    assert_true(release.reading && release.session && release.consumer);
    subscriber = in_state(SUBSCRIBER_BACKOFF);
    subscriber_command(&subscriber, SUBSCRIBER_STOP, NOW_MS);
    assert_int_equal(subscriber.state, SUBSCRIBER_ENDED);
}

static void test_wake(void **state)
{
    struct subscriber subscriber = in_state(SUBSCRIBER_STOPPED);
    (void)state;
    subscriber_command(&subscriber, SUBSCRIBER_WAKE, NOW_MS);
    assert_int_equal(subscriber.state, SUBSCRIBER_CONNECT);
}

/*
 * A shell beside the subscriber that has what it was not told to let go: the invariants of core/subscriber.h are
 * asserted within; here, that nothing is stored without a session, a consumer and offsets of this assignment.
 */
static void test_walk(void **state)
{
    struct random random = random_seeded("subscriber/walk");
    struct subscriber subscriber;
    bool session = false, consumer = false, offsets = false;
    (void)state;
    subscriber_init(&subscriber);
    for (int i = 0; i < WALK_STEPS; i++) {
        enum subscriber_state before = subscriber.state;
        struct subscriber_report report = {.event = (enum subscriber_event)random_below(&random, SUBSCRIBER_EVENTS),
                                           .error_class =
                                               (enum error_class)(ERROR_RETRY + random_below(&random, ERROR_INTEGRITY)),
                                           .now_ms = NOW_MS + i,
                                           .random = (uint32_t)random_next(&random)};
        report.consumer_dead = random_chance(&random, 10);
        if (random_chance(&random, 50))
            report.event = SUBSCRIBER_DONE;
        if (before == SUBSCRIBER_STORE)
            assert_true(session && consumer && offsets);
        if (report.event == SUBSCRIBER_DONE && before == SUBSCRIBER_CONNECT)
            session = true;
        if (report.event == SUBSCRIBER_DONE && before == SUBSCRIBER_JOIN)
            consumer = true;
        if (report.event == SUBSCRIBER_DONE && before == SUBSCRIBER_ASSIGN)
            offsets = true;
        if (report.event == SUBSCRIBER_REBALANCED)
            offsets = false;
        struct subscriber_release release = subscriber_step(&subscriber, &report);
        session = session && !release.session;
        consumer = consumer && !release.consumer;
        offsets = offsets && !release.reading && !release.consumer;
        if (subscriber.state == SUBSCRIBER_JOIN || subscriber.state == SUBSCRIBER_ASSIGN)
            assert_true(session);
        if (random_chance(&random, 5))
            subscriber_command(&subscriber, SUBSCRIBER_WAKE, NOW_MS + i);
        if (subscriber_waits(subscriber.state))
            assert_true(subscriber.wait_until_ms <= NOW_MS + i + SUBSCRIBER_STOPPED_MS + SUBSCRIBER_STOPPED_JITTER_MS);
    }
}

static void test_full(void **state)
{
    struct inbox_fill fill = {.rows = 99, .rows_max = 100, .bytes_max = 1000};
    (void)state;
    assert_false(subscriber_full(false, &fill));
    fill.rows = 100;
    assert_true(subscriber_full(false, &fill));
    fill.rows = 91;
    assert_true(subscriber_full(true, &fill));
    assert_false(subscriber_full(false, &fill));
    fill.rows = 89;
    assert_false(subscriber_full(true, &fill));
    fill.bytes = 1000;
    assert_true(subscriber_full(false, &fill));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_event), cmocka_unit_test(test_start), cmocka_unit_test(test_failures),
        cmocka_unit_test(test_stop),        cmocka_unit_test(test_wake),  cmocka_unit_test(test_walk),
        cmocka_unit_test(test_full),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
