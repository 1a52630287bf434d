/*
 * One reading of the options, shared by the threads that work by it: the service has the newest one, each worker the
 * one it was started with, until a reload gives it another. The last that lets go tells the owner, so what the options
 * borrow lives as long as it is needed and no longer.
 *
 * Invariant: users >= 1, and the options never change. Thread: any.
 */
#ifndef OUTBOX_CONFIGURATION_H
#define OUTBOX_CONFIGURATION_H

#include <stdatomic.h>

#include "last_poll.h"
#include "outbox/service.h"

struct configuration {
    atomic_size_t users;
    struct outbox_service_options options;
    struct last_poll last_poll; /* of those who work by it, so of one server */
};

/* With one user, the caller; NULL: no memory. */
struct configuration *configuration_new(const struct outbox_service_options *options);

/* One more user, who has to let go of it. */
struct configuration *configuration_share(struct configuration *configuration);

/* Lets go; sets NULL. NULL is let go of already. */
void configuration_drop(struct configuration **configuration);

/* The options of outbox `name`: its entry, else the defaults. Its lists are borrowed. */
void configuration_stream(const struct configuration *configuration, const char *name,
                          struct outbox_stream_options *options);

/* Would a worker of outbox `name` do the same by both? */
bool configuration_same_stream(const struct configuration *a, const struct configuration *b, const char *name);

/* Would the member of the group? */
bool configuration_same_group(const struct configuration *a, const struct configuration *b);

#endif
