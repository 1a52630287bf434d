/* Snapshots and windows against a plain model of PostgreSQL's transactions [W1, W3]. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <string.h>

#include "core/snapshot.h"
#include "random.h"

enum { HISTORY_MAX = 400, CHAIN_MAX = 60, PREPARED_PERCENT = 3 };

static struct snapshot p, s;
static struct window window;

static bool parse(const char *text) { return snapshot_parse(text, strlen(text), &s); }

static void test_parse(void **state)
{
    (void)state;
    assert_true(parse("10:20:10,14,15"));
    assert_int_equal(s.xmin.value, 10);
    assert_int_equal(s.xmax.value, 20);
    assert_int_equal(s.xip_count, 3);
    assert_int_equal(s.xip[1].value, 14);
    assert_true(parse("3:3:"));
    assert_true(parse("18446744073709551614:18446744073709551615:18446744073709551614"));
}

static void test_parse_refuses(void **state)
{
    (void)state;
    static const char *const bad[] = {
        "",
        ":",
        "10",
        "10:20",
        "10:20,",
        "20:10:",
        "0:20:",
        "10:20:9",
        "10:20:20",
        "10:20:12,",
        "10:20:,12",
        "10:20:12,12",
        "10:20:13,12",
        "10:20:12 ",
        " 10:20:",
        "+10:20:",
        "-1:20:",
        "10:20:1a",
        "010:20:",
        "10:20:012",
        "10::12",
        "18446744073709551616:18446744073709551617:",
        "1:99999999999999999999:",
    };
    for (size_t i = 0; i < COUNT_OF(bad); i++)
        if (parse(bad[i]))
            fail_msg("taken: %s", bad[i]);
    assert_false(snapshot_parse("10:20:1\0002", 9, &s));
}

static void test_parse_bounds(void **state)
{
    (void)state;
    static char text[SNAPSHOT_TEXT_MAX + 64], again[SNAPSHOT_TEXT_MAX];
    const uint64_t first = UINT64_MAX - 2 * SNAPSHOT_XIP_MAX; /* the longest numbers there are */
    for (uint32_t count = SNAPSHOT_XIP_MAX; count <= SNAPSHOT_XIP_MAX + 1; count++) {
        size_t length = (size_t)sprintf(text, "%llu:%llu:", (unsigned long long)first, (unsigned long long)UINT64_MAX);
        for (uint32_t i = 0; i < count; i++)
            length += (size_t)sprintf(text + length, i ? ",%llu" : "%llu", (unsigned long long)(first + i));
        assert_int_equal(snapshot_parse(text, length, &s), count == SNAPSHOT_XIP_MAX);
        if (count == SNAPSHOT_XIP_MAX) {
            assert_int_equal(snapshot_format(&s, again, sizeof again), length);
            assert_string_equal(again, text);
        }
    }
}

static void test_first(void **state)
{
    (void)state;
    char text[SNAPSHOT_TEXT_MAX];
    snapshot_first(&p);
    assert_int_equal(snapshot_format(&p, text, sizeof text), 4);
    assert_string_equal(text, "3:3:");
    assert_true(parse("7:9:7"));
    window_between(&p, &s, &window);
    assert_true(window_holds(&window, (struct xid8){3}));
    assert_true(window_holds(&window, (struct xid8){8}));
    assert_false(window_holds(&window, (struct xid8){7}));
    assert_false(window_holds(&window, (struct xid8){9}));
}

/* Any two well-formed snapshots, of one history or not. */
static void draw(struct random *random, struct snapshot *out)
{
    out->xmin.value = 1 + random_below(random, 20);
    out->xmax.value = out->xmin.value + random_below(random, 20);
    out->xip_count = 0;
    for (uint64_t xid = out->xmin.value; xid < out->xmax.value; xid++)
        if (random_chance(random, 40))
            out->xip[out->xip_count++].value = xid;
}

static bool model_done(const struct snapshot *snapshot, uint64_t xid)
{
    bool open = false;
    for (uint32_t i = 0; i < snapshot->xip_count; i++)
        open = open || snapshot->xip[i].value == xid;
    return xid < snapshot->xmax.value && !open;
}

static void test_any_two(void **state)
{
    (void)state;
    struct random random = random_seeded("snapshot/any_two");
    static char text[SNAPSHOT_TEXT_MAX];
    for (int round = 0; round < 100000; round++) {
        bool follows = true;
        draw(&random, &p);
        draw(&random, &s);
        window_between(&p, &s, &window);
        for (uint64_t xid = 0; xid < 45; xid++) {
            bool in_p = model_done(&p, xid), in_s = model_done(&s, xid);
            assert_int_equal(snapshot_done(&p, (struct xid8){xid}), in_p);
            assert_int_equal(window_holds(&window, (struct xid8){xid}), in_s && !in_p);
            follows = follows && (in_s || !in_p);
        }
        assert_int_equal(snapshot_follows(&p, &s), follows);
        size_t length = snapshot_format(&p, text, sizeof text);
        assert_true(snapshot_parse(text, length, &s));
        assert_true(snapshot_equal(&p, &s));
    }
}

/*
 * PostgreSQL: transactions get rising xids, stay open for a while (prepared ones for very long), commit or abort in any
 * order. xmax is one past the newest completed xid, so running ones may lie beyond it, in no list of a snapshot [C4].
 */
struct history {
    uint64_t next;
    enum { UNUSED, OPEN, PREPARED, COMMITTED, ABORTED } fate[HISTORY_MAX];
};

static void advance(struct random *random, struct history *history)
{
    if (history->next < HISTORY_MAX && random_chance(random, 50))
        history->fate[history->next++] = random_chance(random, PREPARED_PERCENT) ? PREPARED : OPEN;
    if (history->next == 3)
        return;
    uint64_t xid = 3 + random_below(random, (uint32_t)history->next - 3);
    if (history->fate[xid] == OPEN || (history->fate[xid] == PREPARED && random_chance(random, 5)))
        history->fate[xid] = random_chance(random, 75) ? COMMITTED : ABORTED;
}

static bool completed(const struct history *history, uint64_t xid) { return history->fate[xid] >= COMMITTED; }

static void take_snapshot(const struct history *history, struct snapshot *out)
{
    uint64_t xmax = 3;
    for (uint64_t xid = 3; xid < history->next; xid++)
        if (completed(history, xid))
            xmax = xid + 1;
    out->xmax.value = xmax;
    out->xip_count = 0;
    for (uint64_t xid = 3; xid < xmax; xid++)
        if (!completed(history, xid))
            out->xip[out->xip_count++].value = xid;
    out->xmin.value = out->xip_count ? out->xip[0].value : xmax;
}

/* Each row is in exactly one window of a chain, the first whose snapshot saw its transaction done. */
static void run_chain(struct random *random)
{
    static struct history history;
    static struct snapshot chain[CHAIN_MAX];
    memset(&history, 0, sizeof history);
    history.next = 3;
    snapshot_first(&chain[0]);
    for (int link = 1; link < CHAIN_MAX; link++) {
        for (uint32_t i = random_below(random, 30); i > 0; i--)
            advance(random, &history);
        take_snapshot(&history, &chain[link]);
        assert_true(snapshot_follows(&chain[link - 1], &chain[link]));
        assert_true(snapshot_follows(&chain[random_below(random, (uint32_t)link)], &chain[link]));
    }
    int seen[HISTORY_MAX] = {0};
    for (int link = 1; link < CHAIN_MAX; link++) {
        window_between(&chain[link - 1], &chain[link], &window);
        for (uint64_t xid = 3; xid < HISTORY_MAX; xid++)
            seen[xid] += window_holds(&window, (struct xid8){xid});
    }
    for (uint64_t xid = 3; xid < HISTORY_MAX; xid++)
        assert_int_equal(seen[xid], snapshot_done(&chain[CHAIN_MAX - 1], (struct xid8){xid}));
}

static void test_windows_partition(void **state)
{
    (void)state;
    struct random random = random_seeded("snapshot/windows_partition");
    for (int round = 0; round < 1500; round++)
        run_chain(&random);
}

/* An open transaction of long ago costs one late xid, not a wider window: cost follows the window [W1]. */
static void test_cost_follows_window(void **state)
{
    (void)state;
    assert_true(parse("5:1000:5"));
    snapshot_copy(&p, &s);
    assert_true(parse("5:1003:5,1001"));
    window_between(&p, &s, &window);
    assert_int_equal(window.from.value, 1000);
    assert_int_equal(window.until.value, 1003);
    assert_int_equal(window.late_count, 0);
    assert_true(parse("1001:1003:1001"));
    window_between(&p, &s, &window);
    assert_int_equal(window.late_count, 1);
    assert_int_equal(window.late[0].value, 5);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_parse),
        cmocka_unit_test(test_parse_refuses),
        cmocka_unit_test(test_parse_bounds),
        cmocka_unit_test(test_first),
        cmocka_unit_test(test_any_two),
        cmocka_unit_test(test_windows_partition),
        cmocka_unit_test(test_cost_follows_window),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
