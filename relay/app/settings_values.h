/* Every value in force, as a user would write it, with where it comes from and without secrets. Thread: any. */
#ifndef APP_SETTINGS_VALUES_H
#define APP_SETTINGS_VALUES_H

#include <jansson.h>
#include <stdbool.h>

#include "settings.h"

struct settings_value {
    const char *path; /* "/outbox/main/retention" */
    const struct option *option;
    const char *text;                     /* NULL: not set, and there is no default */
    bool masked;                          /* something of it is not shown */
    const struct settings_origin *origin; /* NULL: the default */
};

/* In the table's order; everything is borrowed while visit() runs. */
void settings_each(const struct settings *settings, void (*visit)(void *opaque, const struct settings_value *value),
                   void *opaque);

/* With its JSON type; null when it is not set. */
json_t *settings_value_json(const struct settings_value *value);

/* "boxrelay.json:3:12", "environment BOXRELAY_NAME", "--set /name", "default"; to be freed. */
char *settings_value_from(const struct settings_value *value);

/* The same as data. */
json_t *settings_value_origin_json(const struct settings_value *value);

#endif
