#include "base/error.h"

#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

/* One line each: outside messages bring their own line ends and indents, which would break a log line in two. */
static void flatten(char *text)
{
    size_t to = 0;
    bool space = false;
    for (const char *from = text; *from; from++) {
        bool blank = *from == '\n' || *from == '\r' || *from == '\t' || (*from == ' ' && space);
        if (!blank)
            text[to++] = *from;
        else if (!space)
            text[to++] = ' ';
        space = blank || *from == ' ';
    }
    while (to > 0 && text[to - 1] == ' ')
        to--;
    text[to] = '\0';
}

enum error_class error_set(struct error *error, enum error_class class, const char *code, const char *format, ...)
{
    error->class = class;
    snprintf(error->code, sizeof error->code, "%s", code);
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(error->text, sizeof error->text, format, arguments);
    va_end(arguments);
    flatten(error->text);
    error->hint[0] = '\0';
    return class;
}

enum error_class error_hint(struct error *error, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(error->hint, sizeof error->hint, format, arguments);
    va_end(arguments);
    flatten(error->hint);
    return error->class;
}

enum error_class error_prefix(struct error *error, const char *format, ...)
{
    char text[ERROR_TEXT_MAX];
    memcpy(text, error->text, sizeof text);
    va_list arguments;
    va_start(arguments, format);
    int length = vsnprintf(error->text, sizeof error->text, format, arguments);
    va_end(arguments);
    if (length >= 0 && (size_t)length < sizeof error->text)
        snprintf(error->text + length, sizeof error->text - (size_t)length, ": %s", text);
    return error->class;
}

const char *error_class_name(enum error_class class)
{
    static const char *const names[] = {
        [ERROR_NONE] = "none",         [ERROR_RETRY] = "retry",         [ERROR_RECONNECT] = "reconnect",
        [ERROR_RECREATE] = "recreate", [ERROR_FENCED] = "fenced",       [ERROR_POISON] = "poison",
        [ERROR_CONFIG] = "config",     [ERROR_INTEGRITY] = "integrity",
    };
    return (size_t) class < COUNT_OF(names) ? names[class] : "unknown";
}
