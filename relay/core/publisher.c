#include "core/publisher.h"

#include <assert.h>
#include <string.h>

/* Sets of states. */
#define S(name) (1u << PUBLISHER_##name)
enum {
    STATES_ALL = (1u << PUBLISHER_STATES) - 1,

    STATES_BATCH = S(READ) | S(TICK) | S(COMMIT),
    STATES_WAITING = S(IDLE) | S(POLL) | S(HELD) | S(BACKOFF) | S(STOPPED) | S(PAUSED),
    STATES_FAILED = S(BACKOFF) | S(STOPPED),
    STATES_OPENING = S(CONNECT) | S(OPEN) | S(BARRIER) | S(READBACK) | S(FIRST),
    STATES_WORKING = STATES_OPENING | S(KNOW) | S(POLL) | STATES_BATCH,

    /* Entering TICK or COMMIT is inside a batch; everywhere else commands take effect. */
    STATES_BOUNDARY = STATES_ALL & ~(S(TICK) | S(COMMIT) | S(ENDED)),
    /* A revoked partition does not disturb a wait that it could not end, nor a pause. */
    STATES_HOLDABLE = STATES_BOUNDARY & ~(S(IDLE) | S(HELD) | STATES_FAILED | S(PAUSED)),

    /* Where failing leaves nothing behind: no Kafka transaction of ours is open, unless the report says so. */
    STATES_CLEAN = S(POLL) | S(READ) | S(KNOW),
    STATES_POSITIONED = S(KNOW) | S(POLL) | STATES_BATCH,
    STATES_WITH_PRODUCER = S(BARRIER) | S(READBACK) | S(FIRST) | STATES_POSITIONED,
    STATES_WITHOUT_SESSION = S(IDLE) | S(PAUSED) | S(ENDED),
};

/* ---- conditions ---- */

struct view {
    const struct publisher *publisher;
    const struct publisher_report *report;
};

static bool is_in(enum publisher_state state, uint32_t states) { return (states >> state & 1) != 0; }

static bool has_position(const struct view *view)
{
    return view->publisher->producer_open && view->publisher->positioned;
}
static bool has_more(const struct view *view) { return view->report->more; }
static bool is_newer(const struct view *view) { return view->report->position_newer; }
static bool was_isolating(const struct view *view) { return view->publisher->isolate; }
static bool is_paused(const struct view *view) { return view->publisher->paused; }
static bool is_stopping(const struct view *view) { return view->publisher->stopping; }
static bool is_leading(const struct view *view) { return view->publisher->leading; }
static bool is_held(const struct view *view) { return view->publisher->held; }
static bool is_lost(const struct view *view) { return !view->publisher->leading && !view->publisher->held; }
static bool is_woken(const struct view *view) { return view->publisher->woken; }
static bool is_woken_with_position(const struct view *view) { return is_woken(view) && has_position(view); }
static bool leads_with_position(const struct view *view) { return is_leading(view) && has_position(view); }

/* Idle, not merely between two batches: a write a batch would double PostgreSQL's work. */
static bool is_unknown_and_idle(const struct view *view)
{
    return view->publisher->committed_unknown && view->publisher->poll_delay_ms >= PUBLISHER_KNOW_AFTER_MS;
}

static bool is_outage(enum error_class class) { return class == ERROR_RETRY || class == ERROR_RECONNECT; }
static bool is_fence(enum error_class class) { return class == ERROR_RECREATE || class == ERROR_FENCED; }

/* A refused commit does not say which message it was for; the same again, one a request, does. */
static bool is_poison_to_find(const struct view *view)
{
    return view->report->error_class == ERROR_POISON && view->publisher->state == PUBLISHER_COMMIT &&
           !view->publisher->isolate;
}

static bool is_poison_found(const struct view *view)
{
    return view->report->error_class == ERROR_POISON && view->report->poison_found;
}

static bool waits_for_topic(const struct view *view)
{
    return view->report->error_class == ERROR_CONFIG && view->report->topic_missing;
}

static bool by_outage(const struct view *view) { return is_outage(view->report->error_class); }
static bool by_fence(const struct view *view) { return is_fence(view->report->error_class); }
static bool by_poison(const struct view *view) { return view->report->error_class == ERROR_POISON; }
static bool by_people(const struct view *view)
{
    return view->report->error_class == ERROR_CONFIG || view->report->error_class == ERROR_INTEGRITY;
}

/* ---- the table: of the rows for a state and an event the first whose condition holds ---- */

struct row {
    uint32_t states;
    enum publisher_event event;
    bool (*holds)(const struct view *view); /* NULL: always */
    const char *when;                       /* the condition in words */
    enum publisher_state next;
    const char *sentence;
};

#define TO(name) PUBLISHER_##name
#define STAY     PUBLISHER_STATES /* and waits on, where it waits */

static const struct row table[] = {
    {S(CONNECT), PUBLISHER_DONE, NULL, "", TO(OPEN), "the session is good: a new producer fences older ones"},
    {S(OPEN), PUBLISHER_DONE, NULL, "", TO(BARRIER), "the position is read only behind a barrier of this producer"},
    {S(BARRIER), PUBLISHER_DONE, NULL, "", TO(READBACK), "the barrier is committed: read until it is seen"},
    {S(READBACK), PUBLISHER_DONE, is_newer, "newer than known", TO(KNOW), "the newest tick has to learn the position"},
    {S(READBACK), PUBLISHER_DONE, NULL, "", TO(POLL), "the position is the truth: go on from it"},
    {S(READBACK), PUBLISHER_NO_POSITION, NULL, "", TO(FIRST), "the very first start"},
    {S(FIRST), PUBLISHER_DONE, NULL, "", TO(KNOW), "from now on a missing position is a lost one"},
    {S(KNOW), PUBLISHER_DONE, NULL, "", TO(POLL), "the position is stored as known"},

    {S(POLL), PUBLISHER_DONE, NULL, "", TO(READ), "something began or ended: read the window"},
    {S(POLL), PUBLISHER_NOTHING, is_unknown_and_idle, "commit not known, idle", TO(KNOW),
     "idle: the outbox can be cleaned up to here"},
    {S(POLL), PUBLISHER_NOTHING, NULL, "", TO(POLL), "nothing happened: a longer delay"},
    {S(READ), PUBLISHER_DONE, NULL, "", TO(TICK), "rows are on their way: make what they stand on durable"},
    {S(READ), PUBLISHER_NOTHING, is_unknown_and_idle, "commit not known, idle", TO(KNOW),
     "idle: the outbox can be cleaned up to here"},
    {S(READ), PUBLISHER_NOTHING, NULL, "", TO(POLL), "the window is empty: no tick, the position stays"},
    {S(CONNECT) | S(READ), PUBLISHER_IS_PAUSED, NULL, "", TO(PAUSED), "the stream's row says paused"},
    {S(TICK), PUBLISHER_DONE, NULL, "", TO(COMMIT), "the tick is durable: Kafka may commit"},
    {S(COMMIT), PUBLISHER_DONE, was_isolating, "isolating", TO(CONNECT), "the batch passed: back to a fast producer"},
    {S(COMMIT), PUBLISHER_DONE, has_more, "more", TO(READ), "the backlog goes on"},
    {S(COMMIT), PUBLISHER_DONE, NULL, "", TO(POLL), "the window is closed"},

    {S(COMMIT), PUBLISHER_FAILED, is_poison_to_find, "poison, not isolating", TO(BACKOFF),
     "find it: the batch again, a message a request"},
    {S(COMMIT), PUBLISHER_FAILED, is_poison_found, "poison, found", TO(BACKOFF), "the rows before it go out first"},
    {STATES_WORKING, PUBLISHER_FAILED, by_poison, "poison", TO(STOPPED), "a row can never pass"},
    {STATES_WORKING, PUBLISHER_FAILED, by_people, "config or integrity", TO(STOPPED), "people have to mend it"},
    {STATES_WORKING, PUBLISHER_FAILED, by_outage, "retry or reconnect", TO(BACKOFF), "it passes by itself"},
    {STATES_WORKING, PUBLISHER_FAILED, by_fence, "recreate or fenced", TO(BACKOFF),
     "a new producer, and the position read back"},

    {STATES_FAILED, PUBLISHER_WAITED, has_position, "producer kept", TO(POLL),
     "nothing was open: go on where it failed"},
    {STATES_FAILED, PUBLISHER_WAITED, NULL, "", TO(CONNECT), "again from the beginning"},
    {S(PAUSED), PUBLISHER_WAITED, is_paused, "still paused", TO(PAUSED), "waits for resume"},
    {S(PAUSED), PUBLISHER_WAITED, NULL, "", TO(CONNECT), "look at the stream's row again"},
    {S(POLL), PUBLISHER_WAITED, NULL, "", TO(READ), "reads without a look before"},
    {S(IDLE) | S(HELD), PUBLISHER_WAITED, NULL, "", STAY, "waits for a command"},

    /* Commands; looked up as well where a boundary is entered. */
    {STATES_BOUNDARY, PUBLISHER_COMMANDED, is_stopping, "stop", TO(ENDED), "stops"},
    {STATES_BOUNDARY & ~S(IDLE), PUBLISHER_COMMANDED, is_lost, "lose", TO(IDLE), "somebody else leads"},
    {STATES_BOUNDARY & ~(S(IDLE) | S(PAUSED)), PUBLISHER_COMMANDED, is_paused, "pause", TO(PAUSED), "paused"},
    {STATES_HOLDABLE, PUBLISHER_COMMANDED, is_held, "hold", TO(HELD), "revoked, perhaps only for a rebalance"},
    {S(HELD), PUBLISHER_COMMANDED, leads_with_position, "lead, producer kept", TO(POLL), "assigned again: goes on"},
    {S(IDLE) | S(HELD), PUBLISHER_COMMANDED, is_leading, "lead", TO(CONNECT), "leads"},
    {S(PAUSED), PUBLISHER_COMMANDED, is_woken, "resume", TO(CONNECT), "resumed"},
    {STATES_FAILED, PUBLISHER_COMMANDED, is_woken_with_position, "wake, producer kept", TO(POLL),
     "an operator did something: again now"},
    {STATES_FAILED, PUBLISHER_COMMANDED, is_woken, "wake", TO(CONNECT), "an operator did something: again now"},
    {STATES_ALL, PUBLISHER_COMMANDED, NULL, "", STAY, "goes on"},
};

/* A report that the state cannot make. */
static const struct row impossible = {STATES_ALL & ~S(ENDED),          PUBLISHER_EVENTS, NULL, "", TO(BACKOFF),
                                      "impossible: again from nothing"};
static const struct row ended = {S(ENDED), PUBLISHER_EVENTS, NULL, "", STAY, "has ended"};

static const struct row *find(const struct view *view)
{
    enum publisher_state state = view->publisher->state;
    for (size_t i = 0; i < COUNT_OF(table); i++) {
        const struct row *row = &table[i];
        if (row->event == view->report->event && is_in(state, row->states) && (!row->holds || row->holds(view)))
            return row;
    }
    return state == PUBLISHER_ENDED ? &ended : &impossible;
}

/* A batch is no wait that a command could have ended: there the row only serves those who enter. */
static const struct row *find_reported(const struct view *view)
{
    if (view->report->event == PUBLISHER_COMMANDED && is_in(view->publisher->state, STATES_BATCH))
        return &impossible;
    return find(view);
}

/* ---- waits ---- */

static int64_t wait_stopped_ms(const struct publisher *publisher, const struct publisher_report *report)
{
    if (waits_for_topic(&(struct view){publisher, report}))
        return PUBLISHER_TOPIC_MS_MIN + backoff_delay_from_ms(PUBLISHER_TOPIC_MS_MIN / 4, publisher->attempt,
                                                              PUBLISHER_TOPIC_MS_MAX - PUBLISHER_TOPIC_MS_MIN,
                                                              report->random);
    return PUBLISHER_STOPPED_MS +
           backoff_delay_from_ms(PUBLISHER_STOPPED_JITTER_MS, 1, PUBLISHER_STOPPED_JITTER_MS, report->random);
}

static int64_t wait_backoff_ms(const struct publisher *publisher, const struct publisher_report *report)
{
    return backoff_delay_from_ms(is_outage(report->error_class) ? BACKOFF_BASE_MS : BACKOFF_BASE_QUICK_MS,
                                 publisher->attempt, BACKOFF_MAX_MS, report->random);
}

static int64_t wait_until(const struct publisher *publisher, const struct publisher_report *report)
{
    switch (publisher->state) {
    case PUBLISHER_IDLE:
    case PUBLISHER_HELD:
        return PUBLISHER_FOREVER;
    case PUBLISHER_POLL:
        return report->now_ms + publisher->poll_delay_ms;
    case PUBLISHER_PAUSED:
        return report->now_ms + PUBLISHER_PAUSED_LOOK_MS;
    case PUBLISHER_BACKOFF:
        return report->now_ms + wait_backoff_ms(publisher, report);
    case PUBLISHER_STOPPED:
        return report->now_ms + wait_stopped_ms(publisher, report);
    default:
        return 0;
    }
}

/* ---- what an event means for the flags, before the state changes ---- */

static void note_found_nothing(struct publisher *publisher, const struct publisher_report *report)
{
    publisher->committed_unknown = publisher->committed_unknown || report->position_newer;
    publisher->poll_delay_ms = poll_delay_next_ms(publisher->poll_delay_ms);
    /* An empty window proves that whatever failed before is published or gone. A POLL that saw no change proves
     * nothing. */
    if (publisher->state == PUBLISHER_READ)
        publisher->attempt = 0;
}

static void note_done(struct publisher *publisher, const struct publisher_report *report)
{
    switch (publisher->state) {
    case PUBLISHER_OPEN:
        publisher->producer_open = true;
        publisher->positioned = false;
        break;
    case PUBLISHER_READBACK:
    case PUBLISHER_FIRST:
        publisher->positioned = true;
        publisher->committed_unknown = publisher->state == PUBLISHER_FIRST || report->position_newer;
        publisher->poll_delay_ms = 0;
        break;
    case PUBLISHER_KNOW:
        publisher->committed_unknown = false;
        break;
    case PUBLISHER_COMMIT:
        publisher->committed_unknown = true;
        publisher->isolate = false;
        publisher->attempt = 0;
        publisher->poll_delay_ms = 0; /* the commit interval is the first delay */
        break;
    default:
        break;
    }
}

/* What a failure costs: K1 wherever a transaction may be open, everything with a lost connection [T3]. */
static struct publisher_release note_failed(struct publisher *publisher, const struct publisher_report *report)
{
    const struct view view = {publisher, report};
    bool clean = is_in(publisher->state, STATES_CLEAN) && !report->transaction_open;
    bool retry = report->error_class == ERROR_RETRY;
    bool to_find = is_poison_to_find(&view);
    publisher->isolate = to_find || (publisher->isolate && report->error_class != ERROR_POISON);
    return (struct publisher_release){
        .producer = !(clean && (retry || waits_for_topic(&view))),
        .session = !(retry || waits_for_topic(&view) || is_fence(report->error_class) || to_find),
    };
}

static struct publisher_release note(struct publisher *publisher, const struct publisher_report *report,
                                     const struct row *row)
{
    bool failed = row == &impossible || (report->event == PUBLISHER_FAILED && row != &ended);
    if (failed && publisher->attempt < UINT32_MAX)
        publisher->attempt++;
    if (row == &impossible)
        return (struct publisher_release){.producer = true, .session = true};
    if (failed)
        return note_failed(publisher, report);
    if (report->event == PUBLISHER_DONE)
        note_done(publisher, report);
    if (report->event == PUBLISHER_NOTHING)
        note_found_nothing(publisher, report);
    return (struct publisher_release){0};
}

/* ---- the one place where the state changes ---- */

static void merge(struct publisher_release *all, struct publisher_release more)
{
    all->producer = all->producer || more.producer;
    all->session = all->session || more.session;
}

/* What the next state cannot use. Only a producer whose position was read back is worth keeping over a wait. */
static struct publisher_release useless_in(enum publisher_state next, const struct publisher *publisher)
{
    bool used = is_in(next, STATES_WITH_PRODUCER);
    bool kept = is_in(next, STATES_FAILED | S(HELD)) && publisher->positioned;
    return (struct publisher_release){
        .producer = publisher->producer_open && !used && !kept,
        .session = is_in(next, STATES_WITHOUT_SESSION),
    };
}

static struct publisher_release move(struct publisher *publisher, enum publisher_state next,
                                     const struct publisher_report *report, struct publisher_release release)
{
    merge(&release, useless_in(next, publisher));
    if (release.producer)
        publisher->producer_open = publisher->positioned = false;
    /* A delay belongs to the idleness that made it grow; whoever comes from elsewhere looks at once. */
    if (next == PUBLISHER_POLL && !is_in(publisher->state, S(POLL) | S(READ) | S(KNOW) | S(COMMIT)))
        publisher->poll_delay_ms = 0;
    publisher->state = next;
    publisher->wait_until_ms = wait_until(publisher, report);
    return release;
}

/* Commands that were noted, at a boundary; each may lead to another boundary, where the next may hold. */
static struct publisher_release settle(struct publisher *publisher, int64_t now_ms)
{
    struct publisher_release all = {0};
    const struct publisher_report commanded = {.event = PUBLISHER_COMMANDED, .now_ms = now_ms};
    const struct view view = {publisher, &commanded};
    for (int moves = 0; is_in(publisher->state, STATES_BOUNDARY); moves++) {
        const struct row *row = find(&view);
        if (row->next == STAY)
            break;
        assert(moves < PUBLISHER_STATES);
        merge(&all, move(publisher, row->next, &commanded, (struct publisher_release){0}));
        publisher->woken = false;
    }
    return all;
}

static void check(const struct publisher *publisher)
{
    enum publisher_state state = publisher->state;
    assert(state < PUBLISHER_STATES);
    assert(publisher->producer_open || !publisher->positioned);
    assert(publisher->producer_open || !is_in(state, STATES_WITH_PRODUCER));
    assert(publisher->positioned || !is_in(state, STATES_POSITIONED));
    assert(!publisher->producer_open || !is_in(state, S(IDLE) | S(CONNECT) | S(OPEN) | S(PAUSED) | S(ENDED)));
    assert(publisher->wait_until_ms > 0 || !publisher_waits(state));
    assert(!(publisher->leading && publisher->held));
}

/* What a step may never do, whatever the table says. */
static void check_step(const struct publisher *before, const struct publisher_report *report,
                       const struct publisher *after, struct publisher_release release)
{
    check(after);
    assert(!after->stopping || !is_in(after->state, STATES_BOUNDARY));
    if (after->state == PUBLISHER_COMMIT)
        assert(before->state == PUBLISHER_TICK && report->event == PUBLISHER_DONE);
    if (after->state == PUBLISHER_TICK)
        assert(before->state == PUBLISHER_READ && report->event == PUBLISHER_DONE);
    if (report->event == PUBLISHER_FAILED && report->transaction_open && before->state != PUBLISHER_ENDED)
        assert(release.producer && !after->producer_open);
    assert(!before->producer_open || after->producer_open || release.producer);
}

void publisher_init(struct publisher *publisher)
{
    memset(publisher, 0, sizeof *publisher);
    publisher->state = PUBLISHER_IDLE;
    publisher->wait_until_ms = PUBLISHER_FOREVER;
}

struct publisher_release publisher_step(struct publisher *publisher, const struct publisher_report *report)
{
    assert(report->now_ms > 0 && report->event < PUBLISHER_EVENTS);
    struct publisher before = *publisher;
    const struct row *row = find_reported(&(struct view){publisher, report});
    struct publisher_release release = note(publisher, report, row);
    if (row->next != STAY)
        release = move(publisher, row->next, report, release);
    merge(&release, settle(publisher, report->now_ms));
    check_step(&before, report, publisher, release);
    return release;
}

static void note_command(struct publisher *publisher, enum publisher_command command)
{
    switch (command) {
    case PUBLISHER_LEAD:
        publisher->leading = true;
        publisher->held = false;
        break;
    case PUBLISHER_HOLD:
        publisher->held = publisher->held || publisher->leading;
        publisher->leading = false;
        break;
    case PUBLISHER_LOSE:
        publisher->leading = publisher->held = false;
        break;
    case PUBLISHER_PAUSE:
        publisher->paused = true;
        break;
    case PUBLISHER_RESUME:
        publisher->paused = false;
        publisher->woken = publisher->state == PUBLISHER_PAUSED;
        break;
    case PUBLISHER_WAKE:
        publisher->woken = is_in(publisher->state, STATES_FAILED);
        break;
    case PUBLISHER_STOP:
        publisher->stopping = true;
        break;
    case PUBLISHER_REST:
    case PUBLISHER_WATCH:
    case PUBLISHER_LOOK:
        break;
    }
}

/* Words about when to poll; none of them means anything elsewhere. */
static void note_polling(struct publisher *publisher, enum publisher_command command, int64_t now_ms)
{
    int64_t *until_ms = &publisher->wait_until_ms;
    if (publisher->state != PUBLISHER_POLL)
        return;
    if (command == PUBLISHER_WAKE || command == PUBLISHER_LOOK)
        *until_ms = now_ms;
    if (command == PUBLISHER_WATCH && *until_ms > now_ms + publisher->poll_delay_ms)
        *until_ms = now_ms + publisher->poll_delay_ms;
    if (command == PUBLISHER_REST && publisher->poll_delay_ms >= POLL_DELAY_MAX_MS)
        *until_ms = now_ms + PUBLISHER_REST_MS;
}

struct publisher_release publisher_command(struct publisher *publisher, enum publisher_command command, int64_t now_ms)
{
    assert(now_ms > 0);
    struct publisher_release release = {0};
    note_command(publisher, command);
    if (publisher_waits(publisher->state)) {
        note_polling(publisher, command, now_ms);
        release = settle(publisher, now_ms);
    }
    publisher->woken = false;
    check(publisher);
    return release;
}

bool publisher_waits(enum publisher_state state) { return is_in(state, STATES_WAITING); }

const char *publisher_state_name(enum publisher_state state)
{
    static const char *const names[] = {
        [PUBLISHER_IDLE] = "idle",       [PUBLISHER_CONNECT] = "connect",   [PUBLISHER_OPEN] = "open",
        [PUBLISHER_BARRIER] = "barrier", [PUBLISHER_READBACK] = "readback", [PUBLISHER_FIRST] = "first",
        [PUBLISHER_KNOW] = "know",       [PUBLISHER_POLL] = "poll",         [PUBLISHER_READ] = "read",
        [PUBLISHER_TICK] = "tick",       [PUBLISHER_COMMIT] = "commit",     [PUBLISHER_HELD] = "held",
        [PUBLISHER_BACKOFF] = "backoff", [PUBLISHER_STOPPED] = "stopped",   [PUBLISHER_PAUSED] = "paused",
        [PUBLISHER_ENDED] = "ended",
    };
    return (size_t)state < COUNT_OF(names) ? names[state] : "unknown";
}

const char *publisher_event_name(enum publisher_event event)
{
    static const char *const names[] = {
        [PUBLISHER_DONE] = "done",           [PUBLISHER_NOTHING] = "nothing", [PUBLISHER_NO_POSITION] = "no position",
        [PUBLISHER_IS_PAUSED] = "is paused", [PUBLISHER_FAILED] = "failed",   [PUBLISHER_WAITED] = "waited",
        [PUBLISHER_COMMANDED] = "commanded",
    };
    return (size_t)event < COUNT_OF(names) ? names[event] : "unknown";
}

static void dump_row(FILE *out, enum publisher_state state, const struct row *row)
{
    enum publisher_state next = row->next == STAY ? state : row->next;
    fprintf(out, "%-9s %-11s %-24s -> %-9s %s\n", publisher_state_name(state),
            row->event == PUBLISHER_EVENTS ? "any other" : publisher_event_name(row->event), row->when,
            publisher_state_name(next), row->sentence);
}

void publisher_table_dump(FILE *out)
{
    for (int state = 0; state < PUBLISHER_STATES; state++) {
        for (size_t i = 0; i < COUNT_OF(table); i++)
            if (is_in((enum publisher_state)state, table[i].states))
                dump_row(out, (enum publisher_state)state, &table[i]);
        dump_row(out, (enum publisher_state)state, state == PUBLISHER_ENDED ? &ended : &impossible);
    }
}
