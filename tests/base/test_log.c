/* Log lines as they leave the process: stderr is a pipe here. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "base/log.h"

static char line[8192];
static int out[2], kept;

static int capture(void **state)
{
    (void)state;
    kept = dup(STDERR_FILENO);
    return pipe(out) || dup2(out[1], STDERR_FILENO) < 0 || fcntl(out[0], F_SETFL, O_NONBLOCK);
}

static int release(void **state)
{
    (void)state;
    dup2(kept, STDERR_FILENO);
    close(kept);
    close(out[0]);
    close(out[1]);
    return 0;
}

/* What was written since the last call. */
static const char *written(void)
{
    ssize_t length = read(out[0], line, sizeof line - 1);
    line[length > 0 ? length : 0] = '\0';
    return line;
}

static void assert_has(const char *text, const char *part)
{
    if (!strstr(text, part))
        fail_msg("%s is not in: %s", part, text);
}

static void test_json(void **state)
{
    (void)state;
    log_init(LOG_FORMAT_JSON, LOG_INFO);
    log_info("a \"quoted\"\nmessage", LOG_STR("stream", "outbox/main"), LOG_INT("rows", -5), LOG_STR("absent", NULL));
    const char *text = written();
    assert_memory_equal(text, "{\"ts\":\"20", 9);
    assert_has(text, "\"level\":\"info\"");
    assert_has(text, "\"msg\":\"a \\\"quoted\\\"\\nmessage\"");
    assert_has(text, "\"stream\":\"outbox/main\"");
    assert_has(text, "\"rows\":-5");
    assert_null(strstr(text, "absent"));
    assert_ptr_equal(strchr(text, '\n'), text + strlen(text) - 1); /* one line */
}

static void test_error_fields(void **state)
{
    (void)state;
    struct error error;
    log_init(LOG_FORMAT_JSON, LOG_INFO);
    error_set(&error, ERROR_INTEGRITY, "POSITION_LOST", "gone");
    log_error("refused", LOG_OF_ERROR(&error));
    const char *text = written();
    assert_has(text, "\"error.class\":\"integrity\"");
    assert_has(text, "\"error.code\":\"POSITION_LOST\"");
    assert_has(text, "\"error\":\"gone\"");
    assert_null(strstr(text, "hint"));
    error_hint(&error, "rebase");
    log_error("refused", LOG_OF_ERROR(&error));
    assert_has(written(), "\"hint\":\"rebase\"");
}

/* A failure that stays: at once, then after 1, 2, 4, 8, 15, 15 ... minutes; its end once. */
static void test_news(void **state)
{
    (void)state;
    struct log_said said = {0};
    struct error away, other, stopping, well = {0};
    error_set(&away, ERROR_RECONNECT, "AWAY", "gone for 1 s");
    error_set(&other, ERROR_CONFIG, "OTHER", "no right");
    error_set(&stopping, ERROR_RETRY, "STOPPING", "stopping");
    assert_int_equal(log_news(&said, &well, 0, 0), LOG_NOTHING_NEW);
    static const int64_t minutes[] = {0, 1, 3, 7, 15, 30, 45, 60};
    size_t found = 0;
    for (int64_t now_ms = 0; now_ms <= 60 * LOG_AGAIN_MS_MIN; now_ms += 1000)
        if (log_news(&said, &away, 0, now_ms) == LOG_FAILED)
            assert_int_equal(now_ms, minutes[found++] * LOG_AGAIN_MS_MIN);
    assert_int_equal(found, COUNT_OF(minutes));
    assert_true(said.unsaid > 0);
    assert_int_equal(log_news(&said, &stopping, 0, 0), LOG_NOTHING_NEW);
    assert_int_equal(log_news(&said, &other, 0, 0), LOG_FAILED);
    assert_int_equal(said.unsaid, 0);
    assert_int_equal(log_news(&said, &other, 7, 0), LOG_FAILED); /* the same about another row */
    assert_int_equal(log_news(&said, &other, 7, 0), LOG_NOTHING_NEW);
    assert_int_equal(log_news(&said, &well, 0, 0), LOG_MENDED);
    assert_int_equal(log_news(&said, &well, 0, 0), LOG_NOTHING_NEW);
    assert_int_equal(log_news(&said, &other, 7, 0), LOG_FAILED);
}

/* A server's message may be in any encoding; the line is written all the same. */
static void test_not_utf8(void **state)
{
    (void)state;
    log_init(LOG_FORMAT_JSON, LOG_INFO);
    log_warn("na\xefve", LOG_STR("error", "caf\xe9"));
    const char *text = written();
    assert_has(text, "\"level\":\"warn\"");
    assert_has(text, "caf?");
    for (const char *c = text; *c; c++)
        assert_true((unsigned char)*c < 0x80);
}

static void test_levels(void **state)
{
    (void)state;
    log_init(LOG_FORMAT_TEXT, LOG_WARN);
    log_debug("no");
    log_info("no");
    assert_string_equal(written(), "");
    log_warn("yes", LOG_STR("stream", "outbox/main"));
    const char *text = written();
    assert_has(text, "yes");
    assert_has(text, "outbox/main");
    assert_true(text[0] != '{');
}

static void test_words(void **state)
{
    (void)state;
    enum log_level level = LOG_ERROR;
    enum log_format format = LOG_FORMAT_TEXT;
    assert_true(log_level_parse("debug", &level));
    assert_int_equal(level, LOG_DEBUG);
    assert_false(log_level_parse("verbose", &level));
    assert_int_equal(level, LOG_DEBUG);
    assert_true(log_format_parse("json", &format));
    assert_int_equal(format, LOG_FORMAT_JSON);
    assert_false(log_format_parse("xml", &format));
    assert_int_equal(format, LOG_FORMAT_JSON);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_json, capture, release),
        cmocka_unit_test_setup_teardown(test_error_fields, capture, release),
        cmocka_unit_test_setup_teardown(test_not_utf8, capture, release),
        cmocka_unit_test_setup_teardown(test_levels, capture, release),
        cmocka_unit_test(test_words),
        cmocka_unit_test(test_news),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
