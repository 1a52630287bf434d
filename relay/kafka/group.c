#include "kafka/group.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "member.h"

enum { GROUP_MAGIC = 0x67726f75, PARTITIONS_MAX = 4096 };

struct group {
    uint32_t magic;
    struct group_options options;
    struct member member;
    bool fatal;
    int32_t held[PARTITIONS_MAX]; /* as last assigned, until revoked or lost */
    size_t held_count;
};

static void tell(struct group *group, enum group_change change, const rd_kafka_topic_partition_list_t *list)
{
    int32_t partitions[PARTITIONS_MAX] = {0};
    size_t count = 0;
    for (int i = 0; list && i < list->cnt && count < PARTITIONS_MAX; i++)
        partitions[count++] = list->elems[i].partition;
    group->held_count = change == GROUP_ASSIGNED ? count : 0;
    memcpy(group->held, partitions, group->held_count * sizeof partitions[0]);
    group->options.changed(group->options.opaque, change, partitions, count);
}

/* Nothing is to be read: from the end, and paused before the first fetch. */
static void assign(struct group *group, rd_kafka_topic_partition_list_t *list)
{
    for (int i = 0; i < list->cnt; i++)
        list->elems[i].offset = RD_KAFKA_OFFSET_END;
    rd_kafka_assign(group->member.handle, list);
    rd_kafka_pause_partitions(group->member.handle, list);
}

static void rebalance(struct group *group, rd_kafka_event_t *event)
{
    rd_kafka_topic_partition_list_t *list = rd_kafka_event_topic_partition_list(event);
    if (rd_kafka_event_error(event) == RD_KAFKA_RESP_ERR__ASSIGN_PARTITIONS) {
        assign(group, list);
        tell(group, GROUP_ASSIGNED, list);
        return;
    }
    bool lost = rd_kafka_event_error(event) != RD_KAFKA_RESP_ERR__REVOKE_PARTITIONS ||
                rd_kafka_assignment_lost(group->member.handle);
    tell(group, lost ? GROUP_LOST : GROUP_REVOKED, list);
    rd_kafka_assign(group->member.handle, NULL);
}

/* A fenced member is out for good; the library forgets its partitions without a word. */
static void lose_all(struct group *group)
{
    group->options.changed(group->options.opaque, GROUP_LOST, group->held, group->held_count);
    group->held_count = 0;
}

static void note_fatal(struct group *group)
{
    if (!member_is_fatal(&group->member))
        return;
    if (!group->fatal)
        lose_all(group);
    group->fatal = true;
}

static void serve(void *opaque, rd_kafka_event_t *event)
{
    struct group *group = opaque;
    if (rd_kafka_event_type(event) == RD_KAFKA_EVENT_REBALANCE)
        rebalance(group, event);
    else
        member_note(&group->member, event);
    rd_kafka_event_destroy(event);
}

enum error_class group_open(const struct group_options *options, struct group **out, struct error *error)
{
    assert(options->changed);
    const struct member_options member = {
        .settings = options->settings,
        .kind = CONF_GROUP,
        .group_id = options->group_id,
        .instance_id = options->instance_id,
        .client_id = options->client_id,
        .strategy = "range",
        .topics = &options->topic,
        .topic_count = 1,
    };
    struct group *group = calloc(1, sizeof *group);
    if (!group)
        abort();
    group->magic = GROUP_MAGIC;
    group->options = *options;
    enum error_class class = member_open(&group->member, &member, error);
    if (class != ERROR_NONE)
        group_close(&group);
    *out = group;
    return class;
}

enum error_class group_poll(struct group *group, int timeout_ms, struct error *error)
{
    assert(group && group->magic == GROUP_MAGIC);
    int64_t until = clock_monotonic_ms() + timeout_ms;
    for (int64_t left = timeout_ms; left >= 0; left = until - clock_monotonic_ms()) {
        rd_kafka_event_t *event = rd_kafka_queue_poll(group->member.queue, (int)left);
        if (!event)
            break;
        serve(group, event);
    }
    note_fatal(group);
    return member_report(&group->member, error);
}

void group_close(struct group **group)
{
    struct group *gone = *group;
    *group = NULL;
    if (!gone)
        return;
    assert(gone->magic == GROUP_MAGIC);
    member_close(&gone->member, serve, gone);
    gone->magic = 0;
    free(gone);
}
