/* The classes of Kafka's error codes, as docs/design.md names them. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "../../relay/kafka/errors.h"

#define IS(code, class)     assert_int_equal(kafka_error_class(RD_KAFKA_RESP_ERR_##code), ERROR_##class)
#define INSIDE(code, class) assert_int_equal(kafka_error_class_in_transaction(RD_KAFKA_RESP_ERR_##code), ERROR_##class)

static void outside_of_transactions(void **state)
{
    (void)state;
    IS(NO_ERROR, NONE);
    IS(_TRANSPORT, RECONNECT);
    IS(_ALL_BROKERS_DOWN, RECONNECT);
    IS(_TIMED_OUT, RETRY);
    IS(NOT_ENOUGH_REPLICAS, RETRY);
    IS(CONCURRENT_TRANSACTIONS, RETRY);
    IS(UNKNOWN_TOPIC_OR_PART, CONFIG);
    IS(TOPIC_AUTHORIZATION_FAILED, CONFIG);
    IS(TRANSACTIONAL_ID_AUTHORIZATION_FAILED, CONFIG);
    IS(_AUTHENTICATION, CONFIG);
    IS(INVALID_TRANSACTION_TIMEOUT, CONFIG);
    IS(MSG_SIZE_TOO_LARGE, POISON);
    IS(INVALID_RECORD, POISON);
    IS(_UNKNOWN_PARTITION, POISON);
    IS(FENCED_INSTANCE_ID, INTEGRITY);
}

/* [K7]: fenced is no proof of another owner. [K11]: state, fatal and purge codes are a failed batch, not a bad row. */
static void inside_everything_else_is_recreate(void **state)
{
    (void)state;
    INSIDE(_FENCED, RECREATE);
    INSIDE(PRODUCER_FENCED, RECREATE);
    INSIDE(INVALID_PRODUCER_EPOCH, RECREATE);
    INSIDE(_STATE, RECREATE);
    INSIDE(_FATAL, RECREATE);
    INSIDE(_PURGE_QUEUE, RECREATE);
    INSIDE(_PURGE_INFLIGHT, RECREATE);
    INSIDE(_TRANSPORT, RECREATE);
    INSIDE(_TIMED_OUT, RECREATE);
    INSIDE(_INCONSISTENT, RECREATE);
    INSIDE(COORDINATOR_NOT_AVAILABLE, RECREATE);
    INSIDE(MSG_SIZE_TOO_LARGE, POISON);
    INSIDE(INVALID_RECORD, POISON);
    INSIDE(INVALID_TIMESTAMP, POISON);
    INSIDE(TOPIC_AUTHORIZATION_FAILED, CONFIG);
    INSIDE(UNKNOWN_TOPIC_OR_PART, CONFIG);
}

/* No code may ever be taken for success, known or not. */
static void no_code_is_lost(void **state)
{
    (void)state;
    for (int code = -250; code < 250; code++) {
        if (code == 0)
            continue;
        assert_int_not_equal(kafka_error_class(code), ERROR_NONE);
        enum error_class inside = kafka_error_class_in_transaction(code);
        assert_true(inside == ERROR_RECREATE || inside == ERROR_POISON || inside == ERROR_CONFIG);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(outside_of_transactions),
        cmocka_unit_test(inside_everything_else_is_recreate),
        cmocka_unit_test(no_code_is_lost),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
