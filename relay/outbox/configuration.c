#include "configuration.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

struct configuration *configuration_new(const struct outbox_service_options *options)
{
    struct configuration *configuration = calloc(1, sizeof *configuration);
    if (!configuration)
        return NULL;
    configuration->options = *options;
    configuration->users = 1;
    last_poll_init(&configuration->last_poll);
    return configuration;
}

struct configuration *configuration_share(struct configuration *configuration)
{
    size_t before = atomic_fetch_add(&configuration->users, 1);
    assert(before >= 1);
    return configuration;
}

void configuration_drop(struct configuration **configuration)
{
    struct configuration *dropped = *configuration;
    *configuration = NULL;
    if (!dropped)
        return;
    size_t before = atomic_fetch_sub(&dropped->users, 1);
    assert(before >= 1);
    if (before > 1)
        return;
    if (dropped->options.unused)
        dropped->options.unused(dropped->options.owner);
    last_poll_fini(&dropped->last_poll);
    free(dropped);
}

void configuration_stream(const struct configuration *configuration, const char *name,
                          struct outbox_stream_options *options)
{
    const struct outbox_service_options *all = &configuration->options;
    outbox_stream_defaults(options);
    for (size_t i = 0; i < all->stream_count; i++)
        if (strcmp(all->streams[i].name, name) == 0)
            *options = all->streams[i];
}

static bool same_text(const char *a, const char *b) { return a && b ? strcmp(a, b) == 0 : a == b; }

bool outbox_stream_same(const struct outbox_stream_options *a, const struct outbox_stream_options *b)
{
    if (a->commit_interval_ms != b->commit_interval_ms || a->batch_rows_max != b->batch_rows_max ||
        a->batch_bytes_max != b->batch_bytes_max || a->retention_ms != b->retention_ms ||
        a->size_alarm_bytes != b->size_alarm_bytes || a->unknown_topic_is_poison != b->unknown_topic_is_poison ||
        a->topic_count != b->topic_count)
        return false;
    for (size_t i = 0; i < a->topic_count; i++)
        if (strcmp(a->topics[i], b->topics[i]) != 0)
            return false;
    return true;
}

bool configuration_same_stream(const struct configuration *a, const struct configuration *b, const char *name)
{
    struct outbox_stream_options left, right;
    configuration_stream(a, name, &left);
    configuration_stream(b, name, &right);
    return outbox_stream_same(&left, &right) && same_text(a->options.conninfo, b->options.conninfo) &&
           kafka_settings_same(a->options.kafka, b->options.kafka, KAFKA_PRODUCER) &&
           kafka_settings_same(a->options.kafka, b->options.kafka, KAFKA_CONSUMER);
}

bool configuration_same_group(const struct configuration *a, const struct configuration *b)
{
    return same_text(a->options.instance_id, b->options.instance_id) &&
           kafka_settings_same(a->options.kafka, b->options.kafka, KAFKA_CONSUMER);
}
