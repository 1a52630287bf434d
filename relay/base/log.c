#include "base/log.h"

#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/uio.h>
#include <unistd.h>

#include "base/clock.h"

/* Atomic: a reload changes them while other threads log. */
static _Atomic int level_min = LOG_INFO;
static _Atomic bool as_text;

static const char *const level_names[] = {"debug", "info", "warn", "error"};
static const char *const format_names[] = {"auto", "json", "text"};

void log_init(enum log_format format, enum log_level level)
{
    level_min = (int)level;
    as_text = format == LOG_FORMAT_TEXT || (format == LOG_FORMAT_AUTO && isatty(STDERR_FILENO));
}

static bool field_present(const struct log_field *field)
{
    return field->kind == LOG_FIELD_INTEGER || field->text != NULL;
}

/* Text from outside (server messages) may be no UTF-8; a line that cannot be written whole is worse than a '?'. */
static json_t *string_of(const char *text)
{
    json_t *value = json_string(text);
    if (value)
        return value;
    char copy[ERROR_TEXT_MAX];
    snprintf(copy, sizeof copy, "%s", text);
    for (char *c = copy; *c; c++)
        if ((unsigned char)*c >= 0x80)
            *c = '?';
    return json_string(copy);
}

static char *line_json(enum log_level level, const char *ts, const char *msg, const struct log_field *fields)
{
    json_t *line = json_object();
    json_object_set_new(line, "ts", json_string(ts));
    json_object_set_new(line, "level", json_string(level_names[level]));
    json_object_set_new(line, "msg", string_of(msg));
    for (const struct log_field *field = fields; field->name; field++)
        if (field_present(field))
            json_object_set_new(line, field->name,
                                field->kind == LOG_FIELD_INTEGER ? json_integer(field->integer)
                                                                 : string_of(field->text));
    char *text = json_dumps(line, JSON_COMPACT | JSON_ENSURE_ASCII);
    json_decref(line);
    return text;
}

static char *line_text(enum log_level level, const char *ts, const char *msg, const struct log_field *fields)
{
    char *text = NULL;
    size_t size = 0;
    FILE *out = open_memstream(&text, &size);
    if (!out)
        return NULL;
    fprintf(out, "%s %-5s %s", ts, level_names[level], msg);
    for (const struct log_field *field = fields; field->name; field++) {
        if (!field_present(field))
            continue;
        if (field->kind == LOG_FIELD_INTEGER)
            fprintf(out, " %s=%lld", field->name, (long long)field->integer);
        else if (strpbrk(field->text, " \"="))
            fprintf(out, " %s=\"%s\"", field->name, field->text);
        else
            fprintf(out, " %s=%s", field->name, field->text);
    }
    fclose(out);
    return text;
}

void log_write(enum log_level level, const char *msg, const struct log_field *fields)
{
    if ((int)level < level_min)
        return;
    char ts[CLOCK_TEXT_SIZE];
    clock_format(clock_unix_ms(), true, ts);
    char *text = as_text ? line_text(level, ts, msg, fields) : line_json(level, ts, msg, fields);
    if (!text)
        return;
    char line_end[] = "\n";
    struct iovec parts[] = {{.iov_base = text, .iov_len = strlen(text)}, {.iov_base = line_end, .iov_len = 1}};
    ssize_t written = writev(STDERR_FILENO, parts, COUNT_OF(parts));
    (void)written; /* nobody to tell */
    free(text);
}

enum log_news log_news(struct log_said *said, const struct error *error, int64_t about, int64_t now_ms)
{
    if (error->class == ERROR_NONE) {
        bool failed = said->code[0] != '\0';
        *said = (struct log_said){0};
        return failed ? LOG_MENDED : LOG_NOTHING_NEW;
    }
    if (strcmp(error->code, "STOPPING") == 0)
        return LOG_NOTHING_NEW;
    bool same = strcmp(said->code, error->code) == 0 && said->about == about;
    if (same && now_ms < said->again_ms) {
        said->unsaid++;
        return LOG_NOTHING_NEW;
    }
    if (!same) {
        *said = (struct log_said){.about = about};
        snprintf(said->code, sizeof said->code, "%s", error->code);
    }
    said->wait_ms = same && said->wait_ms < LOG_AGAIN_MS_MAX / 2 ? 2 * said->wait_ms
                    : same                                       ? LOG_AGAIN_MS_MAX
                                                                 : LOG_AGAIN_MS_MIN;
    said->again_ms = now_ms + said->wait_ms;
    return LOG_FAILED;
}

void log_change(struct log_said *said, enum log_level level, const struct error *error, const char *mended,
                int64_t now_ms)
{
    enum log_news news = log_news(said, error, 0, now_ms);
    if (news == LOG_MENDED)
        log_info(mended);
    if (news != LOG_FAILED)
        return;
    log_write(level, error->text,
              (struct log_field[]){LOG_STR("error.class", error_class_name(error->class)),
                                   LOG_STR("error.code", error->code),
                                   LOG_INT_IF("repeated", said->unsaid, said->unsaid > 0),
                                   LOG_STR("hint", error->hint[0] ? error->hint : NULL),
                                   {0}});
    said->unsaid = 0;
}

static bool word_parse(const char *word, const char *const *names, size_t count, size_t *out)
{
    for (size_t i = 0; i < count; i++)
        if (strcmp(word, names[i]) == 0) {
            *out = i;
            return true;
        }
    return false;
}

bool log_level_parse(const char *word, enum log_level *out)
{
    size_t at;
    if (!word_parse(word, level_names, COUNT_OF(level_names), &at))
        return false;
    *out = (enum log_level)at;
    return true;
}

bool log_format_parse(const char *word, enum log_format *out)
{
    size_t at;
    if (!word_parse(word, format_names, COUNT_OF(format_names), &at))
        return false;
    *out = (enum log_format)at;
    return true;
}
