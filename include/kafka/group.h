/*
 * Membership of the consumer group on the positions topic: whoever is assigned partition i leads outbox stream i.
 * Nothing is consumed: partitions are paused when assigned. Thread: all calls from one thread (the leadership thread);
 * callbacks run inside group_poll and group_close.
 */
#ifndef KAFKA_GROUP_H
#define KAFKA_GROUP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"
#include "kafka/client.h"

enum { GROUP_SESSION_TIMEOUT_MS = 6000, GROUP_HEARTBEAT_MS = 500, GROUP_METADATA_REFRESH_MS = 2000 };

enum group_change {
    GROUP_ASSIGNED, /* exactly these partitions are ours now; ones held before and not among them are lost */
    GROUP_REVOKED,  /* a rebalance took these; an assign may follow: hold, write nothing */
    GROUP_LOST,     /* we were out of the group: these are somebody else's */
};

struct group_options {
    const struct kafka_settings *settings;
    const char *group_id;    /* "boxrelay.<name>.outbox" */
    const char *instance_id; /* group.instance.id; NULL: dynamic membership */
    const char *client_id;
    const char *topic;
    void (*changed)(void *opaque, enum group_change change, const int32_t *partitions, size_t count);
    void *opaque;
};

struct group;

/* Joins. CONFIG for refused settings; brokers away are no error here, they show in group_poll. */
MUST_CHECK enum error_class group_open(const struct group_options *options, struct group **out, struct error *error);

/*
 * Serves the membership for up to timeout_ms. ERROR_NONE, or what stands in the way now: RECONNECT (no broker has
 * answered for four seconds, or ever), CONFIG (authentication, authorization), INTEGRITY (fenced by another member with
 * our instance_id: code "FENCED_INSTANCE_ID"). The group stays open: the caller reports the error and polls on.
 */
MUST_CHECK enum error_class group_poll(struct group *group, int timeout_ms, struct error *error);

/* Leaves the group at once (the others need not wait for the session time-out), destroys, sets NULL. */
void group_close(struct group **group);

#endif
