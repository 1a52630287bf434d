/*
 * The subscriber: what the worker of one inbox stream does next.
 *
 *   CONNECT -> JOIN -> START -> ASSIGN -> FETCH <-> STORE
 *      ^                          ^--------- rebalanced, or another instance was faster
 *   any failure -> BACKOFF or STOPPED -> CONNECT          pause -> PAUSED -> CONNECT
 *
 * A table of (state, event) -> next state runs it, is printed by subscriber_table_dump and tested for holes. The shell
 * (relay/inbox/receiver.c) performs the state's action, or waits while it serves the group's membership, and reports
 * exactly one event. Invariants, asserted:
 *   - FETCH and STORE are reached only with offsets that this assignment took over in PostgreSQL [I2];
 *   - a rebalance, a lost session and every failure end that: nothing is read until they are taken over again;
 *   - STORE is entered only from FETCH, so nothing is written after a partition was revoked;
 *   - the membership is kept through every wait [I6]; only a client that is out for good is closed;
 *   - a state that waits has a time when the wait ends.
 * Pure: time and random bits are inputs.
 */
#ifndef CORE_SUBSCRIBER_H
#define CORE_SUBSCRIBER_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#include "base/error.h"

enum {
    SUBSCRIBER_STOPPED_MS = 60000, /* people mend ACLs, passwords and topics: looked at each minute ... */
    SUBSCRIBER_STOPPED_JITTER_MS = 6000,
    SUBSCRIBER_MISSING_MS = 2000, /* a missing topic or inbox is a deployment order, over in seconds */
    SUBSCRIBER_PAUSED_LOOK_MS = 2000,
};

enum subscriber_state {
    SUBSCRIBER_CONNECT, /* open the PostgreSQL session, check identity and schema, find the stream */
    SUBSCRIBER_JOIN,    /* open the consumer and subscribe, unless it is open */
    SUBSCRIBER_START,   /* the very first start: apply the policy to the partitions that there are */
    SUBSCRIBER_ASSIGN,  /* take the assigned partitions over in PostgreSQL, and read from there */
    SUBSCRIBER_FETCH,   /* poll for messages */
    SUBSCRIBER_STORE,   /* one transaction: offsets, ids, messages, dead letters */
    SUBSCRIBER_BACKOFF, /* wait after a failure that passes by itself */
    SUBSCRIBER_STOPPED, /* wait after a failure that people have to mend; tried again now and then */
    SUBSCRIBER_PAUSED,  /* paused in the database */
    SUBSCRIBER_ENDED,   /* the thread returns */
    SUBSCRIBER_STATES,
};

enum subscriber_event {
    SUBSCRIBER_DONE,       /* the state's work succeeded; FETCH: there are messages to store */
    SUBSCRIBER_NOTHING,    /* FETCH: no message came */
    SUBSCRIBER_REBALANCED, /* FETCH or a wait: what is assigned has changed; what was fetched is dropped */
    SUBSCRIBER_IS_PAUSED,  /* CONNECT, FETCH, STORE: the stream's row says paused; nothing was stored */
    SUBSCRIBER_FAILED,     /* the state's work failed; report.error_class says how */
    SUBSCRIBER_WAITED,     /* a wait ended by its time */
    SUBSCRIBER_COMMANDED,  /* a wait ended by a command; only within subscriber_command */
    SUBSCRIBER_EVENTS,
};

enum subscriber_command {
    SUBSCRIBER_WAKE, /* something an operator did: try a stopped or paused stream again now */
    SUBSCRIBER_STOP, /* finish the batch, then end */
};

struct subscriber_report {
    enum subscriber_event event;
    enum error_class error_class; /* FAILED only */
    bool consumer_dead;           /* FAILED only: the Kafka client is out for good */
    bool missing;                 /* FAILED with CONFIG: a topic or an inbox is not there yet; looked for more often */
    int64_t now_ms;
    uint32_t random;
};

struct subscriber {
    enum subscriber_state state;
    bool stopping;
    bool joined;  /* the shell holds a consumer */
    bool started; /* the policy for a first start was applied, now or long ago */
    bool taken;   /* the offsets of the present assignment are taken over */
    bool woken;
    uint32_t attempt; /* failures since the last stored batch, or a long time without any */
    int64_t failed_ms;
    int64_t wait_until_ms;
};

/* What the shell has to let go before it performs the new state. */
struct subscriber_release {
    bool reading;  /* read nothing any more, drop what was fetched */
    bool session;  /* close the PostgreSQL session */
    bool consumer; /* leave the group */
};

void subscriber_init(struct subscriber *subscriber);

/* Notes a command; a state that waits may be left at once. */
struct subscriber_release subscriber_command(struct subscriber *subscriber, enum subscriber_command command,
                                             int64_t now_ms);

/* Takes the report of the state's action; moves to the next state. One that the state cannot make starts again. */
struct subscriber_release subscriber_step(struct subscriber *subscriber, const struct subscriber_report *report);

bool subscriber_waits(enum subscriber_state state);

const char *subscriber_state_name(enum subscriber_state state); /* "fetch", "stopped" ... as logs and metrics show it */
const char *subscriber_event_name(enum subscriber_event event);

/* The table of transitions, a line each, for docs and tests. */
void subscriber_table_dump(FILE *out);

/* What waits in an inbox, and its bounds. */
struct inbox_fill {
    int64_t rows, bytes;
    int64_t rows_max, bytes_max;
};

/* Is the inbox full [I6]? Once it is, it stays so until a tenth of the bound is free again. */
bool subscriber_full(bool was_full, const struct inbox_fill *fill);

#endif
