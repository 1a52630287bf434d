#include "kafka/properties.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "conf.h"

/* What librdkafka itself hides when it logs a configuration, and the names that Java and older versions have for it. */
static const char *const secrets[] = {
    "sasl.username",
    "sasl.password",
    "sasl.oauthbearer.config",
    "sasl.oauthbearer.client.secret",
    "ssl.key.password",
    "ssl.ca.pem",
    "ssl.key.pem",
    "ssl_key",
    "ssl.keystore.password",
    "sasl.jaas.config",
};

/* Later libraries have more of them, so a name that sounds like one is taken for one. */
bool kafka_property_is_secret(const char *name)
{
    for (size_t i = 0; i < COUNT_OF(secrets); i++)
        if (strcmp(secrets[i], name) == 0)
            return true;
    return strstr(name, "password") || strstr(name, "passphrase") || strstr(name, "secret") ||
           strstr(name, "private.key");
}

/* A line of the library's table: name | C/P | range | default | importance | description. */
enum { NAME, KIND, VALUES, OTHERWISE, IMPORTANCE, MEANING, CELLS };

/* Cuts the line into its cells, without the spaces around them; false: it is no property's. */
static bool cut(char *line, char *cells[CELLS])
{
    for (size_t i = 0; i < CELLS; i++) {
        line += strspn(line, " ");
        cells[i] = line;
        char *end = i < CELLS - 1 ? strchr(line, '|') : line + strlen(line);
        if (!end)
            return false;
        line = *end ? end + 1 : end;
        *end = '\0';
        while (end > cells[i] && end[-1] == ' ')
            *--end = '\0';
    }
    return cells[NAME][0] != '-' && strcmp(cells[NAME], "Property") != 0;
}

/*
 * Only the library's table for people has all names: its dump of a configuration leaves out aliases and what is unset.
 * visit() returns true to end the round.
 */
static bool each_row(bool (*visit)(void *opaque, char *cells[CELLS]), void *opaque)
{
    char *table = NULL, *save, *cells[CELLS];
    size_t size = 0;
    bool ended = false;
    FILE *out = open_memstream(&table, &size);
    if (!out)
        abort();
    rd_kafka_conf_properties_show(out);
    fclose(out);
    for (char *line = strtok_r(table, "\n", &save); line && !ended; line = strtok_r(NULL, "\n", &save))
        ended = cut(line, cells) && visit(opaque, cells);
    free(table);
    return ended;
}

struct offering {
    void (*offer)(void *opaque, const char *name);
    void *opaque;
};

static bool offer_row(void *opaque, char *cells[CELLS])
{
    const struct offering *offering = opaque;
    offering->offer(offering->opaque, cells[NAME]);
    return false;
}

void kafka_property_names(enum kafka_names which, void (*offer)(void *opaque, const char *name), void *opaque)
{
    struct offering offering = {offer, opaque};
    if (which == KAFKA_NAMES_ALL)
        (void)each_row(offer_row, &offering);
    if (which == KAFKA_NAMES_OWNED)
        conf_owned_names(offer, opaque);
    for (size_t i = 0; which == KAFKA_NAMES_SECRET && i < COUNT_OF(secrets); i++)
        offer(opaque, secrets[i]);
}

const char *kafka_property_owned(const char *name) { return conf_owned_reason(name); }

struct description {
    const char *name;
    struct kafka_property *property;
};

static bool describe_row(void *opaque, char *cells[CELLS])
{
    const struct description *description = opaque;
    struct kafka_property *property = description->property;
    if (strcmp(cells[NAME], description->name) != 0)
        return false;
    char *type = strstr(cells[MEANING], " <br>");
    if (type)
        type[type > cells[MEANING] && type[-1] == ' ' ? -1 : 0] = '\0';
    property->kind = cells[KIND][0];
    snprintf(property->values, sizeof property->values, "%s", cells[VALUES]);
    snprintf(property->otherwise, sizeof property->otherwise, "%s", cells[OTHERWISE]);
    snprintf(property->meaning, sizeof property->meaning, "%s", cells[MEANING]);
    return true;
}

bool kafka_property_describe(const char *name, struct kafka_property *property)
{
    *property = (struct kafka_property){0};
    return each_row(describe_row, &(struct description){name, property});
}

/* Does a client of this kind have the value? */
static bool is_in_force(const struct kafka_settings *settings, enum conf_kind kind, const char *name, const char *value)
{
    struct error error;
    rd_kafka_conf_t *conf;
    char now[256];
    size_t size = sizeof now;
    if (conf_make(settings, kind, NULL, &conf, &error) != ERROR_NONE)
        return false;
    bool is = rd_kafka_conf_get(conf, name, now, &size) == RD_KAFKA_CONF_OK && strcmp(now, value) == 0;
    rd_kafka_conf_destroy(conf);
    return is;
}

void kafka_property_defaults(const struct kafka_settings *settings,
                             void (*shown)(void *opaque, enum kafka_scope scope, const char *name, const char *value),
                             void *opaque)
{
    const char *name, *value;
    enum conf_kind kind;
    for (size_t i = 0; conf_default(i, &name, &value, &kind); i++)
        if (is_in_force(settings, kind, name, value))
            shown(opaque,
                  kind == CONF_PRODUCER ? KAFKA_PRODUCER
                  : kind == CONF_INBOX  ? KAFKA_CONSUMER
                                        : KAFKA_ALL,
                  name, value);
}
