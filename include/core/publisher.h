/*
 * The publisher: what the leader of one outbox stream does next.
 *
 *   IDLE -> CONNECT -> OPEN -> BARRIER -> READBACK -> POLL <-> READ -> TICK -> COMMIT
 *                                          |  ^                          |
 *                                   FIRST -+--+- KNOW                    +-> POLL / READ
 *   any failure -> BACKOFF or STOPPED -> CONNECT          pause -> PAUSED -> CONNECT
 *
 * A table of (state, event) -> next state runs it, is printed by publisher_table_dump and tested for holes. The
 * shell (outbox/worker.c) performs the state's action, which is blocking work or a wait, and reports exactly one
 * event; commands from outside (lead, pause, stop) are noted at any time by publisher_command and take effect where
 * the next state is entered, unless that is TICK or COMMIT, so a batch is never cut in two by them. A wait may be
 * left at once. Invariants, asserted:
 *   - COMMIT is entered only from TICK after the tick transaction's COMMIT succeeded [T2];
 *   - after any failure with a Kafka transaction open the producer is destroyed, never reused [K1];
 *   - POLL, READ, TICK, COMMIT and KNOW are reached only with a position read back from Kafka [K3, K4];
 *   - a state that waits has a time when the wait ends, or waits for a command (PUBLISHER_FOREVER);
 *   - a stop asked for ends the publisher at the next boundary.
 * A failing READ or TICK has rolled its PostgreSQL transaction back, or reports RECONNECT. Pure: time and random bits
 * are inputs.
 */
#ifndef CORE_PUBLISHER_H
#define CORE_PUBLISHER_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#include "base/error.h"
#include "core/backoff.h"

#define PUBLISHER_FOREVER INT64_MAX

enum {
    PUBLISHER_STOPPED_MS = 60000,       /* people mend ACLs, passwords and rows: looked at each minute ... */
    PUBLISHER_STOPPED_JITTER_MS = 6000, /* ... but not by all streams at once */
    PUBLISHER_TOPIC_MS_MIN = 1000,      /* a missing topic is a deployment order, over in seconds */
    PUBLISHER_TOPIC_MS_MAX = 5000,
    PUBLISHER_REST_MS = 30000,                   /* the longest wait of a POLL that others poll for [C4] */
    PUBLISHER_PAUSED_LOOK_MS = 10000,            /* a pause that only the stream's row told of is looked at again */
    PUBLISHER_KNOW_AFTER_MS = POLL_DELAY_MAX_MS, /* idle: polls have slowed down to this delay [C3] */
};

enum publisher_state {
    PUBLISHER_IDLE,     /* not the leader; waits for a command */
    PUBLISHER_CONNECT,  /* open or reuse the PostgreSQL session, check identity, read the ticks */
    PUBLISHER_OPEN,     /* new producer: warm topics, init_transactions */
    PUBLISHER_BARRIER,  /* commit the barrier record */
    PUBLISHER_READBACK, /* read the position behind the barrier, compare with the ticks */
    PUBLISHER_FIRST,    /* the very first start: commit position 0 */
    PUBLISHER_KNOW,     /* store the position as known in the newest tick */
    PUBLISHER_POLL,     /* wait the poll delay, then look whether the snapshot changed */
    PUBLISHER_READ,     /* begin the tick transaction, read a slice, produce its rows */
    PUBLISHER_TICK,     /* produce the position, write the tick, COMMIT */
    PUBLISHER_COMMIT,   /* flush, commit the Kafka transaction */
    PUBLISHER_HELD,     /* partition revoked, perhaps only for a rebalance: keep the producer, write nothing */
    PUBLISHER_BACKOFF,  /* wait after a failure that passes by itself */
    PUBLISHER_STOPPED,  /* wait after a failure that people have to mend; tried again now and then */
    PUBLISHER_PAUSED,   /* paused in the database */
    PUBLISHER_ENDED,    /* the thread returns */
    PUBLISHER_STATES,
};

enum publisher_event {
    PUBLISHER_DONE,        /* the state's work succeeded */
    PUBLISHER_NOTHING,     /* POLL: snapshot unchanged; READ: no row, the transaction was rolled back */
    PUBLISHER_NO_POSITION, /* READBACK: START_FIRST */
    PUBLISHER_IS_PAUSED,   /* CONNECT, READ: the stream's row says paused; nothing was read */
    PUBLISHER_FAILED,      /* the state's work failed; report.error_class says how */
    PUBLISHER_WAITED,      /* a wait ended by its time */
    PUBLISHER_COMMANDED,   /* a wait ended by a command */
    PUBLISHER_EVENTS,
};

enum publisher_command {
    PUBLISHER_LEAD, /* the group assigned us the stream's partition */
    PUBLISHER_HOLD, /* revoked; an assign may follow */
    PUBLISHER_LOSE, /* assigned to somebody else, or the assignment was lost */
    PUBLISHER_PAUSE,
    PUBLISHER_RESUME,
    PUBLISHER_WAKE,  /* something an operator did: try a stopped stream again now */
    PUBLISHER_REST,  /* another stream polls for this one, which saw what that one sees: an idle POLL waits long */
    PUBLISHER_WATCH, /* from now on this stream polls for those that rest */
    PUBLISHER_LOOK,  /* another stream's poll saw a change, or failed: poll now */
    PUBLISHER_STOP,  /* finish the batch, then end */
};

struct publisher_report {
    enum publisher_event event;
    enum error_class error_class; /* FAILED only */
    bool transaction_open;        /* FAILED only: a Kafka transaction had begun, so the producer must go */
    bool topic_missing;           /* FAILED with CONFIG: a topic is not there yet; looked for more often */
    bool more;                    /* COMMIT done: the window or the backlog is not exhausted, read on at once */
    bool position_newer;          /* READBACK done, READ nothing: newer than the known one, store it [C3] */
    bool poison_found;            /* COMMIT failed by POISON in isolation: the next READ stops before that row */
    int64_t now_ms;
    uint32_t random;
};

struct publisher {
    enum publisher_state state;
    bool leading, held, paused, stopping;
    bool producer_open;     /* the shell holds a producer */
    bool positioned;        /* the position was read back with this producer */
    bool committed_unknown; /* a batch was committed since the position was stored as known [C3] */
    bool isolate;           /* the next batch finds its poison: one message a Produce request */
    bool woken;             /* a command ends the present wait; only within publisher_command */
    /*
     * Failures since the last committed batch or empty window. Not since the last barrier: a batch whose commit fails
     * for ever commits a barrier each time, and would be tried without any back-off.
     */
    uint32_t attempt;
    int64_t wait_until_ms; /* of the waiting states; PUBLISHER_FOREVER: only a command ends it */
    int64_t poll_delay_ms;
};

/* What the shell has to let go before it performs the new state. Destroying before a wait frees Kafka's side. */
struct publisher_release {
    bool producer; /* destroy, never abort [K1] */
    bool session;  /* close the PostgreSQL session */
};

void publisher_init(struct publisher *publisher);

/*
 * Notes a command; a state that waits may be left at once. To be called between actions and during waits, never while
 * POLL's query runs: afterwards look at the state again, and go on waiting where it did not change.
 */
struct publisher_release publisher_command(struct publisher *publisher, enum publisher_command command, int64_t now_ms);

/*
 * Takes the report of the state's action; moves to the next state. A report that the state cannot make lets everything
 * go and starts again by BACKOFF: no mistake of the shell may get past a tick.
 */
struct publisher_release publisher_step(struct publisher *publisher, const struct publisher_report *report);

/*
 * Does the state wait, until wait_until_ms or a command? POLL waits too, then works: it reports what its query saw, the
 * others WAITED.
 */
bool publisher_waits(enum publisher_state state);

const char *publisher_state_name(enum publisher_state state); /* "poll", "backoff" ... as logs and metrics show it */
const char *publisher_event_name(enum publisher_event event);

/* The table of transitions, a line each, for docs and tests. */
void publisher_table_dump(FILE *out);

#endif
