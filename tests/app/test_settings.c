/* Every message of a bad configuration, where values come from, and the defaults. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "../../relay/app/excerpt.h"
#include "../../relay/app/interpolate.h"
#include "../../relay/app/option.h"
#include "../../relay/app/settings.h"
#include "../../relay/app/text.h"
#include "../../relay/app/units.h"
#include "base/clock.h"

#define COMPLETE "\"name\":\"o\",\"postgres\":\"dbname=o\",\"kafka\":{\"bootstrap.servers\":\"b:1\"}"

static char folder[] = "/tmp/boxrelay_settings_XXXXXX";

static int make_folder(void **state)
{
    (void)state;
    return !mkdtemp(folder) || chdir(folder) != 0;
}

static int remove_folder(void **state)
{
    (void)state;
    unlink("c.json");
    unlink("secret");
    return rmdir(folder);
}

static void write_file(const char *name, const char *text)
{
    FILE *out = fopen(name, "w");
    assert_non_null(out);
    fputs(text, out);
    assert_int_equal(fclose(out), 0);
}

struct loaded {
    struct settings *settings;
    char *problems, *warnings;
};

/* Without the lines of the file: test_excerpts has those. */
static char *printed(struct problems *problems)
{
    char *text;
    size_t size;
    FILE *out = open_memstream(&text, &size);
    for (size_t i = 0; i < problems->count; i++)
        excerpt_fini(&problems->items[i].excerpt);
    problems_print(problems, "", out);
    fclose(out);
    problems_fini(problems);
    return text;
}

static struct loaded load_with(const char *json, const char *const *environment, const char *const *assignments,
                               size_t count, enum settings_need need)
{
    static const char *const none[] = {NULL};
    struct loaded loaded = {0};
    struct problems problems = {0}, warnings = {0};
    if (json)
        write_file("c.json", json);
    struct settings_source source = {
        .file = json ? "c.json" : NULL,
        .environment = environment ? environment : none,
        .assignments = assignments,
        .assignment_count = count,
        .need = need,
    };
    bool good = settings_load(&source, &loaded.settings, &problems, &warnings);
    assert_int_equal(good, problems.count == 0);
    loaded.problems = printed(&problems);
    loaded.warnings = printed(&warnings);
    return loaded;
}

static void unload(struct loaded *loaded)
{
    settings_free(&loaded->settings);
    free(loaded->problems);
    free(loaded->warnings);
}

static struct settings *load_good(struct loaded *loaded)
{
    assert_string_equal(loaded->problems, "");
    assert_non_null(loaded->settings);
    return loaded->settings;
}

/* A file and all that is said of it. An expectation that ends in "..." is a beginning: the rest is another room's. */
static const struct bad {
    const char *json, *said;
} bad_files[] = {
    {"", "c.json:1:1: not valid JSON: '[' or '{' expected\n"},
    {"[1]", "c.json:1:1: a configuration is a JSON object: { \"name\": ... }\n"},
    {"{\n \"a\": 1,\n}",
     "c.json:3:1: not valid JSON: string or '}' expected (a comma too many before it, or a value without quotes?)\n"},
    {"{\"name\": secret}",
     "c.json:1:10: not valid JSON: invalid token (a comma too many before it, or a value without quotes?)\n"},
    {"{\"a\": 1 \"b\": 2}", "c.json:1:9: not valid JSON: '}' expected (a comma missing before it?)\n"},
    {"{}", "c.json:1:1: /name: missing; the relay's name, as \"orders\"\n"
           "c.json:1:1: /postgres: missing; a connection string, as \"host=localhost dbname=orders\"\n"
           "c.json:1:1: /kafka/bootstrap.servers: missing; the brokers, as \"localhost:9092\"\n"},
    {"{" COMPLETE ",\n\"outbox\": {\"main\":\n  {\"topik\": 1}}}",
     "c.json:3:4: /outbox/main/topik: unknown key, did you mean \"topics\"?\n"},
    {"{" COMPLETE ",\n\"naem\": 1}", "c.json:2:1: /naem: unknown key, did you mean \"name\"?\n"},
    {"{" COMPLETE ",\n\"zzzzzzz\": 1}", "c.json:2:1: /zzzzzzz: unknown key; boxrelay help options lists them\n"},
    {"{" COMPLETE ",\n\"log\": {\"level\": \"info\", \"level\": \"warn\"}}",
     "c.json:2:26: /log/level: written twice; keep one of them\n"},
    {"{" COMPLETE ",\n\"log\": {\"lev\\u0065l\": \"info\", \"level\": \"warn\"}}",
     "c.json:2:31: /log/level: written twice; keep one of them\n"},
    {"{" COMPLETE ",\n\"log\": {\"level\": \"wran\", \"format\": \"xml\"}}",
     "c.json:2:18: /log/level: unknown value \"wran\", did you mean \"warn\"?\n"
     "c.json:2:36: /log/format: unknown value \"xml\", has to be one of auto|json|text\n"},
    {"{\"name\": \"Orders\",\"postgres\":\"\",\"kafka\":{\"bootstrap.servers\":\"b:1\"}}",
     "c.json:1:10: /name: has to be 1 to 64 of a-z, 0-9, _ and -, beginning with a letter (it becomes part of topic "
     "and group names)\n"
     "c.json:1:30: /postgres: empty; for libpq's defaults write at least \"dbname=...\"\n"},
    {"{\"name\":\"o\",\"postgres\":\"dbname=o\",\"kafka\":{\"bootstrap.servers\":\"\"}}",
     "c.json:1:64: /kafka/bootstrap.servers: empty; the brokers, as \"localhost:9092\"\n"},
    {"{\"name\":\"o\",\"postgres\":\"password=my secret\",\"kafka\":{\"bootstrap.servers\":\"b:1\"}}",
     "c.json:1:24: /postgres: libpq cannot parse it: missing \"=\" after a word; a value with spaces is written in "
     "single quotes\n"},
    {"{\"name\":\"o\",\"postgres\":\"pasword=x\",\"kafka\":{\"bootstrap.servers\":\"b:1\"}}",
     "c.json:1:24: /postgres: libpq cannot parse it: invalid connection option \"pasword\"\n"},
    {"{\"name\":\"o\",\"postgres\":\"postgresql://u:hunter2@[::1/x\",\"kafka\":{\"bootstrap.servers\":\"b:1\"}}",
     "c.json:1:24: /postgres: libpq cannot parse it: end of string reached when looking for matching ...\n"},
    {"{\"name\":1,\"postgres\":null,\"kafka\":[],\"outbox\":{\"main\":true},\"instance_id\":\"a b\"}",
     "c.json:1:9: /name: has to be a text, not a number\n"
     "c.json:1:22: /postgres: has to be a text, not null\n"
     "c.json:1:35: /kafka: has to be an object { ... }, not a list\n"
     "c.json:1:35: /kafka/bootstrap.servers: missing; the brokers, as \"localhost:9092\"\n"
     "c.json:1:55: /outbox/main: has to be an object { ... }, not true or false\n"
     "c.json:1:75: /instance_id: has to be 1 to 249 of a-z, A-Z, 0-9, '.', '_' and '-', as Kafka's names are\n"},
    {"{\"name\":\"o\",\"postgres\":\"dbname=o\",\"kafka\":{\"bootstrap.servers\":\"b:1\",\n\"acks\": 1,\n\"no.such\": "
     "true,\n\"linger.ms\":[]}}",
     "c.json:2:1: /kafka/acks: ..."},
    {"{\"name\":\"o\",\"postgres\":\"dbname=o\",\"kafka\":{\"bootstrap.servers\":\"b:1\",\n\"producer\": {\"no.such\": "
     "true}}}",
     "c.json:2:14: /kafka/producer/no.such: ..."},
    {"{\"name\":\"o\",\"postgres\":\"dbname=o\",\"kafka\":{\"bootstrap.servers\":\"b:1\",\n\"consumer\": "
     "{\"linger.ms\": {}}}}",
     "c.json:2:27: /kafka/consumer/linger.ms: a librdkafka property has to be a text, a number or true or false\n"},
    {"{" COMPLETE ",\"outbox\":{\"main\":{\n\"retention\":24,\n\"batch_rows_max\":0,\n\"batch_bytes_max\":\"1TB\",\n"
     "\"commit_interval_ms\":2.5}}}",
     "c.json:2:13: /outbox/main/retention: has to be a duration with a unit (ms, s, m, h, d), as \"30s\", not \"24\"\n"
     "c.json:3:18: /outbox/main/batch_rows_max: 0 is out of range, allowed is 1 to 100000 rows\n"
     "c.json:4:19: /outbox/main/batch_bytes_max: has to be a size, as 65536 or \"4MiB\", not \"1TB\"\n"
     "c.json:5:22: /outbox/main/commit_interval_ms: has to be a whole number, not \"2.5\"\n"},
    {"{" COMPLETE
     ",\"outbox\":{\"main\":{\n\"retention\":\"10ms\",\n\"batch_bytes_max\":\"1GiB\",\n\"commit_interval_ms\":-1}}}",
     "c.json:2:13: /outbox/main/retention: 10ms is out of range, allowed is 1s to 3650d\n"
     "c.json:3:19: /outbox/main/batch_bytes_max: 1GiB is out of range, allowed is 64KiB to 256MiB\n"
     "c.json:4:22: /outbox/main/commit_interval_ms: -1 is out of range, allowed is 0 to 10000 ms\n"},
    {"{" COMPLETE ",\"outbox\":{\"main\":{\n\"topics\":[\"^(x\",\n\"ok\",\n\"b*\",\n3,\n\"__x\",\n\"a b\"]}}}",
     "c.json:2:11: /outbox/main/topics/0: not a POSIX extended regular expression: Unmatched ( or \\(\n"
     "c.json:4:1: /outbox/main/topics/2: not a topic's name; a regular expression begins with ^\n"
     "c.json:5:1: /outbox/main/topics/3: has to be a topic's name or a ^regex in quotes\n"
     "c.json:6:1: /outbox/main/topics/4: topics beginning with \"__\" are Kafka's own\n"
     "c.json:7:1: /outbox/main/topics/5: has to be 1 to 249 of a-z, A-Z, 0-9, '.', '_' and '-', as Kafka's names "
     "are\n"},
    {"{" COMPLETE ",\"outbox\":{\"main\":{\n\"topics\":[]}}}",
     "c.json:2:10: /outbox/main/topics: has to be a list of 1 to 1000 topic names and ^regexes; leave it out to allow "
     "all topics\n"},
    {"{" COMPLETE ",\"outbox\":{\n\"Bad\":{}}}",
     "c.json:2:1: /outbox/Bad: an outbox's name is 1 to 40 of a-z, 0-9 and _, beginning with a letter, as it was given "
     "to relay.create_outbox\n"},
    {"{" COMPLETE
     ",\"outbox\":{\"main\":{\n\"on_poison\":\"park\",\n\"headers\":\"cloudevents\",\n\"dead_letter_topic\":"
     "\"d\"}}}",
     "c.json:2:13: /outbox/main/on_poison: \"park\" is not available in this version; use \"stop\"\n"
     "c.json:3:11: /outbox/main/headers: \"cloudevents\" is not available in this version; use \"plain\"\n"
     "c.json:4:1: /outbox/main/dead_letter_topic: not available in this version; remove it\n"},
    {"{" COMPLETE ",\n\"on_failover\":\"recover\",\n\"health\":{\"format\":\"sprung\"}}",
     "c.json:2:15: /on_failover: \"recover\" is not available in this version; use \"stop\"\n"
     "c.json:3:20: /health/format: unknown value \"sprung\", did you mean \"spring\"?\n"},
    {"{" COMPLETE ",\n\"inbox\":{\"main\":{}}}",
     "c.json:2:10: /inbox/main/topics: missing; the topics whose messages are stored, as [\"payments\"]\n"},
    {"{" COMPLETE ",\n\"inbox\":{\"Bad\":{\"topics\":[\"a\"]},\n\"main\":3}}",
     "c.json:2:10: /inbox/Bad: an inbox' name is 1 to 40 of a-z, 0-9 and _, beginning with a letter, as it was given "
     "to relay.create_inbox\n"
     "c.json:3:8: /inbox/main: has to be an object { ... }, not a number\n"},
    {"{" COMPLETE ",\"inbox\":{\"main\":{\n\"topics\":[\"__x\",\n\"boxrelay.o.positions\",\n\"^boxrelay\",\n7]}}}",
     "c.json:2:11: /inbox/main/topics/0: topics beginning with \"__\" are Kafka's own\n"
     "c.json:3:1: /inbox/main/topics/1: the relay's own positions topic cannot be read into an inbox\n"
     "c.json:5:1: /inbox/main/topics/3: has to be a topic's name or a ^regex in quotes\n"},
    {"{" COMPLETE ",\"inbox\":{\"main\":{\n\"topics\":[]}}}",
     "c.json:2:10: /inbox/main/topics: has to be a list of 1 to 256 topic names and ^regexes\n"},
    {"{" COMPLETE ",\"inbox\":{\"main\":{\"topics\":\"a\",\n\"id_headers\":[\"a+b+c\",\n\"+a\",\n\"a+\",\n\"\",\n1]}}}",
     "c.json:2:15: /inbox/main/id_headers/0: has to be a header's name of 1 to 249 bytes, or two such names with a + "
     "between them\n"
     "c.json:3:1: /inbox/main/id_headers/1: has to be a header's name of 1 to 249 bytes, or two such names with a + "
     "between them\n"
     "c.json:4:1: /inbox/main/id_headers/2: has to be a header's name of 1 to 249 bytes, or two such names with a + "
     "between them\n"
     "c.json:5:1: /inbox/main/id_headers/3: has to be a header's name of 1 to 249 bytes, or two such names with a + "
     "between them\n"
     "c.json:6:1: /inbox/main/id_headers/4: has to be a header's name, or a+b, in quotes\n"},
    {"{" COMPLETE ",\"inbox\":{\"main\":{\"topics\":\"a\",\n\"id_headers\":[]}}}",
     "c.json:2:14: /inbox/main/id_headers: has to be a list of 1 to 16 header names; leave it out for the default\n"},
    {"{" COMPLETE ",\"inbox\":{\"main\":{\"topics\":\"a\",\n\"start\":\"erliest\",\n\"on_missing_id\":\"skip\",\n"
     "\"lanes\":4,\n\"on_poison\":\"stop\",\n\"attempts_max\":3}}}",
     "c.json:2:9: /inbox/main/start: unknown value \"erliest\", did you mean \"earliest\"?\n"
     "c.json:3:17: /inbox/main/on_missing_id: unknown value \"skip\", has to be one of dead_letter|coordinates\n"
     "c.json:4:1: /inbox/main/lanes: unknown key; boxrelay help options lists them\n"
     "c.json:5:1: /inbox/main/on_poison: unknown key; boxrelay help options lists them\n"
     "c.json:6:1: /inbox/main/attempts_max: unknown key; boxrelay help options lists them\n"},
    {"{" COMPLETE ",\"inbox\":{\"main\":{\"topics\":\"a\",\n\"start\":\"2030-01-31 12:00\"}}}",
     "c.json:2:9: /inbox/main/start: has to be one of earliest|latest|refuse, or a time with its zone, as "
     "\"2030-01-31T12:00:00Z\" or \"2030-01-31T12:00:00+01:00\"\n"},
    {"{" COMPLETE ",\"inbox\":{\"main\":{\"topics\":\"a\",\n\"retention\":\"31d\"},\"b\":{\"topics\":\"a\",\n"
     "\"retention\":\"5s\",\n\"id_retention\":\"4s\"}}}",
     "c.json:2:13: /inbox/main/retention: id_retention (30d) must not be shorter than retention (31d): ids outlive "
     "their messages\n"
     "c.json:4:16: /inbox/b/id_retention: id_retention (4s) must not be shorter than retention (5s): ids outlive "
     "their messages\n"},
    {"{" COMPLETE ",\n\"outbox\":{}}",
     "c.json:2:10: /outbox: {} turns the outbox off, and there is no inbox either: nothing would run; leave it out, or "
     "add an inbox\n"},
    {"{" COMPLETE ",\n\"positions\":{\"topic\":\"__x\",\"accept_weak\":\"yes\",\"replication_factor\":-1}}",
     "c.json:2:22: /positions/topic: topics beginning with \"__\" are Kafka's own\n"
     "c.json:2:42: /positions/accept_weak: has to be true or false, not \"yes\"\n"
     "c.json:2:69: /positions/replication_factor: -1 is out of range, allowed is 0 to 32767 replicas\n"},
    {"{" COMPLETE ",\n\"http\":{\"listen\":\"localhost\"}}",
     "c.json:2:18: /http/listen: has to be \"address:port\" (\"127.0.0.1:8090\", \"[::1]:8090\", \"0.0.0.0:8090\") or "
     "\"off\"\n"},
    {"{" COMPLETE ",\n\"instance_id\":\"${BOXRELAY_TEST_NOT_SET}\"}",
     "c.json:2:15: /instance_id: environment variable BOXRELAY_TEST_NOT_SET is not set; set it, or write "
     "${BOXRELAY_TEST_NOT_SET:-default}\n"},
    {"{" COMPLETE ",\n\"$schema\":\"${file:/no/such}\"}",
     "c.json:2:11: /$schema: ${file:/no/such}: cannot read the file: No such file or directory\n"},
    {"{" COMPLETE ",\n\"$schema\":\"é${x\"}",
     "c.json:2:11: /$schema: \"${\" without \"}\"; write $${ for a literal ${\n"},
    {"{" COMPLETE ",\n\"$schema\":\"é\", \"naem\":1}", "c.json:2:16: /naem: unknown key, did you mean \"name\"?\n"},
};

static void test_bad_files(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT_OF(bad_files); i++) {
        struct loaded loaded = load_with(bad_files[i].json, NULL, NULL, 0, SETTINGS_NEED_ALL);
        const char *said = bad_files[i].said;
        if (text_ends(said, "..."))
            assert_memory_equal(loaded.problems, said, strlen(said) - 3);
        else
            assert_string_equal(loaded.problems, said);
        assert_null(loaded.settings);
        assert_null(strstr(loaded.problems, "hunter2"));
        assert_null(strstr(loaded.problems, "secret"));
        unload(&loaded);
    }
}

static void test_no_file(void **state)
{
    (void)state;
    struct problems problems = {0}, warnings = {0};
    const char *none[] = {NULL};
    struct settings *settings;
    struct settings_source source = {.file = "gone.json", .environment = none, .need = SETTINGS_NEED_ALL};
    assert_false(settings_load(&source, &settings, &problems, &warnings));
    char *text = printed(&problems);
    assert_string_equal(text, "gone.json: cannot read the configuration: No such file or directory\n");
    free(text);
    struct loaded loaded = load_with(NULL, NULL, NULL, 0, SETTINGS_NEED_POSTGRES);
    assert_string_equal(loaded.problems,
                        "configuration: /postgres: missing; a connection string, as \"host=localhost dbname=orders\"\n"
                        "configuration: no file was read: give one with --config FILE or BOXRELAY_CONFIG, or set all "
                        "that is missing as BOXRELAY_... (boxrelay help options)\n");
    unload(&loaded);
    loaded = load_with(NULL, NULL, NULL, 0, SETTINGS_NEED_NOTHING);
    assert_string_equal(load_good(&loaded)->http_listen, "127.0.0.1:8090");
    unload(&loaded);
}

static void test_many_problems_are_bounded(void **state)
{
    (void)state;
    struct text json;
    text_init(&json, 1 << 20);
    text_add(&json, "{");
    for (int i = 0; i < PROBLEMS_MAX + 20; i++)
        text_addf(&json, "%s\n\"zzzzzzzz%d\": 1", i ? "," : "", i);
    text_add(&json, "}");
    struct loaded loaded = load_with(json.bytes, NULL, NULL, 0, SETTINGS_NEED_NOTHING);
    assert_true(text_ends(loaded.problems, "... and 20 more\n"));
    unload(&loaded);
    text_fini(&json);
}

static void test_defaults(void **state)
{
    (void)state;
    struct loaded loaded = load_with("{" COMPLETE "}", NULL, NULL, 0, SETTINGS_NEED_ALL);
    const struct settings *settings = load_good(&loaded);
    struct outbox_stream_options defaults = {0};
    struct outbox_service_options service;
    assert_string_equal(settings->positions_topic, "boxrelay.o.positions");
    assert_string_equal(settings->http_listen, "127.0.0.1:8090");
    assert_int_equal(settings->positions_replication_factor, 0);
    assert_false(settings->positions_accept_weak || settings->ready_requires_kafka);
    assert_null(settings->instance_id);
    assert_string_equal(settings_bootstrap(settings), "b:1");
    assert_int_equal(settings->outbox_count, 1);
    outbox_stream_defaults(&defaults); /* the outbox room's, for streams without an entry */
    const struct outbox_stream_options *outbox = &settings->outboxes[0];
    assert_string_equal(outbox->name, "main");
    assert_int_equal(outbox->commit_interval_ms, defaults.commit_interval_ms);
    assert_int_equal(outbox->batch_rows_max, defaults.batch_rows_max);
    assert_int_equal(outbox->batch_bytes_max, defaults.batch_bytes_max);
    assert_int_equal(outbox->retention_ms, defaults.retention_ms);
    assert_int_equal(outbox->unknown_topic_is_poison, defaults.unknown_topic_is_poison);
    assert_null(outbox->topics);
    settings_outbox_service(settings, &service);
    assert_string_equal(service.name, "o");
    assert_int_equal(service.stream_count, 1);
    unload(&loaded);
}

static const struct inbox_stream_options *inbox_of(const struct settings *settings, const char *name)
{
    for (size_t i = 0; i < settings->inbox_count; i++)
        if (strcmp(settings->inboxes[i].name, name) == 0)
            return &settings->inboxes[i];
    fail_msg("no inbox %s", name);
    return NULL;
}

/* The example that the documentation begins with, and the inbox room's own defaults. */
static void test_inbox_defaults(void **state)
{
    (void)state;
    struct loaded loaded =
        load_with("{" COMPLETE ",\"inbox\":{\"main\":{\"topics\":[\"payments.event.payment-received.v1\"]}}}", NULL,
                  NULL, 0, SETTINGS_NEED_ALL);
    const struct settings *settings = load_good(&loaded);
    struct inbox_stream_options defaults = {0};
    struct inbox_service_options service;
    inbox_stream_defaults(&defaults);
    defaults.topics = settings->inboxes[0].topics;
    defaults.topic_count = settings->inboxes[0].topic_count;
    assert_true(settings->outbox_on);
    assert_int_equal(settings->inbox_count, 1);
    assert_int_equal(defaults.topic_count, 1);
    assert_string_equal(defaults.topics[0], "payments.event.payment-received.v1");
    assert_true(inbox_stream_same(&settings->inboxes[0], &defaults));
    settings_inbox_service(settings, &service);
    assert_string_equal(service.name, "o");
    assert_string_equal(service.positions_topic, "boxrelay.o.positions");
    assert_int_equal(service.stream_count, 1);
    unload(&loaded);
    loaded = load_with("{" COMPLETE ",\"inbox\":{}}", NULL, NULL, 0, SETTINGS_NEED_ALL);
    assert_int_equal(load_good(&loaded)->inbox_count, 0);
    unload(&loaded);
}

static void test_inbox_values(void **state)
{
    (void)state;
    const char *environment[] = {"BOXRELAY_INBOX_BILLING_TOPICS=b,^c[.]", "BOXRELAY_INBOX_BILLING_ID_RETENTION=60d",
                                 "BOXRELAY_INBOX_BILLING_RETENTION=50d", NULL};
    struct loaded loaded = load_with(
        "{" COMPLETE ",\"outbox\":{},\"inbox\":{\"main\":{\"topics\":[\"a\"],\"start\":\"2001-09-09T03:46:40.5+02:00\","
        "\"id_headers\":[\"x+y\",\"z\"],\"on_missing_id\":\"coordinates\",\"waiting_rows_max\":7,"
        "\"waiting_bytes_max\":\"2MiB\",\"batch_rows_max\":3,\"batch_bytes_max\":\"1MiB\"},"
        "\"other\":{\"topics\":\"a\",\"start\":\"refuse\"}}}",
        environment, NULL, 0, SETTINGS_NEED_ALL);
    const struct settings *settings = load_good(&loaded);
    const struct inbox_stream_options *inbox = inbox_of(settings, "main");
    assert_false(settings->outbox_on);
    assert_int_equal(settings->inbox_count, 3);
    assert_int_equal(inbox->start, INBOX_START_TIME);
    assert_int_equal(inbox->start_ms, 1000000000500);
    assert_int_equal(inbox->id_header_count, 2);
    assert_string_equal(inbox->id_headers[0], "x+y");
    assert_int_equal(inbox->on_missing_id, INBOX_MISSING_ID_COORDINATES);
    assert_int_equal(inbox->waiting_rows_max, 7);
    assert_int_equal(inbox->waiting_bytes_max, 2 << 20);
    assert_int_equal(inbox->batch_rows_max, 3);
    assert_int_equal(inbox->batch_bytes_max, 1 << 20);
    assert_int_equal(inbox_of(settings, "other")->start, INBOX_START_REFUSE);
    inbox = inbox_of(settings, "billing");
    assert_int_equal(inbox->topic_count, 2);
    assert_int_equal(inbox->retention_ms, 50LL * 86400000);
    assert_int_equal(inbox->id_retention_ms, 60LL * 86400000);
    unload(&loaded);
}

/* RFC 3339, and what only looks like it. */
static void test_times(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        int64_t ms; /* -1: none */
    } times[] = {
        {"1970-01-01T00:00:00Z", 0},
        {"2001-09-09T01:46:40Z", 1000000000000},
        {"2001-09-09t01:46:40.0019z", 1000000000001},
        {"2001-09-09 01:46:40.9+00:00", 1000000000900},
        {"2001-09-08T20:16:40-05:30", 1000000000000},
        {"2024-02-29T23:59:60Z", 1709251200000},
        {"2023-02-29T00:00:00Z", -1},
        {"2023-13-01T00:00:00Z", -1},
        {"2023-04-31T00:00:00Z", -1},
        {"2023-04-00T00:00:00Z", -1},
        {"2023-04-01T24:00:00Z", -1},
        {"2023-04-01T00:60:00Z", -1},
        {"2023-04-01T00:00:00", -1},
        {"2023-04-01T00:00:00.Z", -1},
        {"2023-04-01T00:00:00+0200", -1},
        {"2023-04-01T00:00:00Zx", -1},
        {"2023-04-01", -1},
        {"23-04-01T00:00:00Z", -1},
        {"1969-12-31T23:59:59Z", -1},
        {"1970-01-01T00:00:00+00:01", -1},
        {"", -1},
    };
    for (size_t i = 0; i < COUNT_OF(times); i++) {
        int64_t ms = -1;
        bool good = units_time_parse(times[i].text, &ms);
        if (good != (times[i].ms >= 0) || (good && ms != times[i].ms))
            fail_msg("%s is %lld", times[i].text, (long long)ms);
        if (!good)
            continue;
        char text[CLOCK_TEXT_SIZE];
        int64_t again;
        clock_format(ms, true, text);
        assert_true(units_time_parse(text, &again));
        assert_int_equal(again, ms);
    }
}

static void test_values(void **state)
{
    (void)state;
    setenv("BOXRELAY_TEST_DB", "orders", 1);
    write_file("secret", "hunter2\n");
    struct loaded loaded = load_with(
        "{\"name\":\"o-1_a\",\"postgres\":\"dbname=${BOXRELAY_TEST_DB} user=${BOXRELAY_TEST_NO:-relay} "
        "password=${file:secret}\",\"kafka\":{\"bootstrap.servers\":\"b:1\",\"producer\":{\"linger.ms\":7}},"
        "\"instance_id\":\"i\",\"outbox\":{\"main\":{\"topics\":[\"a.b\",\"^orders\\\\.\"],\"retention\":\"2d\","
        "\"batch_bytes_max\":\"4MiB\",\"batch_rows_max\":\"17\",\"on_unknown_topic\":\"poison\"},\"audit_log\":{}},"
        "\"log\":{\"level\":\"debug\"},\"positions\":{\"accept_weak\":true}}",
        NULL, NULL, 0, SETTINGS_NEED_ALL);
    const struct settings *settings = load_good(&loaded);
    assert_string_equal(settings->postgres, "dbname=orders user=relay password=hunter2");
    assert_int_equal(settings->outbox_count, 2);
    const struct outbox_stream_options *outbox = &settings->outboxes[0];
    assert_int_equal(outbox->topic_count, 2);
    assert_string_equal(outbox->topics[1], "^orders\\.");
    assert_int_equal(outbox->retention_ms, 172800000);
    assert_int_equal(outbox->batch_bytes_max, 4 << 20);
    assert_int_equal(outbox->batch_rows_max, 17);
    assert_true(outbox->unknown_topic_is_poison && settings->positions_accept_weak);
    assert_int_equal(settings->log_level, 0);
    assert_int_equal(settings->property_count, 2);
    assert_int_equal(settings->properties[1].scope, KAFKA_PRODUCER);
    unload(&loaded);
}

static void test_order_of_sources(void **state)
{
    (void)state;
    write_file("secret", "dbname=from_file\n");
    const char *environment[] = {
        "BOXRELAY_HTTP_LISTEN=:1",
        "BOXRELAY_LOG_LEVEL=warn",
        "BOXRELAY_POSTGRES_FILE=secret",
        "BOXRELAY_KAFKA_SASL_USERNAME=u",
        "BOXRELAY_NAME=",
        "BOXRELAY_KAFKA_PRODUCER_LINGER_MS=3",
        "PATH=/bin",
        "BOXRELAY_OUTBOX_AUDIT_LOG_RETENTION=2h",
        "BOXRELAY_CONFIG=x",
        "BOXRELAY_OUTBOX_MAIN_TOPICS=a,^b.*",
        "BOXRELAY_PORT=tcp://1",
        NULL,
    };
    const char *sets[] = {"/log/level=error"};
    struct loaded loaded = load_with("{" COMPLETE ",\"http\":{\"listen\":\"off\"},\"log\":{\"format\":\"json\"}}",
                                     environment, sets, 1, SETTINGS_NEED_ALL);
    struct settings *settings = load_good(&loaded);
    assert_string_equal(settings->http_listen, ":1");
    assert_int_equal(settings->log_format, 1);
    assert_int_equal(settings->log_level, 3);
    assert_string_equal(settings->postgres, "dbname=from_file");
    assert_string_equal(settings->name, "o");
    assert_int_equal(settings_outbox(settings, "audit_log")->retention_ms, 7200000);
    assert_int_equal(settings_outbox(settings, "main")->topic_count, 2);
    assert_int_equal(settings->property_count, 3);
    assert_string_equal(loaded.warnings, "");
    unload(&loaded);
}

static void test_messages_about_variables(void **state)
{
    (void)state;
    const char *environment[] = {"BOXRELAY_NAMEE=x",
                                 "BOXRELAY_LOG_LEVEL=loud",
                                 "BOXRELAY_POSTGRES=dbname=x",
                                 "BOXRELAY_POSTGRES_FILE=/x",
                                 "BOXRELAY_NAME_FILE=/no/x",
                                 "BOXRELAY_QQQQQQQQQQQQ=1",
                                 NULL};
    const char *sets[] = {"http/listen", "/name/x=1", "/zzzzzz=1"};
    struct loaded loaded = load_with("{" COMPLETE "}", environment, sets, 3, SETTINGS_NEED_ALL);
    assert_string_equal(loaded.warnings,
                        "environment: BOXRELAY_NAMEE is no option of boxrelay, did you mean "
                        "\"BOXRELAY_NAME\"?\n"
                        "environment: BOXRELAY_QQQQQQQQQQQQ is no option of boxrelay; it is ignored\n");
    static const char *const said[] = {
        "environment BOXRELAY_LOG_LEVEL: /log/level: unknown value \"loud\", has to be one of debug|info|warn|error\n",
        "environment BOXRELAY_POSTGRES_FILE: /postgres: BOXRELAY_POSTGRES is set too; set only one of them\n",
        "environment BOXRELAY_NAME_FILE: /name: cannot read /no/x: No such file or directory\n",
        "--set: \"http/listen\" has to be PATH=VALUE with a path as /http/listen\n",
        "--set /name/x: /name/x: nothing can be set below a value that is no object\n",
        "--set /zzzzzz: /zzzzzz: unknown key; boxrelay help options lists them\n",
    };
    for (size_t i = 0; i < COUNT_OF(said); i++)
        assert_non_null(strstr(loaded.problems, said[i]));
    unload(&loaded);
}

static void note_change(void *opaque, const struct option *option, const char *path)
{
    static const char marks[] = "!~-";
    text_addf(opaque, "%s%c ", path, marks[option->reload]);
}

static void test_compare(void **state)
{
    (void)state;
    struct text changed;
    text_init(&changed, 1024);
    struct loaded a = load_with("{" COMPLETE "}", NULL, NULL, 0, SETTINGS_NEED_ALL);
    struct loaded b = load_with("{\"name\":\"p\",\"postgres\":\"dbname=o\",\"kafka\":{\"bootstrap.servers\":\"b:2\"},"
                                "\"instance_id\":\"i\",\"log\":{\"level\":\"debug\"},"
                                "\"outbox\":{\"main\":{\"retention\":\"1h\"}}}",
                                NULL, NULL, 0, SETTINGS_NEED_ALL);
    settings_compare(load_good(&a), a.settings, note_change, &changed);
    assert_null(changed.bytes);
    settings_compare(a.settings, load_good(&b), note_change, &changed);
    assert_string_equal(changed.bytes, "/name- /instance_id~ /positions/topic- /log/level! "
                                       "/kafka/bootstrap.servers~ /outbox/main/retention! ");
    text_fini(&changed);
    unload(&a);
    unload(&b);
}

/* An inbox that comes or goes shows by its topics. */
static void test_compare_inboxes(void **state)
{
    (void)state;
    struct text changed;
    text_init(&changed, 1024);
    struct loaded a = load_with("{" COMPLETE ",\"inbox\":{\"a\":{\"topics\":\"x\"},\"gone\":{\"topics\":\"x\"}}}", NULL,
                                NULL, 0, SETTINGS_NEED_ALL);
    struct loaded b =
        load_with("{" COMPLETE ",\"inbox\":{\"a\":{\"topics\":\"x,y\",\"start\":\"latest\",\"id_headers\":\"h\"},"
                  "\"new\":{\"topics\":\"x\",\"batch_rows_max\":5000}}}",
                  NULL, NULL, 0, SETTINGS_NEED_ALL);
    settings_compare(load_good(&a), a.settings, note_change, &changed);
    assert_null(changed.bytes);
    settings_compare(a.settings, load_good(&b), note_change, &changed);
    assert_string_equal(changed.bytes, "/inbox/a/topics! /inbox/a/start! /inbox/a/id_headers! /inbox/gone/topics! "
                                       "/inbox/new/topics! ");
    text_fini(&changed);
    unload(&a);
    unload(&b);
}

/* The line with the place, as a terminal shows it: each is a file, where in it, the line and the column of the caret.
 */
static const struct {
    const char *text;
    int line, column;
    bool valid;
    const char *shown;
    size_t caret;
} excerpts[] = {
    {"{ \"a\": 1 }", 1, 3, true, "{ \"a\": 1 }", 2},
    {"{\n\t\t\"a\": 1 }", 2, 3, true, "  \"a\": 1 }", 2},
    {"{\r\n \"a\": 1\r\n}", 2, 2, true, " \"a\": 1", 1},
    {"{ \"\xc3\xa9\xc3\xa9\": 1, \"b\": 2 }", 1, 11, true, "{ \"\xc3\xa9\xc3\xa9\": 1, \"b\": 2 }", 10},
    /* two columns wide, and none */
    {"{ \"\xe6\x97\xa5\": 1, \"b\": 2 }", 1, 10, true, "{ \"\xe6\x97\xa5\": 1, \"b\": 2 }", 10},
    {"{ \"e\xcc\x81\": 1, \"b\": 2 }", 1, 11, true, "{ \"e\xcc\x81\": 1, \"b\": 2 }", 9},
    /* no escape sequence reaches the terminal; bytes that are no UTF-8 neither */
    {"{ \"\x1b[31m\": \xff }", 1, 12, false, "{ \"?[31m\": ? }", 11},
    /* behind the end, and beyond the text */
    {"{ \"a\": 1", 1, 40, false, "{ \"a\": 1", 8},
    {"{}", 2, 1, true, NULL, 0},
    /* secrets: of the line, of the line above, misspelt, without quotes, broken, inside */
    {"{ \"postgres\": \"password=x\", \"a\": 1 }", 1, 29, true, "{ \"postgres\": ***, \"a\": 1 }", 19},
    {"{ \"sasl.password\":\n \"hunter2\", \"a\": 1 }", 2, 13, true, " ***, \"a\": 1 }", 6},
    {"{ \"sasl.pasword\": \"hunter2\" }", 1, 3, true, "{ \"sasl.pasword\": *** }", 2},
    {"{ postgres: password=hunter2 x, \"a\" }", 1, 3, false, "{ postgres: ***", 2},
    {"{ \"postgres\": \"a\"hunter2\" }", 1, 20, false, "{ \"postgres\": ***", 14},
    {"{ \"postgres\": \"a\\qhunter2\" }", 1, 18, false, "{ \"postgres\": ***", 14},
    {"{ \"name\": \"postgres\", \"a\": 1 }", 1, 24, false, "{ \"name\": \"postgres\", \"a\": 1 }", 23},
};

static void test_excerpts(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT_OF(excerpts); i++) {
        struct excerpt excerpt = excerpt_of(excerpts[i].text, excerpts[i].line, excerpts[i].column, excerpts[i].valid);
        if (excerpts[i].shown)
            assert_string_equal(excerpt.line, excerpts[i].shown);
        else
            assert_null(excerpt.line);
        assert_int_equal(excerpt.caret, excerpts[i].caret);
        excerpt_fini(&excerpt);
    }
}

/* A line of 4000 columns, half of them wide: wherever the place is, the caret stands under it, within 106 columns. */
static void test_long_lines_are_cut_around_the_place(void **state)
{
    (void)state;
    struct text line;
    text_init(&line, 1 << 16);
    for (int i = 0; i < 1000; i++)
        text_add(&line, "\xe6\x97\xa5\xe6\x9c\xac");
    for (int place = 1; place < 2000; place += 7) {
        char *marked = text_copy(line.bytes);
        memcpy(marked + 3 * (place - 1), "\xe2\x96\xa0", 3); /* one column wide */
        struct excerpt excerpt = excerpt_of(marked, 1, place, true);
        const char *mark = strstr(excerpt.line, "\xe2\x96\xa0");
        assert_non_null(mark);
        size_t columns = 0;
        for (const char *c = excerpt.line; c < mark; c++)
            columns += *c == '.' ? 1 : ((unsigned char)*c & 0xc0) == 0xc0 ? 2 : 0;
        assert_int_equal(columns, excerpt.caret);
        assert_true(strlen(excerpt.line) < 3 * 106 && excerpt.caret <= EXCERPT_COLUMNS_MAX);
        excerpt_fini(&excerpt);
        free(marked);
    }
    text_fini(&line);
}

static void test_problems_as_data(void **state)
{
    (void)state;
    struct problems problems = {0};
    struct where where = {.source = "c.json", .line = 1, .column = 3, .text = "{ \"naem\": 1 }", .pointer = "/naem"};
    problems_suggest(&problems, where, "name", "unknown key");
    json_t *list = problems_json(&problems);
    char *text = json_dumps(list, JSON_COMPACT | JSON_SORT_KEYS);
    assert_string_equal(text, "[{\"caret\":2,\"column\":3,\"excerpt\":\"{ \\\"naem\\\": 1 }\",\"line\":1,"
                              "\"pointer\":\"/naem\",\"source\":\"c.json\",\"suggestion\":\"name\","
                              "\"text\":\"/naem: unknown key, did you mean \\\"name\\\"?\"}]");
    free(text);
    json_decref(list);
    problems_fini(&problems);
}

/* ${...}: what becomes of it, or ("!") what is said. */
static const char *const interpolations[][2] = {
    {"", ""},
    {"a$b$$c{}", "a$b$$c{}"},
    {"${BOXRELAY_TEST_A}", "a"},
    {"x${BOXRELAY_TEST_A}y${BOXRELAY_TEST_A}z", "xayaz"},
    {"${BOXRELAY_TEST_EMPTY}", ""},
    {"${BOXRELAY_TEST_EMPTY:-d}", "d"},
    {"${BOXRELAY_TEST_NO:-}", ""},
    {"${BOXRELAY_TEST_NO:-a:-b$}", "a:-b$"},
    {"${BOXRELAY_TEST_NO:-${BOXRELAY_TEST_A}}", "a"},
    {"${BOXRELAY_TEST_A:-${BOXRELAY_TEST_NO}}", "a"},
    {"${BOXRELAY_TEST_NO:-${BOXRELAY_TEST_NO:-{d}}}", "{d}"},
    {"$${BOXRELAY_TEST_A}", "${BOXRELAY_TEST_A}"},
    {"$$${BOXRELAY_TEST_A}", "$${BOXRELAY_TEST_A}"},
    {"${BOXRELAY_TEST_NO:-$${x}", "${x"},
    {"${BOXRELAY_TEST_MARK}", "${BOXRELAY_TEST_A}"}, /* a value is not looked at again */
    {"${file:secret}", "hunter2"},
    {"${file:${BOXRELAY_TEST_NO:-secret}}", "hunter2"},
    {"${file:lines}", "a\n\nb"},
    {"${BOXRELAY_TEST_NO}", "!environment variable BOXRELAY_TEST_NO is not set; set it, or write "
                            "${BOXRELAY_TEST_NO:-default}"},
    {"${file:gone}", "!${file:gone}: cannot read the file: No such file or directory"},
    {"${file:.}", "!${file:.}: cannot read the file: Is a directory"},
    {"${a", "!\"${\" without \"}\"; write $${ for a literal ${"},
    {"${a:-${b}", "!\"${\" without \"}\"; write $${ for a literal ${"},
    {"${}", "!a \"${...}\" that is none of ${VAR}, ${VAR:-default}, ${file:PATH}; write $${ for a literal ${"},
    {"${1a}", "!a \"${...}\" that is none of ..."},
    {"${a b}", "!a \"${...}\" that is none of ..."},
    {"${hunter2?}", "!a \"${...}\" that is none of ..."},
    {"${a-b}", "!a \"${...}\" that is none of ..."},
    {"${a:-${b:-${c:-${d:-${e:-${f:-${g:-${h:-${i:-x}}}}}}}}}", "!more than 8 \"${\" inside each other"},
};

static void test_interpolation(void **state)
{
    (void)state;
    setenv("BOXRELAY_TEST_A", "a", 1);
    setenv("BOXRELAY_TEST_EMPTY", "", 1);
    setenv("BOXRELAY_TEST_MARK", "${BOXRELAY_TEST_A}", 1);
    write_file("secret", "hunter2\r\n\n");
    write_file("lines", "a\n\nb\n");
    for (size_t i = 0; i < COUNT_OF(interpolations); i++) {
        char why[512] = "";
        const char *wanted = interpolations[i][1];
        char *value = interpolate(interpolations[i][0], NULL, why);
        if (wanted[0] != '!')
            assert_string_equal(value, wanted);
        else
            assert_null(value);
        if (wanted[0] == '!' && text_ends(wanted, "..."))
            assert_memory_equal(why, wanted + 1, strlen(wanted) - 4);
        else if (wanted[0] == '!')
            assert_string_equal(why, wanted + 1);
        assert_null(strstr(why, "hunter2"));
        free(value);
    }
    unlink("lines");
}

/* A relative ${file:...} begins where the configuration is, not where the program was started. */
static void test_files_beside_the_configuration(void **state)
{
    (void)state;
    char why[512];
    write_file("secret", "hunter2\n");
    char *path = text_printf("%s/secret", folder), *here = getcwd(NULL, 0);
    assert_int_equal(chdir("/"), 0);
    char *value = interpolate("${file:secret}", folder, why);
    assert_string_equal(value, "hunter2");
    free(value);
    assert_null(interpolate("${file:gone}", folder, why));
    assert_non_null(strstr(why, folder)); /* says where it looked */
    assert_int_equal(chdir(here), 0);
    free(here);
    free(path);
}

/* A value that cannot be had is one mistake, not two. */
static void test_no_mistake_follows_from_another(void **state)
{
    (void)state;
    const char *environment[] = {"BOXRELAY_NAME_FILE=/no/x", NULL};
    struct loaded loaded =
        load_with("{\"postgres\":\"${BOXRELAY_TEST_NO}\",\"kafka\":{\"bootstrap.servers\":\"${file:gone}\"}}",
                  environment, NULL, 0, SETTINGS_NEED_ALL);
    assert_string_equal(loaded.problems,
                        "c.json:1:13: /postgres: environment variable BOXRELAY_TEST_NO is not set; set it, or write "
                        "${BOXRELAY_TEST_NO:-default}\n"
                        "c.json:1:64: /kafka/bootstrap.servers: ${file:gone}: cannot read the file: No such file or "
                        "directory\n"
                        "environment BOXRELAY_NAME_FILE: /name: cannot read /no/x: No such file or directory\n");
    unload(&loaded);
}

static void test_origins(void **state)
{
    (void)state;
    const char *environment[] = {"BOXRELAY_LOG_LEVEL=warn", NULL};
    const char *sets[] = {"/log/format=json"};
    struct loaded loaded = load_with("{" COMPLETE ",\n\"log\": {\"level\": \"info\", \"format\": \"text\"}}",
                                     environment, sets, 1, SETTINGS_NEED_ALL);
    const struct settings *settings = load_good(&loaded);
    assert_string_equal(settings_origin(settings, "/log/level")->source, "environment BOXRELAY_LOG_LEVEL");
    assert_string_equal(settings_origin(settings, "/log/format")->source, "--set /log/format");
    const struct settings_origin *origin = settings_origin(settings, "/kafka/bootstrap.servers");
    assert_string_equal(origin->source, "c.json");
    assert_int_equal(origin->line, 1);
    assert_null(settings_origin(settings, "/http/listen"));
    unload(&loaded);
}

/* An option of outboxes that a reload would not see as changed would not be applied. */
static void test_every_outbox_option_is_compared(void **state)
{
    (void)state;
    static const char *const topics[] = {"a"};
    for (size_t i = 0; i < option_count; i++) {
        const struct option *option = &option_table[i];
        struct outbox_stream_options a = {0}, b = {0};
        if (!text_starts(option->path, "/outbox/") || option->store == OPTION_NOWHERE)
            continue;
        assert_true(outbox_stream_same(&a, &b));
        if (option->store == OPTION_AS_LIST)
            b.topics = topics, b.topic_count = 1;
        else
            *((char *)&b + option->at) = 1;
        if (outbox_stream_same(&a, &b))
            fail_msg("outbox_stream_same does not look at %s", option->path);
    }
}

static void test_every_inbox_option_is_compared(void **state)
{
    (void)state;
    static const char *const words[] = {"a"};
    for (size_t i = 0; i < option_count; i++) {
        const struct option *option = &option_table[i];
        struct inbox_stream_options a = {0}, b = {0};
        if (!text_starts(option->path, "/inbox/"))
            continue;
        assert_true(inbox_stream_same(&a, &b));
        if (option->store == OPTION_AS_LIST) {
            *(const char *const **)((char *)&b + option->at) = words;
            *(size_t *)((char *)&b + option->count_at) = 1;
        } else {
            *((char *)&b + option->at) = 1;
        }
        if (inbox_stream_same(&a, &b))
            fail_msg("inbox_stream_same does not look at %s", option->path);
        if (option->store != OPTION_AS_START)
            continue;
        a = (struct inbox_stream_options){.start = INBOX_START_TIME, .start_ms = 1};
        b = (struct inbox_stream_options){.start = INBOX_START_TIME, .start_ms = 2};
        assert_false(inbox_stream_same(&a, &b));
    }
}

/* The table is whole: each default can be read, words have places, every path has a variable that leads back to it. */
static void test_table(void **state)
{
    (void)state;
    for (size_t i = 0; i < option_count; i++) {
        const struct option *option = &option_table[i];
        char variable[128], values[128];
        assert_true(option->path[0] == '/' && option->meaning && option->meaning[0]);
        assert_int_equal(option->type == OPTION_WORD || option->type == OPTION_START, option->words != NULL);
        assert_int_equal(option->type == OPTION_TOPICS || option->type == OPTION_HEADERS, option->count_at != 0);
        assert_true(option->max == 0 || option->min <= option->max);
        option_environment(option, variable, sizeof variable);
        option_values(option, values, sizeof values);
        assert_true(text_starts(variable, "BOXRELAY_") && values[0]);
        assert_true(option_inside("/kafka/producer") && !option_inside("/name"));
        assert_ptr_equal(option_find(option->path)->path, option->path);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_bad_files),
        cmocka_unit_test(test_no_file),
        cmocka_unit_test(test_defaults),
        cmocka_unit_test(test_values),
        cmocka_unit_test(test_order_of_sources),
        cmocka_unit_test(test_messages_about_variables),
        cmocka_unit_test(test_compare),
        cmocka_unit_test(test_table),
        cmocka_unit_test(test_every_outbox_option_is_compared),
        cmocka_unit_test(test_every_inbox_option_is_compared),
        cmocka_unit_test(test_inbox_defaults),
        cmocka_unit_test(test_inbox_values),
        cmocka_unit_test(test_compare_inboxes),
        cmocka_unit_test(test_times),
        cmocka_unit_test(test_origins),
        cmocka_unit_test(test_no_mistake_follows_from_another),
        cmocka_unit_test(test_files_beside_the_configuration),
        cmocka_unit_test(test_interpolation),
        cmocka_unit_test(test_problems_as_data),
        cmocka_unit_test(test_long_lines_are_cut_around_the_place),
        cmocka_unit_test(test_excerpts),
        cmocka_unit_test(test_many_problems_are_bounded),
    };
    return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
