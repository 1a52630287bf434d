/*
 * The service's shared state. `lock` guards what is listed under it; the workers' slots are added and removed only by
 * the registry thread, under the lock, and read by the others under it.
 */
#ifndef OUTBOX_SERVICE_INTERNAL_H
#define OUTBOX_SERVICE_INTERNAL_H

#include <pthread.h>
#include <stdatomic.h>

#include "cleanup.h"
#include "configuration.h"
#include "outbox/service.h"
#include "worker.h"

enum {
    SERVICE_MAGIC = 0x73727663,    /* "srvc" */
    REGISTRY_LOOK_MS = 1000,       /* between looks at which streams exist */
    REGISTRY_DRAIN_LOOK_MS = 100,  /* the same while somebody waits for outbox_service_drained */
    REGISTRY_STATE_MS = 5000,      /* between state rows, when something changed */
    REGISTRY_STATE_MS_MAX = 15000, /* when nothing did: relay.status takes an older row for a dead relay */
    REGISTRY_PENDING_MAX = 10000,  /* rows counted as pending */
    REGISTRY_RENEW_MS = 5,         /* between looks at workers that end for a reload */
    REGISTRY_LEAVE_MS = 6000,      /* PostgreSQL away for so long: leave the group [L2] */
    SERVICE_PARTITIONS_MAX = 4096, /* assigned at once */
    LEADERSHIP_POLL_MS = 200,
    LEADERSHIP_RETRY_MS_MAX = 30000,
};

struct service_stream {
    struct catalog_stream stream;
    struct worker *worker;
    bool leads;           /* the group's last word */
    bool renewed;         /* its options changed: a worker with the new ones follows when this one has ended */
    uint64_t rows_before; /* at the last look, for the rate */
    int64_t rows_at_ms;
    struct state_row { /* what relay.status shows already, and since when */
        char state[16];
        char error_code[ERROR_CODE_MAX];
        int64_t pending;
        uint64_t published;
        int64_t written_ms;
    } shown;
    struct cleanup cleanup; /* the registry's */
};

struct outbox_service {
    unsigned magic;
    struct uuid incarnation;
    struct session_stop session_stop;
    struct kafka_stop kafka_stop;
    atomic_bool stopping;
    pthread_t registry, leadership;
    atomic_bool registry_ended, leadership_ended;
    bool leaving; /* the group, of our own will; the leadership's */

    pthread_mutex_t lock;
    pthread_cond_t changed;
    struct configuration *configuration; /* the newest; threads take it up between their rounds */
    struct outbox_service_view view;
    size_t stream_count;
    struct service_stream streams[OUTBOX_STREAMS_MAX];
    struct error kafka_error;  /* the leadership's last; shown when there is no other */
    int32_t partitions_wanted; /* 0: do not join */
    size_t assigned_count;
    int32_t assigned[SERVICE_PARTITIONS_MAX];
    bool drain_asked, drain_done;
    struct snapshot *drain_from; /* what was committed at the first question; the registry's */
    bool drain_from_taken;
    bool cleanup_missing_logged; /* the registry's */
};

/* Their threads' functions. */
void *registry_run(void *service);
void *leadership_run(void *service);

/* The newest configuration, shared, if it is another than `mine`; else NULL. */
struct configuration *service_configuration(struct outbox_service *service, const struct configuration *mine);

/* Waits until `until_ms` (monotonic), woken by a change or a stop. Lock held. */
void service_wait(struct outbox_service *service, int64_t until_ms);

#endif
