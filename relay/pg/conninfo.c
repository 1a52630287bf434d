#include "pg/conninfo.h"

#include <libpq-fe.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* libpq quotes the text it stumbled over, which may be a piece of a password; its words for an unknown option name
 * are the one quotation worth showing. */
static const char *mask(char *message)
{
    if (strncmp(message, "missing \"=\" after ", 18) == 0)
        return "missing \"=\" after a word; a value with spaces is written in single quotes";
    char *quoted = strstr(message, "invalid connection option") ? NULL : strchr(message, '"');
    if (quoted)
        memcpy(quoted, "...", sizeof "..."); /* conninfo_check leaves room for it */
    return message;
}

/* A value as it has to be written behind "=". */
static void add_value(FILE *out, const char *value)
{
    bool bare = *value && !strpbrk(value, " \t\n'\\");
    if (!bare)
        fputc('\'', out);
    for (; *value; value++)
        fprintf(out, strchr("'\\", *value) ? "\\%c" : "%c", *value);
    if (!bare)
        fputc('\'', out);
}

char *conninfo_show(const char *conninfo)
{
    char *text = NULL;
    size_t size;
    PQconninfoOption *parsed = PQconninfoParse(conninfo, NULL);
    FILE *out = open_memstream(&text, &size);
    if (!out)
        abort();
    bool first = true;
    for (const PQconninfoOption *option = parsed; option && option->keyword; option++) {
        if (!option->val)
            continue;
        fprintf(out, "%s%s=", first ? "" : " ", option->keyword);
        if (strchr(option->dispchar, '*')) /* libpq-fe.h: a password, to be hidden */
            fputs("***", out);
        else
            add_value(out, option->val);
        first = false;
    }
    fclose(out);
    PQconninfoFree(parsed);
    return text;
}

enum error_class conninfo_check(const char *conninfo, struct error *error)
{
    char *message = NULL;
    PQconninfoOption *parsed = PQconninfoParse(conninfo, &message);
    if (parsed) {
        PQconninfoFree(parsed);
        return ERROR_NONE;
    }
    char text[512];
    snprintf(text, sizeof text - sizeof "...", "%s", message ? message : "out of memory");
    PQfreemem(message);
    return error_set(error, ERROR_CONFIG, "CONNINFO", "libpq cannot parse it: %s", mask(text));
}

bool conninfo_value(const char *conninfo, const char *word, char *value, size_t size)
{
    bool found = false;
    PQconninfoOption *parsed = PQconninfoParse(conninfo, NULL);
    for (const PQconninfoOption *option = parsed; option && option->keyword; option++)
        if (strcmp(option->keyword, word) == 0 && option->val && strlen(option->val) < size) {
            memcpy(value, option->val, strlen(option->val) + 1);
            found = true;
        }
    PQconninfoFree(parsed);
    return found;
}
