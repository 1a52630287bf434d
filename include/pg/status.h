/* What relay.status says of the streams, for the command line. Thread: any, one session at a time. */
#ifndef PG_STATUS_H
#define PG_STATUS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"
#include "pg/session.h"

enum { STATUS_STREAMS_MAX = 1024, STATUS_TIME_SIZE = 24 };

struct status_stream {
    char stream[64];
    char state[16];  /* publisher_state_name; "unknown": no relay reported for 30 seconds */
    int64_t pending; /* -1: not known */
    bool pending_is_bound;
    double oldest_seconds;  /* of the oldest pending row; -1: none, or not known */
    double rows_per_second; /* -1: not known */
    int64_t dead, parked;
    char paused_at[STATUS_TIME_SIZE]; /* UTC; "": not paused */
    char paused_by[64];
    char paused_reason[256];
    char leader[256];
    struct error error;                /* class ERROR_NONE: none */
    char error_class[16];              /* its word as stored; "": none */
    char updated_at[STATUS_TIME_SIZE]; /* UTC; "": never */
    /* Of relay.cleanup, from schema version 3 on. */
    int64_t size_bytes;         /* -1: not known */
    double oldest_slot_seconds; /* -1: no rows, or not known */
    double held_seconds;        /* -1: nothing holds cleaning back */
    char held_reason[16];
    char held_by[384];
};

/* Gives the streams by name, to be freed by the caller; INTEGRITY when there are more than STATUS_STREAMS_MAX. */
MUST_CHECK enum error_class status_read(struct session *session, struct status_stream **streams, size_t *count,
                                        struct error *error);

#endif
