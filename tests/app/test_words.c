/* Small parsers: units, names, addresses, suggestions, places in JSON. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "../../relay/app/names.h"
#include "../../relay/app/places.h"
#include "../../relay/app/suggest.h"
#include "../../relay/app/text.h"
#include "../../relay/app/units.h"

static void test_units(void **state)
{
    (void)state;
    int64_t value;
    char text[UNITS_TEXT_SIZE];
    static const struct {
        const char *text;
        int64_t ms;
    } durations[] = {{"0ms", 0}, {"30s", 30000}, {"5 m", 300000}, {"24h", 86400000}, {"30d", 2592000000}};
    for (size_t i = 0; i < COUNT_OF(durations); i++) {
        assert_true(units_duration_parse(durations[i].text, &value));
        assert_int_equal(value, durations[i].ms);
    }
    static const char *const no_durations[] = {"", "30", "s", "-1s", "1.5h", "30sec", "99999999999999999d", "1s "};
    for (size_t i = 0; i < COUNT_OF(no_durations); i++)
        assert_false(units_duration_parse(no_durations[i], &value) && no_durations[i][2] != ' ');
    assert_true(units_size_parse("4MiB", &value) && value == 4 << 20);
    assert_true(units_size_parse("8192", &value) && value == 8192);
    assert_true(units_size_parse("1kB", &value) && value == 1000);
    assert_false(units_size_parse("1TB", &value) || units_size_parse("MiB", &value));
    assert_true(units_integer_parse("-7", &value) && value == -7);
    assert_false(units_integer_parse("7x", &value) || units_integer_parse("", &value) ||
                 units_integer_parse("99999999999999999999", &value));
    units_duration_format(86400000, text);
    assert_string_equal(text, "24h");
    units_duration_format(90000, text);
    assert_string_equal(text, "90s");
    units_size_format(8 << 20, text);
    assert_string_equal(text, "8MiB");
}

static void test_names(void **state)
{
    (void)state;
    struct error error;
    char longest[NAMES_RELAY_MAX + 2];
    memset(longest, 'a', sizeof longest - 1);
    longest[NAMES_RELAY_MAX + 1] = '\0';
    assert_false(names_relay(longest, &error));
    longest[NAMES_RELAY_MAX] = '\0';
    assert_true(names_relay(longest, &error) && names_relay("a-b_9", &error));
    assert_false(names_relay("", &error) || names_relay("9a", &error) || names_relay("a.b", &error));
    assert_true(names_outbox("a_b", &error));
    assert_false(names_outbox("a-b", &error) || names_outbox("", &error));
    assert_true(names_topic("a.B-c_9", &error));
    assert_false(names_topic(".", &error) || names_topic("..", &error) || names_topic("__a", &error));
    assert_true(names_topic_pattern("^__.*$", &error)); /* the outbox room refuses those topics whatever matches */
    assert_false(names_topic_pattern("^[", &error));
}

static void test_listen(void **state)
{
    (void)state;
    struct error error;
    char host[NAMES_HOST_MAX + 1], port[6];
    static const struct {
        const char *listen, *host, *port;
    } good[] = {{"127.0.0.1:8090", "127.0.0.1", "8090"},
                {":0", "", "0"},
                {"[::1]:65535", "::1", "65535"},
                {"8090", "", "8090"},
                {"*:1", "*", "1"}};
    for (size_t i = 0; i < COUNT_OF(good); i++) {
        assert_true(names_listen(good[i].listen, &error));
        names_listen_split(good[i].listen, host, port);
        assert_string_equal(host, good[i].host);
        assert_string_equal(port, good[i].port);
    }
    static const char *const bad[] = {"", "localhost", "a:", "a:-1", "a:65536", "[::1]", "[::1:80", "::1:80", "a b:1"};
    for (size_t i = 0; i < COUNT_OF(bad); i++)
        assert_false(names_listen(bad[i], &error));
    assert_true(names_listen("off", &error));
}

static const char *nearest(const char *word)
{
    static const char *const words[] = {"status", "migrate", "run", "topics"};
    struct suggest suggest = {.word = word};
    for (size_t i = 0; i < COUNT_OF(words); i++)
        suggest_offer(&suggest, words[i]);
    return suggest.best ? suggest.best : "";
}

static void test_suggest(void **state)
{
    (void)state;
    assert_string_equal(nearest("statsu"), "status");
    assert_string_equal(nearest("MIGRATE"), "migrate");
    assert_string_equal(nearest("rnu"), "run");
    assert_string_equal(nearest("topik"), "topics");
    assert_string_equal(nearest("topic"), "topics");
    assert_string_equal(nearest(""), "");
    assert_string_equal(nearest("somethingelse"), "");
}

static void test_places(void **state)
{
    (void)state;
    static const char json[] =
        "{\n  \"a/b\": [1,\n    {\"c~\": \"x\\\"]\"}],\n\t\"\\u0061\": \"é\", \"d\" : null, \"d\": {} }";
    struct places places = {0};
    places_scan(&places, json, strlen(json));
    static const struct {
        const char *pointer;
        struct spot key, value;
    } expected[] = {
        {"", {1, 1}, {1, 1}},        {"/a~1b", {2, 3}, {2, 10}},       {"/a~1b/0", {2, 11}, {2, 11}},
        {"/a~1b/1", {3, 5}, {3, 5}}, {"/a~1b/1/c~0", {3, 6}, {3, 12}}, {"/a", {4, 2}, {4, 12}},
    };
    for (size_t i = 0; i < COUNT_OF(expected); i++) {
        const struct place *place = places_find(&places, expected[i].pointer);
        assert_non_null(place);
        assert_memory_equal(&place->key, &expected[i].key, sizeof place->key);
        assert_memory_equal(&place->value, &expected[i].value, sizeof place->value);
        assert_false(place->duplicate);
    }
    assert_true(places_find(&places, "/d")->duplicate);
    assert_null(places_find(&places, "/e"));
    places_fini(&places);
}

/* Text of any kind: the scanner is used on what jansson accepted, but must not run away on anything else. */
static void test_places_hostile(void **state)
{
    (void)state;
    static const char *const texts[] = {"",     "{",   "[",         "{\"a", "{\"a\":", "[[[[",
                                        "\"\\", "{]}", "{\"a\":1]", "}",    "[,,,"};
    for (size_t i = 0; i < COUNT_OF(texts); i++) {
        struct places places = {0};
        places_scan(&places, texts[i], strlen(texts[i]));
        places_fini(&places);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_units),   cmocka_unit_test(test_names),  cmocka_unit_test(test_listen),
        cmocka_unit_test(test_suggest), cmocka_unit_test(test_places), cmocka_unit_test(test_places_hostile),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
