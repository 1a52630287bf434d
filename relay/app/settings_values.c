#include "settings_values.h"

#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "kafka/properties.h"
#include "pg/conninfo.h"
#include "text.h"
#include "units.h"

#define MASKED "***"

/* Where the values go. */
struct walk {
    const struct settings *settings;
    void (*visit)(void *opaque, const struct settings_value *value);
    void *opaque;
};

static void show(const struct walk *walk, const struct option *option, const char *path, const char *text, bool masked)
{
    walk->visit(walk->opaque, &(struct settings_value){
                                  .path = path,
                                  .option = option,
                                  .text = text,
                                  .masked = masked,
                                  .origin = settings_origin(walk->settings, path),
                              });
}

static int64_t number_of(const struct option *option, const void *field)
{
    if (option->store == OPTION_AS_BOOL)
        return *(const bool *)field;
    return option->store == OPTION_AS_INT32 ? *(const int32_t *)field : *(const int64_t *)field;
}

/* The word at that place of "a|b|c". */
static char *word_at(const char *words, int64_t index)
{
    for (; index > 0; index--)
        words += strcspn(words, "|") + 1;
    return text_copy_n(words, strcspn(words, "|"));
}

static char *number_text(const struct option *option, int64_t number)
{
    char text[UNITS_TEXT_SIZE];
    switch (option->type) {
    case OPTION_BOOLEAN:
        return text_copy(number ? "true" : "false");
    case OPTION_WORD:
        return word_at(option->words, number);
    case OPTION_DURATION:
        units_duration_format(number, text);
        return text_copy(text);
    case OPTION_SIZE:
        units_size_format(number, text);
        return text_copy(text);
    default:
        return text_printf("%lld", (long long)number);
    }
}

static char *list_text(const struct option *option, const void *base)
{
    char *const *texts = *(char *const *const *)((const char *)base + option->at);
    size_t count = *(const size_t *)((const char *)base + option->count_at);
    if (count == 0)
        return NULL;
    json_t *list = json_array();
    for (size_t i = 0; i < count; i++)
        json_array_append_new(list, json_string(texts[i]));
    char *text = json_dumps(list, 0);
    json_decref(list);
    return text;
}

static char *start_text(const struct option *option, const void *base)
{
    enum inbox_start start = *(const enum inbox_start *)((const char *)base + option->at);
    int64_t time_ms = *(const int64_t *)((const char *)base + option->time_at);
    char text[CLOCK_TEXT_SIZE];
    if (start != INBOX_START_TIME)
        return word_at(option->words, start);
    clock_format(time_ms, time_ms % 1000 != 0, text);
    return text_copy(text);
}

/* The field's value as text, to be freed; NULL: it has none. `base` is the struct that the option is stored in. */
static char *field_text(const struct option *option, const void *base)
{
    const void *field = (const char *)base + option->at;
    switch (option->store) {
    case OPTION_NOWHERE:
        return option->otherwise ? text_copy(option->otherwise) : NULL; /* its only value in this version */
    case OPTION_AS_TEXT: {
        const char *text = *(char *const *)field;
        return text ? text_copy(text) : NULL;
    }
    case OPTION_AS_LIST:
        return list_text(option, base);
    case OPTION_AS_START:
        return start_text(option, base);
    default:
        return number_text(option, number_of(option, field));
    }
}

static void show_field(const struct walk *walk, const struct option *option, const char *path, const void *base)
{
    char *text = field_text(option, base);
    if (text && option->secret) { /* /postgres is the only such option */
        char *shown = conninfo_show(text);
        show(walk, option, path, shown, true);
        free(shown);
    } else {
        show(walk, option, path, text, false);
    }
    free(text);
}

static const struct option *property_option(enum kafka_scope scope)
{
    return option_find(scope == KAFKA_PRODUCER   ? "/kafka/producer/*"
                       : scope == KAFKA_CONSUMER ? "/kafka/consumer/*"
                                                 : "/kafka/*");
}

static void show_property(const struct walk *walk, enum kafka_scope scope, const char *name, const char *value)
{
    const struct option *option = property_option(scope);
    char *path = text_printf("%.*s%s", (int)strlen(option->path) - 1, option->path, name);
    bool masked = kafka_property_is_secret(name);
    show(walk, option, path, masked ? MASKED : value, masked);
    free(path);
}

/* A default of ours, unless it was written as well. */
static void show_default(void *opaque, enum kafka_scope scope, const char *name, const char *value)
{
    const struct walk *walk = opaque;
    if (!settings_property(walk->settings, scope, name) && !settings_property(walk->settings, KAFKA_ALL, name))
        show_property(walk, scope, name, value);
}

static void show_properties(const struct walk *walk)
{
    const struct settings *settings = walk->settings;
    for (size_t i = 0; i < settings->property_count; i++)
        show_property(walk, settings->properties[i].scope, settings->properties[i].name, settings->properties[i].value);
    kafka_property_defaults(settings->kafka, show_default, (void *)(uintptr_t)walk);
}

/* `prefix` is "/outbox/" or "/inbox/", `stream` the options of such a one. */
static void show_stream(const struct walk *walk, const char *prefix, const char *name, const void *stream)
{
    for (size_t k = 0; k < option_count; k++) {
        const struct option *option = &option_table[k];
        if (!text_starts(option->path, prefix) || option->type == OPTION_REFUSED)
            continue;
        char *path = text_printf("%s%s%s", prefix, name, strrchr(option->path, '/'));
        show_field(walk, option, path, stream);
        free(path);
    }
}

static void show_streams(const struct walk *walk, const char *prefix)
{
    const struct settings *settings = walk->settings;
    if (strcmp(prefix, "/outbox/") == 0)
        for (size_t i = 0; i < settings->outbox_count; i++)
            show_stream(walk, prefix, settings->outboxes[i].name, &settings->outboxes[i]);
    else
        for (size_t i = 0; i < settings->inbox_count; i++)
            show_stream(walk, prefix, settings->inboxes[i].name, &settings->inboxes[i]);
}

/* Is it the first option of its kind of stream? */
static bool begins(const struct option *option, const char *prefix)
{
    return text_starts(option->path, prefix) && !text_starts(option[-1].path, prefix);
}

void settings_each(const struct settings *settings, void (*visit)(void *opaque, const struct settings_value *value),
                   void *opaque)
{
    const struct walk walk = {settings, visit, opaque};
    for (size_t i = 0; i < option_count; i++) {
        const struct option *option = &option_table[i];
        if (strcmp(option->path, "/kafka/*") == 0)
            show_properties(&walk);
        else if (begins(option, "/outbox/"))
            show_streams(&walk, "/outbox/");
        else if (begins(option, "/inbox/"))
            show_streams(&walk, "/inbox/");
        else if (!strchr(option->path, '*') && option->type != OPTION_REFUSED && option->type != OPTION_IGNORED)
            show_field(&walk, option, option->path, settings);
    }
}

json_t *settings_value_json(const struct settings_value *value)
{
    if (!value->text)
        return json_null();
    switch (value->option->type) {
    case OPTION_BOOLEAN:
    case OPTION_INTEGER:
    case OPTION_TOPICS:
    case OPTION_HEADERS:
        return json_loads(value->text, JSON_DECODE_ANY, NULL);
    default:
        return json_string(value->text);
    }
}

char *settings_value_from(const struct settings_value *value)
{
    const struct settings_origin *origin = value->origin;
    if (!origin)
        return text_copy(value->text ? "default" : "not set");
    return origin->line ? text_printf("%s:%d:%d", origin->source, origin->line, origin->column)
                        : text_copy(origin->source);
}

/* Of "environment NAME" and "--set PATH" the second word. */
static json_t *second_word(const char *source)
{
    return json_string(strchr(source, ' ') ? strchr(source, ' ') + 1 : "");
}

json_t *settings_value_origin_json(const struct settings_value *value)
{
    const struct settings_origin *origin = value->origin;
    json_t *item = json_object();
    if (!origin) {
        json_object_set_new(item, "kind", json_string("default"));
    } else if (origin->line) {
        json_object_set_new(item, "kind", json_string("file"));
        json_object_set_new(item, "file", json_string(origin->source));
        json_object_set_new(item, "line", json_integer(origin->line));
        json_object_set_new(item, "column", json_integer(origin->column));
    } else if (text_starts(origin->source, "--set")) {
        json_object_set_new(item, "kind", json_string("flag"));
        json_object_set_new(item, "flag", json_string(origin->source));
    } else {
        json_object_set_new(item, "kind", json_string("environment"));
        json_object_set_new(item, "variable", second_word(origin->source));
    }
    return item;
}
