/* The position's codec: what is written is read, and no bytes whatever do harm. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdlib.h>
#include <string.h>

#include "core/position.h"
#include "random.h"

static struct position position, again;
static char text[POSITION_TEXT_MAX + 64], other[POSITION_TEXT_MAX + 64];

static const char sample[] = "boxrelay position 1\n"
                             "stream 11111111-2222-3333-4444-555555555555\n"
                             "tick 12 aaaaaaaa-bbbb-cccc-dddd-eeeeeeeeeeee\n"
                             "from 10:20:10,14 4294967290\n"
                             "until 14:25:14,22 4294967400 4294967299\n"
                             "cluster MkU3OEVBNTcwNTJENDM2Qk\n"
                             "database 7300000000000000001 16384 3\n"
                             "request 4\n"
                             "topic orders.event 1700000000000\n"
                             "topic payments 1700000000001\n"
                             "end\n";

static void draw_snapshot(struct random *random, struct snapshot *out, uint32_t count)
{
    out->xmin.value = 3 + random_next(random) % 1000000;
    out->xmax.value = out->xmin.value + 2 * count + 1;
    out->xip_count = 0;
    for (uint32_t i = 0; i < count; i++)
        out->xip[out->xip_count++].value = out->xmin.value + 2 * i;
}

static void draw_topics(struct random *random, struct position *out, uint32_t count)
{
    static const char legal[] = "abcXYZ019._-";
    while (count-- > 0) {
        char name[POSITION_TOPIC_NAME_MAX + 1];
        uint32_t length = 3 + random_below(random, random_chance(random, 5) ? 247 : 20);
        for (uint32_t i = 0; i < length; i++)
            name[i] = legal[random_below(random, sizeof legal - 1)];
        name[length] = '\0';
        assert_true(position_topic_written(out, name, (int64_t)(random_next(random) >> 1), 0));
    }
}

static void draw(struct random *random, struct position *out)
{
    struct uuid stream, tick;
    for (size_t i = 0; i < sizeof stream.bytes; i++) {
        stream.bytes[i] = (uint8_t)random_next(random);
        tick.bytes[i] = (uint8_t)random_next(random);
    }
    struct tick_name name = {(int64_t)(random_next(random) >> 1), tick};
    struct database_identity database = {random_next(random), (uint32_t)random_next(random),
                                         (uint32_t)random_next(random)};
    position_first(out, &stream, &name, &database, random_chance(random, 10) ? "" : "cluster-1");
    draw_snapshot(random, &out->from, random_below(random, 5));
    out->slicing = random_chance(random, 50);
    if (out->slicing) {
        draw_snapshot(random, &out->until, random_below(random, 5));
        out->until.xmax.value += 5000000;
        out->until.xmin.value += 2500000;
        for (uint32_t i = 0; i < out->until.xip_count; i++)
            out->until.xip[i].value += 2500000;
        out->until_floor = (int64_t)(random_next(random) >> 1);
        out->last_seq = (int64_t)(random_next(random) >> 1);
    }
    out->from_floor = (int64_t)(random_next(random) >> 1);
    out->request = (int64_t)(random_next(random) >> 1);
    draw_topics(random, out, random_below(random, random_chance(random, 3) ? 500 : 6));
}

static void assert_same(const struct position *a, const struct position *b)
{
    assert_true(uuid_equal(&a->stream, &b->stream));
    assert_int_equal(a->tick.number, b->tick.number);
    assert_true(uuid_equal(&a->tick.uuid, &b->tick.uuid));
    assert_true(snapshot_equal(&a->from, &b->from));
    assert_int_equal(a->from_floor, b->from_floor);
    assert_int_equal(a->slicing, b->slicing);
    assert_int_equal(a->until_floor, b->until_floor);
    assert_true(!a->slicing || snapshot_equal(&a->until, &b->until));
    assert_int_equal(a->last_seq, b->last_seq);
    assert_string_equal(a->cluster_id, b->cluster_id);
    assert_memory_equal(&a->database, &b->database, sizeof a->database);
    assert_int_equal(a->request, b->request);
    assert_int_equal(a->topic_count, b->topic_count);
    for (uint32_t i = 0; i < a->topic_count; i++) {
        assert_string_equal(a->topics[i].name, b->topics[i].name);
        assert_int_equal(a->topics[i].written_ms, b->topics[i].written_ms);
    }
}

static void test_sample(void **state)
{
    (void)state;
    struct error error;
    assert_int_equal(position_parse(sample, sizeof sample - 1, &position, &error), ERROR_NONE);
    assert_int_equal(position.tick.number, 12);
    assert_true(position.slicing);
    assert_int_equal(position.until.xip[1].value, 22);
    assert_int_equal(position.from_floor, 4294967290);
    assert_int_equal(position.until_floor, 4294967400);
    assert_int_equal(position.last_seq, 4294967299);
    assert_int_equal(position.database.timeline, 3);
    assert_int_equal(position.topic_count, 2);
    assert_string_equal(position.topics[1].name, "payments");
    assert_int_equal(position_format(&position, text, sizeof text), sizeof sample - 1);
    assert_memory_equal(text, sample, sizeof sample - 1);
}

static void test_round_trip(void **state)
{
    (void)state;
    struct random random = random_seeded("position/round_trip");
    struct error error;
    for (int round = 0; round < 3000; round++) {
        draw(&random, &position);
        size_t length = position_format(&position, text, sizeof text);
        assert_int_equal(position_parse(text, length, &again, &error), ERROR_NONE);
        assert_same(&position, &again);
        position_copy(&again, &position);
        assert_same(&position, &again);
        assert_int_equal(position_format(&again, other, sizeof other), length);
        assert_memory_equal(text, other, length);
    }
}

static void test_largest(void **state)
{
    (void)state;
    struct error error;
    struct uuid uuid = {{255}};
    struct tick_name tick = {INT64_MAX, uuid};
    struct database_identity database = {UINT64_MAX, UINT32_MAX, UINT32_MAX};
    char name[POSITION_TOPIC_NAME_MAX + 1];
    position_first(&position, &uuid, &tick, &database,
                   "more-than-sixty-three-characters-long-"
                   "as-no-Kafka-cluster-id-ever-was-so-far");
    assert_int_equal(strlen(position.cluster_id), POSITION_CLUSTER_ID_MAX);
    position.from.xmin.value = UINT64_MAX - 2 * SNAPSHOT_XIP_MAX;
    position.from.xmax.value = UINT64_MAX;
    position.from.xip_count = SNAPSHOT_XIP_MAX;
    for (uint32_t i = 0; i < SNAPSHOT_XIP_MAX; i++)
        position.from.xip[i].value = position.from.xmin.value + i;
    position.slicing = true;
    snapshot_copy(&position.until, &position.from);
    position.last_seq = position.request = position.from_floor = position.until_floor = INT64_MAX;
    memset(name, 'a', sizeof name);
    name[POSITION_TOPIC_NAME_MAX] = '\0';
    for (uint32_t i = 0; i < POSITION_TOPICS_MAX; i++) {
        name[0] = (char)('a' + i / 26);
        name[1] = (char)('a' + i % 26);
        assert_true(position_topic_written(&position, name, INT64_MAX, 0));
    }
    assert_false(position_topic_written(&position, "one-more", INT64_MAX, 0));
    assert_true(position_topic_written(&position, name, INT64_MAX, 0));
    size_t length = position_format(&position, text, POSITION_TEXT_MAX);
    assert_int_equal(position_parse(text, length, &again, &error), ERROR_NONE);
    assert_same(&position, &again);
}

static void test_topics(void **state)
{
    (void)state;
    struct uuid uuid = {{1}};
    struct tick_name tick = {0, uuid};
    struct database_identity database = {1, 2, 3};
    position_first(&position, &uuid, &tick, &database, "two words\n");
    assert_string_equal(position.cluster_id, "two?words?");
    assert_true(position_in_cluster(&position, "two words\n"));
    assert_false(position_in_cluster(&position, "two"));
    assert_true(position_topic_written(&position, "b", 1000, 0));
    assert_true(position_topic_written(&position, "a", 2000, 0));
    assert_true(position_topic_written(&position, "c", 3000, 0));
    assert_true(position_topic_written(&position, "b", 500, 0)); /* the clock was set back */
    assert_int_equal(position.topic_count, 3);
    assert_string_equal(position.topics[0].name, "a");
    assert_int_equal(position.topics[1].written_ms, 1000);
    assert_true(position_topic_written(&position, "d", 4000, 2500));
    assert_int_equal(position.topic_count, 2);
    assert_string_equal(position.topics[0].name, "c");
    assert_string_equal(position.topics[1].name, "d");
    assert_false(position_topic_written(&position, "", 1, 0));
    assert_false(position_topic_written(&position, ".", 1, 0));
    assert_false(position_topic_written(&position, "..", 1, 0));
    assert_true(position_topic_written(&position, "...", 1, 0));
    assert_false(position_topic_written(&position, "a b", 1, 0));
    assert_false(position_topic_written(&position, "a\nend", 1, 0));
}

/* Parses a copy that ends where the bytes end, so that a sanitizer sees the first one read beyond. */
static enum error_class parse_exact(const char *bytes, size_t length, struct error *error)
{
    char *copy = malloc(length ? length : 1);
    assert_non_null(copy);
    memcpy(copy, bytes, length);
    enum error_class class = position_parse(copy, length, &again, error);
    free(copy);
    return class;
}

/* Either refused with a line's number, or exactly what position_format writes. */
static void check_hostile(const char *bytes, size_t length)
{
    struct error error = {0};
    if (parse_exact(bytes, length, &error) == ERROR_NONE) {
        assert_int_equal(position_format(&again, other, sizeof other), length);
        assert_int_equal(strncasecmp(bytes, other, length), 0); /* digits of a uuid may be upper case */
        return;
    }
    assert_int_equal(error.class, ERROR_INTEGRITY);
    assert_string_equal(error.code, "POSITION_FORMAT");
    assert_non_null(strstr(error.text, ", line "));
}

static void test_truncated(void **state)
{
    (void)state;
    struct error error;
    for (size_t length = 0; length < sizeof sample - 1; length++) {
        assert_int_equal(parse_exact(sample, length, &error), ERROR_INTEGRITY);
        check_hostile(sample, length);
    }
}

static void test_bits_flipped(void **state)
{
    (void)state;
    char bytes[sizeof sample];
    for (size_t i = 0; i < sizeof sample - 1; i++)
        for (int value = 0; value < 256; value++) {
            memcpy(bytes, sample, sizeof sample);
            bytes[i] = (char)value;
            check_hostile(bytes, sizeof sample - 1);
        }
}

static void test_mutated(void **state)
{
    (void)state;
    struct random random = random_seeded("position/mutated");
    static char bytes[sizeof sample * 2];
    for (int round = 0; round < 200000; round++) {
        size_t length = sizeof sample - 1;
        memcpy(bytes, sample, length);
        for (uint32_t i = 1 + random_below(&random, 4); i > 0; i--) {
            uint32_t at = random_below(&random, (uint32_t)length), from = random_below(&random, (uint32_t)length);
            size_t count = random_below(&random, 20), rest = length - (at > from ? at : from);
            memmove(bytes + at, bytes + from, count < rest ? count : rest);
            if (random_chance(&random, 20))
                length -= random_below(&random, 10) % length;
        }
        check_hostile(bytes, length);
    }
}

/* The sample with one line replaced; NULL: left out. */
static size_t with_line(char *out, int line, const char *instead)
{
    size_t length = 0;
    const char *at = sample;
    for (int number = 1; *at; number++) {
        const char *next = strchr(at, '\n') + 1;
        if (number != line) {
            memcpy(out + length, at, (size_t)(next - at));
            length += (size_t)(next - at);
        } else if (instead) {
            memcpy(out + length, instead, strlen(instead));
            length += strlen(instead);
        }
        at = next;
    }
    return length;
}

static void test_lines(void **state)
{
    (void)state;
    static const struct {
        int line;
        const char *instead;
        int reported;
    } cases[] = {
        {1, "boxrelay position 2\n", 1},
        {1, "boxrelay position 01\n", 1},
        {1, "boxrelay barrier 1\n", 1},
        {1, NULL, 1},
        {2, "stream 11111111-2222-3333-4444-55555555555\n", 2},
        {2, "stream  11111111-2222-3333-4444-555555555555\n", 2},
        {2, "stream 11111111-2222-3333-4444-555555555555 \n", 2},
        {3, "tick -1 aaaaaaaa-bbbb-cccc-dddd-eeeeeeeeeeee\n", 3},
        {3, "tick 9223372036854775808 aaaaaaaa-bbbb-cccc-dddd-eeeeeeeeeeee\n", 3},
        {3, "tick 12\n", 3},
        {3, NULL, 3},
        {4, "from 20:10: 5\n", 4},
        {4, "from 10:20:14,10 5\n", 4},
        {4, "from 10:20:10,14\n", 4},
        {4, "from 10:20:10,14 -5\n", 4},
        {4, "from \n", 4},
        {5, "until 14:25:14,22 5 -5\n", 5},
        {5, "until 14:25:14,22 -5 5\n", 5},
        {5, "until 14:25:14,22 5\n", 5},
        {5, "until 14:25:14,22\n", 5},
        {5, "until 5:6: 1 1\n", 5},
        {6, "cluster \001\n", 6},
        {6, "cluster two words\n", 6},
        {6, "cluster 0123456789012345678901234567890123456789012345678901234567890123\n", 6},
        {7, "database 18446744073709551616 16384 3\n", 7},
        {7, "database 7300000000000000001 4294967296 3\n", 7},
        {7, "database 7300000000000000001 16384 4294967296\n", 7},
        {7, "database 7300000000000000001 16384\n", 7},
        {8, "request 9223372036854775808\n", 8},
        {8, "request\n", 8},
        {9, "topic payments 1\n", 10},
        {9, "topic zebra 1\n", 10},
        {9, "topic . 1\n", 9},
        {9, "topic a/b 1\n", 9},
        {9, "topic orders.event -1\n", 9},
        {9, "request 4\n", 9},
        {9, "endtopic orders.event 1\n", 9},
        {11, NULL, 11},
        {11, "end\nend\n", 11},
        {11, "end", 11},
        {11, "end \n", 11},
        {11, "end\n\n", 11},
    };
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        struct error error;
        char line[32];
        size_t length = with_line(text, cases[i].line, cases[i].instead);
        snprintf(line, sizeof line, ", line %d: ", cases[i].reported);
        if (parse_exact(text, length, &error) == ERROR_NONE || !strstr(error.text, line))
            fail_msg("%s gives: %s", cases[i].instead ? cases[i].instead : "(line left out)", error.text);
    }
}

static void test_line_order(void **state)
{
    (void)state;
    struct error error;
    assert_int_equal(parse_exact(text, with_line(text, 5, NULL), &error), ERROR_NONE); /* not slicing */
    assert_int_equal(parse_exact(text, with_line(text, 6, "cluster \n"), &error), ERROR_NONE);
    for (int line = 1; line <= 10; line++)
        if (line != 5 && line < 9) {
            assert_int_equal(parse_exact(text, with_line(text, line, NULL), &error), ERROR_INTEGRITY);
            check_hostile(text, with_line(text, line, NULL));
        }
}

static void test_oversize(void **state)
{
    (void)state;
    struct error error;
    size_t length = with_line(text, 9, NULL) - strlen("topic payments 1700000000001\nend\n");
    for (int i = 0; i <= POSITION_TOPICS_MAX; i++)
        length += (size_t)sprintf(text + length, "topic t%04d 1\n", i);
    length += (size_t)sprintf(text + length, "end\n");
    assert_int_equal(parse_exact(text, length, &error), ERROR_INTEGRITY);
    assert_non_null(strstr(error.text, "more topics"));
    memset(text, 'x', sizeof text);
    assert_int_equal(position_parse(text, POSITION_TEXT_MAX + 1, &again, &error), ERROR_INTEGRITY);
    assert_int_equal(position_parse(NULL, 0, &again, &error), ERROR_INTEGRITY);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_sample),   cmocka_unit_test(test_round_trip), cmocka_unit_test(test_largest),
        cmocka_unit_test(test_topics),   cmocka_unit_test(test_truncated),  cmocka_unit_test(test_bits_flipped),
        cmocka_unit_test(test_mutated),  cmocka_unit_test(test_lines),      cmocka_unit_test(test_line_order),
        cmocka_unit_test(test_oversize),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
