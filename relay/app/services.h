/*
 * The two delivery paths of one process, as far as the configuration turns them on: outboxes to Kafka, and Kafka to
 * inboxes. The outbox service is on or off for the life of the process; the inbox service begins with the first inbox
 * that is configured, at the start or by a reload, and then lives on, perhaps without streams.
 *
 * Thread: main, but for the pointers, which are set once and may be read by any thread until services_free.
 */
#ifndef APP_SERVICES_H
#define APP_SERVICES_H

#include <stdatomic.h>

#include "inbox/service.h"
#include "outbox/service.h"
#include "settings.h"

struct services {
    struct outbox_service *_Atomic outbox; /* NULL: off */
    struct inbox_service *_Atomic inbox;   /* NULL: no inbox yet */
};

/* Starts what is on, with shares of the settings; never waits for a server. After a failure nothing runs. */
MUST_CHECK enum error_class services_start(struct services *services, struct settings *settings, struct error *error);

/* All of `fresh`, or nothing: `running` is what the services work by now. outbox_on is the same in both. */
MUST_CHECK enum error_class services_reconfigure(struct services *services, struct settings *running,
                                                 struct settings *fresh, struct error *error);

/* As outbox_service_request_stop and its kin, for both. */
void services_request_stop(struct services *services, bool now);
bool services_stopped(struct services *services);
void services_free(struct services *services);

#endif
