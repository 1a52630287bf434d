/* The leadership thread: makes the positions topic, joins the group, tells the workers what they lead. */
#include <assert.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/random.h"
#include "core/backoff.h"
#include "kafka/group.h"
#include "kafka/positions.h"
#include "service_internal.h"

enum {
    STOP_LOOK_NS = 5000000,
    FENCED_MS = 60000, /* people mend it, and each that joins as the same member throws the other out */
};

struct leadership {
    struct outbox_service *service;
    struct configuration *configuration; /* what the member joined with */
    struct group *group;
    int32_t partitions_made; /* the positions topic has at least so many */
    uint32_t attempt;
    int64_t fenced_until_ms; /* monotonic: another has our instance_id, so nothing is tried before */
    bool warned;
    char group_id[256];
    char client_id[128];
    struct log_said said;
};

static bool has(const int32_t *partitions, size_t count, int32_t partition)
{
    for (size_t i = 0; i < count; i++)
        if (partitions[i] == partition)
            return true;
    return false;
}

static void note_lost(const struct outbox_service *service, const struct worker *worker)
{
    if (!service->stopping && !service->leaving)
        log_info("the stream was given to another instance", LOG_STR("stream", worker->stream.name));
}

/* Runs inside group_poll and group_close. */
static void changed(void *opaque, enum group_change change, const int32_t *partitions, size_t count)
{
    struct outbox_service *service = opaque;
    pthread_mutex_lock(&service->lock);
    for (size_t i = 0; i < service->stream_count; i++) {
        struct service_stream *slot = &service->streams[i];
        bool listed = has(partitions, count, slot->stream.partition);
        bool was = slot->leads;
        if (change == GROUP_ASSIGNED)
            slot->leads = listed;
        else if (listed && change == GROUP_LOST)
            slot->leads = false;
        if (change == GROUP_REVOKED && listed)
            worker_send(slot->worker, PUBLISHER_HOLD);
        else if (slot->leads && change == GROUP_ASSIGNED)
            worker_send(slot->worker, PUBLISHER_LEAD);
        else if (was && !slot->leads) {
            worker_send(slot->worker, PUBLISHER_LOSE);
            note_lost(service, slot->worker);
        }
    }
    service->assigned_count = change == GROUP_ASSIGNED ? count : 0;
    if (service->assigned_count > SERVICE_PARTITIONS_MAX)
        service->assigned_count = SERVICE_PARTITIONS_MAX;
    if (service->assigned_count)
        memcpy(service->assigned, partitions, service->assigned_count * sizeof *partitions);
    pthread_mutex_unlock(&service->lock);
}

/* Lock not held. */
static void report(struct leadership *leadership, const struct error *error)
{
    struct outbox_service *service = leadership->service;
    pthread_mutex_lock(&service->lock);
    service->view.kafka_up = error->class == ERROR_NONE;
    service->kafka_error = *error;
    pthread_mutex_unlock(&service->lock);
    log_change(&leadership->said, error->class >= ERROR_POISON ? LOG_ERROR : LOG_WARN, error, "Kafka answers again",
               clock_monotonic_ms());
}

static enum error_class ensure_topic(struct leadership *leadership, int32_t partitions, struct error *error)
{
    const struct outbox_service_options *configured = &leadership->configuration->options;
    const struct positions_options options = {
        .settings = configured->kafka,
        .topic = configured->positions_topic,
        .partitions = partitions,
        .replication_factor = configured->positions_replication_factor,
        .accept_weak = configured->positions_accept_weak,
        .stop = &leadership->service->kafka_stop,
    };
    if (positions_ensure(&options, &leadership->warned, error))
        return error->class;
    leadership->partitions_made = partitions;
    return ERROR_NONE;
}

static enum error_class join(struct leadership *leadership, struct error *error)
{
    const struct outbox_service_options *configured = &leadership->configuration->options;
    const struct group_options options = {
        .settings = configured->kafka,
        .group_id = leadership->group_id,
        .instance_id = configured->instance_id,
        .client_id = leadership->client_id,
        .topic = configured->positions_topic,
        .changed = changed,
        .opaque = leadership->service,
    };
    return group_open(&options, &leadership->group, error);
}

static void leave(struct leadership *leadership)
{
    struct outbox_service *service = leadership->service;
    if (!leadership->group)
        return;
    service->leaving = true;
    group_close(&leadership->group);
    changed(service, GROUP_ASSIGNED, NULL, 0);
    service->leaving = false;
}

/* A reload: the member that others would make leaves, and joins again as that one. Else it keeps what it borrows. */
static void take_configuration(struct leadership *leadership)
{
    struct configuration *fresh = service_configuration(leadership->service, leadership->configuration);
    if (!fresh)
        return;
    if (!leadership->configuration || !configuration_same_group(leadership->configuration, fresh)) {
        leave(leadership);
        leadership->partitions_made = 0;
        leadership->attempt = 0;
        leadership->fenced_until_ms = 0;
        struct configuration *old = leadership->configuration;
        leadership->configuration = fresh;
        fresh = old;
    }
    configuration_drop(&fresh);
}

/* One round: topic, membership, poll. Returns how long to wait after it. */
static int64_t look(struct leadership *leadership, int32_t partitions)
{
    struct error error = {.class = ERROR_NONE};
    enum error_class class = ERROR_NONE;
    if (clock_monotonic_ms() < leadership->fenced_until_ms)
        return LEADERSHIP_POLL_MS;
    if (partitions > leadership->partitions_made)
        class = ensure_topic(leadership, partitions, &error);
    if (!class && !leadership->group)
        class = join(leadership, &error);
    if (leadership->group) {
        struct error polled = {.class = ERROR_NONE};
        enum error_class seen = group_poll(leadership->group, LEADERSHIP_POLL_MS, &polled);
        if (!class && seen) {
            class = seen;
            error = polled;
        }
    }
    report(leadership, &error);
    /* Another member has our instance_id: this handle is dead, a later one may be let in when the other has gone. */
    if (class == ERROR_INTEGRITY && strcmp(error.code, "FENCED_INSTANCE_ID") == 0) {
        leave(leadership);
        leadership->fenced_until_ms = clock_monotonic_ms() + FENCED_MS;
    }
    leadership->attempt = class ? leadership->attempt + 1 : 0;
    if (leadership->group || !class)
        return 0;
    return backoff_delay_ms(leadership->attempt, LEADERSHIP_RETRY_MS_MAX, random_bits());
}

static bool workers_ended(struct outbox_service *service)
{
    bool ended = service->registry_ended;
    pthread_mutex_lock(&service->lock);
    for (size_t i = 0; i < service->stream_count; i++)
        ended = ended && service->streams[i].worker->ended;
    pthread_mutex_unlock(&service->lock);
    return ended;
}

static int32_t wanted(struct outbox_service *service)
{
    pthread_mutex_lock(&service->lock);
    service->view.leadership_progress_ms = clock_monotonic_ms();
    int32_t partitions = service->partitions_wanted;
    pthread_mutex_unlock(&service->lock);
    return partitions;
}

/* The group is left only after the workers have ended: the next leader then finds no batch of ours under way. */
void *leadership_run(void *opaque)
{
    struct outbox_service *service = opaque;
    struct leadership leadership = {.service = service};
    take_configuration(&leadership);
    assert(leadership.configuration);
    const char *name = leadership.configuration->options.name;
    snprintf(leadership.group_id, sizeof leadership.group_id, "boxrelay.%s.outbox", name);
    snprintf(leadership.client_id, sizeof leadership.client_id, "boxrelay-%s", name);
    while (!service->stopping || !workers_ended(service)) {
        take_configuration(&leadership);
        int32_t partitions = wanted(service);
        int64_t wait_ms = LEADERSHIP_POLL_MS;
        if (partitions == 0 || (service->stopping && !leadership.group))
            leave(&leadership);
        else
            wait_ms = look(&leadership, partitions);
        pthread_mutex_lock(&service->lock);
        if (wait_ms > 0)
            service_wait(service, clock_monotonic_ms() + wait_ms);
        pthread_mutex_unlock(&service->lock);
        if (service->stopping && !leadership.group)
            nanosleep(&(struct timespec){.tv_nsec = STOP_LOOK_NS}, NULL);
    }
    leave(&leadership);
    configuration_drop(&leadership.configuration);
    service->leadership_ended = true;
    return NULL;
}
