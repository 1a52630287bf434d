#include "core/subscriber.h"

#include <assert.h>
#include <string.h>

#include "core/backoff.h"

/* Sets of states. */
#define S(name) (1u << SUBSCRIBER_##name)
enum {
    STATES_WAITING = S(BACKOFF) | S(STOPPED) | S(PAUSED),
    STATES_WORKING = S(CONNECT) | S(JOIN) | S(START) | S(ASSIGN) | S(FETCH) | S(STORE),
    STATES_TAKEN = S(FETCH) | S(STORE),
    STATES_ALL = (1u << SUBSCRIBER_STATES) - 1,
    /* Entering STORE is inside a batch; everywhere else a stop takes effect. */
    STATES_BOUNDARY = STATES_ALL & ~(S(STORE) | S(ENDED)),
};

struct view {
    const struct subscriber *subscriber;
    const struct subscriber_report *report;
};

static bool is_in(enum subscriber_state state, uint32_t states) { return (states >> state & 1) != 0; }

static bool is_started(const struct view *view) { return view->subscriber->started; }
static bool is_stopping(const struct view *view) { return view->subscriber->stopping; }
static bool is_woken(const struct view *view) { return view->subscriber->woken; }

/* A row that was read as poison stops only where nothing could be set aside: it is for people then. */
static bool by_people(const struct view *view)
{
    enum error_class class = view->report->error_class;
    return class == ERROR_CONFIG || class == ERROR_INTEGRITY || class == ERROR_POISON;
}

struct row {
    uint32_t states;
    enum subscriber_event event;
    bool (*holds)(const struct view *view); /* NULL: always */
    const char *when;                       /* the condition in words */
    enum subscriber_state next;
    const char *sentence;
};

#define TO(name) SUBSCRIBER_##name
#define STAY     SUBSCRIBER_STATES

static const struct row table[] = {
    {S(CONNECT), SUBSCRIBER_DONE, NULL, "", TO(JOIN), "the session is good"},
    {S(JOIN), SUBSCRIBER_DONE, is_started, "started before", TO(ASSIGN), "a member: take over what it was given"},
    {S(JOIN), SUBSCRIBER_DONE, NULL, "", TO(START), "this inbox never read: its policy is applied once"},
    {S(START), SUBSCRIBER_DONE, NULL, "", TO(ASSIGN), "where each partition starts is stored"},
    {S(ASSIGN), SUBSCRIBER_DONE, NULL, "", TO(FETCH), "older owners cannot store any more"},
    {S(FETCH), SUBSCRIBER_DONE, NULL, "", TO(STORE), "messages came"},
    {S(FETCH), SUBSCRIBER_NOTHING, NULL, "", TO(FETCH), "nothing came"},
    {S(FETCH), SUBSCRIBER_REBALANCED, NULL, "", TO(ASSIGN), "other partitions are ours now"},
    {S(STORE), SUBSCRIBER_DONE, NULL, "", TO(FETCH), "stored, with its offsets"},
    {S(CONNECT) | S(FETCH) | S(STORE), SUBSCRIBER_IS_PAUSED, NULL, "", TO(PAUSED), "the stream's row says paused"},

    {STATES_WORKING, SUBSCRIBER_FAILED, by_people, "poison, config or integrity", TO(STOPPED),
     "people have to mend it"},
    {STATES_WORKING, SUBSCRIBER_FAILED, NULL, "", TO(BACKOFF), "it passes by itself"},

    {STATES_WAITING, SUBSCRIBER_REBALANCED, NULL, "", STAY, "noted; nothing is read anyway"},
    {STATES_WAITING, SUBSCRIBER_WAITED, NULL, "", TO(CONNECT), "again from the beginning"},

    {STATES_BOUNDARY, SUBSCRIBER_COMMANDED, is_stopping, "stop", TO(ENDED), "stops"},
    {STATES_WAITING, SUBSCRIBER_COMMANDED, is_woken, "wake", TO(CONNECT), "an operator did something: again now"},
    {STATES_ALL, SUBSCRIBER_COMMANDED, NULL, "", STAY, "goes on"},
};

/* A report that the state cannot make. */
static const struct row impossible = {STATES_ALL & ~S(ENDED),          SUBSCRIBER_EVENTS, NULL, "", TO(BACKOFF),
                                      "impossible: again from nothing"};
static const struct row ended = {S(ENDED), SUBSCRIBER_EVENTS, NULL, "", STAY, "has ended"};

static const struct row *find(const struct view *view)
{
    enum subscriber_state state = view->subscriber->state;
    for (size_t i = 0; i < COUNT_OF(table); i++) {
        const struct row *row = &table[i];
        if (row->event == view->report->event && is_in(state, row->states) && (!row->holds || row->holds(view)))
            return row;
    }
    return state == SUBSCRIBER_ENDED ? &ended : &impossible;
}

static int64_t wait_until(const struct subscriber *subscriber, const struct subscriber_report *report)
{
    switch (subscriber->state) {
    case SUBSCRIBER_BACKOFF:
        return report->now_ms + backoff_delay_ms(subscriber->attempt, BACKOFF_MAX_MS, report->random);
    case SUBSCRIBER_STOPPED:
        return report->now_ms +
               (report->missing
                    ? SUBSCRIBER_MISSING_MS
                    : SUBSCRIBER_STOPPED_MS + backoff_delay_from_ms(SUBSCRIBER_STOPPED_JITTER_MS, 1,
                                                                    SUBSCRIBER_STOPPED_JITTER_MS, report->random));
    case SUBSCRIBER_PAUSED:
        return report->now_ms + SUBSCRIBER_PAUSED_LOOK_MS;
    default:
        return 0;
    }
}

/* ---- what an event means for the flags, before the state changes ---- */

static void note_done(struct subscriber *subscriber)
{
    switch (subscriber->state) {
    case SUBSCRIBER_JOIN:
        subscriber->joined = true;
        break;
    case SUBSCRIBER_START:
        subscriber->started = true;
        break;
    case SUBSCRIBER_ASSIGN:
        subscriber->taken = true;
        break;
    case SUBSCRIBER_STORE:
        subscriber->attempt = 0;
        break;
    default:
        break;
    }
}

/* A session that only lost a race is still good: 40001, a lock that was not got, a partition taken over. */
static bool costs_session(enum error_class class)
{
    return class != ERROR_RETRY && class != ERROR_FENCED && class != ERROR_POISON;
}

static struct subscriber_release note(struct subscriber *subscriber, const struct subscriber_report *report,
                                      const struct row *row)
{
    bool failed = row == &impossible || (report->event == SUBSCRIBER_FAILED && row != &ended);
    if (report->event == SUBSCRIBER_REBALANCED)
        subscriber->taken = false;
    if (report->event == SUBSCRIBER_NOTHING && report->now_ms - subscriber->failed_ms > BACKOFF_MAX_MS)
        subscriber->attempt = 0;
    if (report->event == SUBSCRIBER_DONE && row != &impossible)
        note_done(subscriber);
    if (!failed)
        return (struct subscriber_release){0};
    if (subscriber->attempt < UINT32_MAX)
        subscriber->attempt++;
    subscriber->failed_ms = report->now_ms;
    return (struct subscriber_release){
        .reading = true,
        .session = row == &impossible || costs_session(report->error_class),
        .consumer = report->consumer_dead,
    };
}

/* ---- the one place where the state changes ---- */

static struct subscriber_release move(struct subscriber *subscriber, enum subscriber_state next,
                                      const struct subscriber_report *report, struct subscriber_release release)
{
    if (!is_in(next, STATES_TAKEN | S(ASSIGN)) && subscriber->taken)
        release.reading = true;
    if (next == SUBSCRIBER_ENDED)
        release = (struct subscriber_release){.reading = true, .session = true, .consumer = true};
    if (release.reading || release.session)
        subscriber->taken = false;
    if (release.consumer)
        subscriber->joined = false;
    subscriber->state = next;
    subscriber->wait_until_ms = wait_until(subscriber, report);
    return release;
}

static struct subscriber_release settle(struct subscriber *subscriber, struct subscriber_release release,
                                        int64_t now_ms)
{
    const struct subscriber_report commanded = {.event = SUBSCRIBER_COMMANDED, .now_ms = now_ms};
    if (!is_in(subscriber->state, STATES_BOUNDARY))
        return release;
    const struct row *row = find(&(struct view){subscriber, &commanded});
    if (row->next != STAY)
        release = move(subscriber, row->next, &commanded, release);
    return release;
}

static void check(const struct subscriber *subscriber)
{
    enum subscriber_state state = subscriber->state;
    assert(state < SUBSCRIBER_STATES);
    assert(subscriber->taken || !is_in(state, STATES_TAKEN));
    assert(subscriber->joined || !is_in(state, S(START) | S(ASSIGN) | STATES_TAKEN));
    assert(subscriber->wait_until_ms > 0 || !subscriber_waits(state));
}

void subscriber_init(struct subscriber *subscriber)
{
    memset(subscriber, 0, sizeof *subscriber);
    subscriber->state = SUBSCRIBER_CONNECT;
}

struct subscriber_release subscriber_step(struct subscriber *subscriber, const struct subscriber_report *report)
{
    assert(report->now_ms > 0 && report->event < SUBSCRIBER_EVENTS);
    enum subscriber_state before = subscriber->state;
    const struct row *row =
        report->event == SUBSCRIBER_COMMANDED ? &impossible : find(&(struct view){subscriber, report});
    if (before == SUBSCRIBER_ENDED)
        row = &ended;
    struct subscriber_release release = note(subscriber, report, row);
    if (row->next != STAY)
        release = move(subscriber, row->next, report, release);
    release = settle(subscriber, release, report->now_ms);
    check(subscriber);
    assert(subscriber->state != SUBSCRIBER_STORE || (before == SUBSCRIBER_FETCH && report->event == SUBSCRIBER_DONE));
    return release;
}

struct subscriber_release subscriber_command(struct subscriber *subscriber, enum subscriber_command command,
                                             int64_t now_ms)
{
    struct subscriber_release release = {0};
    assert(now_ms > 0);
    if (command == SUBSCRIBER_STOP)
        subscriber->stopping = true;
    subscriber->woken = command == SUBSCRIBER_WAKE;
    if (subscriber_waits(subscriber->state))
        release = settle(subscriber, release, now_ms);
    subscriber->woken = false;
    check(subscriber);
    return release;
}

bool subscriber_waits(enum subscriber_state state) { return is_in(state, STATES_WAITING); }

const char *subscriber_state_name(enum subscriber_state state)
{
    static const char *const names[] = {
        [SUBSCRIBER_CONNECT] = "connect", [SUBSCRIBER_JOIN] = "join",       [SUBSCRIBER_START] = "start",
        [SUBSCRIBER_ASSIGN] = "assign",   [SUBSCRIBER_FETCH] = "fetch",     [SUBSCRIBER_STORE] = "store",
        [SUBSCRIBER_BACKOFF] = "backoff", [SUBSCRIBER_STOPPED] = "stopped", [SUBSCRIBER_PAUSED] = "paused",
        [SUBSCRIBER_ENDED] = "ended",
    };
    return (size_t)state < COUNT_OF(names) ? names[state] : "unknown";
}

const char *subscriber_event_name(enum subscriber_event event)
{
    static const char *const names[] = {
        [SUBSCRIBER_DONE] = "done",           [SUBSCRIBER_NOTHING] = "nothing", [SUBSCRIBER_REBALANCED] = "rebalanced",
        [SUBSCRIBER_IS_PAUSED] = "is paused", [SUBSCRIBER_FAILED] = "failed",   [SUBSCRIBER_WAITED] = "waited",
        [SUBSCRIBER_COMMANDED] = "commanded",
    };
    return (size_t)event < COUNT_OF(names) ? names[event] : "unknown";
}

static void dump_row(FILE *out, enum subscriber_state state, const struct row *row)
{
    enum subscriber_state next = row->next == STAY ? state : row->next;
    fprintf(out, "%-9s %-11s %-28s -> %-9s %s\n", subscriber_state_name(state),
            row->event == SUBSCRIBER_EVENTS ? "any other" : subscriber_event_name(row->event), row->when,
            subscriber_state_name(next), row->sentence);
}

void subscriber_table_dump(FILE *out)
{
    for (int state = 0; state < SUBSCRIBER_STATES; state++) {
        for (size_t i = 0; i < COUNT_OF(table); i++)
            if (is_in((enum subscriber_state)state, table[i].states))
                dump_row(out, (enum subscriber_state)state, &table[i]);
        dump_row(out, (enum subscriber_state)state, state == SUBSCRIBER_ENDED ? &ended : &impossible);
    }
}

static int64_t bound(int64_t max, bool was_full) { return was_full ? max - max / 10 : max; }

bool subscriber_full(bool was_full, const struct inbox_fill *fill)
{
    return fill->rows >= bound(fill->rows_max, was_full) || fill->bytes >= bound(fill->bytes_max, was_full);
}
