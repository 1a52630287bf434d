#include "settings.h"

#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "document.h"
#include "overlay.h"
#include "settings_read.h"
#include "text.h"

struct outbox_stream_options *settings_outbox(struct settings *settings, const char *name)
{
    for (size_t i = 0; i < settings->outbox_count; i++)
        if (strcmp(settings->outboxes[i].name, name) == 0)
            return &settings->outboxes[i];
    if (settings->outbox_count == OUTBOX_STREAMS_MAX)
        return NULL;
    struct outbox_stream_options *outbox = &settings->outboxes[settings->outbox_count++];
    settings_read_defaults("/outbox/*", outbox);
    snprintf(outbox->name, sizeof outbox->name, "%s", name);
    return outbox;
}

static struct settings *new_settings(void)
{
    struct settings *settings = text_memory(1, sizeof *settings);
    settings->kafka = kafka_settings_new();
    settings->outbox_on = true;
    settings_read_defaults("/", settings);
    return settings;
}

void settings_free(struct settings **settings)
{
    struct settings *old = *settings;
    if (!old)
        return;
    for (size_t i = 0; i < old->property_count; i++) {
        free(old->properties[i].name);
        free(old->properties[i].value);
    }
    for (size_t i = 0; i < old->outbox_count; i++) {
        for (size_t j = 0; j < old->outboxes[i].topic_count; j++)
            free((char *)(uintptr_t)old->outboxes[i].topics[j]);
        free((void *)(uintptr_t)old->outboxes[i].topics);
    }
    kafka_settings_free(&old->kafka);
    free(old->name);
    free(old->instance_id);
    free(old->postgres);
    free(old->positions_topic);
    free(old->http_listen);
    free(old);
    *settings = NULL;
}

const char *settings_bootstrap(const struct settings *settings)
{
    for (size_t i = 0; i < settings->property_count; i++)
        if (strcmp(settings->properties[i].name, "bootstrap.servers") == 0 ||
            strcmp(settings->properties[i].name, "metadata.broker.list") == 0)
            return settings->properties[i].value;
    return "";
}

/* Is it in the document, right or wrong? Then what is wrong with it was said already. */
static bool written(const struct document *document, const char *key)
{
    return json_object_get(document->root, key) != NULL;
}

static void require(const struct settings_source *source, const struct document *document,
                    const struct settings *settings, struct problems *problems)
{
    struct where where = document_where(document, "", false);
    size_t before = problems->count;
    if (source->need == SETTINGS_NEED_ALL && !settings->name && !written(document, "name"))
        problems_add(problems, where, "/name: missing; the relay's name, as \"orders\"");
    if (source->need >= SETTINGS_NEED_POSTGRES && !settings->postgres && !written(document, "postgres"))
        problems_add(problems, where, "/postgres: missing; a connection string, as \"host=localhost dbname=orders\"");
    const json_t *kafka = json_object_get(document->root, "kafka");
    if (source->need == SETTINGS_NEED_ALL && !json_object_get(kafka, "bootstrap.servers") &&
        !json_object_get(kafka, "metadata.broker.list"))
        problems_add(problems, document_where(document, "/kafka", false),
                     "/kafka/bootstrap.servers: missing; the brokers, as \"localhost:9092\"");
    if (source->need == SETTINGS_NEED_ALL && !settings->outbox_on)
        problems_add(problems, document_where(document, "/outbox", false),
                     "/outbox: {} turns the outbox off, and this version has nothing else to run; leave it out");
    if (!document->file && problems->count > before)
        problems_add(problems, where,
                     "no file was read: give one with --config FILE or BOXRELAY_CONFIG, or set all "
                     "that is missing as BOXRELAY_... (boxrelay help options)");
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

bool settings_load(const struct settings_source *source, struct settings **out, struct problems *problems,
                   struct problems *warnings)
{
    struct document document;
    struct settings *settings = new_settings();
    if (document_open(&document, source->file, problems)) {
        overlay_environment(&document, source->environment, problems, warnings);
        for (size_t i = 0; i < source->assignment_count; i++)
            overlay_assign(&document, source->assignments[i], problems);
        settings_read(&document, settings, problems);
        require(source, &document, settings, problems);
    }
    name_topic(settings);
    document_fini(&document);
    problems_sort(problems);
    if (problems->count > 0)
        settings_free(&settings);
    *out = settings;
    return settings != NULL;
}

static bool same_text(const char *a, const char *b) { return a && b ? strcmp(a, b) == 0 : a == b; }

static bool same_field(const struct option *option, const void *a, const void *b)
{
    const char *left = (const char *)a + option->at, *right = (const char *)b + option->at;
    switch (option->store) {
    case OPTION_AS_TEXT:
        return same_text(*(char *const *)left, *(char *const *)right);
    case OPTION_AS_BOOL:
        return *(const bool *)left == *(const bool *)right;
    case OPTION_AS_INT32:
        return *(const int32_t *)left == *(const int32_t *)right;
    case OPTION_AS_INT64:
        return *(const int64_t *)left == *(const int64_t *)right;
    default:
        return true;
    }
}

static bool same_kafka(const struct settings *a, const struct settings *b)
{
    if (a->property_count != b->property_count)
        return false;
    for (size_t i = 0; i < a->property_count; i++)
        if (a->properties[i].scope != b->properties[i].scope ||
            !same_text(a->properties[i].name, b->properties[i].name) ||
            !same_text(a->properties[i].value, b->properties[i].value))
            return false;
    return true;
}

static bool same_outbox(const struct outbox_stream_options *a, const struct outbox_stream_options *b)
{
    if (strcmp(a->name, b->name) != 0 || a->topic_count != b->topic_count)
        return false;
    for (size_t i = 0; i < a->topic_count; i++)
        if (!same_text(a->topics[i], b->topics[i]))
            return false;
    for (size_t i = 0; i < option_count; i++)
        if (text_starts(option_table[i].path, "/outbox/") && !same_field(&option_table[i], a, b))
            return false;
    return true;
}

static bool same_outboxes(const struct settings *a, const struct settings *b)
{
    if (a->outbox_on != b->outbox_on || a->outbox_count != b->outbox_count)
        return false;
    for (size_t i = 0; i < a->outbox_count; i++)
        if (!same_outbox(&a->outboxes[i], &b->outboxes[i]))
            return false;
    return true;
}

void settings_compare(const struct settings *a, const struct settings *b,
                      void (*changed)(void *opaque, const char *path, bool live), void *opaque)
{
    for (size_t i = 0; i < option_count; i++)
        if (!strchr(option_table[i].path, '*') && !same_field(&option_table[i], a, b))
            changed(opaque, option_table[i].path, option_table[i].live);
    if (!same_kafka(a, b))
        changed(opaque, "/kafka", false);
    if (!same_outboxes(a, b))
        changed(opaque, "/outbox", false);
}

void settings_service(const struct settings *settings, struct outbox_service_options *service)
{
    *service = (struct outbox_service_options){
        .name = settings->name,
        .instance_id = settings->instance_id,
        .conninfo = settings->postgres,
        .kafka = settings->kafka,
        .positions_topic = settings->positions_topic,
        .positions_replication_factor = settings->positions_replication_factor,
        .positions_accept_weak = settings->positions_accept_weak,
        .streams = settings->outboxes,
        .stream_count = settings->outbox_count,
    };
}
