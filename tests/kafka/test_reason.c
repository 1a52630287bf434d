/* What a time-out says: the library's last error, without what helps nobody, and what to do. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#include "../../relay/kafka/reason.h"

static struct error timed_out_after(int code, const char *text)
{
    struct reason reason = {0};
    struct error error;
    if (text)
        reason_note_error(&reason, code, text);
    assert_int_not_equal(reason_timed_out(&reason, &error, "look", 100), ERROR_NONE);
    return error;
}

static void says(int code, const char *text, const char *wanted, const char *advice)
{
    struct error error = timed_out_after(code, text);
    assert_string_equal(error.text, wanted);
    assert_non_null(strstr(error.hint, advice));
}

static void test_remarks_are_left_out(void **state)
{
    (void)state;
    says(RD_KAFKA_RESP_ERR__TRANSPORT,
         "k:9092/bootstrap: Connect to ipv4#10.0.0.1:9092 failed: Connection refused "
         "(after 0ms in state CONNECT, 3 identical error(s) suppressed)",
         "look: no success within 100 ms: k:9092/bootstrap: Connect to ipv4#10.0.0.1:9092 failed: Connection refused",
         "see that the brokers run");
    says(RD_KAFKA_RESP_ERR__BAD_MSG,
         "k:80/bootstrap: Receive failed: Invalid response size 1213486160 (0..100000000): "
         "increase receive.message.max.bytes (after 1ms in state APIVERSION_QUERY)",
         "look: no success within 100 ms: k:80/bootstrap: Receive failed: Invalid response size 1213486160 "
         "(0..100000000)",
         "no Kafka listener");
    says(RD_KAFKA_RESP_ERR__TRANSPORT,
         "k:9093/bootstrap: Disconnected while requesting ApiVersion: might be caused by incorrect security.protocol "
         "configuration (connecting to a SSL listener?) or broker version is < 0.10 (see api.version.request) (after "
         "1ms in state APIVERSION_QUERY)",
         "look: no success within 100 ms: k:9093/bootstrap: Disconnected while requesting ApiVersion: might be caused "
         "by incorrect security.protocol configuration (connecting to a SSL listener?)",
         "see that the brokers run");
}

static void test_silence_has_a_hint(void **state)
{
    (void)state;
    says(0, NULL, "look: no success within 100 ms", "ports in bootstrap.servers");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_remarks_are_left_out),
        cmocka_unit_test(test_silence_has_a_hint),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
