/* One stream's poll serves the others for a moment, never for longer and never backwards. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "../../relay/outbox/last_poll.h"

static struct last_poll last;
static struct snapshot found;

static struct snapshot *at(uint64_t xmax)
{
    static struct snapshot snapshot;
    snapshot.xmin.value = snapshot.xmax.value = xmax;
    return &snapshot;
}

static void only_what_is_fresh_is_taken(void **state)
{
    (void)state;
    last_poll_init(&last);
    assert_false(last_poll_take(&last, 0, &found));
    last_poll_give(&last, 100, at(7));
    assert_true(last_poll_take(&last, 100, &found));
    assert_int_equal(found.xmax.value, 7);
    assert_false(last_poll_take(&last, 101, &found));
    last_poll_fini(&last);
}

static void an_older_answer_that_comes_late_changes_nothing(void **state)
{
    (void)state;
    last_poll_init(&last);
    last_poll_give(&last, 100, at(9));
    last_poll_give(&last, 90, at(8));
    assert_true(last_poll_take(&last, 50, &found));
    assert_int_equal(found.xmax.value, 9);
    last_poll_fini(&last);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(only_what_is_fresh_is_taken),
        cmocka_unit_test(an_older_answer_that_comes_late_changes_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
