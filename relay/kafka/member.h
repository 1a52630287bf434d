/*
 * What every member of a consumer group of ours has: the client, its queue, and what stands in its way. Shared by
 * group.c (leadership) and consumer.c (inboxes). Thread: one; the answers are noted by broker threads.
 */
#ifndef RELAY_KAFKA_MEMBER_H
#define RELAY_KAFKA_MEMBER_H

#include <stdbool.h>
#include <stdint.h>

#include <librdkafka/rdkafka.h>

#include "base/error.h"
#include "conf.h"
#include "reason.h"

struct member {
    rd_kafka_t *handle;
    rd_kafka_queue_t *queue; /* the consumer's: messages, rebalances, errors, log lines */
    struct reason reason;    /* until it is mended */
    int64_t reason_ms;       /* when it was noted */

    /* Monotonic; written by broker threads. The library tells an outage once and its end never: so count answers. */
    _Atomic int64_t answered_ms, heartbeat_ms;
    _Atomic bool answered;
};

struct member_options {
    const struct kafka_settings *settings;
    enum conf_kind kind;
    const char *group_id, *instance_id, *client_id; /* instance_id NULL: dynamic membership */
    const char *strategy;                           /* partition.assignment.strategy */
    const char *const *topics;
    size_t topic_count;
    const char *ignored_topics; /* property topic.blacklist, beside the user's own; NULL: none */
};

/* Makes the client and subscribes; without topics it stays out of the group. The struct is the caller's and may not
 * move. */
MUST_CHECK enum error_class member_open(struct member *member, const struct member_options *options,
                                        struct error *error);

/* Leaves the group at once, serving what its last rebalance brings, and destroys. */
void member_close(struct member *member, void (*serve)(void *opaque, rd_kafka_event_t *event), void *opaque);

/* Keeps what an error or log event says. */
void member_note(struct member *member, rd_kafka_event_t *event);

/* Is the client out for good? Its reason is noted then. */
bool member_is_fatal(struct member *member);

/*
 * What stands in the way now: RECONNECT (no broker has answered for four seconds, or ever), CONFIG (authentication,
 * authorization), INTEGRITY (fenced by another member with our instance_id).
 */
MUST_CHECK enum error_class member_report(struct member *member, struct error *error);

#endif
