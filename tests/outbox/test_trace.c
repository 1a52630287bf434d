/* Which traceparent headers name a trace, and that nothing else is taken from a row's headers. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#include "../../relay/outbox/trace.h"
#include "base/attributes.h"

#define ID     "4bf92f3577b34da6a3ce929d0e0e4736"
#define PARENT "00f067aa0ba902b7"

static void test_trace_id(void **state)
{
    (void)state;
    static const struct {
        const char *traceparent;
        bool valid;
    } cases[] = {
        {"00-" ID "-" PARENT "-01", true},
        {"00-" ID "-" PARENT "-00", true},
        {"cc-" ID "-" PARENT "-01-what comes later", true},
        {"00-" ID "-" PARENT "-01-what", false},
        {"cc-" ID "-" PARENT "-01.what", false},
        {"ff-" ID "-" PARENT "-01", false},
        {"00-4BF92F3577B34DA6A3CE929D0E0E4736-" PARENT "-01", false},
        {"00-00000000000000000000000000000000-" PARENT "-01", false},
        {"00-" ID "-0000000000000000-01", false},
        {"00-" ID "-" PARENT, false},
        {"00-" ID "-" PARENT "-0", false},
        {"00-" ID "0-" PARENT "-01", false},
        {"00-secret-of-a-customer-" PARENT "-01", false},
        {"00", false},
        {"", false},
    };
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        char headers[256], id[TRACE_ID_SIZE] = "x";
        snprintf(headers, sizeof headers, "{\"a\": \"b\", \"traceparent\": \"%s\"}", cases[i].traceparent);
        if (trace_id(headers, id) != cases[i].valid)
            fail_msg("%s", cases[i].traceparent);
        assert_string_equal(id, cases[i].valid ? ID : "");
    }
}

static void test_no_trace(void **state)
{
    (void)state;
    static const char *const headers[] = {
        NULL, "", "{", "[]", "{}", "{\"traceparent\": 1}", "{\"tracestate\": \"a=b\"}"};
    for (size_t i = 0; i < COUNT_OF(headers); i++) {
        char id[TRACE_ID_SIZE] = "x";
        assert_false(trace_id(headers[i], id));
        assert_string_equal(id, "");
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_trace_id), cmocka_unit_test(test_no_trace)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
