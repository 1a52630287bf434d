#include "kafka/client.h"

#include <assert.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "conf.h"

enum { SETTINGS_MAX = 512, LEARNED_MAX = 256, SCRAM_MENDED_VERSION = 0x020600ff };

struct setting {
    enum kafka_scope scope;
    char *name, *value;
};

struct learned {
    char *transactional_id;
    int32_t batch_bytes_max;
};

/* What producers learned; shared by their threads, unlike the properties. */
struct lessons {
    pthread_mutex_t lock;
    size_t count;
    struct learned items[LEARNED_MAX];
};

struct kafka_settings {
    size_t count;
    struct setting items[SETTINGS_MAX];
    struct lessons *lessons;
};

static void *allocate(size_t size)
{
    void *memory = calloc(1, size);
    if (!memory)
        abort();
    return memory;
}

struct kafka_settings *kafka_settings_new(void)
{
    struct kafka_settings *settings = allocate(sizeof *settings);
    settings->lessons = allocate(sizeof *settings->lessons);
    pthread_mutex_init(&settings->lessons->lock, NULL);
    return settings;
}

void kafka_settings_free(struct kafka_settings **settings)
{
    struct kafka_settings *gone = *settings;
    *settings = NULL;
    if (!gone)
        return;
    for (size_t i = 0; i < gone->count; i++) {
        free(gone->items[i].name);
        free(gone->items[i].value);
    }
    for (size_t i = 0; i < gone->lessons->count; i++)
        free(gone->lessons->items[i].transactional_id);
    pthread_mutex_destroy(&gone->lessons->lock);
    free(gone->lessons);
    free(gone);
}

/* Tries the property on a configuration that is thrown away: the library knows its names and values best. */
static enum error_class try_property(const char *name, const char *value, struct error *error)
{
    rd_kafka_conf_t *scratch = rd_kafka_conf_new();
    enum error_class class = conf_set(scratch, name, value, error);
    rd_kafka_conf_destroy(scratch);
    return class;
}

enum error_class kafka_settings_add(struct kafka_settings *settings, enum kafka_scope scope, const char *name,
                                    const char *value, struct error *error)
{
    const char *reason = conf_owned_reason(name);
    if (reason)
        return error_set(error, ERROR_CONFIG, "OWNED_PROPERTY", "\"%s\" is set by the relay itself: %s", name, reason);
    if (scope != KAFKA_ALL && (strcmp(name, "bootstrap.servers") == 0 || strcmp(name, "metadata.broker.list") == 0))
        return error_set(error, ERROR_CONFIG, "OWNED_PROPERTY",
                         "\"%s\" is one for all clients: rows and position go into one cluster; write it under kafka",
                         name);
    enum error_class class = try_property(name, value, error);
    if (class != ERROR_NONE)
        return class;
    if (settings->count == SETTINGS_MAX)
        return error_set(error, ERROR_CONFIG, "TOO_MANY_PROPERTIES", "more than %d Kafka properties", SETTINGS_MAX);
    struct setting *setting = &settings->items[settings->count++];
    *setting = (struct setting){.scope = scope, .name = strdup(name), .value = strdup(value)};
    if (!setting->name || !setting->value)
        abort();
    return ERROR_NONE;
}

enum error_class settings_apply(const struct kafka_settings *settings, enum kafka_scope scope, rd_kafka_conf_t *conf,
                                struct error *error)
{
    enum error_class class = ERROR_NONE;
    for (size_t i = 0; i < settings->count && class == ERROR_NONE; i++)
        if (settings->items[i].scope == scope)
            class = conf_set(conf, settings->items[i].name, settings->items[i].value, error);
    return class;
}

/* The next of the scope's settings from *at on; NULL: there is none. */
static const struct setting *next_setting(const struct kafka_settings *settings, enum kafka_scope scope, size_t *at)
{
    while (*at < settings->count) {
        const struct setting *setting = &settings->items[(*at)++];
        if (setting->scope == KAFKA_ALL || setting->scope == scope)
            return setting;
    }
    return NULL;
}

bool kafka_settings_same(const struct kafka_settings *a, const struct kafka_settings *b, enum kafka_scope scope)
{
    for (size_t i = 0, k = 0;;) {
        const struct setting *left = next_setting(a, scope, &i), *right = next_setting(b, scope, &k);
        if (!left || !right)
            return left == right;
        if (left->scope != right->scope || strcmp(left->name, right->name) != 0 ||
            strcmp(left->value, right->value) != 0)
            return false;
    }
}

const char *kafka_library_version(void) { return rd_kafka_version_str(); }

const char *kafka_scram_warning(const struct kafka_settings *settings)
{
    if (rd_kafka_version() >= SCRAM_MENDED_VERSION)
        return NULL;
    for (size_t i = 0; i < settings->count; i++) {
        const struct setting *setting = &settings->items[i];
        bool mechanism = strcmp(setting->name, "sasl.mechanism") == 0 || strcmp(setting->name, "sasl.mechanisms") == 0;
        if (mechanism && strncasecmp(setting->value, "SCRAM", 5) == 0)
            return "librdkafka before 2.6.0 can never authenticate by SCRAM against Kafka 4 (it sends its nonce "
                   "twice, and the broker answers as if the password were wrong): use librdkafka 2.6.0 or later, or "
                   "PLAIN over TLS";
    }
    return NULL;
}

static struct learned *find_lesson(struct lessons *lessons, const char *transactional_id)
{
    for (size_t i = 0; i < lessons->count; i++)
        if (strcmp(lessons->items[i].transactional_id, transactional_id) == 0)
            return &lessons->items[i];
    return NULL;
}

int32_t settings_batch_limit(const struct kafka_settings *settings, const char *transactional_id)
{
    struct lessons *lessons = settings->lessons;
    pthread_mutex_lock(&lessons->lock);
    const struct learned *learned = find_lesson(lessons, transactional_id);
    int32_t bytes = learned ? learned->batch_bytes_max : 0;
    pthread_mutex_unlock(&lessons->lock);
    return bytes;
}

void settings_limit_batch(const struct kafka_settings *settings, const char *transactional_id, int32_t bytes)
{
    assert(bytes > 0);
    struct lessons *lessons = settings->lessons;
    pthread_mutex_lock(&lessons->lock);
    struct learned *learned = find_lesson(lessons, transactional_id);
    if (!learned && lessons->count < LEARNED_MAX) {
        learned = &lessons->items[lessons->count++];
        learned->transactional_id = strdup(transactional_id);
        if (!learned->transactional_id)
            abort();
    }
    if (learned && (learned->batch_bytes_max == 0 || bytes < learned->batch_bytes_max))
        learned->batch_bytes_max = bytes;
    pthread_mutex_unlock(&lessons->lock);
}
