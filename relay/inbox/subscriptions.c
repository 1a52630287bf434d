#include "subscriptions.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

struct subscriptions *subscriptions_new(const struct inbox_service_options *options)
{
    struct subscriptions *subscriptions = calloc(1, sizeof *subscriptions);
    if (!subscriptions)
        return NULL;
    subscriptions->options = *options;
    subscriptions->users = 1;
    return subscriptions;
}

struct subscriptions *subscriptions_share(struct subscriptions *subscriptions)
{
    size_t before = atomic_fetch_add(&subscriptions->users, 1);
    assert(before >= 1);
    return subscriptions;
}

void subscriptions_drop(struct subscriptions **subscriptions)
{
    struct subscriptions *dropped = *subscriptions;
    *subscriptions = NULL;
    if (!dropped)
        return;
    size_t before = atomic_fetch_sub(&dropped->users, 1);
    assert(before >= 1);
    if (before > 1)
        return;
    if (dropped->options.unused)
        dropped->options.unused(dropped->options.owner);
    free(dropped);
}

const struct inbox_stream_options *subscriptions_stream(const struct subscriptions *subscriptions, const char *name)
{
    for (size_t i = 0; i < subscriptions->options.stream_count; i++)
        if (strcmp(subscriptions->options.streams[i].name, name) == 0)
            return &subscriptions->options.streams[i];
    return NULL;
}

static bool same_text(const char *a, const char *b) { return a && b ? strcmp(a, b) == 0 : a == b; }

static bool same_list(const char *const *a, size_t a_count, const char *const *b, size_t b_count)
{
    if (a_count != b_count)
        return false;
    for (size_t i = 0; i < a_count; i++)
        if (strcmp(a[i], b[i]) != 0)
            return false;
    return true;
}

bool inbox_stream_same(const struct inbox_stream_options *a, const struct inbox_stream_options *b)
{
    return same_list(a->topics, a->topic_count, b->topics, b->topic_count) &&
           same_list(a->id_headers, a->id_header_count, b->id_headers, b->id_header_count) && a->start == b->start &&
           a->start_ms == b->start_ms && a->on_missing_id == b->on_missing_id &&
           a->waiting_rows_max == b->waiting_rows_max && a->waiting_bytes_max == b->waiting_bytes_max &&
           a->retention_ms == b->retention_ms && a->id_retention_ms == b->id_retention_ms &&
           a->batch_rows_max == b->batch_rows_max && a->batch_bytes_max == b->batch_bytes_max;
}

bool subscriptions_same(const struct subscriptions *a, const struct subscriptions *b, const char *name)
{
    const struct inbox_stream_options *left = subscriptions_stream(a, name), *right = subscriptions_stream(b, name);
    assert(left && right);
    return inbox_stream_same(left, right) && same_text(a->options.conninfo, b->options.conninfo) &&
           same_text(a->options.instance_id, b->options.instance_id) &&
           kafka_settings_same(a->options.kafka, b->options.kafka, KAFKA_CONSUMER);
}
