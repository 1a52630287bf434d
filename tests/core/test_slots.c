/* The slots that a window can be in, against plain turns. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "core/slots.h"
#include "random.h"

enum { ROUNDS = 20000, NOTES_MAX = 30, TURNS_MAX = 40 };

static int64_t of(int64_t turn, int64_t number) { return (turn << SLOT_BITS) + number; }

static void assert_range(struct slot_range range, int first, int last)
{
    assert_int_equal(range.first, first);
    assert_int_equal(range.last, last);
}

static bool has(struct slot_range range, int64_t turn)
{
    return range.first <= (turn & (SLOTS - 1)) && (turn & (SLOTS - 1)) <= range.last;
}

static void test_between(void **state)
{
    (void)state;
    assert_range(slots_between(0, 0), 0, 0);
    assert_range(slots_between(of(3, 9), of(3, 9)), 3, 3);
    assert_range(slots_between(of(9, 0), of(11, 5)), 1, 3);
    assert_range(slots_between(of(2, UINT32_MAX), of(3, 1)), 2, 3);
    assert_range(slots_between(of(7, 1), of(8, 1)), 0, 7); /* around the ring */
    assert_range(slots_between(of(8, 1), of(15, 1)), 0, 7);
    assert_range(slots_between(of(1, 1), of(9, 1)), 0, 7);
    assert_range(slots_between(of(5, 1), of(4, 1)), 0, 7); /* not known to be in order */
    assert_range(slots_between(0, INT64_MAX), 0, 7);
}

static void test_history(void **state)
{
    (void)state;
    struct slot_history history = {0};
    assert_range(slot_history_find(&history, (struct xid8){100}, of(0, 1)), 0, 7); /* nothing known */
    slot_history_note(&history, (struct xid8){100}, of(1, 7));
    slot_history_note(&history, (struct xid8){200}, of(1, 900));
    slot_history_note(&history, (struct xid8){300}, of(3, 0));
    assert_range(slot_history_find(&history, (struct xid8){99}, of(3, 1)), 0, 7);
    assert_range(slot_history_find(&history, (struct xid8){100}, of(3, 1)), 1, 3);
    assert_range(slot_history_find(&history, (struct xid8){299}, of(3, 1)), 1, 3);
    assert_range(slot_history_find(&history, (struct xid8){300}, of(3, 1)), 3, 3);
    assert_range(slot_history_find(&history, (struct xid8){UINT64_MAX}, of(4, 1)), 3, 4);
}

/* Whatever was noted: a row that stands beyond the floor of an xmax not above its xid is never left out. */
static void test_no_row_is_left_out(void **state)
{
    (void)state;
    struct random random = random_seeded("slots");
    uint64_t narrow = 0;
    for (int round = 0; round < ROUNDS; round++) {
        struct slot_history history = {0};
        struct xid8 xmax[NOTES_MAX];
        int64_t turn[NOTES_MAX], last = random_below(&random, TURNS_MAX);
        uint32_t count = 1 + random_below(&random, NOTES_MAX);
        uint64_t next = 3;
        for (uint32_t i = 0; i < count; i++) {
            xmax[i].value = next += random_below(&random, 5);
            turn[i] = last += random_below(&random, 2);
            slot_history_note(&history, xmax[i], of(last, random_below(&random, UINT32_MAX)));
        }
        struct xid8 oldest = {random_below(&random, (uint32_t)next + 5)};
        int64_t now = last + random_below(&random, 2), least = now - SLOTS + 1;
        for (uint32_t i = 0; i < count; i++)
            if (xmax[i].value <= oldest.value && turn[i] > least)
                least = turn[i];
        struct slot_range range = slot_history_find(&history, oldest, of(now, 1));
        for (int64_t at = least; at <= now; at++)
            assert_true(has(range, at));
        narrow += range.last - range.first < SLOTS - 1;
    }
    assert_true(narrow > ROUNDS / 4);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_between),
        cmocka_unit_test(test_history),
        cmocka_unit_test(test_no_row_is_left_out),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
