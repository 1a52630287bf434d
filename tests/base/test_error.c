#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <string.h>

#include "base/error.h"

static void test_set(void **state)
{
    (void)state;
    struct error error;
    memset(&error, 'x', sizeof error);
    assert_int_equal(error_set(&error, ERROR_CONFIG, "28P01", "role \"%s\": %d", "daemon", 7), ERROR_CONFIG);
    assert_int_equal(error.class, ERROR_CONFIG);
    assert_string_equal(error.code, "28P01");
    assert_string_equal(error.text, "role \"daemon\": 7");
    assert_string_equal(error.hint, "");
    assert_int_equal(error_hint(&error, "grant it to %s", "daemon"), ERROR_CONFIG);
    assert_string_equal(error.hint, "grant it to daemon");
    assert_int_equal(error_prefix(&error, "outbox/%s", "main"), ERROR_CONFIG);
    assert_string_equal(error.text, "outbox/main: role \"daemon\": 7");
}

/* Outside messages bring line ends; a log line is one line. */
static void test_one_line(void **state)
{
    (void)state;
    struct error error;
    error_set(&error, ERROR_RETRY, "X", "first\nsecond\r\n\tthird \n\n");
    assert_string_equal(error.text, "first second third");
    error_hint(&error, "do\nthis\n");
    assert_string_equal(error.hint, "do this");
    error_set(&error, ERROR_RETRY, "X", "%s", "\n\n");
    assert_string_equal(error.text, "");
}

static void test_cut(void **state)
{
    (void)state;
    struct error error;
    static char text[2 * ERROR_TEXT_MAX];
    memset(text, 'a', sizeof text - 1);
    error_set(&error, ERROR_RETRY, text, "%s", text);
    assert_int_equal(strlen(error.code), ERROR_CODE_MAX - 1);
    assert_int_equal(strlen(error.text), ERROR_TEXT_MAX - 1);
    error_hint(&error, "%s", text);
    assert_int_equal(strlen(error.hint), ERROR_HINT_MAX - 1);
    error_prefix(&error, "p");
    assert_int_equal(strlen(error.text), ERROR_TEXT_MAX - 1);
    assert_memory_equal(error.text, "p: a", 4);
    error_prefix(&error, "%s", text);
    assert_int_equal(strlen(error.text), ERROR_TEXT_MAX - 1);
}

/* Metrics and dashboards hold on to these words. */
static void test_names(void **state)
{
    (void)state;
    static const char *const names[] = {"none",   "retry",  "reconnect", "recreate",
                                        "fenced", "poison", "config",    "integrity"};
    for (int class = ERROR_NONE; class <= ERROR_INTEGRITY; class ++)
        assert_string_equal(error_class_name((enum error_class) class), names[class]);
    assert_string_equal(error_class_name((enum error_class)99), "unknown");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_set),
        cmocka_unit_test(test_one_line),
        cmocka_unit_test(test_cut),
        cmocka_unit_test(test_names),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
