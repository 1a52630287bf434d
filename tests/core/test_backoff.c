#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "core/backoff.h"
#include "random.h"

static void test_bounds(void **state)
{
    (void)state;
    struct random random = random_seeded("backoff/bounds");
    int64_t limit = BACKOFF_BASE_MS;
    for (uint32_t attempt = 1; attempt < 40; attempt++) {
        assert_int_equal(backoff_delay_ms(attempt, BACKOFF_MAX_MS, 0), 1);
        assert_int_equal(backoff_delay_ms(attempt, BACKOFF_MAX_MS, UINT32_MAX), limit);
        for (int i = 0; i < 1000; i++) {
            int64_t delay = backoff_delay_ms(attempt, BACKOFF_MAX_MS, (uint32_t)random_next(&random));
            assert_in_range(delay, 1, limit);
        }
        limit = 2 * limit < BACKOFF_MAX_MS ? 2 * limit : BACKOFF_MAX_MS;
    }
    assert_int_equal(backoff_delay_ms(UINT32_MAX, BACKOFF_MAX_MS, UINT32_MAX), BACKOFF_MAX_MS);
    assert_int_equal(backoff_delay_ms(5, 7, UINT32_MAX), 7);
    assert_int_equal(backoff_delay_from_ms(20, 3, BACKOFF_MAX_MS, UINT32_MAX), 80);
}

/* Full jitter: instances that failed together do not come back together. */
static void test_spread(void **state)
{
    (void)state;
    struct random random = random_seeded("backoff/spread");
    int quarter[4] = {0};
    for (int i = 0; i < 4000; i++)
        quarter[(backoff_delay_ms(20, BACKOFF_MAX_MS, (uint32_t)random_next(&random)) - 1) * 4 / BACKOFF_MAX_MS]++;
    for (int i = 0; i < 4; i++)
        assert_in_range(quarter[i], 800, 1200);
}

static void test_poll_delay(void **state)
{
    (void)state;
    static const int64_t steps[] = {2, 3, 4, 5, 7, 10, 14, 20, 28, 40, 60, 100, 100, 100};
    int64_t delay = 0;
    for (size_t i = 0; i < sizeof steps / sizeof steps[0]; i++) {
        delay = poll_delay_next_ms(delay);
        assert_int_equal(delay, steps[i]);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_bounds),
        cmocka_unit_test(test_spread),
        cmocka_unit_test(test_poll_delay),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
