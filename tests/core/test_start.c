/* What a stream may do at its start: every combination of what PostgreSQL and Kafka can say [K5, T4]. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <string.h>

#include "core/start.h"

enum { SYSTEM = 7001, OID = 5 };

struct kept { /* a tick: uuid and number are told apart by letter, as histories fork */
    int number;
    char uuid;
};

struct example {
    const char *name;
    struct kept ring[4];  /* ends where uuid is 0; the newest may stand anywhere */
    struct kept known;    /* of the newest tick; uuid 0: none */
    struct kept position; /* uuid 0: Kafka holds none */
    uint64_t tick_system; /* 0: as registration makes tick 0 */
    uint32_t tick_oid, tick_timeline;
    uint64_t position_system;
    uint32_t position_oid, position_timeline;
    uint32_t session_timeline;
    const char *position_cluster;
    enum start_verdict verdict;
    const char *code;    /* of a refusal */
    const char *says[2]; /* words of its text */
};

#define TICKS(system, oid, timeline) .tick_system = (system), .tick_oid = (oid), .tick_timeline = (timeline)
#define POSITION(system, oid, timeline)                                                                                \
    .position_system = (system), .position_oid = (oid), .position_timeline = (timeline)
#define USUAL               TICKS(SYSTEM, OID, 3), POSITION(SYSTEM, OID, 3), .session_timeline = 3, .position_cluster = "here"
#define REFUSED(code_, ...) .verdict = START_REFUSED, .code = (code_), .says = {__VA_ARGS__}

static const struct example examples[] = {
    {"very first start", {{0, 'a'}}, {0}, {0}, USUAL, .verdict = START_FIRST},
    {"very first start, tick 0 without identity",
     {{0, 'a'}},
     {0},
     {0},
     TICKS(0, 0, 0),
     .session_timeline = 3,
     .verdict = START_FIRST},
    {"very first start on a standby that was promoted",
     {{0, 'a'}},
     {0},
     {0},
     TICKS(SYSTEM, OID, 2),
     .session_timeline = 3,
     .verdict = START_FIRST},
    {"crash between position 0 and storing it as known", {{0, 'a'}}, {0}, {0, 'a'}, USUAL, .verdict = START_GO},
    {"position 0 known", {{0, 'a'}}, {0, 'a'}, {0, 'a'}, USUAL, .verdict = START_GO},
    {"ticks after position 0, none of them committed in Kafka",
     {{1, 'b'}, {2, 'c'}, {3, 'd'}},
     {0, 'a'},
     {0, 'a'},
     USUAL,
     .verdict = START_GO},
    {"position is the newest tick", {{8, 'h'}, {9, 'i'}, {7, 'g'}}, {8, 'h'}, {9, 'i'}, USUAL, .verdict = START_GO},
    {"position is an older kept tick, newer than known",
     {{8, 'h'}, {9, 'i'}, {7, 'g'}},
     {7, 'g'},
     {8, 'h'},
     USUAL,
     .verdict = START_GO},
    {"position is the known one, its tick left the ring",
     {{8, 'h'}, {9, 'i'}},
     {2, 'b'},
     {2, 'b'},
     USUAL,
     .verdict = START_GO},
    {"planned switch-over: a higher timeline",
     {{9, 'i'}},
     {9, 'i'},
     {9, 'i'},
     TICKS(SYSTEM, OID, 3),
     POSITION(SYSTEM, OID, 3),
     .session_timeline = 4,
     .position_cluster = "here",
     .verdict = START_GO},
    {"after a rebase: nothing known, the position is the newest tick",
     {{40, 'r'}},
     {0},
     {40, 'r'},
     USUAL,
     .verdict = START_GO},
    {"tick 0 without identity, but a position",
     {{0, 'a'}},
     {0},
     {0, 'a'},
     TICKS(0, 0, 0),
     POSITION(SYSTEM, OID, 3),
     .session_timeline = 3,
     .position_cluster = "here",
     .verdict = START_GO},

    {"no tick at all", {{0}}, {0}, {9, 'i'}, USUAL, REFUSED("TICKS_MISSING", "no tick of this stream")},
    {"positions topic lost",
     {{9, 'i'}},
     {8, 'h'},
     {0},
     USUAL,
     REFUSED("POSITION_LOST", "knows position 8", "\"here\"")},
    {"positions topic lost at position 0", {{0, 'a'}}, {0, 'a'}, {0}, USUAL, REFUSED("POSITION_LOST", "position 0")},
    {"ticks without a known position and none in Kafka",
     {{40, 'r'}},
     {0},
     {0},
     USUAL,
     REFUSED("POSITION_LOST", "tick 40", "rebase was not finished")},
    {"dump and restore",
     {{9, 'i'}},
     {8, 'h'},
     {9, 'i'},
     TICKS(7002, OID, 3),
     POSITION(7002, OID, 3),
     .session_timeline = 3,
     .position_cluster = "here",
     REFUSED("OTHER_DATABASE", "7002", "newest tick")},
    {"copied database in the same cluster",
     {{9, 'i'}},
     {8, 'h'},
     {9, 'i'},
     TICKS(SYSTEM, 6, 3),
     POSITION(SYSTEM, 6, 3),
     .session_timeline = 3,
     .position_cluster = "here",
     REFUSED("OTHER_DATABASE", "database oid 6")},
    {"position of another system",
     {{9, 'i'}},
     {8, 'h'},
     {9, 'i'},
     TICKS(SYSTEM, OID, 3),
     POSITION(7002, OID, 3),
     .session_timeline = 3,
     .position_cluster = "here",
     REFUSED("OTHER_DATABASE", "position in Kafka", "7002")},
    {"position of another database",
     {{9, 'i'}},
     {8, 'h'},
     {9, 'i'},
     TICKS(SYSTEM, OID, 3),
     POSITION(SYSTEM, 6, 3),
     .session_timeline = 3,
     .position_cluster = "here",
     REFUSED("OTHER_DATABASE", "position in Kafka")},
    {"old primary: timeline below the tick's",
     {{9, 'i'}},
     {8, 'h'},
     {9, 'i'},
     TICKS(SYSTEM, OID, 4),
     POSITION(SYSTEM, OID, 4),
     .session_timeline = 3,
     .position_cluster = "here",
     REFUSED("TIMELINE_LOWER", "timeline 4", "on timeline 3")},
    {"old primary: timeline below the position's",
     {{9, 'i'}},
     {8, 'h'},
     {9, 'i'},
     TICKS(SYSTEM, OID, 3),
     POSITION(SYSTEM, OID, 4),
     .session_timeline = 3,
     .position_cluster = "here",
     REFUSED("TIMELINE_LOWER", "position in Kafka", "timeline 4")},
    {"positions topic copied to another cluster",
     {{9, 'i'}},
     {8, 'h'},
     {9, 'i'},
     TICKS(SYSTEM, OID, 3),
     POSITION(SYSTEM, OID, 3),
     .session_timeline = 3,
     .position_cluster = "there",
     REFUSED("OTHER_CLUSTER", "\"there\"", "\"here\"")},
    {"position older than known",
     {{8, 'h'}, {9, 'i'}, {7, 'g'}},
     {8, 'h'},
     {7, 'g'},
     USUAL,
     REFUSED("POSITION_OLD", "is 7", "position 8")},
    {"failover lost the position's tick",
     {{8, 'h'}, {7, 'g'}},
     {7, 'g'},
     {9, 'i'},
     USUAL,
     REFUSED("COMMITS_LOST", "tick 9", "at tick 8")},
    {"failover, and other ticks since",
     {{8, 'h'}, {9, 'y'}, {10, 'z'}},
     {8, 'h'},
     {9, 'i'},
     USUAL,
     REFUSED("COMMITS_LOST", "tick 9", "lost commits")},
    {"failover back to tick 0", {{0, 'a'}}, {0}, {9, 'i'}, USUAL, REFUSED("COMMITS_LOST", "tick 9")},
    {"position 0 of another history", {{0, 'a'}}, {0}, {0, 'b'}, USUAL, REFUSED("COMMITS_LOST", "tick 0")},
    {"the known number with another uuid", {{9, 'i'}}, {8, 'h'}, {8, 'y'}, USUAL, REFUSED("COMMITS_LOST", "tick 8")},
    {"rebase wrote its ticks but no position",
     {{40, 'r'}},
     {0},
     {9, 'i'},
     USUAL,
     REFUSED("REBASE_UNFINISHED", "tick 9", "at tick 40")},
};

static struct tick_name name_of(struct kept kept)
{
    struct tick_name name = {.number = kept.number};
    memset(name.uuid.bytes, kept.uuid, sizeof name.uuid.bytes);
    return name;
}

static void fill_ring(const struct example *example, struct tick_ring *ring)
{
    memset(ring, 0, sizeof *ring);
    for (; example->ring[ring->count].uuid; ring->count++) {
        struct tick *tick = &ring->ticks[ring->count];
        tick->name = name_of(example->ring[ring->count]);
        tick->database = (struct database_identity){example->tick_system, example->tick_oid, example->tick_timeline};
        tick->known = example->known.uuid != 0;
        tick->known_name = name_of(example->known);
        tick->known_offset = 123;
    }
}

static void check(const struct example *example)
{
    static struct position position;
    struct tick_ring ring;
    struct error error = {0};
    struct tick_name tick = name_of(example->position);
    struct database_identity then = {example->position_system, example->position_oid, example->position_timeline};
    struct start_facts facts = {.stream = "outbox/main",
                                .ring = &ring,
                                .database = {SYSTEM, OID, example->session_timeline},
                                .cluster_id = "here",
                                .position = example->position.uuid ? &position : NULL};
    fill_ring(example, &ring);
    position_first(&position, &facts.stream_uuid, &tick, &then,
                   example->position_cluster ? example->position_cluster : "");
    enum start_verdict verdict = start_decide(&facts, &error);
    if (verdict != example->verdict)
        fail_msg("%s: verdict %d, %s: %s", example->name, verdict, error.code, error.text);
    if (verdict != START_REFUSED) {
        assert_int_equal(start_check_database("outbox/main", &ring, &facts.database, &error), ERROR_NONE);
        if (facts.position)
            assert_int_equal(start_position_newer(&facts),
                             !example->known.uuid || example->known.number != example->position.number);
        return;
    }
    assert_int_equal(error.class, ERROR_INTEGRITY);
    assert_string_equal(error.code, example->code);
    assert_non_null(strstr(error.text, "outbox/main: "));
    assert_non_null(strstr(error.hint, "boxrelay rebase outbox/main --to now"));
    assert_non_null(strstr(error.hint, "--to start"));
    assert_true(strlen(error.text) + 1 < sizeof error.text && strlen(error.hint) + 1 < sizeof error.hint);
    for (int i = 0; i < 2 && example->says[i]; i++)
        if (!strstr(error.text, example->says[i]))
            fail_msg("%s: \"%s\" is not in: %s", example->name, example->says[i], error.text);
}

static void test_every_case(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT_OF(examples); i++)
        check(&examples[i]);
}

/* Before joining the group the same refusals, as far as PostgreSQL alone can tell [L2]. */
static void test_before_joining(void **state)
{
    (void)state;
    struct error error;
    struct tick_ring ring = {.count = 1, .ticks = {{.name = {9, {{0}}}, .database = {SYSTEM, OID, 3}}}};
    struct database_identity same = {SYSTEM, OID, 3}, promoted = {SYSTEM, OID, 4}, old = {SYSTEM, OID, 2},
                             other = {SYSTEM + 1, OID, 3};
    assert_int_equal(start_check_database("outbox/main", &ring, &same, &error), ERROR_NONE);
    assert_int_equal(start_check_database("outbox/main", &ring, &promoted, &error), ERROR_NONE);
    assert_int_equal(start_check_database("outbox/main", &ring, &old, &error), ERROR_INTEGRITY);
    assert_string_equal(error.code, "TIMELINE_LOWER");
    assert_int_equal(start_check_database("outbox/main", &ring, &other, &error), ERROR_INTEGRITY);
    assert_string_equal(error.code, "OTHER_DATABASE");
    ring.count = 0;
    assert_int_equal(start_check_database("outbox/main", &ring, &same, &error), ERROR_INTEGRITY);
    assert_string_equal(error.code, "TICKS_MISSING");
}

static void test_ring(void **state)
{
    (void)state;
    struct tick_ring ring;
    struct tick_name known = name_of((struct kept){2, 'b'}), forked = name_of((struct kept){2, 'c'});
    struct tick_name kept = name_of((struct kept){8, 'h'}), gone = name_of((struct kept){1, 'a'});
    fill_ring(&(struct example){.ring = {{8, 'h'}, {9, 'i'}, {7, 'g'}}, .known = {2, 'b'}}, &ring);
    assert_int_equal(tick_ring_newest(&ring)->name.number, 9);
    assert_true(tick_ring_holds(&ring, &known));
    assert_true(tick_ring_holds(&ring, &kept));
    assert_false(tick_ring_holds(&ring, &forked));
    assert_false(tick_ring_holds(&ring, &gone));
    ring.count = 0;
    assert_null(tick_ring_newest(&ring));
    assert_false(tick_ring_holds(&ring, &kept));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_case),
        cmocka_unit_test(test_before_joining),
        cmocka_unit_test(test_ring),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
