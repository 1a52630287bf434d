/* Well-formed UTF-8, RFC 3629. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/utf8.h"

#define TEXT(literal) literal, sizeof(literal) - 1

static void test_text(void **state)
{
    (void)state;
    assert_true(utf8_is_text(TEXT("")));
    assert_true(utf8_is_text(TEXT("plain text that is longer than eight bytes")));
    assert_true(utf8_is_text(TEXT("\xc2\x80 \xdf\xbf \xe0\xa0\x80 \xed\x9f\xbf \xee\x80\x80 \xef\xbf\xbf")));
    assert_true(utf8_is_text(TEXT("\xf0\x90\x80\x80 \xf4\x8f\xbf\xbf")));
}

static void test_no_text(void **state)
{
    static const struct {
        const char *bytes;
        size_t size;
    } bad[] = {
        {TEXT("\0")},
        {TEXT("12345678\0")},
        {TEXT("1234567\0")},
        {TEXT("\x80")},
        {TEXT("\xc0\x80")},
        {TEXT("\xc1\xbf")},
        {TEXT("\xc2")},
        {TEXT("\xc2 ")},
        {TEXT("\xe0\x9f\xbf")},
        {TEXT("\xed\xa0\x80")},
        {TEXT("\xe1\x80")},
        {TEXT("\xf0\x8f\xbf\xbf")},
        {TEXT("\xf4\x90\x80\x80")},
        {TEXT("\xf5\x80\x80\x80")},
        {TEXT("\xff")},
        {TEXT("abcdefgh\xfe")},
    };
    (void)state;
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
        assert_false(utf8_is_text(bad[i].bytes, bad[i].size));
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_text), cmocka_unit_test(test_no_text)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
