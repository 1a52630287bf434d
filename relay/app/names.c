#include "names.h"

#include <assert.h>
#include <regex.h>
#include <string.h>

#include "inbox/service.h"
#include "outbox/service.h"
#include "pg/conninfo.h"
#include "text.h"
#include "units.h"

#define LOWER            "abcdefghijklmnopqrstuvwxyz"
#define DIGITS           "0123456789"
#define KAFKA_CHARACTERS LOWER "ABCDEFGHIJKLMNOPQRSTUVWXYZ" DIGITS "._-"

static bool made_of(const char *name, const char *first, const char *rest, size_t max)
{
    size_t length = strlen(name);
    return length >= 1 && length <= max && strchr(first, name[0]) && strspn(name + 1, rest) == length - 1;
}

static bool refuse(struct error *error, const char *text)
{
    (void)error_set(error, ERROR_CONFIG, "INVALID", "%s", text);
    return false;
}

bool names_relay(const char *name, struct error *error)
{
    return made_of(name, LOWER, LOWER DIGITS "_-", NAMES_RELAY_MAX) ||
           refuse(error, "has to be 1 to 64 of a-z, 0-9, _ and -, beginning with a letter (it becomes part of topic "
                         "and group names)");
}

bool names_outbox(const char *name, struct error *error)
{
    return made_of(name, LOWER, LOWER DIGITS "_", OUTBOX_NAME_MAX) ||
           refuse(error, "an outbox's name is 1 to 40 of a-z, 0-9 and _, beginning with a letter, as it was given to "
                         "relay.create_outbox");
}

bool names_inbox(const char *name, struct error *error)
{
    return made_of(name, LOWER, LOWER DIGITS "_", INBOX_NAME_MAX) ||
           refuse(error, "an inbox' name is 1 to 40 of a-z, 0-9 and _, beginning with a letter, as it was given to "
                         "relay.create_inbox");
}

bool names_id_header(const char *name, struct error *error)
{
    size_t first = strcspn(name, "+"), second = name[first] ? strlen(name + first + 1) : 1;
    bool good = first >= 1 && first <= NAMES_HEADER_MAX && second >= 1 && second <= NAMES_HEADER_MAX &&
                !(name[first] && strchr(name + first + 1, '+'));
    return good || refuse(error, "has to be a header's name of 1 to 249 bytes, or two such names with a + between "
                                 "them");
}

bool names_kafka(const char *name, struct error *error)
{
    return made_of(name, KAFKA_CHARACTERS, KAFKA_CHARACTERS, NAMES_KAFKA_MAX) ||
           refuse(error, "has to be 1 to 249 of a-z, A-Z, 0-9, '.', '_' and '-', as Kafka's names are");
}

bool names_topic(const char *name, struct error *error)
{
    if (strcmp(name, ".") == 0 || strcmp(name, "..") == 0)
        return refuse(error, "\".\" and \"..\" are no topic names");
    if (text_starts(name, "__"))
        return refuse(error, "topics beginning with \"__\" are Kafka's own");
    return names_kafka(name, error);
}

bool names_topic_pattern(const char *pattern, struct error *error)
{
    if (pattern[0] != '^') {
        if (names_topic(pattern, error))
            return true;
        if (strpbrk(pattern, "*+?[](){}|\\$"))
            return refuse(error, "not a topic's name; a regular expression begins with ^");
        return false;
    }
    regex_t regex;
    int failed = regcomp(&regex, pattern, REG_EXTENDED | REG_NOSUB);
    if (failed) {
        char why[128];
        regerror(failed, &regex, why, sizeof why);
        (void)error_set(error, ERROR_CONFIG, "INVALID", "not a POSIX extended regular expression: %s", why);
        return false;
    }
    regfree(&regex);
    return true;
}

bool names_conninfo(const char *conninfo, struct error *error)
{
    if (!*conninfo)
        return refuse(error, "empty; for libpq's defaults write at least \"dbname=...\"");
    return conninfo_check(conninfo, error) == ERROR_NONE;
}

/* Where the host ends and the port begins; NULL: no port. */
static const char *port_of(const char *listen, const char **host, size_t *host_length)
{
    *host = listen;
    if (listen[0] == '[') {
        const char *close = strchr(listen, ']');
        if (!close || close[1] != ':')
            return NULL;
        *host = listen + 1;
        *host_length = (size_t)(close - listen - 1);
        return close + 2;
    }
    const char *colon = strchr(listen, ':');
    *host_length = colon ? (size_t)(colon - listen) : 0;
    return colon ? colon + 1 : listen;
}

bool names_listen(const char *listen, struct error *error)
{
    const char *host;
    size_t host_length;
    int64_t number;
    if (strcmp(listen, "off") == 0)
        return true;
    const char *port = port_of(listen, &host, &host_length);
    if (!port || strlen(port) > 5 || host_length > NAMES_HOST_MAX || memchr(host, ' ', host_length) ||
        !units_integer_parse(port, &number) || number < 0 || number > 65535)
        return refuse(error, "has to be \"address:port\" (\"127.0.0.1:8090\", \"[::1]:8090\", \"0.0.0.0:8090\") or "
                             "\"off\"");
    return true;
}

void names_listen_split(const char *listen, char host[NAMES_HOST_MAX + 1], char port[6])
{
    const char *start;
    size_t length;
    const char *from = port_of(listen, &start, &length);
    assert(from && strlen(from) <= 5 && length <= NAMES_HOST_MAX);
    memcpy(host, start, length);
    host[length] = '\0';
    memcpy(port, from, strlen(from) + 1);
}
