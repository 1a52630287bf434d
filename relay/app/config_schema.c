/*
 * `boxrelay config schema`: the table of options as a JSON Schema, draft 2020-12.
 *
 * Whatever `check` accepts in a file the schema accepts; the other way round as far as a schema can say it. A text with
 * a "${" may become anything and is accepted everywhere. Nothing is required: it may come from the environment.
 */
#include <stdlib.h>
#include <string.h>

#include "commands.h"
#include "kafka/properties.h"
#include "names.h"
#include "text.h"
#include "units.h"

#define INTERPOLATED "\\$\\{"
#define TIME         "^[0-9]{4}-[0-9]{2}-[0-9]{2}[Tt ][0-9]{2}:[0-9]{2}:[0-9]{2}([.][0-9]+)?([Zz]|[+-][0-9]{2}:[0-9]{2})$"

static json_t *text_schema(const char *pattern)
{
    json_t *schema = json_object();
    json_object_set_new(schema, "type", json_string("string"));
    if (pattern) {
        char *either = text_printf("%s|%s", pattern, INTERPOLATED);
        json_object_set_new(schema, "pattern", json_string(either));
        free(either);
    }
    return schema;
}

static json_t *interpolated_schema(void)
{
    json_t *schema = json_object();
    json_object_set_new(schema, "type", json_string("string"));
    json_object_set_new(schema, "pattern", json_string(INTERPOLATED));
    return schema;
}

static json_t *any_of(json_t *first, json_t *second)
{
    json_t *list = json_array(), *schema = json_object();
    json_array_append_new(list, first);
    json_array_append_new(list, second);
    json_object_set_new(schema, "anyOf", list);
    return schema;
}

static json_t *integer_schema(const struct option *option)
{
    json_t *schema = json_object();
    json_object_set_new(schema, "type", json_string("integer"));
    json_object_set_new(schema, "minimum", json_integer(option->min));
    json_object_set_new(schema, "maximum", json_integer(option->max));
    return schema;
}

static json_t *words_schema(const char *words)
{
    json_t *list = json_array(), *schema = json_object();
    for (const char *word = words; *word;) {
        size_t length = strcspn(word, "|");
        json_array_append_new(list, json_stringn(word, length));
        word += length + (word[length] == '|');
    }
    json_object_set_new(schema, "enum", list);
    return any_of(schema, interpolated_schema());
}

static json_t *list_schema(const struct option *option, const char *item)
{
    json_t *list = json_object(), *commas = text_schema(".");
    json_object_set_new(list, "type", json_string("array"));
    json_object_set_new(list, "items", text_schema(item));
    json_object_set_new(list, "minItems", json_integer(option->min));
    json_object_set_new(list, "maxItems", json_integer(option->max));
    return any_of(list, commas);
}

static json_t *start_schema(const struct option *option)
{
    char *words = text_printf("^(%s)$|" TIME, option->words);
    json_t *schema = text_schema(words);
    free(words);
    return schema;
}

static json_t *refused_schema(const char *why)
{
    json_t *schema = json_object();
    json_object_set_new(schema, "description", json_string(why));
    json_object_set_new(schema, "not", json_object());
    return schema;
}

static json_t *property_schema(void)
{
    json_t *schema = json_object(), *types = json_array();
    json_array_append_new(types, json_string("string"));
    json_array_append_new(types, json_string("number"));
    json_array_append_new(types, json_string("boolean"));
    json_object_set_new(schema, "type", types);
    return schema;
}

static json_t *value_schema(const struct option *option)
{
    json_t *boolean = NULL;
    switch (option->type) {
    case OPTION_BOOLEAN:
        boolean = json_object();
        json_object_set_new(boolean, "type", json_string("boolean"));
        return any_of(boolean, text_schema("^(true|false)$"));
    case OPTION_INTEGER:
        return any_of(integer_schema(option), text_schema("^[0-9]+$"));
    case OPTION_DURATION:
        return text_schema("^[0-9]+ *(" UNITS_DURATIONS ")$");
    case OPTION_SIZE:
        return any_of(integer_schema(option), text_schema("^[0-9]+ *(" UNITS_SIZES ")?$"));
    case OPTION_WORD:
        return words_schema(option->words);
    case OPTION_TOPICS:
        return list_schema(option, "^\\^|" OPTION_TOPIC_PATTERN);
    case OPTION_HEADERS:
        return list_schema(option, OPTION_HEADER_PATTERN);
    case OPTION_START:
        return start_schema(option);
    case OPTION_PROPERTY:
        return property_schema();
    case OPTION_REFUSED:
        return refused_schema("Not available in this version.");
    case OPTION_IGNORED:
        return json_object();
    default:
        return text_schema(option->pattern);
    }
}

/* The default in its JSON type; those made from the name are told by the description only. */
static json_t *default_json(const struct option *option)
{
    if (!option->otherwise || strchr(option->otherwise, '<'))
        return NULL;
    if (option->type == OPTION_BOOLEAN || option->type == OPTION_INTEGER || option->store == OPTION_AS_LIST)
        return json_loads(option->otherwise, JSON_DECODE_ANY, NULL);
    return json_string(option->otherwise);
}

static json_t *option_schema(const struct option *option)
{
    char variable[128], values[128];
    json_t *schema = value_schema(option), *otherwise = default_json(option);
    option_environment(option, variable, sizeof variable);
    option_values(option, values, sizeof values);
    if (option->type != OPTION_REFUSED && option->type != OPTION_IGNORED) {
        char *text = text_printf("%s Values: %s. Environment: %s. Applied by a reload: %s.", option->meaning, values,
                                 variable, option_reload_name(option->reload));
        json_object_set_new(schema, "description", json_string(text));
        free(text);
    }
    if (otherwise)
        json_object_set_new(schema, "default", otherwise);
    return schema;
}

static json_t *closed_object(void)
{
    json_t *schema = json_object();
    json_object_set_new(schema, "type", json_string("object"));
    json_object_set_new(schema, "properties", json_object());
    json_object_set_new(schema, "additionalProperties", json_false());
    return schema;
}

/* The schema of one part of a path below `parent`; an object's is made when it is first met. */
static json_t *child_of(json_t *parent, const char *word)
{
    json_t *properties = json_object_get(parent, "properties");
    bool any = strcmp(word, "*") == 0;
    json_t *child = any ? json_object_get(parent, "additionalProperties") : json_object_get(properties, word);
    if (json_is_object(child))
        return child;
    child = closed_object();
    if (any)
        json_object_set_new(parent, "additionalProperties", child);
    else
        json_object_set_new(properties, word, child);
    return child;
}

static void put_option(json_t *root, const struct option *option)
{
    json_t *at = root;
    const char *word = option->path + 1;
    for (const char *slash; (slash = strchr(word, '/')); word = slash + 1) {
        char *part = text_copy_n(word, (size_t)(slash - word));
        at = child_of(at, part);
        free(part);
    }
    if (strcmp(word, "*") == 0)
        json_object_set_new(at, "additionalProperties", option_schema(option));
    else
        json_object_set_new(json_object_get(at, "properties"), word, option_schema(option));
}

static void refuse_owned(void *properties, const char *name)
{
    char *why = text_printf("Set by the relay itself: %s.", kafka_property_owned(name));
    json_object_set_new(properties, name, refused_schema(why));
    free(why);
}

static void finish_kafka(json_t *kafka)
{
    static const char *const scopes[] = {"producer", "consumer"};
    static const char *const brokers[] = {"bootstrap.servers", "metadata.broker.list"};
    kafka_property_names(KAFKA_NAMES_OWNED, refuse_owned, json_object_get(kafka, "properties"));
    for (size_t i = 0; i < COUNT_OF(scopes); i++) {
        json_t *scope = json_object_get(json_object_get(json_object_get(kafka, "properties"), scopes[i]), "properties");
        kafka_property_names(KAFKA_NAMES_OWNED, refuse_owned, scope);
        for (size_t k = 0; k < COUNT_OF(brokers); k++)
            json_object_set_new(scope, brokers[k], refused_schema("One for all clients: write it under kafka."));
    }
    json_object_set_new(kafka, "description", json_string("librdkafka's properties, passed through."));
}

static void finish_streams(json_t *streams, int max, const char *description)
{
    json_t *names = json_object();
    json_object_set_new(names, "pattern", json_string(OPTION_STREAM_PATTERN));
    json_object_set_new(streams, "propertyNames", names);
    json_object_set_new(streams, "maxProperties", json_integer(max));
    json_object_set_new(streams, "description", json_string(description));
}

/* What the table of options leaves to the Kafka room, and what an object as a whole has to be. */
static void finish(json_t *root)
{
    const json_t *properties = json_object_get(root, "properties");
    finish_kafka(json_object_get(properties, "kafka"));
    finish_streams(json_object_get(properties, "outbox"), OUTBOX_STREAMS_MAX,
                   "Options of outboxes by name. All that are registered in the database run, those without an entry "
                   "by the defaults. {} turns the outbox off.");
    finish_streams(json_object_get(properties, "inbox"), INBOX_STREAMS_MAX,
                   "Inboxes by name: those that stand here are fed.");
}

enum exit_code config_run_schema(const struct invocation *invocation)
{
    (void)invocation;
    json_t *root = json_object(), *object = closed_object();
    json_object_set_new(root, "$schema", json_string("https://json-schema.org/draft/2020-12/schema"));
    json_object_set_new(root, "title", json_string("Configuration of boxrelay " BOXRELAY_VERSION));
    json_object_set_new(root, "description",
                        json_string("Made by boxrelay config schema. Any option may be missing here and come from the "
                                    "environment or a flag; boxrelay check knows."));
    json_object_update(root, object);
    json_decref(object);
    for (size_t i = 0; i < option_count; i++)
        put_option(root, &option_table[i]);
    finish(root);
    json_dumpf(root, stdout, JSON_INDENT(2));
    putchar('\n');
    json_decref(root);
    return EXIT_OK;
}
