/* Settings: what users may set, what they may not, and why. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>
#include <librdkafka/rdkafka.h>

#include "kafka/client.h"
#include "kafka/properties.h"

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
    assert_false(kafka_property_is_secret("bootstrap.servers"));
}

/* TSan does not know the library's threads (thrd_create), so nothing of ours may run in them. */
#ifndef __SANITIZE_THREAD__
static int redacted;

/* Every text that is not a file or a plug-in gets a value. */
static void set_any(void *conf, const char *name)
{
    char why[512];
    if (strncmp(name, "ssl", 3) == 0 || strncmp(name, "sasl", 4) == 0)
        if (!strstr(name, "location") && !strstr(name, "engine") && !strstr(name, "method"))
            (void)rd_kafka_conf_set(conf, name, "none", why, sizeof why);
}

static void note_redacted(const rd_kafka_t *handle, int level, const char *facility, const char *text)
{
    (void)handle, (void)level, (void)facility;
    char name[128];
    const char *begin = strstr(text, "]:   ");
    if (!begin || !strstr(begin, " = [redacted]") || sscanf(begin + 2, "%127s", name) != 1)
        return;
    redacted++;
    if (!kafka_property_is_secret(name))
        fail_msg("librdkafka hides %s, we would show it", name);
}

/* The library marks its secrets, and shows which when it logs a configuration. */
static void hides_what_the_library_hides(void **state)
{
    (void)state;
    char why[512];
    rd_kafka_conf_t *conf = rd_kafka_conf_new();
    kafka_property_names(KAFKA_NAMES_ALL, set_any, conf);
    rd_kafka_conf_set(conf, "debug", "conf", why, sizeof why);
    rd_kafka_conf_set_log_cb(conf, note_redacted);
    rd_kafka_t *handle = rd_kafka_new(RD_KAFKA_PRODUCER, conf, why, sizeof why);
    assert_non_null(handle);
    rd_kafka_destroy(handle);
    assert_true(redacted >= 5);
}
#endif

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

static void add(struct kafka_settings *settings, enum kafka_scope scope, const char *name, const char *value)
{
    struct error error;
    assert_int_equal(kafka_settings_add(settings, scope, name, value, &error), ERROR_NONE);
}

static void compares_what_a_client_gets(void **state)
{
    (void)state;
    struct kafka_settings *a = kafka_settings_new(), *b = kafka_settings_new();
    assert_true(kafka_settings_same(a, b, KAFKA_ALL));
    add(a, KAFKA_ALL, "bootstrap.servers", "b:1");
    assert_false(kafka_settings_same(a, b, KAFKA_CONSUMER));
    add(b, KAFKA_ALL, "bootstrap.servers", "b:1");
    add(b, KAFKA_PRODUCER, "linger.ms", "7");
    assert_true(kafka_settings_same(a, b, KAFKA_CONSUMER));
    assert_false(kafka_settings_same(a, b, KAFKA_PRODUCER));
    add(a, KAFKA_PRODUCER, "linger.ms", "8");
    assert_false(kafka_settings_same(a, b, KAFKA_PRODUCER));
    kafka_settings_free(&a);
    kafka_settings_free(&b);
}

/* One cluster: a producer elsewhere would write positions where nobody reads them. */
static void refuses_brokers_for_some_clients(void **state)
{
    (void)state;
    struct error error;
    struct kafka_settings *settings = kafka_settings_new();
    assert_int_equal(kafka_settings_add(settings, KAFKA_PRODUCER, "bootstrap.servers", "b:1", &error), ERROR_CONFIG);
    assert_string_equal(error.code, "OWNED_PROPERTY");
    assert_int_equal(kafka_settings_add(settings, KAFKA_CONSUMER, "metadata.broker.list", "b:1", &error), ERROR_CONFIG);
    kafka_settings_free(&settings);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(takes_properties_of_the_library),   cmocka_unit_test(refuses_what_the_library_does_not_know),
        cmocka_unit_test(refuses_what_the_protocol_owns),    cmocka_unit_test(never_shows_a_secret),
        cmocka_unit_test(warns_of_scram_with_old_libraries),
#ifndef __SANITIZE_THREAD__
        cmocka_unit_test(hides_what_the_library_hides),
#endif
        cmocka_unit_test(compares_what_a_client_gets),       cmocka_unit_test(refuses_brokers_for_some_clients),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
