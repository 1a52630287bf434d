#include "pg/conninfo.h"

#include <libpq-fe.h>
#include <string.h>

/* libpq quotes the text it stumbled over, which may be a piece of a password; its words for an unknown option name
 * are the one quotation worth showing. */
static void mask(char *message)
{
    char *quoted = strstr(message, "invalid connection option") ? NULL : strchr(message, '"');
    if (quoted && strncmp(message, "missing \"=\" after ", 18) == 0)
        strcpy(message, "missing \"=\" after a word; a value with spaces is written in single quotes");
    else if (quoted)
        *quoted = '\0';
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
    snprintf(text, sizeof text, "%s", message ? message : "out of memory");
    PQfreemem(message);
    mask(text);
    return error_set(error, ERROR_CONFIG, "CONNINFO", "libpq cannot parse it: %s", text);
}
