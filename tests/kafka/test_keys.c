/* Records of the positions topic. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "../../relay/kafka/keys.h"

static void keys_name_the_stream(void **state)
{
    (void)state;
    struct uuid stream;
    char key[POSITIONS_KEY_SIZE];
    assert_true(uuid_parse("01234567-89ab-cdef-0123-456789abcdef", 36, &stream));
    positions_key(key, "position", &stream);
    assert_string_equal(key, "position/01234567-89ab-cdef-0123-456789abcdef");
    positions_key(key, "barrier", &stream);
    assert_string_equal(key, "barrier/01234567-89ab-cdef-0123-456789abcdef");
}

/* Only that very barrier ends a reading [K3]: another's, a cut one or a longer uuid does not. */
static void only_that_very_barrier(void **state)
{
    (void)state;
    struct uuid mine = uuid_random(), other = uuid_random();
    char text[POSITIONS_BARRIER_MAX];
    size_t length = positions_barrier_format(text, &mine, "host/4711", 1700000000000);
    assert_true(positions_barrier_is(text, length, &mine));
    assert_false(positions_barrier_is(text, length, &other));
    for (size_t cut = 0; cut < 63; cut++)
        assert_false(positions_barrier_is(text, cut, &mine));
    text[30]++;
    assert_false(positions_barrier_is(text, length, &mine));
}

static void a_long_owner_is_cut(void **state)
{
    (void)state;
    struct uuid mine = uuid_random();
    char text[POSITIONS_BARRIER_MAX], owner[1000];
    memset(owner, 'x', sizeof owner - 1);
    owner[sizeof owner - 1] = '\0';
    size_t length = positions_barrier_format(text, &mine, owner, INT64_MAX);
    assert_true(length < POSITIONS_BARRIER_MAX);
    assert_string_equal(text + length - 5, "\nend\n");
    assert_true(positions_barrier_is(text, length, &mine));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(keys_name_the_stream),
        cmocka_unit_test(only_that_very_barrier),
        cmocka_unit_test(a_long_owner_is_cut),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
