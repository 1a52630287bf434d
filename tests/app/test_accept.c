/* What clients that are known send, and what they should get. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "../../relay/app/accept.h"
#include "base/attributes.h"

#define TEXT  0
#define OPEN  1
#define PROM2 "application/openmetrics-text;version=1.0.0;q=0.5,application/openmetrics-text;version=0.0.1;q=0.4,"

static void test_choose(void **state)
{
    (void)state;
    static const char *const types[] = {"text/plain", "application/openmetrics-text"};
    static const struct {
        const char *accept;
        size_t chosen;
    } cases[] = {
        {NULL, TEXT},
        {"", TEXT},
        {"*/*", TEXT},
        {"text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8", TEXT},
        {"application/openmetrics-text", OPEN},
        {"Application/OpenMetrics-Text; version=1.0.0; charset=utf-8", OPEN},
        {"application/openmetrics-text, */*", OPEN},
        {"*/*, application/openmetrics-text", OPEN},
        {PROM2 "text/plain;version=0.0.4;q=0.3,*/*;q=0.2", OPEN}, /* Prometheus 2.42 */
        {"text/plain;version=0.0.4;q=0.6,application/openmetrics-text;version=1.0.0;q=0.5,*/*;q=0.1", TEXT},
        {"application/openmetrics-text;q=0", TEXT},
        {"application/openmetrics-text;q=0,*/*", TEXT},
        {"text/plain;q=0, application/*;q=0.1", OPEN},
        {"text/*;q=0.2, application/openmetrics-text;q=0.1", TEXT},
        {"application/openmetrics-text;q=0.1 , text/plain ; q=0.05", OPEN},
        {"application/openmetrics-text;q=2", TEXT},
        {"application/openmetrics-textual", TEXT},
        {"image/png", TEXT},
        {",,;q=,;;,", TEXT},
    };
    for (size_t i = 0; i < COUNT_OF(cases); i++)
        if (accept_choose(cases[i].accept, types, COUNT_OF(types)) != cases[i].chosen)
            fail_msg("%s", cases[i].accept);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_choose)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
