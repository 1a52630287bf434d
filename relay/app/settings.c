#include "settings.h"

#include <assert.h>
#include <stdarg.h>
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

struct inbox_stream_options *settings_inbox(struct settings *settings, const char *name)
{
    for (size_t i = 0; i < settings->inbox_count; i++)
        if (strcmp(settings->inboxes[i].name, name) == 0)
            return &settings->inboxes[i];
    if (settings->inbox_count == INBOX_STREAMS_MAX)
        return NULL;
    struct inbox_stream_options *inbox = &settings->inboxes[settings->inbox_count++];
    settings_read_defaults("/inbox/*", inbox);
    snprintf(inbox->name, sizeof inbox->name, "%s", name);
    return inbox;
}

void settings_list_free(const struct option *option, void *base)
{
    char ***texts = (char ***)((char *)base + option->at);
    size_t *count = (size_t *)((char *)base + option->count_at);
    for (size_t i = 0; i < *count; i++)
        free((*texts)[i]);
    free(*texts);
    *texts = NULL;
    *count = 0;
}

static void free_lists(const char *prefix, void *base)
{
    for (size_t i = 0; i < option_count; i++)
        if (option_table[i].store == OPTION_AS_LIST && text_starts(option_table[i].path, prefix))
            settings_list_free(&option_table[i], base);
}

static struct settings *new_settings(void)
{
    struct settings *settings = text_memory(1, sizeof *settings);
    settings->users = 1;
    settings->kafka = kafka_settings_new();
    settings->outbox_on = true;
    settings_read_defaults("/", settings);
    return settings;
}

struct settings *settings_share(struct settings *settings)
{
    size_t before = atomic_fetch_add(&settings->users, 1);
    assert(before >= 1);
    return settings;
}

void settings_free(struct settings **settings)
{
    struct settings *old = *settings;
    *settings = NULL;
    if (!old || atomic_fetch_sub(&old->users, 1) > 1)
        return;
    for (size_t i = 0; i < old->origin_count; i++) {
        free(old->origins[i].pointer);
        free(old->origins[i].source);
    }
    free(old->origins);
    for (size_t i = 0; i < old->property_count; i++) {
        free(old->properties[i].name);
        free(old->properties[i].value);
    }
    for (size_t i = 0; i < old->outbox_count; i++)
        free_lists("/outbox/*", &old->outboxes[i]);
    for (size_t i = 0; i < old->inbox_count; i++)
        free_lists("/inbox/*", &old->inboxes[i]);
    kafka_settings_free(&old->kafka);
    free(old->name);
    free(old->instance_id);
    free(old->postgres);
    free(old->positions_topic);
    free(old->http_listen);
    free(old);
}

const struct settings_origin *settings_origin(const struct settings *settings, const char *pointer)
{
    for (size_t i = settings->origin_count; i > 0; i--)
        if (strcmp(settings->origins[i - 1].pointer, pointer) == 0)
            return &settings->origins[i - 1];
    return NULL;
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
    char pointer[64];
    snprintf(pointer, sizeof pointer, "/%s", key);
    return json_object_get(document->root, key) || document_failed(document, pointer);
}

static bool has_brokers(const struct document *document)
{
    const json_t *kafka = json_object_get(document->root, "kafka");
    return json_object_get(kafka, "bootstrap.servers") || json_object_get(kafka, "metadata.broker.list") ||
           document_failed(document, "/kafka/bootstrap.servers");
}

/* As "${BROKERS:-}" becomes where nothing is set. */
static bool has_empty_brokers(const struct document *document)
{
    const char *brokers =
        json_string_value(json_object_get(json_object_get(document->root, "kafka"), "bootstrap.servers"));
    return brokers && !*brokers;
}

static void require(const struct settings_source *source, const struct document *document,
                    const struct settings *settings, struct problems *problems)
{
    struct where where = document_where(document, "", false);
    bool all = source->need == SETTINGS_NEED_ALL;
    size_t before = problems->count;
    where.pointer = "/name";
    if (all && !settings->name && !written(document, "name"))
        problems_add(problems, where, "missing; the relay's name, as \"orders\"");
    where.pointer = "/postgres";
    if (source->need >= SETTINGS_NEED_POSTGRES && !settings->postgres && !written(document, "postgres"))
        problems_add(problems, where, "missing; a connection string, as \"host=localhost dbname=orders\"");
    if (all && !has_brokers(document))
        problems_add(problems, document_where(document, "/kafka/bootstrap.servers", false),
                     "missing; the brokers, as \"localhost:9092\"");
    if (all && has_empty_brokers(document))
        problems_add(problems, document_where(document, "/kafka/bootstrap.servers", false),
                     "empty; the brokers, as \"localhost:9092\"");
    if (all && !settings->outbox_on && settings->inbox_count == 0)
        problems_add(problems, document_where(document, "/outbox", false),
                     "{} turns the outbox off, and there is no inbox either: nothing would run; leave it out, or add "
                     "an inbox");
    where.pointer = NULL;
    if (!document->file && problems->count > before)
        problems_add(problems, where,
                     "no file was read: give one with --config FILE or BOXRELAY_CONFIG, or set all "
                     "that is missing as BOXRELAY_... (boxrelay help options)");
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
    document_fini(&document);
    problems_sort(problems);
    if (problems->count > 0)
        settings_free(&settings);
    *out = settings;
    return settings != NULL;
}

static bool same_text(const char *a, const char *b) { return a && b ? strcmp(a, b) == 0 : a == b; }

static bool same_list(const struct option *option, const void *a, const void *b)
{
    char *const *left = *(char *const *const *)((const char *)a + option->at);
    char *const *right = *(char *const *const *)((const char *)b + option->at);
    size_t left_count = *(const size_t *)((const char *)a + option->count_at);
    bool same = left_count == *(const size_t *)((const char *)b + option->count_at);
    for (size_t i = 0; same && i < left_count; i++)
        same = strcmp(left[i], right[i]) == 0;
    return same;
}

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
    case OPTION_AS_LIST:
        return same_list(option, a, b);
    case OPTION_AS_START:
        return *(const enum inbox_start *)left == *(const enum inbox_start *)right &&
               *(const int64_t *)((const char *)a + option->time_at) ==
                   *(const int64_t *)((const char *)b + option->time_at);
    default:
        return true;
    }
}

/* Who hears of changes. */
struct listener {
    settings_changed *changed;
    void *opaque;
};

static void tell(const struct listener *listener, const struct option *option, const char *format, ...)
    PRINTF_LIKE(3, 4);

static void tell(const struct listener *listener, const struct option *option, const char *format, ...)
{
    char path[512];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(path, sizeof path, format, arguments);
    va_end(arguments);
    listener->changed(listener->opaque, option, path);
}

static const struct option *property_option(enum kafka_scope scope)
{
    return option_find(scope == KAFKA_PRODUCER   ? "/kafka/producer/*"
                       : scope == KAFKA_CONSUMER ? "/kafka/consumer/*"
                                                 : "/kafka/*");
}

const struct settings_property *settings_property(const struct settings *settings, enum kafka_scope scope,
                                                  const char *name)
{
    for (size_t i = settings->property_count; i > 0; i--) {
        const struct settings_property *property = &settings->properties[i - 1];
        if (property->scope == scope && strcmp(property->name, name) == 0)
            return property;
    }
    return NULL;
}

/* What `a` has and `b` has not, or (`values`) has otherwise. */
static void compare_properties(const struct settings *a, const struct settings *b, bool values,
                               const struct listener *listener)
{
    for (size_t i = 0; i < a->property_count; i++) {
        const struct settings_property *left = &a->properties[i];
        const struct settings_property *right = settings_property(b, left->scope, left->name);
        const struct option *option = property_option(left->scope);
        if (!right || (values && strcmp(left->value, right->value) != 0))
            tell(listener, option, "%.*s%s", (int)strlen(option->path) - 1, option->path, left->name);
    }
}

/* `prefix` is "/outbox/" or "/inbox/", `a` and `b` are options of such a stream. */
static void compare_stream(const char *prefix, const char *name, const void *a, const void *b,
                           const struct listener *listener)
{
    for (size_t i = 0; i < option_count; i++) {
        const struct option *option = &option_table[i];
        if (text_starts(option->path, prefix) && !same_field(option, a, b))
            tell(listener, option, "%s%s/%s", prefix, name, strrchr(option->path, '/') + 1);
    }
}

static const struct outbox_stream_options *find_outbox(const struct settings *settings, const char *name)
{
    for (size_t i = 0; i < settings->outbox_count; i++)
        if (strcmp(settings->outboxes[i].name, name) == 0)
            return &settings->outboxes[i];
    return NULL;
}

/* An outbox without an entry has the defaults. */
static void compare_outboxes(const struct settings *a, const struct settings *b, const struct listener *listener)
{
    struct outbox_stream_options defaults = {0};
    settings_read_defaults("/outbox/*", &defaults);
    for (size_t i = 0; i < a->outbox_count; i++) {
        const struct outbox_stream_options *other = find_outbox(b, a->outboxes[i].name);
        compare_stream("/outbox/", a->outboxes[i].name, &a->outboxes[i], other ? other : &defaults, listener);
    }
    for (size_t i = 0; i < b->outbox_count; i++)
        if (!find_outbox(a, b->outboxes[i].name))
            compare_stream("/outbox/", b->outboxes[i].name, &b->outboxes[i], &defaults, listener);
    free_lists("/outbox/*", &defaults);
}

static const struct inbox_stream_options *find_inbox(const struct settings *settings, const char *name)
{
    for (size_t i = 0; i < settings->inbox_count; i++)
        if (strcmp(settings->inboxes[i].name, name) == 0)
            return &settings->inboxes[i];
    return NULL;
}

/* An inbox that only one of them has shows by its topics: each has some. */
static void compare_inboxes(const struct settings *a, const struct settings *b, const struct listener *listener)
{
    struct inbox_stream_options defaults = {0};
    settings_read_defaults("/inbox/*", &defaults);
    for (size_t i = 0; i < a->inbox_count; i++) {
        const struct inbox_stream_options *other = find_inbox(b, a->inboxes[i].name);
        compare_stream("/inbox/", a->inboxes[i].name, &a->inboxes[i], other ? other : &defaults, listener);
    }
    for (size_t i = 0; i < b->inbox_count; i++)
        if (!find_inbox(a, b->inboxes[i].name))
            compare_stream("/inbox/", b->inboxes[i].name, &b->inboxes[i], &defaults, listener);
    free_lists("/inbox/*", &defaults);
}

void settings_compare(const struct settings *a, const struct settings *b, settings_changed *changed, void *opaque)
{
    const struct listener listener = {changed, opaque};
    for (size_t i = 0; i < option_count; i++)
        if (!strchr(option_table[i].path, '*') && !same_field(&option_table[i], a, b))
            changed(opaque, &option_table[i], option_table[i].path);
    compare_properties(a, b, true, &listener);
    compare_properties(b, a, false, &listener);
    compare_outboxes(a, b, &listener);
    compare_inboxes(a, b, &listener);
}

void settings_outbox_service(const struct settings *settings, struct outbox_service_options *service)
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

void settings_inbox_service(const struct settings *settings, struct inbox_service_options *service)
{
    *service = (struct inbox_service_options){
        .name = settings->name,
        .instance_id = settings->instance_id,
        .conninfo = settings->postgres,
        .kafka = settings->kafka,
        .positions_topic = settings->positions_topic,
        .streams = settings->inboxes,
        .stream_count = settings->inbox_count,
    };
}
