/* Settings: what users may set, what they may not, and why. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "kafka/client.h"

static enum error_class try_one(const char *name, const char *value, struct error *error)
{
    struct kafka_settings *settings = kafka_settings_new();
    enum error_class class = kafka_settings_add(settings, KAFKA_ALL, name, value, error);
    kafka_settings_free(&settings);
    assert_null(settings);
    return class;
}

static void takes_properties_of_the_library(void **state)
{
    (void)state;
    struct error error;
    assert_int_equal(try_one("bootstrap.servers", "a:1,b:2", &error), ERROR_NONE);
    assert_int_equal(try_one("compression.type", "zstd", &error), ERROR_NONE);
    assert_int_equal(try_one("security.protocol", "sasl_ssl", &error), ERROR_NONE);
    assert_int_equal(try_one("linger.ms", "20", &error), ERROR_NONE);
    assert_int_equal(try_one("batch.size", "500000", &error), ERROR_NONE);
}

static void refuses_what_the_library_does_not_know(void **state)
{
    (void)state;
    struct error error;
    assert_int_equal(try_one("bootstrap.server", "a:1", &error), ERROR_CONFIG);
    assert_string_equal(error.code, "UNKNOWN_PROPERTY");
    assert_non_null(strstr(error.text, "bootstrap.server"));
    assert_int_equal(try_one("linger.ms", "soon", &error), ERROR_CONFIG);
    assert_string_equal(error.code, "INVALID_PROPERTY");
}

/* Each of these would undo a promise: the text gives the reason. */
static void refuses_what_the_protocol_owns(void **state)
{
    (void)state;
    static const char *const names[] = {
        "transactional.id",
        "enable.idempotence",
        "acks",
        "request.required.acks",
        "isolation.level",
        "partitioner",
        "group.id",
        "group.instance.id",
        "transaction.timeout.ms",
        "message.timeout.ms",
        "retries",
        "max.in.flight",
        "enable.auto.commit",
        "auto.offset.reset",
        "session.timeout.ms",
        "delivery.report.only.error",
        "enable.auto.offset.store",
        "allow.auto.create.topics",
        "partition.assignment.strategy",
    };
    for (size_t i = 0; i < COUNT_OF(names); i++) {
        struct error error;
        assert_int_equal(try_one(names[i], "1", &error), ERROR_CONFIG);
        assert_string_equal(error.code, "OWNED_PROPERTY");
        assert_non_null(strstr(error.text, names[i]));
        assert_true(strlen(error.text) > strlen(names[i]) + 40);
    }
}

static void never_shows_a_secret(void **state)
{
    (void)state;
    assert_true(kafka_property_is_secret("sasl.password"));
    assert_true(kafka_property_is_secret("ssl.key.password"));
    assert_true(kafka_property_is_secret("ssl.key.pem"));
    assert_true(kafka_property_is_secret("ssl.keystore.password"));
    assert_true(kafka_property_is_secret("sasl.oauthbearer.client.secret"));
    assert_false(kafka_property_is_secret("sasl.username"));
    assert_false(kafka_property_is_secret("bootstrap.servers"));
}

static void warns_of_scram_with_old_libraries(void **state)
{
    (void)state;
    struct error error;
    struct kafka_settings *settings = kafka_settings_new();
    assert_null(kafka_scram_warning(settings));
    assert_int_equal(kafka_settings_add(settings, KAFKA_ALL, "sasl.mechanisms", "SCRAM-SHA-512", &error), ERROR_NONE);
    int major = 0, minor = 0;
    assert_int_equal(sscanf(kafka_library_version(), "%d.%d", &major, &minor), 2);
    assert_int_equal(kafka_scram_warning(settings) != NULL, major < 2 || (major == 2 && minor < 6));
    kafka_settings_free(&settings);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(takes_properties_of_the_library),   cmocka_unit_test(refuses_what_the_library_does_not_know),
        cmocka_unit_test(refuses_what_the_protocol_owns),    cmocka_unit_test(never_shows_a_secret),
        cmocka_unit_test(warns_of_scram_with_old_libraries),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
