/*
 * Log lines on stderr: one JSON object a line, or text on a terminal. Each line is one write(2), so lines of
 * several threads and processes do not mix. Never give it a payload, a key or a password. Thread: any, after
 * log_init.
 */
#ifndef BASE_LOG_H
#define BASE_LOG_H

#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"

enum log_level { LOG_DEBUG, LOG_INFO, LOG_WARN, LOG_ERROR };
enum log_format { LOG_FORMAT_AUTO, LOG_FORMAT_JSON, LOG_FORMAT_TEXT }; /* AUTO: text on a terminal, else JSON */

struct log_field {
    const char *name; /* NULL ends a list; a field with `text` NULL and kind TEXT is left out */
    enum { LOG_FIELD_TEXT, LOG_FIELD_INTEGER } kind;
    const char *text;
    int64_t integer;
};

#define LOG_STR(name_, text_)                                                                                          \
    (struct log_field) { .name = (name_), .kind = LOG_FIELD_TEXT, .text = (text_) }
#define LOG_INT(name_, integer_)                                                                                       \
    (struct log_field) { .name = (name_), .kind = LOG_FIELD_INTEGER, .integer = (int64_t)(integer_) }
/* Left out unless `present_`. */
#define LOG_INT_IF(name_, integer_, present_)                                                                          \
    (struct log_field)                                                                                                 \
    {                                                                                                                  \
        .name = (name_), .kind = (present_) ? LOG_FIELD_INTEGER : LOG_FIELD_TEXT, .integer = (int64_t)(integer_)       \
    }
/* The four fields of an error: error.class, error.code, error, hint. */
#define LOG_OF_ERROR(error_)                                                                                           \
    LOG_STR("error.class", error_class_name((error_)->class)), LOG_STR("error.code", (error_)->code),                  \
        LOG_STR("error", (error_)->text), LOG_STR("hint", (error_)->hint[0] ? (error_)->hint : NULL)

/* The empty element in front is only there for the comma: a line may have no fields. */
#define log_debug(msg, ...) log_write(LOG_DEBUG, msg, (struct log_field[]){{0}, ##__VA_ARGS__, {0}} + 1)
#define log_info(msg, ...)  log_write(LOG_INFO, msg, (struct log_field[]){{0}, ##__VA_ARGS__, {0}} + 1)
#define log_warn(msg, ...)  log_write(LOG_WARN, msg, (struct log_field[]){{0}, ##__VA_ARGS__, {0}} + 1)
#define log_error(msg, ...) log_write(LOG_ERROR, msg, (struct log_field[]){{0}, ##__VA_ARGS__, {0}} + 1)

void log_init(enum log_format format, enum log_level level);
void log_write(enum log_level level, const char *msg, const struct log_field *fields);

/*
 * A failure that stays is said when it begins, again after one, two, four ... minutes, at most LOG_AGAIN_MS_MAX apart,
 * and its end is said. One struct (zeroed) for each place that may fail; whoever owns it decides what the lines say.
 */
enum { LOG_AGAIN_MS_MIN = 60000, LOG_AGAIN_MS_MAX = 900000 };

struct log_said {
    char code[ERROR_CODE_MAX]; /* of the failure said last; "": all was well */
    int64_t about;
    int64_t again_ms, wait_ms; /* monotonic: when it is said again; the wait before that */
    int64_t unsaid;            /* failures not said since the last line; for a field "repeated" */
};

enum log_news {
    LOG_NOTHING_NEW,
    LOG_FAILED, /* say it; `unsaid` tells how often it happened since it was said last */
    LOG_MENDED,
};

/* `about`: what the failure is about, where one code can mean several (a row's seq). A stop ("STOPPING") is no news. */
enum log_news log_news(struct log_said *said, const struct error *error, int64_t about, int64_t now_ms);

/* The usual lines of such a place: the failure's text with its class, code and hint, and `mended` at its end. */
void log_change(struct log_said *said, enum log_level level, const struct error *error, const char *mended,
                int64_t now_ms);

/* "debug", "info", "warn", "error" and "auto", "json", "text"; false and *out untouched for another word. */
bool log_level_parse(const char *word, enum log_level *out);
bool log_format_parse(const char *word, enum log_format *out);

#endif
