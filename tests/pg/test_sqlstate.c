/* The one mapping of SQLSTATEs to classes, and the parameters of the reading statements. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "../../relay/pg/session_internal.h"
#include "../../relay/pg/window_parameters.h"

static void classes_say_what_to_do(void **state)
{
    static const struct {
        const char *sqlstate;
        enum error_class class;
    } cases[] = {
        {NULL, ERROR_RECONNECT},    {"40001", ERROR_RETRY},     {"40P01", ERROR_RETRY},     {"55P03", ERROR_RETRY},
        {"57014", ERROR_RETRY},     {"08006", ERROR_RECONNECT}, {"57P01", ERROR_RECONNECT}, {"57P02", ERROR_RECONNECT},
        {"57P03", ERROR_RECONNECT}, {"57P04", ERROR_CONFIG},    {"53300", ERROR_RECONNECT}, {"53100", ERROR_RECONNECT},
        {"25006", ERROR_RECONNECT}, {"25P03", ERROR_RECONNECT}, {"28P01", ERROR_CONFIG},    {"28000", ERROR_CONFIG},
        {"42501", ERROR_CONFIG},    {"42P01", ERROR_CONFIG},    {"3D000", ERROR_CONFIG},    {"22P02", ERROR_POISON},
        {"23505", ERROR_POISON},    {"XX000", ERROR_RECONNECT}, {"ZZ999", ERROR_RECONNECT}, {"", ERROR_RECONNECT},
    };
    for (size_t i = 0; i < COUNT_OF(cases); i++)
        assert_int_equal(sqlstate_class(cases[i].sqlstate), cases[i].class);
    (void)state;
}

static void a_window_becomes_parameters(void **state)
{
    static struct snapshot p, s;
    struct window_parameters parameters;
    struct error error;
    assert_true(snapshot_parse("10:20:10,12,15", 14, &p));
    assert_true(snapshot_parse("12:30:12,25", 11, &s));
    assert_int_equal(window_parameters_init(&parameters, &p, &s, &error), ERROR_NONE);
    assert_string_equal(parameters.text[0], "20");
    assert_string_equal(parameters.text[1], "30");
    assert_string_equal(parameters.text[2], "{12,25}");
    assert_string_equal(parameters.text[3], "{10,15}");
    window_parameters_fini(&parameters);
    (void)state;
}

static void statements_name_their_table(void **state)
{
    char *sql = sql_for_relation("SELECT 1 FROM relay.outbox, relay.outbox AS x WHERE relay.tick", "outbox",
                                 "relay.outbox_audit");
    assert_string_equal(sql, "SELECT 1 FROM relay.outbox_audit, relay.outbox_audit AS x WHERE relay.tick");
    free(sql);
    (void)state;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(classes_say_what_to_do),
        cmocka_unit_test(a_window_becomes_parameters),
        cmocka_unit_test(statements_name_their_table),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
