/* The SQL of one inbox, shared by store.c and store_ids.c. */
#ifndef RELAY_PG_STORE_INTERNAL_H
#define RELAY_PG_STORE_INTERNAL_H

#include "store_buffer.h"

struct store_writer {
    char *ids, *known, *copy, *waiting; /* statements */
    struct store_buffer *buffer;
};

#endif
