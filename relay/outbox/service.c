#include "outbox/service.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/clock.h"
#include "base/log.h"
#include "service_internal.h"

void outbox_stream_defaults(struct outbox_stream_options *options)
{
    *options = (struct outbox_stream_options){
        .commit_interval_ms = 5,
        .batch_rows_max = 5000,
        .batch_bytes_max = 8 << 20,
        .retention_ms = 24 * 3600 * 1000LL,
        .size_alarm_bytes = 10LL << 30,
    };
}

void service_wait(struct outbox_service *service, int64_t until_ms)
{
    struct timespec until = {.tv_sec = until_ms / 1000, .tv_nsec = until_ms % 1000 * 1000000};
    if (!service->stopping)
        pthread_cond_timedwait(&service->changed, &service->lock, &until);
}

struct configuration *service_configuration(struct outbox_service *service, const struct configuration *mine)
{
    pthread_mutex_lock(&service->lock);
    struct configuration *newest = service->configuration;
    struct configuration *fresh = newest == mine ? NULL : configuration_share(newest);
    pthread_mutex_unlock(&service->lock);
    return fresh;
}

static bool init(struct outbox_service *service)
{
    pthread_condattr_t attributes;
    service->magic = SERVICE_MAGIC;
    service->incarnation = uuid_random();
    service->view.registry_progress_ms = service->view.leadership_progress_ms = clock_monotonic_ms();
    service->drain_from = calloc(1, sizeof *service->drain_from);
    pthread_mutex_init(&service->lock, NULL);
    pthread_condattr_init(&attributes);
    pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
    pthread_cond_init(&service->changed, &attributes);
    pthread_condattr_destroy(&attributes);
    return service->drain_from != NULL;
}

static void release(struct outbox_service *service)
{
    pthread_cond_destroy(&service->changed);
    pthread_mutex_destroy(&service->lock);
    free(service->drain_from);
    configuration_drop(&service->configuration);
    service->magic = 0;
    free(service);
}

enum error_class outbox_service_start(const struct outbox_service_options *options, struct outbox_service **out,
                                      struct error *error)
{
    struct outbox_service *service = calloc(1, sizeof *service);
    *out = NULL;
    if (!service)
        return error_set(error, ERROR_RETRY, "NO_MEMORY", "no memory for the outbox service");
    service->configuration = configuration_new(options);
    const char *warning = kafka_scram_warning(options->kafka);
    if (warning)
        log_warn(warning);
    if (!init(service) || !service->configuration ||
        pthread_create(&service->registry, NULL, registry_run, service) != 0)
        goto fail;
    if (pthread_create(&service->leadership, NULL, leadership_run, service) != 0) {
        outbox_service_request_stop(service, true);
        pthread_join(service->registry, NULL);
        goto fail;
    }
    *out = service;
    return ERROR_NONE;
fail:
    if (service->configuration)
        service->configuration->options.unused = NULL; /* the caller keeps what was lent */
    release(service);
    return error_set(error, ERROR_RETRY, "NO_THREAD", "no memory or thread for the outbox service");
}

enum error_class outbox_service_reconfigure(struct outbox_service *service,
                                            const struct outbox_service_options *options, struct error *error)
{
    assert(service->magic == SERVICE_MAGIC);
    struct configuration *fresh = configuration_new(options);
    if (!fresh)
        return error_set(error, ERROR_RETRY, "NO_MEMORY", "no memory for the new configuration");
    const char *warning = kafka_scram_warning(options->kafka);
    if (warning)
        log_warn(warning);
    pthread_mutex_lock(&service->lock);
    struct configuration *old = service->configuration;
    assert(strcmp(old->options.name, options->name) == 0);
    assert(strcmp(old->options.positions_topic, options->positions_topic) == 0);
    service->configuration = fresh;
    pthread_cond_broadcast(&service->changed);
    pthread_mutex_unlock(&service->lock);
    configuration_drop(&old);
    return ERROR_NONE;
}

void outbox_service_request_stop(struct outbox_service *service, bool now)
{
    assert(service->magic == SERVICE_MAGIC);
    pthread_mutex_lock(&service->lock);
    service->stopping = true;
    service->kafka_stop.requested = true;
    service->session_stop.level = now ? SESSION_STOP_NOW : SESSION_STOP_DRAIN;
    for (size_t i = 0; i < service->stream_count; i++)
        worker_request_stop(service->streams[i].worker, now);
    pthread_cond_broadcast(&service->changed);
    pthread_mutex_unlock(&service->lock);
}

/* The group is left only after the workers have ended: the next leader then finds no batch of ours. */
bool outbox_service_stopped(const struct outbox_service *service)
{
    return service->registry_ended && service->leadership_ended;
}

void outbox_service_free(struct outbox_service **service)
{
    struct outbox_service *ended = *service;
    if (!ended)
        return;
    pthread_join(ended->registry, NULL);
    pthread_join(ended->leadership, NULL);
    for (size_t i = 0; i < ended->stream_count; i++)
        worker_free(&ended->streams[i].worker);
    release(ended);
    *service = NULL;
}

void outbox_service_view(struct outbox_service *service, struct outbox_service_view *view)
{
    pthread_mutex_lock(&service->lock);
    *view = service->view;
    view->stream_count = service->stream_count;
    if (view->instance_error.class == ERROR_NONE)
        view->instance_error = service->kafka_error;
    pthread_mutex_unlock(&service->lock);
}

bool outbox_service_stream(struct outbox_service *service, size_t index, struct outbox_stream_view *view)
{
    pthread_mutex_lock(&service->lock);
    bool there = index < service->stream_count;
    if (there)
        view_copy(&service->streams[index].worker->view, view);
    pthread_mutex_unlock(&service->lock);
    return there;
}

/* Errors that only people can mend; a job that waits for them would wait for ever. */
static bool is_final(const struct error *error)
{
    return error->class == ERROR_INTEGRITY || error->class == ERROR_POISON ||
           (error->class == ERROR_CONFIG && strcmp(error->code, "UNKNOWN_TOPIC_OR_PART") != 0);
}

static enum error_class stream_error(struct worker *worker, struct error *error)
{
    struct outbox_stream_view *view = malloc(sizeof *view);
    if (!view)
        return ERROR_NONE;
    view_copy(&worker->view, view);
    bool failed = strcmp(view->state, publisher_state_name(PUBLISHER_STOPPED)) == 0 && is_final(&view->last_error);
    if (failed)
        *error = view->last_error;
    free(view);
    if (!failed)
        return ERROR_NONE;
    return error_prefix(error, "%s", worker->stream.name);
}

enum error_class outbox_service_drained(struct outbox_service *service, bool *done, struct error *error)
{
    enum error_class class = ERROR_NONE;
    pthread_mutex_lock(&service->lock);
    if (!service->drain_asked) {
        service->drain_asked = true;
        pthread_cond_broadcast(&service->changed);
    }
    *done = service->drain_done;
    if (!*done && is_final(&service->view.instance_error)) {
        *error = service->view.instance_error;
        class = error->class;
    }
    for (size_t i = 0; !*done && !class && i < service->stream_count; i++)
        class = stream_error(service->streams[i].worker, error);
    pthread_mutex_unlock(&service->lock);
    return class;
}
