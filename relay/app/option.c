#include "option.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>

#include "base/attributes.h"
#include "kafka/properties.h"
#include "names.h"
#include "outbox/service.h"
#include "settings.h"
#include "suggest.h"
#include "text.h"
#include "units.h"

#define IN_RELAY(store_, field_)  .store = (store_), .at = offsetof(struct settings, field_)
#define IN_OUTBOX(store_, field_) .store = (store_), .at = offsetof(struct outbox_stream_options, field_)
#define IN_INBOX(store_, field_)  .store = (store_), .at = offsetof(struct inbox_stream_options, field_)

#define LISTEN "^(off|(\\[[^\\] ]*\\]:|[^:\\[ ]*:)?[0-9]{1,5})$"

enum { SECOND_MS = 1000, DAY_MS = 86400000, KIB = 1024, MIB = 1048576 };

const struct option option_table[] = {
    {.path = "/name",
     .type = OPTION_TEXT,
     IN_RELAY(OPTION_AS_TEXT, name),
     .check = names_relay,
     .required = true,
     .pattern = "^[a-z][a-z0-9_-]{0,63}$",
     .reload = RELOAD_REFUSED,
     .meaning = "The relay's name, part of every topic, group and transactional id it uses in Kafka. One name belongs "
                "to one database; keep it for ever."},
    {.path = "/instance_id",
     .type = OPTION_TEXT,
     IN_RELAY(OPTION_AS_TEXT, instance_id),
     .check = names_kafka,
     .pattern = OPTION_KAFKA_PATTERN,
     .reload = RELOAD_ANEW,
     .meaning = "Static membership (group.instance.id): a restart within the session time-out moves no stream. Has to "
                "differ between the instances of a relay."},
    {.path = "/postgres",
     .type = OPTION_TEXT,
     IN_RELAY(OPTION_AS_TEXT, postgres),
     .check = names_conninfo,
     .required = true,
     .secret = true,
     .pattern = ".",
     .reload = RELOAD_ANEW,
     .meaning =
         "libpq's connection string, passed on untouched: \"host=... dbname=... user=...\" or a postgresql:// URI."},
    {.path = "/kafka/*",
     .type = OPTION_PROPERTY,
     .reload = RELOAD_ANEW,
     .meaning =
         "librdkafka properties for all clients. bootstrap.servers is required; those that exactly-once rests on "
         "are refused with the reason."},
    {.path = "/kafka/producer/*",
     .type = OPTION_PROPERTY,
     .reload = RELOAD_ANEW,
     .meaning = "The same, for producers only."},
    {.path = "/kafka/consumer/*",
     .type = OPTION_PROPERTY,
     .reload = RELOAD_ANEW,
     .meaning = "The same, for consumers only."},
    {.path = "/outbox/*/commit_interval_ms",
     .type = OPTION_INTEGER,
     IN_OUTBOX(OPTION_AS_INT32, commit_interval_ms),
     .otherwise = "5",
     .unit = "ms",
     .max = 10000,
     .meaning = "Least time from one Kafka commit to the next transaction's first record; shorter is slower in Kafka."},
    {.path = "/outbox/*/batch_rows_max",
     .type = OPTION_INTEGER,
     IN_OUTBOX(OPTION_AS_INT32, batch_rows_max),
     .otherwise = "5000",
     .unit = "rows",
     .min = 1,
     .max = 100000,
     .meaning = "Most rows in one transaction."},
    {.path = "/outbox/*/batch_bytes_max",
     .type = OPTION_SIZE,
     IN_OUTBOX(OPTION_AS_INT64, batch_bytes_max),
     .otherwise = "8MiB",
     .min = 64 * KIB,
     .max = 256 * MIB,
     .meaning = "Most payload in one transaction, and so the memory of a stream."},
    {.path = "/outbox/*/retention",
     .type = OPTION_DURATION,
     IN_OUTBOX(OPTION_AS_INT64, retention_ms),
     .otherwise = "24h",
     .min = SECOND_MS,
     .max = 3650LL * DAY_MS,
     .meaning = "How long published rows are kept in the table at least."},
    {.path = "/outbox/*/size_alarm",
     .type = OPTION_SIZE,
     IN_OUTBOX(OPTION_AS_INT64, size_alarm_bytes),
     .otherwise = "10GiB",
     .min = 1 * MIB,
     .max = 1024LL * 1024 * 1024 * MIB,
     .meaning = "Beyond this size of the table, with indexes, the log warns and boxrelay_outbox_size_alarm is 1."},
    {.path = "/outbox/*/topics",
     .type = OPTION_TOPICS,
     IN_OUTBOX(OPTION_AS_LIST, topics),
     .count_at = offsetof(struct outbox_stream_options, topic_count),
     .min = 1,
     .max = SETTINGS_TOPICS_MAX,
     .meaning =
         "The topics that rows may name: names, and regular expressions (POSIX extended) beginning with ^. All if "
         "left out."},
    {.path = "/outbox/*/on_unknown_topic",
     .type = OPTION_WORD,
     IN_OUTBOX(OPTION_AS_BOOL, unknown_topic_is_poison),
     .words = "wait|poison",
     .otherwise = "wait",
     .meaning = "A row names a topic that does not exist: wait until it is created, or treat the row by on_poison."},
    {.path = "/outbox/*/on_poison",
     .type = OPTION_WORD,
     .words = "stop",
     .later = "park|dead_letter",
     .otherwise = "stop",
     .meaning = "A row that can never pass: stop its stream."},
    {.path = "/outbox/*/headers",
     .type = OPTION_WORD,
     .words = "plain",
     .later = "cloudevents|debezium",
     .otherwise = "plain",
     .meaning = "Which headers records get besides the row's own: id, type and relay."},
    {.path = "/outbox/*/dead_letter_topic", .type = OPTION_REFUSED, .meaning = "Dead letters to a topic."},
    {.path = "/inbox/*/topics",
     .type = OPTION_TOPICS,
     IN_INBOX(OPTION_AS_LIST, topics),
     .count_at = offsetof(struct inbox_stream_options, topic_count),
     .min = 1,
     .max = INBOX_TOPICS_MAX,
     .required = true,
     .meaning = "The topics whose messages are stored: names, and regular expressions (POSIX extended) beginning with "
                "^. Kafka's own topics and the relay's positions are never among them."},
    {.path = "/inbox/*/start",
     .type = OPTION_START,
     IN_INBOX(OPTION_AS_START, start),
     .time_at = offsetof(struct inbox_stream_options, start_ms),
     .words = "earliest|latest|refuse",
     .otherwise = "earliest",
     .meaning = "Where an inbox that has never read begins, once, with the partitions that there are then. What is "
                "found later is read from its beginning."},
    {.path = "/inbox/*/id_headers",
     .type = OPTION_HEADERS,
     IN_INBOX(OPTION_AS_LIST, id_headers),
     .count_at = offsetof(struct inbox_stream_options, id_header_count),
     .min = 1,
     .max = INBOX_ID_HEADERS_MAX,
     .otherwise = "[\"ce_source+ce_id\", \"id\", \"idempotency-key\"]",
     .meaning = "A message's idempotency id is the value of the first of these headers that it has; a+b joins two. "
                "One inbox stores an id once."},
    {.path = "/inbox/*/on_missing_id",
     .type = OPTION_WORD,
     IN_INBOX(OPTION_AS_INT32, on_missing_id),
     .words = "dead_letter|coordinates",
     .otherwise = "dead_letter",
     .meaning = "A message has none of those headers: set it aside, or take topic, partition and offset for its id, "
                "which does not know a message that was sent twice."},
    {.path = "/inbox/*/waiting_rows_max",
     .type = OPTION_INTEGER,
     IN_INBOX(OPTION_AS_INT64, waiting_rows_max),
     .otherwise = "1000000",
     .unit = "rows",
     .min = 1,
     .max = 1000000000,
     .meaning = "With more messages waiting in the inbox its partitions pause, until business code has caught up."},
    {.path = "/inbox/*/waiting_bytes_max",
     .type = OPTION_SIZE,
     IN_INBOX(OPTION_AS_INT64, waiting_bytes_max),
     .otherwise = "1GiB",
     .min = 1 * MIB,
     .max = 1024LL * 1024 * 1024 * MIB,
     .meaning = "The same for the bytes of those messages."},
    {.path = "/inbox/*/retention",
     .type = OPTION_DURATION,
     IN_INBOX(OPTION_AS_INT64, retention_ms),
     .otherwise = "24h",
     .min = SECOND_MS,
     .max = 3650LL * DAY_MS,
     .meaning = "How long messages that are done are kept in the table at least."},
    {.path = "/inbox/*/id_retention",
     .type = OPTION_DURATION,
     IN_INBOX(OPTION_AS_INT64, id_retention_ms),
     .otherwise = "30d",
     .min = SECOND_MS,
     .max = 3650LL * DAY_MS,
     .meaning = "How long ids are remembered at least: a message sent again within it is not stored again. Not shorter "
                "than retention."},
    {.path = "/inbox/*/batch_rows_max",
     .type = OPTION_INTEGER,
     IN_INBOX(OPTION_AS_INT32, batch_rows_max),
     .otherwise = "5000",
     .unit = "rows",
     .min = 1,
     .max = 100000,
     .meaning = "Most messages stored in one transaction."},
    {.path = "/inbox/*/batch_bytes_max",
     .type = OPTION_SIZE,
     IN_INBOX(OPTION_AS_INT64, batch_bytes_max),
     .otherwise = "8MiB",
     .min = 64 * KIB,
     .max = 256 * MIB,
     .meaning = "Most payload stored in one transaction, and so the memory of a stream."},
    {.path = "/positions/topic",
     .type = OPTION_TEXT,
     IN_RELAY(OPTION_AS_TEXT, positions_topic),
     .check = names_topic,
     .otherwise = "boxrelay.<name>.positions",
     .pattern = OPTION_TOPIC_PATTERN,
     .reload = RELOAD_REFUSED,
     .meaning = "The compacted topic that holds how far each outbox has been published."},
    {.path = "/positions/replication_factor",
     .type = OPTION_INTEGER,
     IN_RELAY(OPTION_AS_INT32, positions_replication_factor),
     .otherwise = "0",
     .unit = "replicas",
     .max = 32767,
     .reload = RELOAD_REFUSED,
     .meaning = "Replicas of that topic when the relay creates it; 0: three, or as many as there are brokers."},
    {.path = "/positions/accept_weak",
     .type = OPTION_BOOLEAN,
     IN_RELAY(OPTION_AS_BOOL, positions_accept_weak),
     .otherwise = "false",
     .reload = RELOAD_REFUSED,
     .meaning =
         "Start although that topic has fewer than three replicas or min.insync.replicas below 2 on a cluster of "
         "three brokers or more: a lost broker can then lose messages."},
    {.path = "/http/listen",
     .type = OPTION_TEXT,
     IN_RELAY(OPTION_AS_TEXT, http_listen),
     .check = names_listen,
     .otherwise = "127.0.0.1:8090",
     .pattern = LISTEN,
     .reload = RELOAD_ANEW,
     .meaning = "Address and port of health, metrics and status; \"off\" for none."},
    {.path = "/health/format",
     .type = OPTION_WORD,
     IN_RELAY(OPTION_AS_BOOL, health_spring),
     .words = "microprofile|spring",
     .otherwise = "microprofile",
     .meaning = "The JSON form of the pages below /health; Spring's is also at /actuator/health."},
    {.path = "/health/ready_requires_kafka",
     .type = OPTION_BOOLEAN,
     IN_RELAY(OPTION_AS_BOOL, ready_requires_kafka),
     .otherwise = "false",
     .meaning =
         "Not ready while Kafka is away. A sidecar's readiness takes its whole pod out of service, and an outbox "
         "exists to survive a broker outage: leave it off there."},
    {.path = "/log/format",
     .type = OPTION_WORD,
     IN_RELAY(OPTION_AS_INT32, log_format),
     .words = "auto|json|text",
     .otherwise = "auto",
     .meaning = "Log lines on stderr; auto: text on a terminal, else JSON."},
    {.path = "/log/level",
     .type = OPTION_WORD,
     IN_RELAY(OPTION_AS_INT32, log_level),
     .words = "debug|info|warn|error",
     .otherwise = "info",
     .meaning = "The least level that is logged."},
    {.path = "/on_failover",
     .type = OPTION_WORD,
     .words = "stop",
     .later = "recover",
     .otherwise = "stop",
     .meaning = "PostgreSQL lost commits in a failover or restore: stop and wait for an operator (boxrelay rebase)."},
    {.path = "/$schema", .type = OPTION_IGNORED, .meaning = "For editors; not read."},
};

const size_t option_count = COUNT_OF(option_table);

/* Where in the pattern the path ended; NULL: it does not match so far. */
static const char *match(const char *pattern, const char *path)
{
    while (*pattern && *path) {
        if (*pattern == '*') {
            pattern++;
            path += strcspn(path, "/");
        } else if (*pattern++ != *path++) {
            return NULL;
        }
    }
    return *path ? NULL : pattern;
}

bool option_matches(const char *pattern, const char *path)
{
    const char *rest = match(pattern, path);
    return rest && *rest == '\0';
}

const struct option *option_find(const char *path)
{
    const struct option *found = NULL;
    size_t length = strlen(path);
    for (size_t i = 0; i < option_count; i++) {
        if (strncmp(option_table[i].path, path, length) == 0 && option_table[i].path[length] == '/')
            return NULL; /* /kafka/producer is an object, not the property "producer" */
        if (!found && option_matches(option_table[i].path, path))
            found = &option_table[i];
    }
    return found;
}

bool option_child(const struct option *option, const char *parent, char *word, size_t size)
{
    const char *rest = match(option->path, parent);
    if (!rest || *rest != '/')
        return false;
    snprintf(word, size, "%.*s", (int)strcspn(rest + 1, "/"), rest + 1);
    return true;
}

bool option_inside(const char *path)
{
    char word[64];
    for (size_t i = 0; i < option_count; i++)
        if (option_child(&option_table[i], path, word, sizeof word))
            return true;
    return false;
}

const char *option_reload_name(enum option_reload reload)
{
    static const char *const names[] = {"at once", "by new connections", "no, by a restart"};
    return names[reload];
}

static void offer(void *suggest, const char *name) { suggest_offer(suggest, name); }

bool option_key_is_secret(const char *key)
{
    static const char *const parts[] = {"pass", "pwd", "secret", "token", "credential", "key.pem", "dsn", "conninfo"};
    for (size_t i = 0; i < COUNT_OF(parts); i++)
        if (strcasestr(key, parts[i]))
            return true;
    struct suggest suggest = {.word = key};
    for (size_t i = 0; i < option_count; i++)
        if (option_table[i].secret)
            suggest_offer(&suggest, option_table[i].path + 1);
    kafka_property_names(KAFKA_NAMES_SECRET, offer, &suggest);
    return suggest.best != NULL || kafka_property_is_secret(key);
}

static void number_format(const struct option *option, int64_t value, char text[UNITS_TEXT_SIZE])
{
    if (option->type == OPTION_DURATION)
        units_duration_format(value, text);
    else if (option->type == OPTION_SIZE)
        units_size_format(value, text);
    else
        snprintf(text, UNITS_TEXT_SIZE, "%lld", (long long)value);
}

void option_values(const struct option *option, char *text, size_t size)
{
    char min[UNITS_TEXT_SIZE], max[UNITS_TEXT_SIZE];
    switch (option->type) {
    case OPTION_BOOLEAN:
        snprintf(text, size, "true or false");
        return;
    case OPTION_INTEGER:
    case OPTION_DURATION:
    case OPTION_SIZE:
        number_format(option, option->min, min);
        number_format(option, option->max, max);
        snprintf(text, size, "%s to %s%s%s", min, max, option->unit ? " " : "", option->unit ? option->unit : "");
        return;
    case OPTION_WORD:
        snprintf(text, size, "%s", option->words);
        return;
    case OPTION_TOPICS:
        snprintf(text, size, "list of names and ^regexes");
        return;
    case OPTION_HEADERS:
        snprintf(text, size, "list of names and pairs a+b");
        return;
    case OPTION_START:
        snprintf(text, size, "%s, or a time as 2030-01-31T12:00:00Z", option->words);
        return;
    case OPTION_PROPERTY:
        snprintf(text, size, "text, number, true or false");
        return;
    case OPTION_REFUSED:
        snprintf(text, size, "not available in this version");
        return;
    default:
        snprintf(text, size, "text");
    }
}

void option_environment(const struct option *option, char *text, size_t size)
{
    size_t length = (size_t)snprintf(text, size, "BOXRELAY");
    bool stream = text_starts(option->path, "/outbox/") || text_starts(option->path, "/inbox/");
    for (const char *c = option->path; *c && length + 12 < size; c++) {
        if (*c == '*')
            length += (size_t)snprintf(text + length, size - length, stream ? "<NAME>" : "<PROPERTY>");
        else
            text[length++] = isalnum((unsigned char)*c) ? (char)toupper((unsigned char)*c) : '_';
    }
    text[length] = '\0';
}

void option_wrap(FILE *out, const char *text)
{
    size_t column = 0;
    while (*text) {
        size_t span = strcspn(text, " ");
        if (column == 0 || column + 1 + span > 72) {
            fprintf(out, "%s      ", column ? "\n" : "");
            column = 0;
        } else {
            fputc(' ', out);
            column++;
        }
        fprintf(out, "%.*s", (int)span, text);
        column += span;
        text += span + (text[span] == ' ');
    }
    fputc('\n', out);
}

static void help_text(FILE *out, const struct option *option, const char *values, const char *variable)
{
    fprintf(out, "%s\n", option->path);
    option_wrap(out, option->meaning);
    fprintf(out, "      values: %s", values);
    if (option->later)
        fprintf(out, " (not available in this version: %s)", option->later);
    if (option->otherwise)
        fprintf(out, "; default: %s", option->otherwise);
    if (option->required)
        fprintf(out, "; required");
    fprintf(out, "\n      reload (SIGHUP): %s", option_reload_name(option->reload));
    fprintf(out, "\n      environment: %s, %s_FILE\n\n", variable, variable);
}

/* "|" ends a cell. */
static void cell(FILE *out, const char *text)
{
    for (; *text; text++)
        fprintf(out, *text == '|' ? "\\|" : "%c", *text);
}

static void help_markdown(FILE *out, const struct option *option, const char *values, const char *variable)
{
    fprintf(out, "| `%s` | ", option->path);
    cell(out, values);
    if (option->later) {
        fputs(" (later: ", out);
        cell(out, option->later);
        fputc(')', out);
    }
    fprintf(out, " | %s | ", option->required ? "required" : option->otherwise ? option->otherwise : "");
    cell(out, option->meaning);
    fprintf(out, " | %s | `%s` |\n", option_reload_name(option->reload), variable);
}

void option_help(FILE *out, bool markdown)
{
    if (markdown)
        fputs(
            "| option | values | default | meaning | applied by a reload | environment |\n|---|---|---|---|---|---|\n",
            out);
    for (size_t i = 0; i < option_count; i++) {
        char values[128], variable[128];
        if (option_table[i].type == OPTION_IGNORED || (markdown && option_table[i].type == OPTION_REFUSED))
            continue;
        option_values(&option_table[i], values, sizeof values);
        option_environment(&option_table[i], variable, sizeof variable);
        (markdown ? help_markdown : help_text)(out, &option_table[i], values, variable);
    }
}
