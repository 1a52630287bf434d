/* The allow-list of an outbox's topics: names and ^regular expressions (POSIX extended). */
#ifndef OUTBOX_ALLOW_H
#define OUTBOX_ALLOW_H

#include <stdbool.h>
#include <stddef.h>

#include "base/error.h"

struct allow_list;

/* CONFIG when an expression does not compile. No topics: everything is allowed, *out is NULL. */
MUST_CHECK enum error_class allow_list_new(const char *const *topics, size_t count, struct allow_list **out,
                                           struct error *error);
void allow_list_free(struct allow_list **list);
bool allow_list_has(const struct allow_list *list, const char *topic);

#endif
