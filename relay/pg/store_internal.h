/* The SQL of one inbox, shared by store.c and store_ids.c. */
#ifndef RELAY_PG_STORE_INTERNAL_H
#define RELAY_PG_STORE_INTERNAL_H

#include "store_buffer.h"

enum {
    STORE_GENERATIONS = 4,   /* of ids: the ring's */
    STORE_QUIET_BATCHES = 16 /* without a known id, before ids are stored without looking for them first */
};

/* Ids of one generation, first <= id <= last. */
struct store_generation {
    int32_t number;
    struct uuid first, last;
};

struct store_writer {
    char *ids, *known, *generations, *copy, *waiting; /* statements */
    struct store_buffer *buffer;
    /* Closed generations that hold ids, as they were when `ground` was new: valid as long as the ring stands so. */
    struct store_ground ground;
    struct store_generation closed[STORE_GENERATIONS];
    size_t closed_count;
    bool closed_known;
    int quiet_batches; /* in a row without a known id */
};

#endif
