#include "inbox/service.h"

#include <assert.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "receiver.h"

enum { SERVICE_MAGIC = 0x696e7376 }; /* "insv" */

/*
 * An inbox and who feeds it. A reload ends a receiver; the next one, by the new options, begins when it has ended.
 */
struct inbox {
    char name[INBOX_NAME_MAX + 1];
    struct receiver *receiver;
    bool renewed;
};

/* `lock` guards the list for the functions that any thread may call. */
struct inbox_service {
    unsigned magic;
    pthread_mutex_t lock;
    struct subscriptions *subscriptions;
    bool stopping;
    struct log_said said;
    size_t count;
    struct inbox inboxes[INBOX_STREAMS_MAX];
};

void inbox_stream_defaults(struct inbox_stream_options *options)
{
    static const char *const id_headers[] = {"ce_source+ce_id", "id", "idempotency-key"};
    *options = (struct inbox_stream_options){
        .id_headers = id_headers,
        .id_header_count = COUNT_OF(id_headers),
        .waiting_rows_max = 1000000,
        .waiting_bytes_max = 1LL << 30,
        .retention_ms = 24 * 3600 * 1000LL,
        .id_retention_ms = 30 * 24 * 3600 * 1000LL,
        .batch_rows_max = 5000,
        .batch_bytes_max = 8 << 20,
    };
}

/* Starts one that is configured and not there yet. Lock held. */
static enum error_class add(struct inbox_service *service, const struct inbox_stream_options *options,
                            struct error *error)
{
    struct inbox *inbox = &service->inboxes[service->count];
    assert(service->count < INBOX_STREAMS_MAX);
    *inbox = (struct inbox){0};
    memcpy(inbox->name, options->name, sizeof inbox->name);
    if (receiver_start(service->subscriptions, options, NULL, &inbox->receiver, error))
        return error->class;
    service->count++;
    return ERROR_NONE;
}

static struct inbox *find(struct inbox_service *service, const char *name)
{
    for (size_t i = 0; i < service->count; i++)
        if (strcmp(service->inboxes[i].name, name) == 0)
            return &service->inboxes[i];
    return NULL;
}

enum error_class inbox_service_start(const struct inbox_service_options *options, struct inbox_service **out,
                                     struct error *error)
{
    struct inbox_service *service = *out = calloc(1, sizeof *service);
    if (!service)
        return error_set(error, ERROR_RETRY, "NO_MEMORY", "no memory for the inbox service");
    service->magic = SERVICE_MAGIC;
    pthread_mutex_init(&service->lock, NULL);
    service->subscriptions = subscriptions_new(options);
    enum error_class class = service->subscriptions
                                 ? ERROR_NONE
                                 : error_set(error, ERROR_RETRY, "NO_MEMORY", "no memory for the inbox service");
    for (size_t i = 0; i < options->stream_count && !class; i++)
        class = add(service, &options->streams[i], error);
    if (!class)
        return ERROR_NONE;
    inbox_service_request_stop(service, true);
    if (service->subscriptions)
        service->subscriptions->options.unused = NULL; /* the caller keeps what was lent */
    inbox_service_free(out);
    return class;
}

/* Those that are configured and not there yet, as far as there is room: ones that are gone have to end first. What
 * fails is tried at the next look. Lock held. */
static void add_missing(struct inbox_service *service)
{
    const struct inbox_service_options *options = &service->subscriptions->options;
    struct error error = {.class = ERROR_NONE};
    for (size_t i = 0; i < options->stream_count && !service->stopping && !error.class; i++)
        if (service->count < INBOX_STREAMS_MAX && !find(service, options->streams[i].name))
            (void)add(service, &options->streams[i], &error);
    log_change(&service->said, LOG_ERROR, &error, "all inboxes have their threads", clock_monotonic_ms());
}

/* Those whose receiver has ended for a reload get their new one; those that are gone go. Lock held. */
static void settle(struct inbox_service *service)
{
    for (size_t i = 0; i < service->count; i++) {
        struct inbox *inbox = &service->inboxes[i];
        const struct inbox_stream_options *options = subscriptions_stream(service->subscriptions, inbox->name);
        struct receiver *ended = inbox->receiver;
        struct error error;
        if (!inbox->renewed && options)
            continue;
        if (!ended->ended)
            continue;
        if (!options || service->stopping) {
            *inbox = service->inboxes[--service->count];
            i--;
        } else if (receiver_start(service->subscriptions, options, ended, &inbox->receiver, &error)) {
            inbox->receiver = ended; /* tried again at the next look */
            continue;
        } else {
            inbox->renewed = false;
        }
        receiver_free(&ended);
    }
    add_missing(service);
}

/* Lock held. */
static void renew(struct inbox_service *service, struct subscriptions *old)
{
    for (size_t i = 0; i < service->count; i++) {
        struct inbox *inbox = &service->inboxes[i];
        bool kept = subscriptions_stream(service->subscriptions, inbox->name) != NULL;
        if (kept && !inbox->renewed && subscriptions_same(old, service->subscriptions, inbox->name)) {
            receiver_wake(inbox->receiver);
            continue;
        }
        inbox->renewed = true;
        receiver_request_stop(inbox->receiver, false);
    }
}

enum error_class inbox_service_reconfigure(struct inbox_service *service, const struct inbox_service_options *options,
                                           struct error *error)
{
    assert(service->magic == SERVICE_MAGIC);
    struct subscriptions *fresh = subscriptions_new(options), *old = service->subscriptions;
    if (!fresh)
        return error_set(error, ERROR_RETRY, "NO_MEMORY", "no memory for the new configuration");
    pthread_mutex_lock(&service->lock);
    service->subscriptions = fresh;
    renew(service, old);
    settle(service);
    pthread_mutex_unlock(&service->lock);
    subscriptions_drop(&old);
    return ERROR_NONE;
}

void inbox_service_request_stop(struct inbox_service *service, bool now)
{
    assert(service->magic == SERVICE_MAGIC);
    pthread_mutex_lock(&service->lock);
    service->stopping = true;
    for (size_t i = 0; i < service->count; i++)
        receiver_request_stop(service->inboxes[i].receiver, now);
    pthread_mutex_unlock(&service->lock);
}

bool inbox_service_stopped(struct inbox_service *service)
{
    bool all = true;
    pthread_mutex_lock(&service->lock);
    for (size_t i = 0; i < service->count; i++)
        all = all && service->inboxes[i].receiver->ended;
    pthread_mutex_unlock(&service->lock);
    return all;
}

void inbox_service_free(struct inbox_service **service)
{
    struct inbox_service *gone = *service;
    *service = NULL;
    if (!gone)
        return;
    for (size_t i = 0; i < gone->count; i++)
        receiver_free(&gone->inboxes[i].receiver);
    subscriptions_drop(&gone->subscriptions);
    pthread_mutex_destroy(&gone->lock);
    gone->magic = 0;
    free(gone);
}

size_t inbox_service_count(struct inbox_service *service)
{
    pthread_mutex_lock(&service->lock);
    settle(service);
    size_t count = service->count;
    pthread_mutex_unlock(&service->lock);
    return count;
}

bool inbox_service_stream(struct inbox_service *service, size_t index, struct inbox_stream_view *view)
{
    pthread_mutex_lock(&service->lock);
    bool there = index < service->count;
    if (there)
        receiver_view_copy(&service->inboxes[index].receiver->view, view);
    pthread_mutex_unlock(&service->lock);
    return there;
}

/* Errors that only people can mend; a job that waits for them would wait for ever. */
static bool is_final(const struct error *error)
{
    return error->class == ERROR_INTEGRITY || error->class == ERROR_POISON ||
           (error->class == ERROR_CONFIG && strcmp(error->code, "UNKNOWN_TOPIC_OR_PART") != 0);
}

static enum error_class stream_error(struct receiver *receiver, struct error *error)
{
    struct inbox_stream_view *view = malloc(sizeof *view);
    if (!view)
        return ERROR_NONE;
    receiver_view_copy(&receiver->view, view);
    bool failed = strcmp(view->state, subscriber_state_name(SUBSCRIBER_STOPPED)) == 0 && is_final(&view->last_error);
    if (failed)
        *error = view->last_error;
    for (size_t i = 0; i < view->partition_count && !failed; i++) {
        failed = is_final(&view->partitions[i].last_error);
        if (failed)
            *error = view->partitions[i].last_error;
    }
    free(view);
    return failed ? error_prefix(error, "%s", receiver->stream) : ERROR_NONE;
}

enum error_class inbox_service_drained(struct inbox_service *service, bool *done, struct error *error)
{
    enum error_class class = ERROR_NONE;
    *done = true;
    pthread_mutex_lock(&service->lock);
    for (size_t i = 0; i < service->count && !class; i++) {
        struct receiver *receiver = service->inboxes[i].receiver;
        receiver->drain_asked = true;
        *done = *done && receiver->drain_done;
        if (!receiver->drain_done)
            class = stream_error(receiver, error);
    }
    pthread_mutex_unlock(&service->lock);
    return class;
}
