#include "inbox/inbox.h"

enum error_class inbox_unavailable(struct error *error)
{
    error_set(error, ERROR_CONFIG, "NOT_AVAILABLE", "inboxes are not available in this version");
    return error_hint(error, "remove \"inbox\" from the configuration; outboxes work");
}
