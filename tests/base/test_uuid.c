#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <string.h>

#include "base/uuid.h"

static bool parse(const char *text, struct uuid *out) { return uuid_parse(text, strlen(text), out); }

static void test_parse(void **state)
{
    (void)state;
    struct uuid uuid, upper;
    char text[UUID_TEXT_SIZE];
    assert_true(parse("01234567-89ab-cdef-0123-456789abcdef", &uuid));
    assert_int_equal(uuid.bytes[0], 0x01);
    assert_int_equal(uuid.bytes[15], 0xef);
    uuid_format(&uuid, text);
    assert_string_equal(text, "01234567-89ab-cdef-0123-456789abcdef");
    assert_true(parse("01234567-89AB-CDEF-0123-456789ABCDEF", &upper));
    assert_true(uuid_equal(&uuid, &upper));
    upper.bytes[7] ^= 1;
    assert_false(uuid_equal(&uuid, &upper));
}

static void test_parse_refuses(void **state)
{
    (void)state;
    static const char *const bad[] = {
        "",
        "0123456789abcdef0123456789abcdef",
        "01234567-89ab-cdef-0123-456789abcde",
        "01234567-89ab-cdef-0123-456789abcdef0",
        "{1234567-89ab-cdef-0123-456789abcde}",
        "01234567-89ab-cdef-0123-456789abcdeg",
        "01234567 89ab-cdef-0123-456789abcdef",
        "0123456-789ab-cdef-0123-456789abcdef",
        "01234567-89ab-cdef-0123-456789abcd\xff\xfe",
    };
    struct uuid uuid = {{7}};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
        assert_false(parse(bad[i], &uuid));
    assert_int_equal(uuid.bytes[0], 7); /* untouched */
}

static void test_random(void **state)
{
    (void)state;
    uint8_t seen_set[16] = {0}, seen_clear[16] = {0};
    for (int i = 0; i < 1000; i++) {
        struct uuid uuid = uuid_random(), again;
        char text[UUID_TEXT_SIZE];
        assert_int_equal(uuid.bytes[6] >> 4, 4);
        assert_int_equal(uuid.bytes[8] >> 6, 2);
        uuid_format(&uuid, text);
        assert_true(parse(text, &again));
        assert_true(uuid_equal(&uuid, &again));
        for (int j = 0; j < 16; j++) {
            seen_set[j] |= uuid.bytes[j];
            seen_clear[j] |= (uint8_t)~uuid.bytes[j];
        }
    }
    for (int j = 0; j < 16; j++) /* each bit but those of the version and the variant takes both values */
        assert_int_equal(seen_set[j] & seen_clear[j], j == 6 ? 0x0f : j == 8 ? 0x3f : 0xff);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_parse),
        cmocka_unit_test(test_parse_refuses),
        cmocka_unit_test(test_random),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
