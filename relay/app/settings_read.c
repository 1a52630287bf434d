#include "settings_read.h"

#include <assert.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "kafka/properties.h"
#include "names.h"
#include "suggest.h"
#include "text.h"
#include "units.h"

struct reader {
    const struct document *document;
    struct settings *settings;
    void *stream; /* the options of the outbox or inbox being read; NULL elsewhere */
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

static void store_start(const struct option *option, void *base, int64_t start, int64_t time_ms)
{
    assert(option->store == OPTION_AS_START);
    *(enum inbox_start *)field_of(option, base) = (enum inbox_start)start;
    *(int64_t *)((char *)base + option->time_at) = time_ms;
}

/* Takes the texts; frees those that stood there. */
static void store_list(const struct option *option, void *base, char **texts, size_t count)
{
    assert(option->store == OPTION_AS_LIST);
    settings_list_free(option, base);
    *(char ***)field_of(option, base) = texts;
    *(size_t *)((char *)base + option->count_at) = count;
}

static void store_default_list(const struct option *option, void *base)
{
    json_t *list = json_loads(option->otherwise, 0, NULL);
    size_t count = json_array_size(list);
    assert(count > 0);
    char **texts = text_memory(count, sizeof *texts);
    for (size_t i = 0; i < count; i++)
        texts[i] = text_copy(json_string_value(json_array_get(list, i)));
    json_decref(list);
    store_list(option, base, texts, count);
}

static void store_default(const struct option *option, void *base)
{
    int64_t number = 0;
    size_t word;
    if (option->store == OPTION_AS_TEXT) {
        store_text(option, base, option->otherwise);
    } else if (option->store == OPTION_AS_LIST) {
        store_default_list(option, base);
    } else if (option->store == OPTION_AS_START) {
        bool good = text_word_of(option->words, option->otherwise, &word);
        assert(good);
        store_start(option, base, (int64_t)word, 0);
    } else {
        bool good = number_of(option, option->otherwise, &number);
        assert(good);
        store_number(option, base, number);
    }
}

void settings_read_defaults(const char *prefix, void *base)
{
    for (size_t i = 0; i < option_count; i++) {
        const struct option *option = &option_table[i];
        bool ours = strcmp(prefix, "/") == 0 ? !strchr(option->path, '*') : text_starts(option->path, prefix);
        if (ours && option->otherwise && option->store != OPTION_NOWHERE)
            store_default(option, base);
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

/* What a list of these has to be, and what one of them. */
struct list_words {
    const char *all, *one, *otherwise;
    bool (*check)(const char *value, struct error *error);
};

static struct list_words words_of(const struct option *option)
{
    if (option->type == OPTION_HEADERS)
        return (struct list_words){"header names", "has to be a header's name, or a+b, in quotes",
                                   "; leave it out for the default", names_id_header};
    return (struct list_words){"topic names and ^regexes", "has to be a topic's name or a ^regex in quotes",
                               option->required ? "" : "; leave it out to allow all topics", names_topic_pattern};
}

static void read_list(struct reader *reader, const struct option *option, const struct spotted *at, void *base)
{
    struct list_words words = words_of(option);
    json_t *list = list_of(at->value);
    size_t count = json_array_size(list);
    if (count < (size_t)option->min || count > (size_t)option->max) {
        problems_add(reader->problems, where_of(reader, at->pointer), "has to be a list of %d to %d %s%s",
                     (int)option->min, (int)option->max, words.all, words.otherwise);
        json_decref(list);
        return;
    }
    char **texts = text_memory(count, sizeof *texts);
    for (size_t i = 0; i < count; i++) {
        struct error error;
        const char *text = json_string_value(json_array_get(list, i));
        texts[i] = text_copy(text ? text : "");
        if (text && words.check(text, &error))
            continue;
        char *pointer = text_printf("%s/%zu", at->pointer, i);
        if (!document_failed(reader->document, pointer))
            problems_add(reader->problems, where_of(reader, pointer), "%s", text ? error.text : words.one);
        free(pointer);
    }
    json_decref(list);
    store_list(option, base, texts, count);
}

static void read_start(struct reader *reader, const struct option *option, const struct spotted *at, void *base)
{
    const char *text = json_string_value(at->value);
    size_t word;
    int64_t time_ms;
    if (text && text_word_of(option->words, text, &word))
        store_start(option, base, (int64_t)word, 0);
    else if (text && units_time_parse(text, &time_ms))
        store_start(option, base, INBOX_START_TIME, time_ms);
    else if (text && text[0] >= 'a' && text[0] <= 'z')
        refuse_word(reader, option, at, text);
    else
        problems_add(reader->problems, where_of(reader, at->pointer),
                     "has to be one of %s, or a time with its zone, as \"2030-01-31T12:00:00Z\" or "
                     "\"2030-01-31T12:00:00+01:00\"",
                     option->words);
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
    void *base = reader->stream ? reader->stream : reader->settings;
    switch (option->type) {
    case OPTION_TOPICS:
    case OPTION_HEADERS:
        read_list(reader, option, at, base);
        return;
    case OPTION_START:
        read_start(reader, option, at, base);
        return;
    case OPTION_PROPERTY:
        read_property(reader, option, at);
        return;
    case OPTION_REFUSED:
        problems_add(reader->problems, document_where(reader->document, at->pointer, true),
                     "not available in this version; remove it");
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
    reader->stream = settings_outbox(reader->settings, name);
    if (reader->stream)
        read_object(reader, at);
    else
        problems_add(reader->problems, where, "more than %d outboxes", OUTBOX_STREAMS_MAX);
    reader->stream = NULL;
}

/* Ids that are forgotten before their messages would let one be stored a second time beside itself. */
static void check_retention(struct reader *reader, const struct spotted *at, const struct inbox_stream_options *inbox)
{
    char ids[UNITS_TEXT_SIZE], rows[UNITS_TEXT_SIZE];
    if (inbox->id_retention_ms >= inbox->retention_ms)
        return;
    const char *key = json_object_get(at->value, "id_retention") ? "id_retention" : "retention";
    char *pointer = text_printf("%s/%s", at->pointer, key);
    units_duration_format(inbox->id_retention_ms, ids);
    units_duration_format(inbox->retention_ms, rows);
    problems_add(reader->problems, where_of(reader, pointer),
                 "id_retention (%s) must not be shorter than retention (%s): ids outlive their messages", ids, rows);
    free(pointer);
}

static void check_inbox(struct reader *reader, const struct spotted *at, const struct inbox_stream_options *inbox)
{
    char *topics = text_printf("%s/topics", at->pointer);
    if (!json_object_get(at->value, "topics") && !document_failed(reader->document, topics)) {
        struct where where = document_where(reader->document, at->pointer, true);
        where.pointer = topics;
        problems_add(reader->problems, where, "missing; the topics whose messages are stored, as [\"payments\"]");
    }
    free(topics);
    check_retention(reader, at, inbox);
}

static void read_inbox(struct reader *reader, const struct spotted *at, const char *name)
{
    struct error error;
    struct where where = document_where(reader->document, at->pointer, true);
    if (!names_inbox(name, &error)) {
        problems_add(reader->problems, where, "%s", error.text);
        return;
    }
    struct inbox_stream_options *inbox = settings_inbox(reader->settings, name);
    if (!inbox) {
        problems_add(reader->problems, where, "more than %d inboxes", INBOX_STREAMS_MAX);
        return;
    }
    reader->stream = inbox;
    read_object(reader, at);
    reader->stream = NULL;
    check_inbox(reader, at, inbox);
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
    else if (text_starts(at->pointer, "/inbox/"))
        read_inbox(reader, at, key);
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

/* "<name>" in a default is known only after the name was read. */
static void name_topic(struct settings *settings)
{
    char *mark = strstr(settings->positions_topic, "<name>");
    if (!mark || !settings->name)
        return;
    char *topic = text_printf("%.*s%s%s", (int)(mark - settings->positions_topic), settings->positions_topic,
                              settings->name, mark + strlen("<name>"));
    free(settings->positions_topic);
    settings->positions_topic = topic;
}

/* [K5] No inbox reads the relay's own topic; a regular expression that matches it leaves it out by itself. */
static void check_positions(struct reader *reader)
{
    const struct settings *settings = reader->settings;
    for (size_t i = 0; i < settings->inbox_count; i++) {
        const struct inbox_stream_options *inbox = &settings->inboxes[i];
        for (size_t k = 0; k < inbox->topic_count; k++) {
            if (strcmp(inbox->topics[k], settings->positions_topic) != 0)
                continue;
            char *pointer = text_printf("/inbox/%s/topics/%zu", inbox->name, k);
            problems_add(reader->problems, where_of(reader, pointer),
                         "the relay's own positions topic cannot be read into an inbox");
            free(pointer);
        }
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
    name_topic(settings);
    check_positions(&reader);
}
