/*
 * The protocol in small: 1 to 3 relays, each a shell around the very publisher_step, window_between, start_decide and
 * position codec that the program runs, against models of PostgreSQL and Kafka, through random schedules of crashes,
 * lost answers, late requests, kills and any belief about leadership. Nothing may be lost, doubled, phantom or out of
 * order, and everything is published when the faults end. Mistakes planted in the shell have to be found.
 *
 * TEST_SEED replays; SIMULATION_SCHEDULES sets how many.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "simulation_model.h"

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
enum { SCHEDULES = 20000 };
#else
enum { SCHEDULES = 200000 };
#endif
enum {
    RELAYS_MAX = 3,
    BATCH_ROWS_MAX = 4,
    STEPS_MIN = 60,
    STEPS_MAX = 360,
    FAULT_PERCENT_MAX = 14,
    DOUBT_PERCENT = 12,
    CALM_STEPS_MAX = 4000,
    NUMBER_BITS = SLOT_BITS - 2, /* a number of the model stands for so many: four fill a slot */
    PLANTED_SCHEDULES = 50000,
    FAILOVERS = SCHEDULES / 20
};

struct relay {
    struct publisher publisher;
    int session;  /* PostgreSQL's epoch at its opening; 0: none */
    int producer; /* its epoch; 0: none */
    bool transaction_open, has_last_full, read_early;
    struct tick_ring ring;
    struct tick_name newest, known;
    bool has_known;
    int64_t position_offset;
    int64_t reached, floor, until_floor; /* what the sequence had reached in the batch, before the last tick */
    int barrier;
    int batch[BATCH_ROWS_MAX], batch_count;
    bool more, early_found;
    int64_t now_ms;
};

static struct world world;
static struct relay relays[RELAYS_MAX];
static struct position positions[RELAYS_MAX], next_positions[RELAYS_MAX], early_positions[RELAYS_MAX];
static struct snapshot untils[RELAYS_MAX], last_fulls[RELAYS_MAX];
static struct slot_history histories[RELAYS_MAX];
static enum planted planted;
static uint32_t fault_percent;
static bool failovers;
static struct postgres standby;
static uint64_t total_refused;
static uint64_t total_steps, total_published, total_crashes, total_commits, total_unknown;
static char text[POSITION_TEXT_MAX];

static const char *const verdict_names[] = {"fine", "lost", "duplicated", "phantom", "out of order", "stuck"};

static size_t index_of(const struct relay *relay) { return (size_t)(relay - relays); }
static struct position *position_of(const struct relay *relay) { return &positions[index_of(relay)]; }
static struct position *next_of(const struct relay *relay) { return &next_positions[index_of(relay)]; }
static struct snapshot *until_of(const struct relay *relay) { return &untils[index_of(relay)]; }
static bool fault(void) { return random_chance(&world.random, fault_percent); }
static bool session_dead(const struct relay *relay) { return relay->session != world.postgres.epoch; }

static void let_go(struct relay *relay, struct publisher_release release)
{
    if (release.producer) {
        relay->producer = 0; /* what it had open stays open on the broker until the next init */
        relay->transaction_open = false;
    }
    if (release.session)
        relay->session = 0;
}

/* ---- the states' actions ---- */

static enum error_class connect(struct relay *relay)
{
    if (relay->session && session_dead(relay))
        return ERROR_RECONNECT;
    relay->session = world.postgres.epoch;
    relay->has_last_full = false;
    relay->ring = world.postgres.ring;
    struct error error;
    return start_check_database("outbox/main", &relay->ring, &world.postgres.identity, &error);
}

static bool parse_position(struct relay *relay, int barrier, struct position *out)
{
    struct error error;
    const struct model_record *record = kafka_position(&world.kafka, barrier, &relay->position_offset);
    if (record)
        assert_int_equal(position_parse(record->text, record->length, out, &error), ERROR_NONE);
    return record != NULL;
}

static enum error_class open_producer(struct relay *relay)
{
    if (planted == PLANTED_POSITION_BEFORE_INIT && !relay->read_early) {
        relay->early_found = parse_position(relay, 0, &early_positions[index_of(relay)]);
        relay->read_early = true;
        return ERROR_RETRY; /* so that others can act between the two */
    }
    relay->producer = kafka_init(&world.kafka);
    return ERROR_NONE;
}

static enum error_class write_barrier(struct relay *relay, const char *position_text, size_t length)
{
    relay->barrier = (int)++world.serial;
    if (position_text && !kafka_send_position(&world.kafka, relay->producer, 0, position_text, length))
        return ERROR_FENCED;
    if (!kafka_send_position(&world.kafka, relay->producer, relay->barrier, "", 0) || fault())
        return ERROR_RECREATE;
    if (!kafka_commit(&world, relay->producer))
        return ERROR_FENCED;
    return fault() ? ERROR_RECREATE : ERROR_NONE;
}

static void set_known(struct relay *relay)
{
    relay->has_known = true;
    relay->known = position_of(relay)->tick;
}

static enum error_class read_back(struct relay *relay, struct publisher_report *report)
{
    struct error error;
    bool found = parse_position(relay, relay->barrier, position_of(relay));
    if (planted == PLANTED_POSITION_BEFORE_INIT) {
        found = relay->early_found;
        if (found)
            position_copy(position_of(relay), &early_positions[index_of(relay)]);
        relay->read_early = false;
    }
    if (session_dead(relay))
        return ERROR_RECONNECT;
    relay->ring = world.postgres.ring;
    const struct start_facts facts = {.stream = "outbox/main",
                                      .ring = &relay->ring,
                                      .database = world.postgres.identity,
                                      .cluster_id = "model",
                                      .position = found ? position_of(relay) : NULL,
                                      .position_offset = relay->position_offset};
    enum start_verdict verdict = start_decide(&facts, &error);
    if (verdict == START_REFUSED)
        return error.class;
    relay->newest = tick_ring_newest(&relay->ring)->name;
    if (verdict == START_FIRST) {
        report->event = PUBLISHER_NO_POSITION;
        return ERROR_NONE;
    }
    report->position_newer = start_position_newer(&facts);
    relay->floor = position_floor(position_of(relay));
    histories[index_of(relay)].count = 0;
    set_known(relay);
    return ERROR_NONE;
}

static enum error_class commit_first(struct relay *relay)
{
    struct uuid stream = {{0}};
    position_first(position_of(relay), &stream, &relay->newest, &world.postgres.identity, "model");
    size_t length = position_format(position_of(relay), text, sizeof text);
    enum error_class class = write_barrier(relay, text, length);
    relay->floor = 0;
    histories[index_of(relay)].count = 0;
    if (!class)
        set_known(relay);
    return class;
}

static enum error_class know(struct relay *relay)
{
    if (session_dead(relay))
        return ERROR_RECONNECT;
    return postgres_know(&world.postgres, &relay->newest, &relay->known, relay->position_offset) ? ERROR_NONE
                                                                                                 : ERROR_FENCED;
}

static enum error_class poll_changed(struct relay *relay, struct publisher_report *report)
{
    if (session_dead(relay))
        return ERROR_RECONNECT;
    struct snapshot *until = until_of(relay);
    postgres_snapshot(&world.postgres, until);
    bool changed =
        !relay->has_last_full || position_of(relay)->slicing || !snapshot_equal(until, &last_fulls[index_of(relay)]);
    report->event = changed ? PUBLISHER_DONE : PUBLISHER_NOTHING;
    return ERROR_NONE;
}

/* A window is looked for only in the slots that can have its rows. */
static bool is_in_slots(const struct relay *relay, const struct window *window, const struct model_row *row)
{
    struct slot_history *history = &histories[index_of(relay)];
    const struct position *position = position_of(relay);
    int64_t floor = position->from_floor << NUMBER_BITS, ceiling = relay->reached << NUMBER_BITS;
    slot_history_note(history, position->from.xmax, floor);
    struct slot_range range = slots_between(floor, ceiling);
    if (row->xid < window->from.value && planted != PLANTED_LATE_BY_FLOOR)
        range = slot_history_find(history, window->late[0], ceiling);
    int slot = (int)(row->seq << NUMBER_BITS >> SLOT_BITS) & (SLOTS - 1);
    return slot >= range.first && slot <= range.last;
}

/* Only rows of late transactions may stand below the floor of P. */
static bool is_read(const struct position *position, const struct window *window, const struct model_row *row)
{
    return window_holds(window, (struct xid8){row->xid}) && (!position->slicing || row->seq > position->last_seq) &&
           (row->xid < window->from.value || row->seq > position->from_floor);
}

/* The rows of the window beyond the position, in seq order, up to a batch: what the reading statements do [W1, W2]. */
static void read_window(struct relay *relay)
{
    static struct window window;
    const struct position *position = position_of(relay);
    const struct snapshot *until = until_of(relay);
    int limit = 1 + (int)random_below(&world.random, BATCH_ROWS_MAX);
    window_between(&position->from, until, &window);
    relay->batch_count = 0;
    relay->more = false;
    for (int i = 0; i < world.postgres.row_count; i++) {
        const struct model_row *row = &world.postgres.rows[i];
        bool wanted = is_read(position, &window, row) && (position->slicing || is_in_slots(relay, &window, row));
        if (planted == PLANTED_SEQ_READING)
            wanted = row->seq > position->last_seq;
        if (!wanted || !postgres_visible(&world.postgres, until, row))
            continue;
        relay->more = relay->batch_count == limit;
        if (relay->more)
            break;
        relay->batch[relay->batch_count++] = i;
    }
}

/* While slicing P and S stay; once the window is read to its end, P moves to S. */
static void prepare_next(struct relay *relay)
{
    struct position *next = next_of(relay);
    position_copy(next, position_of(relay));
    next->tick = (struct tick_name){relay->newest.number + 1, world_uuid(&world)};
    next->slicing = relay->more || planted == PLANTED_SEQ_READING;
    if (relay->batch_count > 0)
        next->last_seq = world.postgres.rows[relay->batch[relay->batch_count - 1]].seq;
    snapshot_copy(next->slicing ? &next->until : &next->from, until_of(relay));
    *(next->slicing ? &next->until_floor : &next->from_floor) = relay->until_floor;
}

static enum error_class send_position(struct relay *relay);
static enum error_class commit_kafka(struct relay *relay, struct publisher_report *report);

static enum error_class found_nothing(struct relay *relay, struct publisher_report *report)
{
    report->event = PUBLISHER_NOTHING;
    if (position_of(relay)->slicing && planted != PLANTED_SEQ_READING) { /* the window is done: stand at its S */
        position_close_window(position_of(relay));
        relay->has_last_full = false;
        return ERROR_NONE;
    }
    snapshot_copy(&last_fulls[index_of(relay)], until_of(relay));
    relay->has_last_full = true;
    if (planted != PLANTED_ADVANCE_ON_EMPTY)
        return ERROR_NONE;
    prepare_next(relay);
    next_of(relay)->tick = position_of(relay)->tick;
    if (send_position(relay))
        return ERROR_FENCED;
    enum error_class class = commit_kafka(relay, report);
    report->event = PUBLISHER_NOTHING;
    return class;
}

static enum error_class read_batch(struct relay *relay, struct publisher_report *report)
{
    if (session_dead(relay))
        return ERROR_RECONNECT;
    bool slicing = position_of(relay)->slicing && planted != PLANTED_SEQ_READING;
    relay->reached = world.postgres.next_seq - 1;
    relay->until_floor = slicing ? position_of(relay)->until_floor : relay->floor;
    if (planted == PLANTED_OWN_FLOOR)
        relay->until_floor = relay->reached;
    if (slicing)
        snapshot_copy(until_of(relay), &position_of(relay)->until);
    else
        postgres_snapshot(&world.postgres, until_of(relay));
    read_window(relay);
    if (relay->batch_count == 0)
        return found_nothing(relay, report);
    for (int i = 0; i < relay->batch_count; i++) {
        if (!kafka_send(&world.kafka, relay->producer, relay->batch[i]))
            return ERROR_FENCED;
        relay->transaction_open = true;
        if (fault())
            return ERROR_RECREATE;
    }
    prepare_next(relay);
    return ERROR_NONE;
}

static enum error_class write_tick(struct relay *relay)
{
    if (session_dead(relay))
        return ERROR_RECONNECT;
    struct tick tick = {.name = next_of(relay)->tick,
                        .database = world.postgres.identity,
                        .known = relay->has_known,
                        .known_name = relay->known,
                        .known_offset = relay->position_offset};
    if (fault()) /* the connection is lost before the COMMIT arrived */
        return ERROR_RECONNECT;
    if (!postgres_tick(&world.postgres, &relay->newest, &tick))
        return ERROR_FENCED;
    relay->newest = tick.name;
    relay->floor = relay->reached;
    return fault() ? ERROR_RECONNECT : ERROR_NONE; /* ... or after it, before its answer */
}

static enum error_class send_position(struct relay *relay)
{
    size_t length = position_format(next_of(relay), text, sizeof text);
    relay->transaction_open = true;
    return kafka_send_position(&world.kafka, relay->producer, 0, text, length) ? ERROR_NONE : ERROR_FENCED;
}

static enum error_class make_durable(struct relay *relay)
{
    if (planted == PLANTED_NO_TICK)
        next_of(relay)->tick = position_of(relay)->tick;
    enum error_class class = send_position(relay);
    if (class)
        return class;
    if (planted == PLANTED_NO_TICK || planted == PLANTED_TICK_AFTER_COMMIT)
        return ERROR_NONE;
    return write_tick(relay);
}

/* The one commit call, with all that can become of its EndTxn. */
static enum error_class end_transaction(struct relay *relay)
{
    total_commits++;
    if (fault_percent == 0 || !random_chance(&world.random, DOUBT_PERCENT))
        return kafka_commit(&world, relay->producer) ? ERROR_NONE : ERROR_FENCED;
    total_unknown++;
    switch (random_below(&world.random, 4)) {
    case 0: /* lost */
        return ERROR_RECREATE;
    case 1: /* arrives, its answer does not */
        return kafka_commit(&world, relay->producer) ? ERROR_RECREATE : ERROR_FENCED;
    case 2: /* under way for longer than anybody waits */
        kafka_late(&world.kafka, relay->producer);
        return ERROR_RECREATE;
    default: /* sent twice: the second arrives, the first will [K2] */
        if (!kafka_commit(&world, relay->producer))
            return ERROR_FENCED;
        kafka_late(&world.kafka, relay->producer);
        return planted == PLANTED_KEEP_AFTER_REPEATED_END ? ERROR_NONE : ERROR_RECREATE;
    }
}

static enum error_class commit_kafka(struct relay *relay, struct publisher_report *report)
{
    enum error_class class = end_transaction(relay);
    if (class == ERROR_RECREATE && planted == PLANTED_RESUME_AFTER_UNKNOWN)
        class = kafka_commit(&world, relay->producer) ? ERROR_NONE : ERROR_FENCED;
    if (class)
        return class;
    relay->transaction_open = false;
    relay->position_offset = world.kafka.positions.count - 1;
    if (planted == PLANTED_TICK_AFTER_COMMIT) {
        if (random_chance(&world.random, fault_percent))
            postgres_crash(&world);
        class = write_tick(relay);
        if (class)
            return class;
    }
    position_copy(position_of(relay), next_of(relay));
    set_known(relay);
    relay->has_last_full = !relay->more;
    snapshot_copy(&last_fulls[index_of(relay)], until_of(relay));
    report->more = relay->more;
    return ERROR_NONE;
}

static enum error_class act(struct relay *relay, struct publisher_report *report)
{
    switch (relay->publisher.state) {
    case PUBLISHER_CONNECT:
        return connect(relay);
    case PUBLISHER_OPEN:
        return open_producer(relay);
    case PUBLISHER_BARRIER:
        return write_barrier(relay, NULL, 0);
    case PUBLISHER_READBACK:
        return read_back(relay, report);
    case PUBLISHER_FIRST:
        return commit_first(relay);
    case PUBLISHER_KNOW:
        return know(relay);
    case PUBLISHER_POLL:
        return poll_changed(relay, report);
    case PUBLISHER_READ:
        return read_batch(relay, report);
    case PUBLISHER_TICK:
        return make_durable(relay);
    case PUBLISHER_COMMIT:
        return commit_kafka(relay, report);
    default:
        report->event = PUBLISHER_WAITED;
        return ERROR_NONE;
    }
}

static void relay_step(struct relay *relay)
{
    static const enum error_class anywhere[] = {ERROR_RETRY, ERROR_RECONNECT, ERROR_RECREATE, ERROR_CONFIG};
    struct publisher_report report = {.event = PUBLISHER_DONE, .random = (uint32_t)random_next(&world.random)};
    enum publisher_state state = relay->publisher.state;
    if (publisher_waits(state)) {
        if (relay->publisher.wait_until_ms == PUBLISHER_FOREVER)
            return;
        if (relay->now_ms < relay->publisher.wait_until_ms)
            relay->now_ms = relay->publisher.wait_until_ms;
    }
    bool works = !publisher_waits(state) || state == PUBLISHER_POLL;
    enum error_class class =
        works && fault() ? anywhere[random_below(&world.random, COUNT_OF(anywhere))] : act(relay, &report);
    if (class) {
        report.event = PUBLISHER_FAILED;
        report.error_class = class;
        report.transaction_open = relay->transaction_open;
    }
    report.now_ms = ++relay->now_ms;
    let_go(relay, publisher_step(&relay->publisher, &report));
    total_steps++;
}

/* ---- schedules ---- */

static void start_relay(struct relay *relay)
{
    memset(relay, 0, sizeof *relay);
    relay->now_ms = 1;
    publisher_init(&relay->publisher);
}

static void command(struct relay *relay, enum publisher_command which)
{
    let_go(relay, publisher_command(&relay->publisher, which, relay->now_ms));
}

/* Leadership may believe anything: nobody, several, the wrong one [L1]. */
static void trouble(uint32_t relay_count)
{
    static const enum publisher_command commands[] = {PUBLISHER_LEAD, PUBLISHER_LEAD,   PUBLISHER_LEAD,
                                                      PUBLISHER_HOLD, PUBLISHER_LOSE,   PUBLISHER_PAUSE,
                                                      PUBLISHER_WAKE, PUBLISHER_RESUME, PUBLISHER_RESUME};
    struct relay *relay = &relays[random_below(&world.random, relay_count)];
    uint32_t kind = random_below(&world.random, 100);
    if (kind < 55)
        command(relay, commands[random_below(&world.random, COUNT_OF(commands))]);
    else if (kind < 70)
        start_relay(relay); /* kill -9 */
    else if (kind < 80)
        relay->session = relay->session ? -1 : 0; /* its backend is killed */
    else if (kind < 90) {
        postgres_crash(&world);
        total_crashes++;
    } else
        kafka_late_arrives(&world);
}

static void calm_down(uint32_t relay_count)
{
    struct relay *leader = &relays[random_below(&world.random, relay_count)];
    fault_percent = 0;
    for (uint32_t i = 0; i < relay_count; i++) {
        command(&relays[i], PUBLISHER_RESUME);
        command(&relays[i], &relays[i] == leader ? PUBLISHER_LEAD : PUBLISHER_LOSE);
        command(&relays[i], PUBLISHER_WAKE);
    }
    for (int i = 0; i < CALM_STEPS_MAX && world.verdict == FINE; i++) {
        postgres_write(&world, true);
        relay_step(&relays[random_below(&world.random, relay_count)]);
        if (random_chance(&world.random, 5))
            kafka_late_arrives(&world);
        if (i % 32 == 0 && world_unpublished(&world) == 0 && leader->publisher.state == PUBLISHER_POLL)
            return;
    }
    world_condemn(&world, leader->publisher.positioned ? LOST : STUCK);
}

/*
 * An asynchronous standby takes over, as it was a while ago. Where it lacks the tick of Kafka's position nothing more
 * may go out; else nothing that was published is missing, and everything goes on.
 */
static void fail_over(uint32_t relay_count)
{
    bool lost = false;
    int64_t offset;
    postgres_fail_over(&world, &standby);
    kafka_late_arrives(&world); /* of before the failover: it may be judged a phantom, and rightly */
    kafka_init(&world.kafka);
    const struct model_record *record = kafka_position(&world.kafka, 0, &offset);
    struct error error;
    if (record) {
        assert_int_equal(position_parse(record->text, record->length, &positions[0], &error), ERROR_NONE);
        lost = !tick_ring_holds(&world.postgres.ring, &positions[0].tick);
    }
    world.verdict = FINE;
    int visible = world.kafka.topic.count;
    calm_down(relay_count);
    if (!lost)
        return;
    total_refused++;
    if (world.verdict == STUCK)
        world.verdict = FINE;
    for (int i = visible; i < world.kafka.topic.count; i++)
        if (world.kafka.topic.records[i].state == VISIBLE)
            world_condemn(&world, PHANTOM);
}

static enum verdict run_schedule(uint64_t seed)
{
    world_init(&world, seed);
    standby = world.postgres;
    uint32_t relay_count = 1 + random_below(&world.random, RELAYS_MAX);
    uint32_t trouble_percent = random_below(&world.random, 12);
    fault_percent = random_below(&world.random, FAULT_PERCENT_MAX);
    for (uint32_t i = 0; i < relay_count; i++)
        start_relay(&relays[i]);
    command(&relays[0], PUBLISHER_LEAD);
    for (uint32_t i = STEPS_MIN + random_below(&world.random, STEPS_MAX - STEPS_MIN); i > 0 && world.verdict == FINE;
         i--) {
        if (random_chance(&world.random, 35))
            postgres_write(&world, false);
        else
            relay_step(&relays[random_below(&world.random, relay_count)]);
        if (random_chance(&world.random, trouble_percent))
            trouble(relay_count);
        if (failovers && random_chance(&world.random, 5))
            standby = world.postgres;
    }
    if (world.verdict == FINE && failovers)
        fail_over(relay_count);
    else if (world.verdict == FINE)
        calm_down(relay_count);
    for (int i = 0; i < world.postgres.row_count; i++)
        total_published += world.postgres.rows[i].published > 0;
    return world.verdict;
}

static uint64_t schedules(void)
{
    const char *given = getenv("SIMULATION_SCHEDULES");
    return given ? strtoull(given, NULL, 10) : SCHEDULES;
}

static void test_nothing_goes_wrong(void **state)
{
    (void)state;
    struct random seeds = random_seeded("simulation");
    uint64_t count = schedules();
    planted = PLANTED_NONE;
    for (uint64_t i = 0; i < count; i++) {
        uint64_t seed = i ? random_next(&seeds) : seeds.state;
        enum verdict verdict = run_schedule(seed);
        if (verdict != FINE)
            fail_msg("schedule %llu: %s; TEST_SEED=%llu SIMULATION_SCHEDULES=1 replays it", (unsigned long long)i,
                     verdict_names[verdict], (unsigned long long)seed);
    }
    printf("simulation: %llu schedules, %llu steps, %llu rows published, %llu commits of which %llu in doubt, %llu "
           "PostgreSQL crashes: nothing lost, doubled, phantom or out of order\n",
           (unsigned long long)count, (unsigned long long)total_steps, (unsigned long long)total_published,
           (unsigned long long)total_commits, (unsigned long long)total_unknown, (unsigned long long)total_crashes);
    if (count == SCHEDULES)
        assert_true(total_published > 10 * count && total_unknown > count / 10 && total_crashes > count / 10);
}

/* What is worth believing in a simulation that finds nothing is what it does find. */
static void test_planted_mistakes_are_found(void **state)
{
    (void)state;
    static const char *const names[] = {
        [PLANTED_NO_TICK] = "no tick",
        [PLANTED_TICK_AFTER_COMMIT] = "tick after the commit in Kafka",
        [PLANTED_ADVANCE_ON_EMPTY] = "advance on an empty poll",
        [PLANTED_SEQ_READING] = "seq > last instead of windows",
        [PLANTED_KEEP_AFTER_REPEATED_END] = "producer kept after a repeated EndTxn",
        [PLANTED_POSITION_BEFORE_INIT] = "position read before init_transactions",
        [PLANTED_RESUME_AFTER_UNKNOWN] = "commit called again after an unknown outcome",
        [PLANTED_OWN_FLOOR] = "floor of the batch itself, not of the last tick",
        [PLANTED_LATE_BY_FLOOR] = "late rows looked for behind the floor only",
    };
    struct random seeds = random_seeded("simulation/planted");
    for (planted = PLANTED_NONE + 1; planted < PLANTEDS; planted++) {
        enum verdict verdict = FINE;
        int i = 0;
        for (; i < PLANTED_SCHEDULES && verdict == FINE; i++)
            verdict = run_schedule(random_next(&seeds));
        printf("simulation: %-46s %s in schedule %d\n", names[planted], verdict_names[verdict], i);
        if (verdict == FINE)
            fail_msg("not found: %s", names[planted]);
    }
}

/* [K5, T4] */
static void test_lost_commits_are_refused(void **state)
{
    (void)state;
    struct random seeds = random_seeded("simulation/failover");
    failovers = true;
    planted = PLANTED_NONE;
    for (uint64_t i = 0; i < FAILOVERS; i++) {
        uint64_t seed = random_next(&seeds);
        enum verdict verdict = run_schedule(seed);
        if (verdict != FINE)
            fail_msg("schedule %llu of seed %llu: %s", (unsigned long long)i, (unsigned long long)seed,
                     verdict_names[verdict]);
    }
    failovers = false;
    printf("simulation: %d failovers to an asynchronous standby, %llu of them refused\n", FAILOVERS,
           (unsigned long long)total_refused);
    assert_true(total_refused > FAILOVERS / 20);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_nothing_goes_wrong),
        cmocka_unit_test(test_planted_mistakes_are_found),
        cmocka_unit_test(test_lost_commits_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
