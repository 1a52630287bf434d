/* Files for other people's runners: names, numbers, escapes, and braces that are the text's own. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "../../relay/app/migrate_format.h"

static const struct migration all[] = {
    {1, "relay", "0001_relay.sql", "", NULL},
    {2, "dead_letter", "0002_dead_letter.sql", "", NULL},
    {3661, "x", "3661_x.sql", "", NULL},
};

static char *fill(const char *format, const char *template, size_t index, const char *sql)
{
    struct text text;
    text_init(&text, FORMAT_TEXT_MAX);
    format_fill(format_find(format), template, all, index, sql, &text);
    return text_take(&text);
}

static void expect(const char *format, const char *template, size_t index, const char *sql, const char *wanted)
{
    char *filled = fill(format, template, index, sql);
    assert_string_equal(filled, wanted);
    free(filled);
}

static void test_values(void **state)
{
    (void)state;
    expect("plain", "{version} {version6} {number} {name} {Name}", 1, "", "0002 000002 2 dead_letter DeadLetter");
    expect("plain", "{time} {iso}", 2, "", "20250101010101 2025-01-01T01:01:01Z");
    expect("alembic", "{previous}", 0, "", "None");
    expect("alembic", "{previous}", 2, "", "\"boxrelay_0002\"");
    expect("sqitch", "x{previous}", 0, "", "x");
    expect("django", "[{previous}]", 1, "", "[(\"boxrelay\", \"0001_relay\")]");
}

static void test_braces_of_the_text_stand_for_themselves(void **state)
{
    (void)state;
    expect("plain", "{ {} {name {nonsense} {Name", 0, "", "{ {} {name {nonsense} {Name");
    expect("plain", "{text}", 0, "{name} {0,39}", "{name} {0,39}");
}

static void test_escapes(void **state)
{
    (void)state;
    expect("knex", "{text}", 0, "a\\b `c` ${d} $e {f}", "a\\\\b \\`c\\` \\${d} $e {f}");
    expect("alembic", "{text}", 0, "\\ \" \"\"\" \"\"\"\"", "\\\\ \" \\\"\\\"\\\" \\\"\\\"\\\"\"");
    expect("ef", "{text}", 0, "\"a\" \\", "\"\"a\"\" \\");
    expect("plain", "{text}", 0, "\\ \" ` ${a}", "\\ \" ` ${a}");
}

/* A part's file name is where its tool looks; a row without one would write nothing. */
static void test_every_row_is_whole(void **state)
{
    (void)state;
    size_t count = 0;
    for (const struct format *format = formats; format->name; format++, count++) {
        assert_ptr_equal(format_find(format->name), format);
        assert_non_null(format->parts[0].path);
        assert_non_null(format->next);
        bool text = false, previous = false;
        for (size_t i = 0; i < FORMAT_PARTS_MAX && format->parts[i].path; i++) {
            text = text || strstr(format->parts[i].body, "{text}");
            previous = previous || strstr(format->parts[i].body, "{previous}");
        }
        assert_true(text);
        assert_true(!previous || (format->first && format->previous));
    }
    assert_int_equal(count, 13);
    assert_null(format_find("flywa"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_values),
        cmocka_unit_test(test_braces_of_the_text_stand_for_themselves),
        cmocka_unit_test(test_escapes),
        cmocka_unit_test(test_every_row_is_whole),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
