/* The publisher's table: every state and event, the paths of the protocol, and long random walks. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdlib.h>
#include <string.h>

#include "core/backoff.h"
#include "core/publisher.h"
#include "random.h"

enum { START_MS = 1000000, WALK_STEPS = 4000000, WALKS_TO_STOP = 20000, STEPS_TO_STOP_MAX = 4 };

static bool has_producer(enum publisher_state state)
{
    switch (state) {
    case PUBLISHER_IDLE:
    case PUBLISHER_CONNECT:
    case PUBLISHER_OPEN:
    case PUBLISHER_BACKOFF:
    case PUBLISHER_STOPPED:
    case PUBLISHER_PAUSED:
    case PUBLISHER_ENDED:
        return false;
    default:
        return true;
    }
}

/* A leader in `state`, as the protocol leaves it there; in a waiting state with no producer. */
static struct publisher in_state(enum publisher_state state)
{
    struct publisher publisher;
    publisher_init(&publisher);
    publisher.state = state;
    publisher.leading = state != PUBLISHER_IDLE && state != PUBLISHER_HELD;
    publisher.held = state == PUBLISHER_HELD;
    publisher.producer_open = has_producer(state);
    publisher.positioned = publisher.producer_open && state != PUBLISHER_BARRIER && state != PUBLISHER_READBACK &&
                           state != PUBLISHER_FIRST;
    publisher.wait_until_ms = START_MS;
    publisher.attempt = state == PUBLISHER_BACKOFF || state == PUBLISHER_STOPPED;
    return publisher;
}

static struct publisher_report report_of(enum publisher_event event)
{
    return (struct publisher_report){.event = event, .now_ms = START_MS};
}

static struct publisher_report failure(enum error_class class, bool transaction_open)
{
    return (struct publisher_report){
        .event = PUBLISHER_FAILED, .error_class = class, .transaction_open = transaction_open, .now_ms = START_MS};
}

/* ---- every state x event ---- */

static bool known[PUBLISHER_STATES][PUBLISHER_EVENTS + 1][PUBLISHER_STATES]; /* the last event is "any other" */

static int index_of(const char *name, const char *(*name_of)(int), int count)
{
    for (int i = 0; i < count; i++)
        if (strcmp(name, name_of(i)) == 0)
            return i;
    return -1;
}

static const char *state_name(int state) { return publisher_state_name((enum publisher_state)state); }
static const char *event_name(int event)
{
    return event == PUBLISHER_EVENTS ? "any other" : publisher_event_name((enum publisher_event)event);
}

/* Cuts the field that starts at `column` and ends at two blanks or before the arrow. */
static char *field(char *line, size_t column, size_t width)
{
    char *text = line + column;
    text[width] = '\0';
    for (size_t length = strlen(text); length > 0 && text[length - 1] == ' ';)
        text[--length] = '\0';
    return text;
}

static void read_dump(void)
{
    char *text = NULL;
    size_t size = 0;
    FILE *out = open_memstream(&text, &size);
    assert_non_null(out);
    publisher_table_dump(out);
    fclose(out);
    char *rest = NULL;
    for (char *line = strtok_r(text, "\n", &rest); line; line = strtok_r(NULL, "\n", &rest)) {
        char *arrow = strstr(line, " -> ");
        assert_non_null(arrow);
        int next = index_of(field(arrow, 4, 9), state_name, PUBLISHER_STATES);
        int state = index_of(field(line, 0, 9), state_name, PUBLISHER_STATES);
        int event = index_of(field(line, 10, 11), event_name, PUBLISHER_EVENTS + 1);
        assert_true(state >= 0 && event >= 0 && next >= 0);
        known[state][event][next] = true;
    }
    free(text);
}

static void check_pair(const struct publisher *before, const struct publisher_report *report)
{
    struct publisher after = *before;
    publisher_step(&after, report);
    bool in_table =
        known[before->state][report->event][after.state] || known[before->state][PUBLISHER_EVENTS][after.state];
    if (!in_table && after.state != PUBLISHER_IDLE)
        fail_msg("%s, %s (%s) -> %s is in no row", publisher_state_name(before->state),
                 publisher_event_name(report->event), error_class_name(report->error_class),
                 publisher_state_name(after.state));
    if (publisher_waits(after.state))
        assert_true(after.wait_until_ms >= START_MS);
}

static void test_every_pair(void **state)
{
    (void)state;
    read_dump();
    for (int from = 0; from < PUBLISHER_STATES; from++)
        for (int event = 0; event < PUBLISHER_EVENTS; event++)
            for (int class = ERROR_NONE; class <= ERROR_INTEGRITY + 1; class ++)
                for (uint32_t flags = 0; flags < 256; flags++) {
                    struct publisher publisher = in_state((enum publisher_state)from);
                    struct publisher_report report = failure((enum error_class) class, flags & 1);
                    report.event = (enum publisher_event)event;
                    report.more = flags & 2;
                    report.topic_missing = flags & 4;
                    report.position_newer = flags & 8;
                    report.poison_found = flags & 128;
                    publisher.isolate = flags & 16;
                    publisher.committed_unknown = flags & 32;
                    publisher.poll_delay_ms = flags & 64 ? POLL_DELAY_MAX_MS : 2;
                    check_pair(&publisher, &report);
                }
}

/* A report that a state cannot make lets everything go. */
static void test_impossible(void **state)
{
    (void)state;
    static const struct {
        enum publisher_state state;
        enum publisher_event event;
    } cases[] = {
        {PUBLISHER_TICK, PUBLISHER_NOTHING},     {PUBLISHER_TICK, PUBLISHER_COMMANDED},
        {PUBLISHER_COMMIT, PUBLISHER_COMMANDED}, {PUBLISHER_READ, PUBLISHER_COMMANDED},
        {PUBLISHER_COMMIT, PUBLISHER_WAITED},    {PUBLISHER_BACKOFF, PUBLISHER_DONE},
        {PUBLISHER_POLL, PUBLISHER_NO_POSITION}, {PUBLISHER_FIRST, PUBLISHER_NO_POSITION},
    };
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        struct publisher publisher = in_state(cases[i].state);
        struct publisher_report report = report_of(cases[i].event);
        struct publisher_release release = publisher_step(&publisher, &report);
        assert_int_equal(publisher.state, PUBLISHER_BACKOFF);
        assert_true(release.producer && release.session);
        assert_false(publisher.producer_open);
    }
}

/* ---- the paths of the protocol ---- */

static struct publisher_release step(struct publisher *publisher, struct publisher_report report,
                                     enum publisher_state expected)
{
    struct publisher_release release = publisher_step(publisher, &report);
    assert_string_equal(publisher_state_name(publisher->state), publisher_state_name(expected));
    return release;
}

static struct publisher_release command(struct publisher *publisher, enum publisher_command which,
                                        enum publisher_state expected)
{
    struct publisher_release release = publisher_command(publisher, which, START_MS);
    assert_string_equal(publisher_state_name(publisher->state), publisher_state_name(expected));
    return release;
}

static void done(struct publisher *publisher, enum publisher_state expected)
{
    step(publisher, report_of(PUBLISHER_DONE), expected);
}

static void start(struct publisher *publisher)
{
    publisher_init(publisher);
    command(publisher, PUBLISHER_LEAD, PUBLISHER_CONNECT);
    done(publisher, PUBLISHER_OPEN);
    done(publisher, PUBLISHER_BARRIER);
    done(publisher, PUBLISHER_READBACK);
}

static void start_to_poll(struct publisher *publisher)
{
    start(publisher);
    done(publisher, PUBLISHER_POLL);
}

static void test_first_start(void **state)
{
    (void)state;
    struct publisher publisher;
    start(&publisher);
    step(&publisher, report_of(PUBLISHER_NO_POSITION), PUBLISHER_FIRST);
    done(&publisher, PUBLISHER_KNOW);
    assert_true(publisher.committed_unknown);
    done(&publisher, PUBLISHER_POLL);
    assert_false(publisher.committed_unknown);
}

static void test_readback_newer(void **state)
{
    (void)state;
    struct publisher publisher;
    struct publisher_report newer = report_of(PUBLISHER_DONE);
    newer.position_newer = true;
    start(&publisher);
    step(&publisher, newer, PUBLISHER_KNOW);
    done(&publisher, PUBLISHER_POLL);
    assert_int_equal(publisher.wait_until_ms, START_MS); /* looks at once */
}

static void test_batches(void **state)
{
    (void)state;
    struct publisher publisher;
    struct publisher_report more = report_of(PUBLISHER_DONE);
    more.more = true;
    start_to_poll(&publisher);
    publisher.attempt = 7;
    done(&publisher, PUBLISHER_READ);
    done(&publisher, PUBLISHER_TICK);
    done(&publisher, PUBLISHER_COMMIT);
    assert_int_equal(publisher.attempt, 7);
    step(&publisher, more, PUBLISHER_READ);
    assert_int_equal(publisher.attempt, 0);
    done(&publisher, PUBLISHER_TICK);
    done(&publisher, PUBLISHER_COMMIT);
    done(&publisher, PUBLISHER_POLL);
    assert_true(publisher.committed_unknown);
    assert_int_equal(publisher.wait_until_ms, START_MS); /* the commit interval comes first, in any case */
}

/* Polls slow down; once idle, and only once, the position is stored as known without a tick [C3]. */
static void test_idle(void **state)
{
    (void)state;
    static const int64_t delays[] = {2, 3, 4, 5, 7, 10, 14, 20, 28, 40, 60, 100};
    struct publisher publisher;
    start_to_poll(&publisher);
    done(&publisher, PUBLISHER_READ);
    done(&publisher, PUBLISHER_TICK);
    done(&publisher, PUBLISHER_COMMIT);
    done(&publisher, PUBLISHER_POLL);
    for (size_t i = 0; i < COUNT_OF(delays); i++) {
        if (i % 2) { /* others' transactions end: the window is read and empty; idle all the same */
            done(&publisher, PUBLISHER_READ);
            publisher.attempt = 3;
            step(&publisher, report_of(PUBLISHER_NOTHING), PUBLISHER_POLL);
            assert_int_equal(publisher.attempt, 0);
        } else
            step(&publisher, report_of(PUBLISHER_NOTHING), PUBLISHER_POLL);
        assert_int_equal(publisher.wait_until_ms, START_MS + delays[i]);
    }
    publisher.attempt = 3;
    step(&publisher, report_of(PUBLISHER_NOTHING), PUBLISHER_KNOW);
    assert_int_equal(publisher.attempt, 3);
    done(&publisher, PUBLISHER_POLL);
    step(&publisher, report_of(PUBLISHER_NOTHING), PUBLISHER_POLL);
    done(&publisher, PUBLISHER_READ);
    step(&publisher, report_of(PUBLISHER_NOTHING), PUBLISHER_POLL);
}

/* ---- failures ---- */

static void test_failure_classes(void **state)
{
    (void)state;
    static const struct {
        enum publisher_state state;
        enum error_class class;
        bool open, topic_missing;
        enum publisher_state next;
        bool producer_goes, session_goes;
    } cases[] = {
        {PUBLISHER_CONNECT, ERROR_RETRY, false, false, PUBLISHER_BACKOFF, true, false},
        {PUBLISHER_CONNECT, ERROR_RECONNECT, false, false, PUBLISHER_BACKOFF, true, true},
        {PUBLISHER_CONNECT, ERROR_INTEGRITY, false, false, PUBLISHER_STOPPED, true, true},
        {PUBLISHER_OPEN, ERROR_RETRY, false, false, PUBLISHER_BACKOFF, true, false},
        {PUBLISHER_OPEN, ERROR_CONFIG, false, false, PUBLISHER_STOPPED, true, true},
        {PUBLISHER_BARRIER, ERROR_RETRY, false, false, PUBLISHER_BACKOFF, true, false},
        {PUBLISHER_READBACK, ERROR_INTEGRITY, false, false, PUBLISHER_STOPPED, true, true},
        {PUBLISHER_READBACK, ERROR_RETRY, false, false, PUBLISHER_BACKOFF, true, false},
        {PUBLISHER_FIRST, ERROR_FENCED, true, false, PUBLISHER_BACKOFF, true, false},
        {PUBLISHER_KNOW, ERROR_RETRY, false, false, PUBLISHER_BACKOFF, false, false},
        {PUBLISHER_KNOW, ERROR_FENCED, false, false, PUBLISHER_BACKOFF, true, false},
        {PUBLISHER_POLL, ERROR_RETRY, false, false, PUBLISHER_BACKOFF, false, false},
        {PUBLISHER_POLL, ERROR_RECONNECT, false, false, PUBLISHER_BACKOFF, true, true},
        {PUBLISHER_READ, ERROR_RETRY, false, false, PUBLISHER_BACKOFF, false, false},
        {PUBLISHER_READ, ERROR_RETRY, true, false, PUBLISHER_BACKOFF, true, false},
        {PUBLISHER_READ, ERROR_CONFIG, false, true, PUBLISHER_STOPPED, false, false},
        {PUBLISHER_READ, ERROR_CONFIG, true, true, PUBLISHER_STOPPED, true, false},
        {PUBLISHER_READ, ERROR_CONFIG, false, false, PUBLISHER_STOPPED, true, true},
        {PUBLISHER_READ, ERROR_POISON, false, false, PUBLISHER_STOPPED, true, true},
        {PUBLISHER_TICK, ERROR_FENCED, true, false, PUBLISHER_BACKOFF, true, false},
        {PUBLISHER_TICK, ERROR_RETRY, false, false, PUBLISHER_BACKOFF, true, false},
        {PUBLISHER_TICK, ERROR_RECONNECT, true, false, PUBLISHER_BACKOFF, true, true},
        {PUBLISHER_COMMIT, ERROR_RECREATE, true, false, PUBLISHER_BACKOFF, true, false},
        {PUBLISHER_COMMIT, ERROR_RETRY, false, false, PUBLISHER_BACKOFF, true, false},
        {PUBLISHER_COMMIT, ERROR_CONFIG, true, false, PUBLISHER_STOPPED, true, true},
        {PUBLISHER_COMMIT, ERROR_POISON, true, false, PUBLISHER_BACKOFF, true, false},
    };
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        struct publisher publisher = in_state(cases[i].state);
        struct publisher_report report = failure(cases[i].class, cases[i].open);
        report.topic_missing = cases[i].topic_missing;
        struct publisher_release release = publisher_step(&publisher, &report);
        bool kept = publisher.producer_open;
        if (publisher.state != cases[i].next || release.producer != cases[i].producer_goes ||
            release.session != cases[i].session_goes || publisher.attempt != 1)
            fail_msg("case %zu: %s, producer %d, session %d", i, publisher_state_name(publisher.state),
                     release.producer, release.session);
        assert_int_equal(kept, !cases[i].producer_goes);
        step(&publisher, report_of(PUBLISHER_WAITED), kept ? PUBLISHER_POLL : PUBLISHER_CONNECT);
    }
}

/* A commit that fails for ever: each round commits a barrier, and still the waits grow. */
static void test_endless_failure_backs_off(void **state)
{
    (void)state;
    struct publisher publisher;
    int64_t longest = 0;
    start_to_poll(&publisher);
    for (int round = 1; round <= 14; round++) {
        done(&publisher, PUBLISHER_READ);
        done(&publisher, PUBLISHER_TICK);
        done(&publisher, PUBLISHER_COMMIT);
        struct publisher_report report = failure(ERROR_RECREATE, true);
        report.random = UINT32_MAX;
        step(&publisher, report, PUBLISHER_BACKOFF);
        assert_int_equal(publisher.attempt, round);
        assert_true(publisher.wait_until_ms - START_MS >= longest);
        longest = publisher.wait_until_ms - START_MS;
        if (round == 1)
            assert_int_equal(longest, BACKOFF_BASE_QUICK_MS); /* a take-over must be fast */
        step(&publisher, report_of(PUBLISHER_WAITED), PUBLISHER_CONNECT);
        done(&publisher, PUBLISHER_OPEN);
        done(&publisher, PUBLISHER_BARRIER);
        done(&publisher, PUBLISHER_READBACK);
        done(&publisher, PUBLISHER_POLL);
    }
    assert_int_equal(longest, BACKOFF_MAX_MS);
}

static void test_stopped_waits(void **state)
{
    (void)state;
    for (uint32_t i = 0; i < 8; i++) {
        struct publisher publisher = in_state(PUBLISHER_READ);
        struct publisher_report report = failure(ERROR_CONFIG, false);
        publisher.attempt = i;
        report.random = i % 2 ? UINT32_MAX : 0;
        publisher_step(&publisher, &report);
        assert_in_range(publisher.wait_until_ms - START_MS, 60000, 66000);
        publisher = in_state(PUBLISHER_READ);
        publisher.attempt = i;
        report.topic_missing = true;
        publisher_step(&publisher, &report);
        assert_in_range(publisher.wait_until_ms - START_MS, 1000, 5000);
    }
}

static void isolate(struct publisher *publisher)
{
    start_to_poll(publisher);
    done(publisher, PUBLISHER_READ);
    done(publisher, PUBLISHER_TICK);
    done(publisher, PUBLISHER_COMMIT);
    step(publisher, failure(ERROR_POISON, true), PUBLISHER_BACKOFF);
    assert_true(publisher->isolate);
    step(publisher, report_of(PUBLISHER_WAITED), PUBLISHER_CONNECT);
    done(publisher, PUBLISHER_OPEN);
    done(publisher, PUBLISHER_BARRIER);
    done(publisher, PUBLISHER_READBACK);
    done(publisher, PUBLISHER_POLL);
    done(publisher, PUBLISHER_READ);
    done(publisher, PUBLISHER_TICK);
    done(publisher, PUBLISHER_COMMIT);
    assert_true(publisher->isolate);
}

static void test_poison_found(void **state)
{
    (void)state;
    struct publisher publisher;
    isolate(&publisher);
    struct publisher_release release = step(&publisher, failure(ERROR_POISON, true), PUBLISHER_STOPPED);
    assert_true(release.producer && release.session);
    assert_false(publisher.isolate);
    command(&publisher, PUBLISHER_WAKE, PUBLISHER_CONNECT);
}

/* Found by name: the rows before it go out by a usual producer, then the READ that meets it stops the stream. */
static void test_poison_named(void **state)
{
    (void)state;
    struct publisher publisher;
    struct publisher_report found = failure(ERROR_POISON, true);
    isolate(&publisher);
    found.poison_found = true;
    assert_true(step(&publisher, found, PUBLISHER_BACKOFF).producer);
    assert_false(publisher.isolate);
    step(&publisher, report_of(PUBLISHER_WAITED), PUBLISHER_CONNECT);
    publisher = in_state(PUBLISHER_READ);
    step(&publisher, failure(ERROR_POISON, false), PUBLISHER_STOPPED);
}

/* A sliced window that turns out to be read to its end moves the position; the newest tick has to learn it [C3]. */
static void test_slice_closed(void **state)
{
    (void)state;
    struct publisher publisher = in_state(PUBLISHER_READ);
    struct publisher_report nothing = report_of(PUBLISHER_NOTHING);
    nothing.position_newer = true;
    step(&publisher, nothing, PUBLISHER_POLL);
    assert_true(publisher.committed_unknown);
}

/* The isolating producer is slow; once the batch passed it makes room for a usual one. */
static void test_poison_passed(void **state)
{
    (void)state;
    struct publisher publisher;
    isolate(&publisher);
    struct publisher_release release = step(&publisher, report_of(PUBLISHER_DONE), PUBLISHER_CONNECT);
    assert_true(release.producer && !release.session);
    assert_false(publisher.isolate);
    assert_int_equal(publisher.attempt, 0);
}

static void test_isolation_outlives_outages(void **state)
{
    (void)state;
    struct publisher publisher;
    isolate(&publisher);
    step(&publisher, failure(ERROR_RECONNECT, true), PUBLISHER_BACKOFF);
    assert_true(publisher.isolate);
}

/* ---- commands ---- */

static void test_pause(void **state)
{
    (void)state;
    struct publisher publisher;
    start_to_poll(&publisher);
    struct publisher_release release = command(&publisher, PUBLISHER_PAUSE, PUBLISHER_PAUSED);
    assert_true(release.producer && release.session);
    step(&publisher, report_of(PUBLISHER_WAITED), PUBLISHER_PAUSED);
    command(&publisher, PUBLISHER_LEAD, PUBLISHER_PAUSED);
    command(&publisher, PUBLISHER_RESUME, PUBLISHER_CONNECT);

    publisher = in_state(PUBLISHER_READ); /* noted inside a batch, done behind it */
    command(&publisher, PUBLISHER_PAUSE, PUBLISHER_READ);
    done(&publisher, PUBLISHER_TICK);
    done(&publisher, PUBLISHER_COMMIT);
    done(&publisher, PUBLISHER_PAUSED);

    publisher = in_state(PUBLISHER_BACKOFF);
    command(&publisher, PUBLISHER_PAUSE, PUBLISHER_PAUSED);
    publisher = in_state(PUBLISHER_IDLE);
    command(&publisher, PUBLISHER_PAUSE, PUBLISHER_IDLE);
    command(&publisher, PUBLISHER_LEAD, PUBLISHER_PAUSED);
}

/* Told by the stream's row alone: looked at again, since the command that ends it may never come. */
static void test_pause_seen_in_row(void **state)
{
    (void)state;
    struct publisher publisher = in_state(PUBLISHER_READ);
    struct publisher_release release = step(&publisher, report_of(PUBLISHER_IS_PAUSED), PUBLISHER_PAUSED);
    assert_true(release.producer && release.session);
    assert_int_equal(publisher.wait_until_ms, START_MS + PUBLISHER_PAUSED_LOOK_MS);
    step(&publisher, report_of(PUBLISHER_WAITED), PUBLISHER_CONNECT);
    step(&publisher, report_of(PUBLISHER_IS_PAUSED), PUBLISHER_PAUSED);
    command(&publisher, PUBLISHER_PAUSE, PUBLISHER_PAUSED);
    step(&publisher, report_of(PUBLISHER_WAITED), PUBLISHER_PAUSED);
    command(&publisher, PUBLISHER_RESUME, PUBLISHER_CONNECT);
}

static void test_rebalance(void **state)
{
    (void)state;
    struct publisher publisher;
    start_to_poll(&publisher);
    struct publisher_release release = command(&publisher, PUBLISHER_HOLD, PUBLISHER_HELD);
    assert_false(release.producer || release.session);
    command(&publisher, PUBLISHER_LEAD, PUBLISHER_POLL);
    assert_true(publisher.producer_open);

    done(&publisher, PUBLISHER_READ);
    command(&publisher, PUBLISHER_HOLD, PUBLISHER_READ);
    done(&publisher, PUBLISHER_TICK);
    done(&publisher, PUBLISHER_COMMIT);
    done(&publisher, PUBLISHER_HELD);
    release = command(&publisher, PUBLISHER_LOSE, PUBLISHER_IDLE);
    assert_true(release.producer && release.session);

    start(&publisher); /* not yet positioned: nothing worth keeping */
    command(&publisher, PUBLISHER_HOLD, PUBLISHER_READBACK);
    done(&publisher, PUBLISHER_HELD);
    assert_true(publisher.positioned);
    publisher = in_state(PUBLISHER_BARRIER);
    command(&publisher, PUBLISHER_HOLD, PUBLISHER_BARRIER);
    release = step(&publisher, report_of(PUBLISHER_DONE), PUBLISHER_HELD);
    assert_true(release.producer);
    command(&publisher, PUBLISHER_LEAD, PUBLISHER_CONNECT);

    publisher = in_state(PUBLISHER_STOPPED); /* a rebalance is no reason to try again sooner */
    command(&publisher, PUBLISHER_HOLD, PUBLISHER_STOPPED);
    command(&publisher, PUBLISHER_LEAD, PUBLISHER_STOPPED);
    command(&publisher, PUBLISHER_HOLD, PUBLISHER_STOPPED);
    step(&publisher, report_of(PUBLISHER_WAITED), PUBLISHER_HELD);
    publisher = in_state(PUBLISHER_STOPPED);
    command(&publisher, PUBLISHER_LOSE, PUBLISHER_IDLE);
    command(&publisher, PUBLISHER_HOLD, PUBLISHER_IDLE);
}

static void test_fenced_and_lost(void **state)
{
    (void)state;
    struct publisher publisher = in_state(PUBLISHER_TICK);
    command(&publisher, PUBLISHER_LOSE, PUBLISHER_TICK);
    struct publisher_release release = step(&publisher, failure(ERROR_FENCED, true), PUBLISHER_IDLE);
    assert_true(release.producer && release.session);
}

static void test_wake(void **state)
{
    (void)state;
    struct publisher publisher = in_state(PUBLISHER_READ);
    struct publisher_report report = failure(ERROR_CONFIG, false);
    report.topic_missing = true;
    step(&publisher, report, PUBLISHER_STOPPED);
    command(&publisher, PUBLISHER_WAKE, PUBLISHER_POLL);
    publisher = in_state(PUBLISHER_BACKOFF);
    command(&publisher, PUBLISHER_WAKE, PUBLISHER_CONNECT);
    publisher = in_state(PUBLISHER_POLL);
    publisher.wait_until_ms = START_MS + 100;
    command(&publisher, PUBLISHER_WAKE, PUBLISHER_POLL);
    assert_int_equal(publisher.wait_until_ms, START_MS);
    publisher = in_state(PUBLISHER_IDLE);
    command(&publisher, PUBLISHER_WAKE, PUBLISHER_IDLE);
    publisher = in_state(PUBLISHER_BACKOFF); /* a command that is none of its business does not cut a wait short */
    publisher.wait_until_ms = START_MS + 5000;
    command(&publisher, PUBLISHER_RESUME, PUBLISHER_BACKOFF);
    step(&publisher, report_of(PUBLISHER_COMMANDED), PUBLISHER_BACKOFF);
    assert_int_equal(publisher.wait_until_ms, START_MS + 5000);
}

static void test_polls_shared(void **state)
{
    (void)state;
    static const enum publisher_command words[] = {PUBLISHER_REST, PUBLISHER_WATCH, PUBLISHER_LOOK};
    struct publisher publisher = in_state(PUBLISHER_POLL);
    publisher.poll_delay_ms = POLL_DELAY_MAX_MS / 2; /* not idle yet: it waits for its next poll as before */
    publisher.wait_until_ms = START_MS + 10;
    command(&publisher, PUBLISHER_REST, PUBLISHER_POLL);
    command(&publisher, PUBLISHER_WATCH, PUBLISHER_POLL);
    assert_int_equal(publisher.wait_until_ms, START_MS + 10);
    publisher.poll_delay_ms = POLL_DELAY_MAX_MS;
    command(&publisher, PUBLISHER_REST, PUBLISHER_POLL);
    assert_int_equal(publisher.wait_until_ms, START_MS + PUBLISHER_REST_MS);
    command(&publisher, PUBLISHER_WATCH, PUBLISHER_POLL);
    assert_int_equal(publisher.wait_until_ms, START_MS + POLL_DELAY_MAX_MS);
    command(&publisher, PUBLISHER_LOOK, PUBLISHER_POLL);
    assert_int_equal(publisher.wait_until_ms, START_MS);
    for (int from = 0; from < PUBLISHER_ENDED; from++) /* a word that comes late ends no other wait */
        for (size_t i = 0; from != PUBLISHER_POLL && i < COUNT_OF(words); i++) {
            publisher = in_state((enum publisher_state)from);
            int64_t until_ms = publisher.wait_until_ms;
            command(&publisher, words[i], (enum publisher_state)from);
            assert_int_equal(publisher.wait_until_ms, until_ms);
        }
}

static void test_stop(void **state)
{
    (void)state;
    for (int from = 0; from < PUBLISHER_ENDED; from++) {
        struct publisher publisher = in_state((enum publisher_state)from);
        struct publisher_release release = publisher_command(&publisher, PUBLISHER_STOP, START_MS);
        if (publisher_waits((enum publisher_state)from)) {
            assert_int_equal(publisher.state, PUBLISHER_ENDED);
            assert_true(release.session);
            continue;
        }
        assert_int_equal(publisher.state, from);
        struct publisher_report more = report_of(PUBLISHER_DONE);
        more.more = true;
        int steps = 0;
        for (; publisher.state != PUBLISHER_ENDED; steps++)
            publisher_step(&publisher, &more);
        assert_true(steps <= 3); /* READ, TICK, COMMIT */
    }
}

/* ---- random walks ---- */

struct walk {
    struct publisher publisher;
    bool open, positioned, transaction; /* the shell's own view */
    enum publisher_state came_from;
    enum publisher_event came_by;
    uint64_t visits[PUBLISHER_STATES];
};

static struct publisher_report draw_report(struct random *random, const struct walk *walk, int64_t now_ms)
{
    struct publisher_report report = {.now_ms = now_ms, .random = (uint32_t)random_next(random)};
    enum publisher_state state = walk->publisher.state;
    bool waits = publisher_waits(state) && state != PUBLISHER_POLL;
    report.event = waits ? PUBLISHER_WAITED : PUBLISHER_DONE;
    if (!waits && random_chance(random, 12)) {
        report.event = PUBLISHER_FAILED;
        report.error_class = (enum error_class)(1 + random_below(random, ERROR_INTEGRITY));
        report.topic_missing = random_chance(random, 50);
    } else if ((state == PUBLISHER_POLL || state == PUBLISHER_READ) && random_chance(random, 40))
        report.event = PUBLISHER_NOTHING;
    else if (state == PUBLISHER_READBACK && random_chance(random, 5))
        report.event = PUBLISHER_NO_POSITION;
    else if (state == PUBLISHER_READ && random_chance(random, 2))
        report.event = PUBLISHER_IS_PAUSED;
    else if (random_below(random, 200) == 0) /* a shell that errs */
        report.event = (enum publisher_event)random_below(random, PUBLISHER_EVENTS);
    report.transaction_open = walk->transaction || (state == PUBLISHER_READ && random_chance(random, 50));
    report.more = random_chance(random, 30);
    report.position_newer = random_chance(random, 30);
    report.poison_found = random_chance(random, 50);
    return report;
}

static void apply(struct walk *walk, struct publisher_release release)
{
    if (release.producer)
        walk->open = walk->positioned = walk->transaction = false;
    const struct publisher *publisher = &walk->publisher;
    walk->visits[publisher->state]++;
    assert_int_equal(walk->open, publisher->producer_open);
    switch (publisher->state) {
    case PUBLISHER_COMMIT:
        assert_true(walk->came_from == PUBLISHER_TICK && walk->came_by == PUBLISHER_DONE);
        assert_true(walk->open && walk->positioned);
        break;
    case PUBLISHER_TICK:
        assert_true(walk->came_from == PUBLISHER_READ && walk->came_by == PUBLISHER_DONE);
        assert_true(walk->open && walk->positioned);
        break;
    case PUBLISHER_POLL:
    case PUBLISHER_KNOW:
    case PUBLISHER_READ:
        assert_true(walk->open && walk->positioned && !walk->transaction);
        break;
    case PUBLISHER_BARRIER:
    case PUBLISHER_READBACK:
        assert_true(walk->open && !walk->transaction);
        break;
    default:
        assert_false(walk->transaction); /* never a wait, nor a new start, with a transaction open */
    }
    if (publisher_waits(publisher->state))
        assert_true(publisher->wait_until_ms > 0);
}

static void walk_step(struct random *random, struct walk *walk, int64_t now_ms)
{
    struct publisher_report report = draw_report(random, walk, now_ms);
    enum publisher_state before = walk->publisher.state;
    bool must_go = report.event == PUBLISHER_FAILED && report.transaction_open && before != PUBLISHER_ENDED;
    if (before == PUBLISHER_OPEN && report.event == PUBLISHER_DONE) {
        walk->open = true;
        walk->positioned = false;
    }
    if ((before == PUBLISHER_READBACK || before == PUBLISHER_FIRST) && report.event == PUBLISHER_DONE)
        walk->positioned = true;
    if (before == PUBLISHER_READ && report.event == PUBLISHER_DONE)
        walk->transaction = true;
    if (before == PUBLISHER_COMMIT && report.event == PUBLISHER_DONE)
        walk->transaction = false;
    struct publisher_release release = publisher_step(&walk->publisher, &report);
    assert_true(release.producer || !must_go);
    walk->came_from = before;
    walk->came_by = report.event;
    apply(walk, release);
}

static void walk_command(struct random *random, struct walk *walk, int64_t now_ms)
{
    static const enum publisher_command often[] = {PUBLISHER_LEAD,   PUBLISHER_LEAD,  PUBLISHER_HOLD,  PUBLISHER_LOSE,
                                                   PUBLISHER_WAKE,   PUBLISHER_PAUSE, PUBLISHER_LEAD,  PUBLISHER_RESUME,
                                                   PUBLISHER_RESUME, PUBLISHER_REST,  PUBLISHER_WATCH, PUBLISHER_LOOK};
    enum publisher_state before = walk->publisher.state;
    struct publisher_release release =
        publisher_command(&walk->publisher, often[random_below(random, COUNT_OF(often))], now_ms);
    assert_true(publisher_waits(before) || walk->publisher.state == before);
    assert_true(walk->publisher.state != PUBLISHER_TICK || before == PUBLISHER_TICK);
    assert_true(walk->publisher.state != PUBLISHER_COMMIT || before == PUBLISHER_COMMIT);
    if (walk->publisher.state != before || release.producer)
        apply(walk, release);
}

static void test_random_walk(void **state)
{
    (void)state;
    struct random random = random_seeded("publisher/random_walk");
    static struct walk walk;
    publisher_init(&walk.publisher);
    for (int64_t i = 1; i <= WALK_STEPS; i++) {
        walk_step(&random, &walk, i);
        if (random_chance(&random, 10) || walk.publisher.state == PUBLISHER_IDLE)
            walk_command(&random, &walk, i);
    }
    for (int i = 0; i < PUBLISHER_ENDED; i++)
        assert_true(walk.visits[i] > WALK_STEPS / 2000);
}

static void test_random_stop(void **state)
{
    (void)state;
    struct random random = random_seeded("publisher/random_stop");
    for (int round = 0; round < WALKS_TO_STOP; round++) {
        struct walk walk = {0};
        int steps = 0;
        publisher_init(&walk.publisher);
        for (uint32_t i = 1 + random_below(&random, 60); i > 0; i--) {
            walk_step(&random, &walk, START_MS);
            if (random_chance(&random, 20) || walk.publisher.state == PUBLISHER_IDLE)
                walk_command(&random, &walk, START_MS);
        }
        apply(&walk, publisher_command(&walk.publisher, PUBLISHER_STOP, START_MS));
        for (; walk.publisher.state != PUBLISHER_ENDED; steps++)
            walk_step(&random, &walk, START_MS);
        assert_true(steps <= STEPS_TO_STOP_MAX);
        walk_step(&random, &walk, START_MS);
        assert_int_equal(walk.publisher.state, PUBLISHER_ENDED);
        assert_false(walk.open);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_pair),
        cmocka_unit_test(test_impossible),
        cmocka_unit_test(test_first_start),
        cmocka_unit_test(test_readback_newer),
        cmocka_unit_test(test_batches),
        cmocka_unit_test(test_idle),
        cmocka_unit_test(test_failure_classes),
        cmocka_unit_test(test_endless_failure_backs_off),
        cmocka_unit_test(test_stopped_waits),
        cmocka_unit_test(test_poison_found),
        cmocka_unit_test(test_poison_named),
        cmocka_unit_test(test_slice_closed),
        cmocka_unit_test(test_poison_passed),
        cmocka_unit_test(test_isolation_outlives_outages),
        cmocka_unit_test(test_pause),
        cmocka_unit_test(test_pause_seen_in_row),
        cmocka_unit_test(test_rebalance),
        cmocka_unit_test(test_fenced_and_lost),
        cmocka_unit_test(test_wake),
        cmocka_unit_test(test_polls_shared),
        cmocka_unit_test(test_stop),
        cmocka_unit_test(test_random_walk),
        cmocka_unit_test(test_random_stop),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
