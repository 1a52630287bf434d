#include "services.h"

#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"

enum { SERVICES_UNDO_MS = 2000, SERVICES_UNDO_LOOK_MS = 10 };

static void unused(void *settings)
{
    struct settings *mine = settings;
    settings_free(&mine);
}

static struct outbox_service_options outbox_options(struct settings *settings)
{
    struct outbox_service_options options;
    settings_outbox_service(settings, &options);
    options.owner = settings_share(settings);
    options.unused = unused;
    return options;
}

static struct inbox_service_options inbox_options(struct settings *settings)
{
    struct inbox_service_options options;
    settings_inbox_service(settings, &options);
    options.owner = settings_share(settings);
    options.unused = unused;
    return options;
}

static enum error_class start_outbox(struct services *services, struct settings *settings, struct error *error)
{
    struct outbox_service *outbox;
    if (!settings->outbox_on)
        return ERROR_NONE;
    struct outbox_service_options options = outbox_options(settings);
    if (outbox_service_start(&options, &outbox, error) != ERROR_NONE) {
        unused(options.owner);
        return error->class;
    }
    services->outbox = outbox;
    return ERROR_NONE;
}

/* Gives the inbox service, running or not yet, the inboxes of these settings. */
static enum error_class apply_inbox(struct services *services, struct settings *settings, struct error *error)
{
    struct inbox_service *inbox = services->inbox;
    if (!inbox && settings->inbox_count == 0)
        return ERROR_NONE;
    struct inbox_service_options options = inbox_options(settings);
    enum error_class class =
        inbox ? inbox_service_reconfigure(inbox, &options, error) : inbox_service_start(&options, &inbox, error);
    if (class != ERROR_NONE) {
        unused(options.owner);
        return class;
    }
    services->inbox = inbox;
    return ERROR_NONE;
}

/* Threads that have just begun end soon; one that does not ends with the process, which is about to. */
static void undo_start(struct services *services)
{
    int64_t deadline_ms = clock_monotonic_ms() + SERVICES_UNDO_MS;
    services_request_stop(services, true);
    while (!services_stopped(services) && clock_monotonic_ms() < deadline_ms)
        usleep(SERVICES_UNDO_LOOK_MS * 1000);
    if (services_stopped(services))
        services_free(services);
}

enum error_class services_start(struct services *services, struct settings *settings, struct error *error)
{
    if (start_outbox(services, settings, error) == ERROR_NONE && apply_inbox(services, settings, error) == ERROR_NONE)
        return ERROR_NONE;
    undo_start(services);
    return error->class;
}

enum error_class services_reconfigure(struct services *services, struct settings *running, struct settings *fresh,
                                      struct error *error)
{
    struct error ignored;
    if (apply_inbox(services, fresh, error) != ERROR_NONE)
        return error->class;
    if (!services->outbox)
        return ERROR_NONE;
    struct outbox_service_options options = outbox_options(fresh);
    if (outbox_service_reconfigure(services->outbox, &options, error) == ERROR_NONE)
        return ERROR_NONE;
    unused(options.owner);
    if (apply_inbox(services, running, &ignored) != ERROR_NONE)
        log_error("the inboxes cannot be given their options from before again", LOG_OF_ERROR(&ignored));
    return error->class;
}

void services_request_stop(struct services *services, bool now)
{
    if (services->outbox)
        outbox_service_request_stop(services->outbox, now);
    if (services->inbox)
        inbox_service_request_stop(services->inbox, now);
}

bool services_stopped(struct services *services)
{
    return (!services->outbox || outbox_service_stopped(services->outbox)) &&
           (!services->inbox || inbox_service_stopped(services->inbox));
}

void services_free(struct services *services)
{
    struct outbox_service *outbox = services->outbox;
    struct inbox_service *inbox = services->inbox;
    services->outbox = NULL;
    services->inbox = NULL;
    if (outbox)
        outbox_service_free(&outbox);
    if (inbox)
        inbox_service_free(&inbox);
}
