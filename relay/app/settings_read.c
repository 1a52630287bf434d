#include "settings_read.h"

#include <assert.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "inbox/inbox.h"
#include "kafka/properties.h"
#include "names.h"
#include "suggest.h"
#include "text.h"
#include "units.h"

struct reader {
    const struct document *document;
    struct settings *settings;
    struct outbox_stream_options *outbox; /* the one being read; NULL elsewhere */
    struct problems *problems;
};

/* One value at a place of the document. */
struct spotted {
    const char *pointer;
    const json_t *value;
};

static struct where where_of(const struct reader *reader, const char *pointer)
{
    return document_where(reader->document, pointer, false);
}

static void *field_of(const struct option *option, void *base) { return (char *)base + option->at; }

static void store_number(const struct option *option, void *base, int64_t number)
{
    void *field = field_of(option, base);
    if (option->store == OPTION_AS_BOOL)
        *(bool *)field = number != 0;
    else if (option->store == OPTION_AS_INT32)
        *(int32_t *)field = (int32_t)number;
    else if (option->store == OPTION_AS_INT64)
        *(int64_t *)field = number;
    else
        assert(option->store == OPTION_NOWHERE);
}

static void store_text(const struct option *option, void *base, const char *text)
{
    assert(option->store == OPTION_AS_TEXT);
    char **field = field_of(option, base);
    free(*field);
    *field = text_copy(text);
}

/* The number that a text stands for, by the option's type; words by their place. */
static bool number_of(const struct option *option, const char *text, int64_t *number)
{
    size_t index;
    switch (option->type) {
    case OPTION_BOOLEAN:
        *number = strcmp(text, "true") == 0;
        return *number || strcmp(text, "false") == 0;
    case OPTION_INTEGER:
        return units_integer_parse(text, number);
    case OPTION_DURATION:
        return units_duration_parse(text, number);
    case OPTION_SIZE:
        return units_size_parse(text, number);
    case OPTION_WORD:
        if (!text_word_of(option->words, text, &index))
            return false;
        *number = (int64_t)index;
        return true;
    default:
        return false;
    }
}

void settings_read_defaults(const char *prefix, void *base)
{
    for (size_t i = 0; i < option_count; i++) {
        const struct option *option = &option_table[i];
        bool ours = strcmp(prefix, "/") == 0 ? !strchr(option->path, '*') : text_starts(option->path, prefix);
        if (!ours || !option->otherwise || option->store == OPTION_NOWHERE)
            continue;
        int64_t number = 0;
        if (option->type == OPTION_TEXT) {
            store_text(option, base, option->otherwise);
        } else {
            bool good = number_of(option, option->otherwise, &number);
            assert(good);
            store_number(option, base, number);
        }
    }
}

static const char *kind_of(const json_t *value)
{
    switch (json_typeof(value)) {
    case JSON_OBJECT:
        return "an object";
    case JSON_ARRAY:
        return "a list";
    case JSON_STRING:
        return "a text";
    case JSON_TRUE:
    case JSON_FALSE:
        return "true or false";
    case JSON_NULL:
        return "null";
    default:
        return "a number";
    }
}

/* A scalar as text: numbers and booleans may stand in quotes, as values of variables do. NULL: no scalar. */
static char *scalar_text(const json_t *value)
{
    if (json_is_string(value))
        return text_copy(json_string_value(value));
    if (json_is_number(value))
        return json_dumps(value, JSON_ENCODE_ANY);
    if (json_is_boolean(value))
        return text_copy(json_is_true(value) ? "true" : "false");
    return NULL;
}

static const char *expected(const struct option *option)
{
    switch (option->type) {
    case OPTION_BOOLEAN:
        return "has to be true or false";
    case OPTION_INTEGER:
        return "has to be a whole number";
    case OPTION_DURATION:
        return "has to be a duration with a unit (ms, s, m, h, d), as \"30s\"";
    case OPTION_SIZE:
        return "has to be a size, as 65536 or \"4MiB\"";
    default:
        return "has to be a text";
    }
}

static void refuse_word(struct reader *reader, const struct option *option, const struct spotted *at, const char *word)
{
    size_t index;
    struct where where = where_of(reader, at->pointer);
    if (option->later && text_word_of(option->later, word, &index)) {
        problems_add(reader->problems, where, "\"%s\" is not available in this version; use \"%s\"", word,
                     option->words);
        return;
    }
    char *words = text_copy(option->words);
    struct suggest suggest = {.word = word};
    for (char *save, *one = strtok_r(words, "|", &save); one; one = strtok_r(NULL, "|", &save))
        suggest_offer(&suggest, one);
    if (suggest.best)
        problems_suggest(reader->problems, where, suggest.best, "unknown value \"%.64s\"", word);
    else
        problems_add(reader->problems, where, "unknown value \"%.64s\", has to be one of %s", word, option->words);
    free(words);
}

static void read_number(struct reader *reader, const struct option *option, const struct spotted *at, const char *text,
                        void *base)
{
    int64_t number;
    char values[128];
    if (!number_of(option, text, &number)) {
        if (option->type == OPTION_WORD)
            refuse_word(reader, option, at, text);
        else
            problems_add(reader->problems, where_of(reader, at->pointer), "%s, not \"%.64s\"", expected(option), text);
        return;
    }
    bool ranged = option->type != OPTION_WORD && option->type != OPTION_BOOLEAN;
    if (ranged && (number < option->min || number > option->max)) {
        option_values(option, values, sizeof values);
        problems_add(reader->problems, where_of(reader, at->pointer), "%.32s is out of range, allowed is %s", text,
                     values);
        return;
    }
    store_number(option, base, number);
}

static void read_scalar(struct reader *reader, const struct option *option, const struct spotted *at, void *base)
{
    struct error error;
    char *text = scalar_text(at->value);
    if (!text || (option->type == OPTION_TEXT && !json_is_string(at->value)))
        problems_add(reader->problems, where_of(reader, at->pointer), "%s, not %s", expected(option),
                     kind_of(at->value));
    else if (option->type != OPTION_TEXT)
        read_number(reader, option, at, text, base);
    else if (option->check && !option->check(text, &error))
        problems_add(reader->problems, where_of(reader, at->pointer), "%s", error.text);
    else
        store_text(option, base, text);
    free(text);
}

/* A list from the environment or a flag: JSON, or names with commas between them. */
static json_t *list_of(const json_t *value)
{
    if (json_is_array(value))
        return json_deep_copy(value);
    if (!json_is_string(value))
        return NULL;
    const char *text = json_string_value(value);
    if (text[0] == '[')
        return json_loads(text, 0, NULL);
    json_t *list = json_array();
    while (*text) {
        size_t span = strcspn(text, ",");
        json_array_append_new(list, json_stringn(text, span));
        text += span + (text[span] == ',');
    }
    return list;
}

static void read_topics(struct reader *reader, const struct option *option, const struct spotted *at, void *base)
{
    (void)option;
    struct outbox_stream_options *outbox = base;
    json_t *list = list_of(at->value);
    size_t count = json_array_size(list);
    if (count == 0 || count > SETTINGS_TOPICS_MAX) {
        problems_add(reader->problems, where_of(reader, at->pointer),
                     "has to be a list of 1 to %d topic names and ^regexes; leave it out to allow all topics",
                     SETTINGS_TOPICS_MAX);
        json_decref(list);
        return;
    }
    char **topics = text_memory(count, sizeof *topics);
    for (size_t i = 0; i < count; i++) {
        struct error error;
        const char *topic = json_string_value(json_array_get(list, i));
        topics[i] = text_copy(topic ? topic : "");
        if (topic && names_topic_pattern(topic, &error))
            continue;
        char *pointer = text_printf("%s/%zu", at->pointer, i);
        if (!document_failed(reader->document, pointer))
            problems_add(reader->problems, where_of(reader, pointer), "%s",
                         topic ? error.text : "has to be a topic's name or a ^regex in quotes");
        free(pointer);
    }
    json_decref(list);
    outbox->topics = (const char *const *)topics;
    outbox->topic_count = count;
}

/* A suggestion that keeps its own copy of what is best: the library's names live only while they are offered. */
struct nearest {
    struct suggest suggest;
    char best[SUGGEST_WORD_MAX + 1];
};

static void offer(void *opaque, const char *name)
{
    struct nearest *nearest = opaque;
    suggest_offer(&nearest->suggest, name);
    if (nearest->suggest.best == name) {
        snprintf(nearest->best, sizeof nearest->best, "%s", name);
        nearest->suggest.best = nearest->best;
    }
}

/* Of a misspelt name, the right one, as the library lists them. */
static void refuse_property(struct reader *reader, const struct spotted *at, const char *name,
                            const struct error *error)
{
    struct where where = document_where(reader->document, at->pointer, strcmp(error->code, "INVALID_PROPERTY") != 0);
    struct nearest nearest = {.suggest = {.word = name}};
    bool unknown = strcmp(error->code, "UNKNOWN_PROPERTY") == 0;
    if (unknown)
        kafka_property_names(KAFKA_NAMES_ALL, offer, &nearest);
    if (nearest.suggest.best)
        problems_suggest(reader->problems, where, nearest.best, "librdkafka has no such property");
    else if (unknown)
        problems_add(reader->problems, where, "librdkafka %s has no such property; its CONFIGURATION.md lists them",
                     kafka_library_version());
    else
        problems_add(reader->problems, where, "%s%s%s", error->text, error->hint[0] ? "; " : "", error->hint);
}

static void read_property(struct reader *reader, const struct option *option, const struct spotted *at)
{
    struct settings *settings = reader->settings;
    struct error error;
    enum kafka_scope scope = text_starts(option->path, "/kafka/producer/")   ? KAFKA_PRODUCER
                             : text_starts(option->path, "/kafka/consumer/") ? KAFKA_CONSUMER
                                                                             : KAFKA_ALL;
    const char *name = strrchr(at->pointer, '/') + 1;
    char *value = scalar_text(at->value);
    struct where where = where_of(reader, at->pointer);
    if (!value)
        problems_add(reader->problems, where, "a librdkafka property has to be a text, a number or true or false");
    else if (settings->property_count == SETTINGS_PROPERTIES_MAX)
        problems_add(reader->problems, where, "more than %d Kafka properties", SETTINGS_PROPERTIES_MAX);
    else if (kafka_settings_add(settings->kafka, scope, name, value, &error) != ERROR_NONE)
        refuse_property(reader, at, name, &error);
    else
        settings->properties[settings->property_count++] =
            (struct settings_property){scope, text_copy(name), text_copy(value)};
    free(value);
}

static void refuse_option(struct reader *reader, const struct spotted *at)
{
    struct error error;
    struct where where = document_where(reader->document, at->pointer, true);
    if (strcmp(at->pointer, "/inbox") == 0 && inbox_unavailable(&error) != ERROR_NONE)
        problems_add(reader->problems, where, "%s; %s", error.text, error.hint);
    else
        problems_add(reader->problems, where, "not available in this version; remove it");
}

static void note_origin(struct settings *settings, struct where where)
{
    settings->origins = text_memory_again(settings->origins, settings->origin_count + 1, sizeof *settings->origins);
    settings->origins[settings->origin_count++] =
        (struct settings_origin){text_copy(where.pointer), text_copy(where.source), where.line, where.column};
}

static void read_option(struct reader *reader, const struct option *option, const struct spotted *at)
{
    if (document_failed(reader->document, at->pointer))
        return;
    note_origin(reader->settings, where_of(reader, at->pointer));
    void *base = reader->outbox ? (void *)reader->outbox : reader->settings;
    switch (option->type) {
    case OPTION_TOPICS:
        read_topics(reader, option, at, base);
        return;
    case OPTION_PROPERTY:
        read_property(reader, option, at);
        return;
    case OPTION_REFUSED:
        refuse_option(reader, at);
        return;
    case OPTION_IGNORED:
        return;
    default:
        read_scalar(reader, option, at, base);
    }
}

/* Offers the names that may stand beside `pointer`. */
static void offer_neighbours(const char *pointer, struct nearest *nearest)
{
    char *parent = text_copy_n(pointer, (size_t)(strrchr(pointer, '/') - pointer));
    for (size_t i = 0; i < option_count; i++) {
        char word[SUGGEST_WORD_MAX + 1];
        if (option_child(&option_table[i], parent, word, sizeof word) && word[0] != '*')
            offer(nearest, word);
    }
    free(parent);
}

static void refuse_unknown(struct reader *reader, const char *pointer, const char *key)
{
    struct nearest nearest = {.suggest = {.word = key}};
    struct where where = document_where(reader->document, pointer, true);
    offer_neighbours(pointer, &nearest);
    if (nearest.suggest.best)
        problems_suggest(reader->problems, where, nearest.best, "unknown key");
    else
        problems_add(reader->problems, where, "unknown key; boxrelay help options lists them");
}

static void read_object(struct reader *reader, const struct spotted *at);

static void read_outbox(struct reader *reader, const struct spotted *at, const char *name)
{
    struct error error;
    struct where where = document_where(reader->document, at->pointer, true);
    if (!names_outbox(name, &error)) {
        problems_add(reader->problems, where, "%s", error.text);
        return;
    }
    reader->outbox = settings_outbox(reader->settings, name);
    if (reader->outbox)
        read_object(reader, at);
    else
        problems_add(reader->problems, where, "more than %d outboxes", OUTBOX_STREAMS_MAX);
    reader->outbox = NULL;
}

static void read_member(struct reader *reader, const struct spotted *at, const char *key)
{
    const struct option *option = option_find(at->pointer);
    if (option)
        read_option(reader, option, at);
    else if (!option_inside(at->pointer))
        refuse_unknown(reader, at->pointer, key);
    else if (!json_is_object(at->value))
        problems_add(reader->problems, where_of(reader, at->pointer), "has to be an object { ... }, not %s",
                     kind_of(at->value));
    else if (text_starts(at->pointer, "/outbox/"))
        read_outbox(reader, at, key);
    else
        read_object(reader, at);
}

static void read_object(struct reader *reader, const struct spotted *at)
{
    const char *key;
    json_t *value;
    json_object_foreach((json_t *)(uintptr_t)at->value, key, value)
    {
        char *pointer = places_pointer(at->pointer, key);
        read_member(reader, &(struct spotted){pointer, value}, key);
        free(pointer);
    }
}

void settings_read(const struct document *document, struct settings *settings, struct problems *problems)
{
    struct reader reader = {.document = document, .settings = settings, .problems = problems};
    read_object(&reader, &(struct spotted){"", document->root});
    const json_t *outbox = json_object_get(document->root, "outbox");
    settings->outbox_on = !json_is_object(outbox) || json_object_size(outbox) > 0;
    if (settings->outbox_on && settings->outbox_count == 0)
        (void)settings_outbox(settings, "main");
}
