/*
 * One stream's poll serves the others for a moment, never for longer and never backwards; and while idle streams rest
 * on it, one of them always watches, whoever gets up and whyever.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "../../relay/outbox/last_poll.h"

enum { STREAMS = 4, NOTHING = -1 };

static struct last_poll last;
static struct snapshot found;
static struct mailbox mailboxes[STREAMS];
static struct poll_sleeper streams[STREAMS];

static struct snapshot *at(uint64_t xmax)
{
    static struct snapshot snapshot;
    snapshot.xmin.value = snapshot.xmax.value = xmax;
    return &snapshot;
}

static int set_up(void **state)
{
    (void)state;
    last_poll_init(&last);
    for (int i = 0; i < STREAMS; i++) {
        mailbox_init(&mailboxes[i]);
        streams[i] = (struct poll_sleeper){.mailbox = &mailboxes[i]};
    }
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    for (int i = 0; i < STREAMS; i++) {
        last_poll_get_up(&last, &streams[i], false);
        mailbox_fini(&mailboxes[i]);
    }
    last_poll_fini(&last);
    return 0;
}

/* The word that a stream got, if any, and no other. */
static void assert_told(int stream, int wanted)
{
    enum publisher_command command;
    int told = mailbox_take(&mailboxes[stream], 0, &command) ? (int)command : NOTHING;
    assert_int_equal(told, wanted);
    assert_false(mailbox_take(&mailboxes[stream], 0, &command));
}

/* All but stream `from` and those before it. */
static void assert_all_told(int from, int wanted)
{
    for (int i = from; i < STREAMS; i++)
        assert_told(i, wanted);
}

/* Stream 0 watches. */
static void all_rest(void)
{
    last_poll_give(&last, 100, at(7));
    for (int i = 0; i < STREAMS; i++)
        assert_int_equal(last_poll_rest(&last, &streams[i], at(7)), i > 0);
    assert_all_told(0, NOTHING);
}

static void only_what_is_fresh_is_taken(void **state)
{
    (void)state;
    assert_false(last_poll_take(&last, &streams[0], 0, &found));
    last_poll_give(&last, 100, at(7));
    assert_true(last_poll_take(&last, &streams[0], 100, &found));
    assert_int_equal(found.xmax.value, 7);
    assert_false(last_poll_take(&last, &streams[0], 101, &found));
}

static void an_older_answer_that_comes_late_changes_nothing(void **state)
{
    (void)state;
    last_poll_give(&last, 100, at(9));
    assert_false(last_poll_rest(&last, &streams[0], at(9)));
    last_poll_give(&last, 90, at(8));
    assert_true(last_poll_take(&last, &streams[1], 50, &found));
    assert_int_equal(found.xmax.value, 9);
    assert_all_told(0, NOTHING);
}

static void who_saw_something_else_does_not_rest(void **state)
{
    (void)state;
    assert_false(last_poll_rest(&last, &streams[0], at(7))); /* nobody polled yet */
    assert_null(last.first);
    last_poll_give(&last, 100, at(7));
    assert_false(last_poll_rest(&last, &streams[0], at(7)));
    assert_false(last_poll_rest(&last, &streams[1], at(6)));
    assert_ptr_equal(last.watcher, &streams[0]);
    assert_ptr_equal(last.first, &streams[0]);
    assert_null(streams[0].next);
}

static void a_change_wakes_all(void **state)
{
    (void)state;
    all_rest();
    last_poll_get_up(&last, &streams[0], true);
    assert_told(1, PUBLISHER_WATCH);
    last_poll_give(&last, 200, at(7));
    assert_all_told(0, NOTHING);
    last_poll_give(&last, 201, at(8));
    assert_told(0, NOTHING);
    assert_all_told(1, PUBLISHER_LOOK);
    assert_false(last_poll_rest(&last, &streams[1], at(8))); /* nobody watched any more */
    assert_true(last_poll_rest(&last, &streams[2], at(8)));
}

static void the_watch_goes_round(void **state)
{
    (void)state;
    all_rest();
    for (int turn = 0; turn < 3 * STREAMS; turn++) {
        int now = turn % STREAMS, next = (turn + 1) % STREAMS;
        last_poll_get_up(&last, &streams[now], true);
        assert_told(next, PUBLISHER_WATCH);
        last_poll_give(&last, 101 + turn, at(7));
        assert_true(last_poll_rest(&last, &streams[now], at(7)));
        assert_all_told(0, NOTHING);
    }
}

static void who_gets_up_hands_the_watch_on(void **state)
{
    (void)state;
    all_rest();
    last_poll_get_up(&last, &streams[2], false); /* did not watch */
    assert_all_told(0, NOTHING);
    last_poll_get_up(&last, &streams[0], false); /* paused, say: what it would have seen is looked for at once */
    assert_told(1, PUBLISHER_LOOK);
    last_poll_get_up(&last, &streams[1], true); /* polls now, and may hang in it */
    assert_told(3, PUBLISHER_WATCH);
    last_poll_get_up(&last, &streams[3], false);
    assert_all_told(0, NOTHING);
    assert_null(last.watcher);
    assert_false(last_poll_rest(&last, &streams[2], at(7))); /* alone: watches for itself */
}

static void a_lost_connection_lets_each_look_by_its_own(void **state)
{
    (void)state;
    all_rest();
    last_poll_forget(&last);
    assert_all_told(0, PUBLISHER_LOOK);
    last_poll_give(&last, 200, at(7));
    for (int i = 0; i < STREAMS; i++) {
        assert_false(last_poll_take(&last, &streams[i], 0, &found));
        assert_true(last_poll_take(&last, &streams[i], 0, &found));
    }
}

#define TEST(function) cmocka_unit_test_setup_teardown(function, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(only_what_is_fresh_is_taken),
        TEST(an_older_answer_that_comes_late_changes_nothing),
        TEST(who_saw_something_else_does_not_rest),
        TEST(a_change_wakes_all),
        TEST(the_watch_goes_round),
        TEST(who_gets_up_hands_the_watch_on),
        TEST(a_lost_connection_lets_each_look_by_its_own),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
