/* The inbox path, Kafka to inbox tables. This version refuses it; its rooms' place is here. Thread: any. */
#ifndef INBOX_INBOX_H
#define INBOX_INBOX_H

#include "base/error.h"

/* ERROR_CONFIG: what a configuration that asks for an inbox is told. */
MUST_CHECK enum error_class inbox_unavailable(struct error *error);

#endif
