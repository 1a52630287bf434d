/* From rows to records: headers, and what is refused before producing. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "../../relay/outbox/allow.h"
#include "../../relay/outbox/record.h"

static struct record record;
static struct record_maker maker;
static struct error error;

static int set_up(void **state)
{
    struct uuid stream = {{0xe4, 0xd5, 0x39, 0x83}};
    record_maker_init(&maker, "boxrelay.orders.positions", &stream, 42);
    (void)state;
    return 0;
}

static int tear_down(void **state)
{
    record_maker_fini(&maker);
    (void)state;
    return 0;
}

static struct row row_with(const char *topic, const char *headers)
{
    return (struct row){.seq = 7, .topic = topic, .key = "", .value = NULL, .partition = -1, .headers = headers};
}

static void assert_header(uint32_t at, const char *name, const char *value)
{
    assert_true(at < record.header_count);
    assert_int_equal(record.headers[at].name_size, strlen(name));
    assert_memory_equal(record.headers[at].name, name, strlen(name));
    assert_int_equal(record.headers[at].value_size, strlen(value));
    assert_memory_equal(record.headers[at].value, value, strlen(value));
}

static void own_headers_come_last(void **state)
{
    struct row row = row_with("t", "{\"traceparent\":\"00-1\",\"empty\":\"\"}");
    row.type = "Placed";
    assert_int_equal(record_make(&maker, &row, &record, &error), ERROR_NONE);
    assert_int_equal(record.header_count, 5);
    assert_header(0, "traceparent", "00-1");
    assert_header(1, "empty", "");
    assert_header(2, "id", "00000000-0000-0000-0000-000000000000");
    assert_header(3, "type", "Placed");
    assert_header(4, "relay", "e4d53983/42");
    assert_int_equal(record.tag, 7);
    (void)state;
}

static void names_of_ours_are_left_out(void **state)
{
    struct row row = row_with("t", "{\"id\":\"x\",\"type\":\"y\",\"relay\":\"z\",\"Id\":\"kept\"}");
    assert_int_equal(record_make(&maker, &row, &record, &error), ERROR_NONE);
    assert_int_equal(record.header_count, 3);
    assert_header(0, "Id", "kept");
    assert_header(1, "id", "00000000-0000-0000-0000-000000000000");
    assert_header(2, "relay", "e4d53983/42");
    (void)state;
}

static void an_empty_key_is_not_null(void **state)
{
    struct row row = row_with("t", NULL);
    assert_int_equal(record_make(&maker, &row, &record, &error), ERROR_NONE);
    assert_non_null(record.key);
    assert_int_equal(record.key_size, 0);
    assert_null(record.value);
    (void)state;
}

/* Each text twice as jansson reads it: as it is, where the plain reader may take it, and where it may not. */
static void plain_and_other_headers_are_read_alike(void **state)
{
    static const char *const texts[] = {
        " { \"a\" : \"1\" ,\n\t\"b\":\"\" } ",
        "{}",
        "{ }",
        "{\"\":\"no name\"}",
        "{\"a\":\"\\u0041\\n\\\"\"}",
        "{\"a\":\"1\",\"b\":\"2\",\"a\":\"3\"}",
        "{\"\\u0061\":\"1\",\"a\":\"2\"}",
        "{\"id\":\"x\",\"id\":\"y\"}",
        "{\"a\":\"\xc3\xa4\",\"\xc3\xb6\":\"\xe2\x82\xac\"}",
        "{\"a\":\"1\",}",
        "{\"a\":\"1\"} x",
        "{,}",
        "{\"a\"}",
        "{\"a\":\"1\" \"b\":\"2\"}",
        "{\"a\":\"un",
        "{\"a\":\"1\"",
        "{\"a\":\"tab\there\"}",
        "[\"a\"]",
        "{\"a\":1}",
        "\"a\"",
        "",
        "{\"a\":\"1\"}}",
    };
    for (size_t i = 0; i < COUNT_OF(texts); i++) {
        struct row row = row_with("t", texts[i]);
        json_t *object = json_loads(texts[i], 0, NULL);
        const char *name;
        json_t *value;
        bool good = json_is_object(object);
        json_object_foreach(object, name, value) good = good && (json_is_string(value) || strcmp(name, "id") == 0);
        assert_int_equal(record_make(&maker, &row, &record, &error), good ? ERROR_NONE : ERROR_POISON);
        if (good)
            json_object_del(object, "id");
        size_t at = 0;
        json_object_foreach(object, name, value) if (good)
            assert_header((uint32_t)at++, name, json_string_value(value));
        assert_true(!good || record.header_count == at + 2);
        json_decref(object);
    }
    (void)state;
}

static void bad_headers_are_poison(void **state)
{
    static const char *const bad[] = {"", "{", "[]", "null", "\"x\"", "{\"a\":1}", "{\"a\":null}", "{\"a\":{}}"};
    for (size_t i = 0; i < COUNT_OF(bad); i++) {
        struct row row = row_with("t", bad[i]);
        assert_int_equal(record_make(&maker, &row, &record, &error), ERROR_POISON);
        assert_string_equal(error.code, "INVALID_HEADERS");
    }
    (void)state;
}

static void headers_are_bounded(void **state)
{
    static char text[RECORD_HEADERS_MAX * 16];
    for (int count = RECORD_HEADERS_MAX - 5; count < RECORD_HEADERS_MAX + 5; count++) {
        size_t length = (size_t)snprintf(text, sizeof text, "{");
        for (int i = 0; i < count; i++)
            length += (size_t)snprintf(text + length, sizeof text - length, "%s\"h%d\":\"\"", i ? "," : "", i);
        snprintf(text + length, sizeof text - length, "}");
        struct row row = row_with("t", text);
        row.type = "T";
        enum error_class class = record_make(&maker, &row, &record, &error);
        assert_int_equal(class, count <= RECORD_HEADERS_MAX - 3 ? ERROR_NONE : ERROR_POISON);
        assert_true(record.header_count <= RECORD_HEADERS_MAX);
    }
    (void)state;
}

static void reserved_topics_are_poison(void **state)
{
    static const char *const reserved[] = {"boxrelay.orders.positions", "__consumer_offsets", "__"};
    for (size_t i = 0; i < COUNT_OF(reserved); i++) {
        struct row row = row_with(reserved[i], NULL);
        assert_int_equal(record_make(&maker, &row, &record, &error), ERROR_POISON);
        assert_string_equal(error.code, "TOPIC_RESERVED");
    }
    (void)state;
}

static void what_does_not_fit_the_topic(void **state)
{
    struct topic_facts facts = {.partition_count = 3, .compacted = true};
    struct row row = row_with("t", NULL);
    row.partition = 2;
    assert_int_equal(record_make(&maker, &row, &record, &error), ERROR_NONE);
    assert_int_equal(record_fits(&record, &facts, &error), ERROR_NONE);
    record.partition = 3;
    assert_int_equal(record_fits(&record, &facts, &error), ERROR_POISON);
    assert_string_equal(error.code, "UNKNOWN_PARTITION");
    record.partition = RECORD_PARTITION_BY_KEY;
    record.key = NULL;
    assert_int_equal(record_fits(&record, &facts, &error), ERROR_POISON);
    assert_string_equal(error.code, "NO_KEY");
    facts.compacted = false;
    assert_int_equal(record_fits(&record, &facts, &error), ERROR_NONE);
    (void)state;
}

static void allow_list_takes_names_and_expressions(void **state)
{
    static const char *const topics[] = {"orders", "^pay(ments|outs)\\.", "^x$"};
    struct allow_list *list;
    assert_int_equal(allow_list_new(topics, COUNT_OF(topics), &list, &error), ERROR_NONE);
    assert_true(allow_list_has(list, "orders"));
    assert_true(allow_list_has(list, "payouts.v1"));
    assert_true(allow_list_has(list, "x"));
    assert_false(allow_list_has(list, "orders2"));
    assert_false(allow_list_has(list, "my.payments.v1"));
    assert_false(allow_list_has(list, "xx"));
    allow_list_free(&list);
    assert_null(list);
    assert_true(allow_list_has(NULL, "anything"));
    (void)state;
}

static void a_bad_expression_is_refused(void **state)
{
    static const char *const topics[] = {"^ok", "^("};
    struct allow_list *list;
    assert_int_equal(allow_list_new(topics, COUNT_OF(topics), &list, &error), ERROR_CONFIG);
    assert_null(list);
    (void)state;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(own_headers_come_last, set_up, tear_down),
        cmocka_unit_test_setup_teardown(names_of_ours_are_left_out, set_up, tear_down),
        cmocka_unit_test_setup_teardown(an_empty_key_is_not_null, set_up, tear_down),
        cmocka_unit_test_setup_teardown(plain_and_other_headers_are_read_alike, set_up, tear_down),
        cmocka_unit_test_setup_teardown(bad_headers_are_poison, set_up, tear_down),
        cmocka_unit_test_setup_teardown(headers_are_bounded, set_up, tear_down),
        cmocka_unit_test_setup_teardown(reserved_topics_are_poison, set_up, tear_down),
        cmocka_unit_test_setup_teardown(what_does_not_fit_the_topic, set_up, tear_down),
        cmocka_unit_test(allow_list_takes_names_and_expressions),
        cmocka_unit_test(a_bad_expression_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
