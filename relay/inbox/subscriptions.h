/*
 * One reading of the options, shared by the receivers that work by it. The last that lets go tells the owner, so what
 * the options borrow lives as long as it is needed and no longer. Invariant: users >= 1. Thread: any.
 */
#ifndef INBOX_SUBSCRIPTIONS_H
#define INBOX_SUBSCRIPTIONS_H

#include <stdatomic.h>

#include "inbox/service.h"

struct subscriptions {
    atomic_size_t users;
    struct inbox_service_options options;
};

/* With one user, the caller; NULL: no memory. */
struct subscriptions *subscriptions_new(const struct inbox_service_options *options);
struct subscriptions *subscriptions_share(struct subscriptions *subscriptions);
/* Lets go; sets NULL. NULL is let go of already. */
void subscriptions_drop(struct subscriptions **subscriptions);

/* The options of an inbox; NULL: it is not configured. */
const struct inbox_stream_options *subscriptions_stream(const struct subscriptions *subscriptions, const char *name);

/* Would a receiver of inbox `name`, which both have, do the same by both? */
bool subscriptions_same(const struct subscriptions *a, const struct subscriptions *b, const char *name);

#endif
