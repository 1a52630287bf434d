/* Health, metrics and status pages from views filled by hand, and the HTTP server that serves them. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "../../relay/app/health.h"
#include "../../relay/app/http.h"
#include "../../relay/app/metrics.h"
#include "../../relay/app/probe.h"
#include "../../relay/app/text.h"

/* A well instance at 1,000,000 ms with one stream that has published 3 rows. */
static void fill(struct overview *overview)
{
    *overview = (struct overview){
        .name = "orders",
        .version = "1.2.3",
        .library_version = "2.0.2",
        .now_ms = 1000000,
        .beat_ms = 999500,
        .started = true,
        .reload_success = true,
        .process =
            {.cpu_seconds = 1.25, .start_seconds = 1700000000.5, .resident_bytes = 4096, .open_fds = 7, .max_fds = -1},
        .service = {.postgres_up = true,
                    .postgres_reached = true,
                    .kafka_up = true,
                    .schema_ok = true,
                    .schema_version = 2,
                    .registry_progress_ms = 999000,
                    .leadership_progress_ms = 999000},
        .outbox_on = true,
        .stream_count = 1,
        .certificate_count = 1,
        .certificates = {{.path = "/etc/tls/client.pem", .expiry_seconds = 1827228652}},
    };
    overview->streams = text_memory(1, sizeof *overview->streams);
    struct outbox_stream_view *stream = overview->streams;
    strcpy(stream->stream, "outbox/main");
    strcpy(stream->state, "poll");
    stream->leader = true;
    stream->progress_ms = 999990;
    stream->pending_rows = 12;
    stream->oldest_age_ms = 1500;
    stream->topic_count = 2;
    strcpy(stream->topics[0].topic, "a\"b\\c\nd");
    stream->topics[0].published = 1;
    strcpy(stream->topics[1].topic, "orders");
    stream->topics[1].published = 2;
    stream->latency_counts[0] = 2;
    stream->latency_counts[OUTBOX_LATENCY_BUCKETS - 1] = 1;
    stream->latency_sum_seconds = 70.5;
    stream->transactions_committed = 9;
    stream->errors[ERROR_RECONNECT] = 4;
    stream->recreated_end_txn = 5;
    stream->slots_emptied = 6;
    stream->cleanup = (struct outbox_cleanup_view){.looked_ms = 998000,
                                                   .size_bytes = 5000000,
                                                   .size_alarm = true,
                                                   .oldest_age_ms = 7000,
                                                   .held_ms = 500,
                                                   .held_reason = "lock",
                                                   .held_by = "pid 7 (psql)"};
}

/* One inbox beside it: it reads two partitions, of which one is stopped. */
static struct inbox_stream_view *add_inbox(struct overview *overview)
{
    struct inbox_stream_view *inbox = overview->inboxes = text_memory(1, sizeof *inbox);
    overview->inbox_count = 1;
    strcpy(inbox->stream, "inbox/billing");
    strcpy(inbox->state, "fetch");
    inbox->progress_ms = 999990;
    inbox->postgres_up = inbox->postgres_reached = inbox->kafka_up = inbox->schema_ok = true;
    inbox->pending_rows = 21;
    inbox->oldest_age_ms = 2500;
    inbox->full = true;
    inbox->stored_rows = 8;
    inbox->stored_bytes = 900;
    inbox->duplicates = 3;
    inbox->conflicts = 1;
    inbox->dead_letters = 2;
    inbox->transactions_committed = 4;
    inbox->transactions_failed = 5;
    inbox->errors[ERROR_RETRY] = 6;
    inbox->topic_count = 1;
    strcpy(inbox->topics[0].topic, "payments");
    inbox->topics[0].stored = 8;
    inbox->partition_count = 2;
    strcpy(inbox->partitions[0].topic, "payments");
    inbox->partitions[0].lag_records = 17;
    strcpy(inbox->partitions[1].topic, "payments");
    inbox->partitions[1].partition = 1;
    inbox->partitions[1].lag_records = -1;
    (void)error_set(&inbox->partitions[1].last_error, ERROR_INTEGRITY, "TOPIC_CHANGED", "made again");
    return inbox;
}

static void expect_line(const char *page, const char *line)
{
    char *whole = text_printf("\n%s\n", line);
    if (!strstr(page, whole))
        fail_msg("no line \"%s\" in\n%s", line, page);
    free(whole);
}

static void test_metrics(void **state)
{
    (void)state;
    struct overview overview;
    fill(&overview);
    char *page = metrics_render(&overview, false);
    static const char *const lines[] = {
        "boxrelay_outbox_pending_rows{stream=\"outbox/main\"} 12",
        "boxrelay_outbox_oldest_age_seconds{stream=\"outbox/main\"} 1.5",
        "# TYPE boxrelay_outbox_published_total counter",
        "boxrelay_outbox_published_total{stream=\"outbox/main\",topic=\"a\\\"b\\\\c\\nd\"} 1",
        "boxrelay_outbox_published_total{stream=\"outbox/main\",topic=\"orders\"} 2",
        "# TYPE boxrelay_outbox_end_to_end_seconds histogram",
        "boxrelay_outbox_end_to_end_seconds_bucket{stream=\"outbox/main\",le=\"+Inf\"} 3",
        "boxrelay_outbox_end_to_end_seconds_sum{stream=\"outbox/main\"} 70.5",
        "boxrelay_outbox_end_to_end_seconds_count{stream=\"outbox/main\"} 3",
        "boxrelay_errors_total{stream=\"outbox/main\",class=\"reconnect\"} 4",
        "boxrelay_stream_state{stream=\"outbox/main\",state=\"poll\"} 1",
        "boxrelay_stream_state{stream=\"outbox/main\",state=\"backoff\"} 0",
        "boxrelay_leader{stream=\"outbox/main\"} 1",
        "boxrelay_transactions_total{stream=\"outbox/main\",result=\"committed\"} 9",
        "boxrelay_producer_recreated_total{stream=\"outbox/main\",reason=\"end_txn_repeated\"} 5",
        "boxrelay_outbox_size_bytes{stream=\"outbox/main\"} 5000000",
        "boxrelay_outbox_size_alarm{stream=\"outbox/main\"} 1",
        "boxrelay_outbox_oldest_slot_age_seconds{stream=\"outbox/main\"} 9",
        "boxrelay_outbox_cleanup_blocked_seconds{stream=\"outbox/main\"} 2.5",
        "boxrelay_outbox_slots_emptied_total{stream=\"outbox/main\"} 6",
        "boxrelay_postgres_up 1",
        "boxrelay_kafka_up 1",
        "boxrelay_schema_version 2",
        "boxrelay_config_reload_success 1",
        "boxrelay_certificate_expiry_seconds{file=\"/etc/tls/client.pem\"} 1827228652",
        "boxrelay_build_info{version=\"1.2.3\",librdkafka=\"2.0.2\",name=\"orders\"} 1",
        "process_cpu_seconds_total 1.25",
        "process_start_time_seconds 1700000000.5",
        "process_open_fds 7",
    };
    for (size_t i = 0; i < COUNT_OF(lines); i++)
        expect_line(page, lines[i]);
    assert_null(strstr(page, "# EOF"));
    assert_null(strstr(page, "\nprocess_max_fds "));
    free(page);
    overview.streams[0].pending_rows = overview.streams[0].oldest_age_ms = overview.streams[0].cleanup.held_ms = -1;
    page = metrics_render(&overview, false);
    assert_null(strstr(page, "\nboxrelay_outbox_pending_rows{"));
    assert_null(strstr(page, "\nboxrelay_outbox_oldest_age_seconds{"));
    expect_line(page, "boxrelay_outbox_cleanup_blocked_seconds{stream=\"outbox/main\"} 0");
    free(page);
    overview.streams[0].leader = false; /* another instance looks at the table */
    page = metrics_render(&overview, false);
    assert_null(strstr(page, "\nboxrelay_outbox_size_bytes{"));
    assert_null(strstr(page, "\nboxrelay_outbox_cleanup_blocked_seconds{"));
    free(page);
    overview_fini(&overview);
}

static void test_metrics_of_inboxes(void **state)
{
    (void)state;
    struct overview overview;
    fill(&overview);
    struct inbox_stream_view *inbox = add_inbox(&overview);
    char *page = metrics_render(&overview, false);
    static const char *const lines[] = {
        "# TYPE boxrelay_inbox_stored_total counter",
        "boxrelay_inbox_stored_total{stream=\"inbox/billing\",topic=\"payments\"} 8",
        "boxrelay_inbox_stored_bytes_total{stream=\"inbox/billing\"} 900",
        "boxrelay_inbox_duplicates_total{stream=\"inbox/billing\"} 3",
        "boxrelay_inbox_conflicts_total{stream=\"inbox/billing\"} 1",
        "boxrelay_inbox_dead_lettered_total{stream=\"inbox/billing\"} 2",
        "boxrelay_inbox_lag_records{stream=\"inbox/billing\",topic=\"payments\",partition=\"0\"} 17",
        "boxrelay_inbox_partition_stopped{stream=\"inbox/billing\",topic=\"payments\",partition=\"0\"} 0",
        "boxrelay_inbox_partition_stopped{stream=\"inbox/billing\",topic=\"payments\",partition=\"1\"} 1",
        "boxrelay_inbox_pending_rows{stream=\"inbox/billing\"} 21",
        "boxrelay_inbox_oldest_age_seconds{stream=\"inbox/billing\"} 2.5",
        "boxrelay_inbox_full{stream=\"inbox/billing\"} 1",
        "boxrelay_errors_total{stream=\"inbox/billing\",class=\"retry\"} 6",
        "boxrelay_errors_total{stream=\"outbox/main\",class=\"reconnect\"} 4",
        "boxrelay_stream_state{stream=\"inbox/billing\",state=\"fetch\"} 1",
        "boxrelay_stream_state{stream=\"inbox/billing\",state=\"store\"} 0",
        "boxrelay_stream_paused{stream=\"inbox/billing\"} 0",
        "boxrelay_transactions_total{stream=\"inbox/billing\",result=\"committed\"} 4",
        "boxrelay_transactions_total{stream=\"inbox/billing\",result=\"failed\"} 5",
        "boxrelay_outbox_pending_rows{stream=\"outbox/main\"} 12",
    };
    for (size_t i = 0; i < COUNT_OF(lines); i++)
        expect_line(page, lines[i]);
    assert_null(
        strstr(page, "boxrelay_inbox_lag_records{stream=\"inbox/billing\",topic=\"payments\",partition=\"1\"}"));
    assert_null(strstr(page, "boxrelay_leader{stream=\"inbox"));
    free(page);
    inbox->pending_rows = inbox->oldest_age_ms = -1;
    page = metrics_render(&overview, false);
    assert_null(strstr(page, "\nboxrelay_inbox_pending_rows{"));
    assert_null(strstr(page, "\nboxrelay_inbox_oldest_age_seconds{"));
    free(page);
    overview_fini(&overview);
}

static void test_openmetrics(void **state)
{
    (void)state;
    struct overview overview;
    fill(&overview);
    char *page = metrics_render(&overview, true);
    expect_line(page, "# TYPE boxrelay_outbox_published counter");
    expect_line(page, "# UNIT process_cpu_seconds seconds");
    expect_line(page, "boxrelay_outbox_published_total{stream=\"outbox/main\",topic=\"orders\"} 2");
    assert_true(text_ends(page, "\n# EOF\n"));
    for (const char *le = page; (le = strstr(le, "le=\"")); le++) {
        size_t length = strcspn(le + 4, "\"");
        assert_true(memchr(le + 4, '.', length) || memchr(le + 4, 'e', length) || memchr(le + 4, 'I', length));
    }
    free(page);
    overview_fini(&overview);
}

/* Each name once, in the form that Prometheus asks for, with a unit at its end when it has one. */
static void test_metric_table(void **state)
{
    (void)state;
    for (size_t i = 0; i < metric_count; i++) {
        const struct metric *metric = &metric_table[i];
        assert_true(strspn(metric->name, "abcdefghijklmnopqrstuvwxyz_") == strlen(metric->name));
        assert_false(text_ends(metric->name, "_total"));
        assert_true(metric->help[0] && metric->samples);
        if (metric->unit)
            assert_true(text_ends(metric->name, metric->unit));
        for (size_t j = 0; j < i; j++)
            assert_string_not_equal(metric->name, metric_table[j].name);
    }
}

static void expect_health(const struct overview *overview, enum health_page page, bool expected, const char *part)
{
    bool up;
    char *body = health_render(overview, page, HEALTH_CONFIGURED, &up);
    assert_int_equal(up, expected);
    assert_non_null(strstr(body, expected ? "{\"status\":\"UP\"," : "{\"status\":\"DOWN\","));
    if (part && !strstr(body, part))
        fail_msg("no %s in %s", part, body);
    free(body);
}

static void test_live(void **state)
{
    (void)state;
    struct overview overview;
    fill(&overview);
    expect_health(&overview, HEALTH_LIVE, true, "{\"name\":\"main-loop\",\"status\":\"UP\"");
    overview.streams[0].progress_ms = overview.now_ms - OVERVIEW_STUCK_MS - 1;
    expect_health(&overview, HEALTH_LIVE, false, "{\"name\":\"outbox/main\",\"status\":\"DOWN\"");
    strcpy(overview.streams[0].state, "commit");
    expect_health(&overview, HEALTH_LIVE, false, NULL);
    strcpy(overview.streams[0].state, "stopped"); /* waits long by design */
    expect_health(&overview, HEALTH_LIVE, true, NULL);
    overview.service.registry_progress_ms = 0;
    expect_health(&overview, HEALTH_LIVE, false, "{\"name\":\"registry\",\"status\":\"DOWN\"");
    overview.stopping = true; /* threads end one after the other */
    expect_health(&overview, HEALTH_LIVE, true, NULL);
    overview.beat_ms = 0;
    expect_health(&overview, HEALTH_LIVE, false, "{\"name\":\"main-loop\",\"status\":\"DOWN\"");
    overview_fini(&overview);
}

static void test_live_of_inboxes(void **state)
{
    (void)state;
    struct overview overview;
    fill(&overview);
    struct inbox_stream_view *inbox = add_inbox(&overview);
    expect_health(&overview, HEALTH_LIVE, true, "{\"name\":\"inbox/billing\",\"status\":\"UP\"");
    inbox->progress_ms = overview.now_ms - OVERVIEW_STUCK_MS - 1;
    expect_health(&overview, HEALTH_LIVE, false, "{\"name\":\"inbox/billing\",\"status\":\"DOWN\"");
    strcpy(inbox->state, "backoff"); /* waits long by design */
    expect_health(&overview, HEALTH_LIVE, true, NULL);
    /* without an outbox there is no registry and nobody to lead */
    overview.outbox_on = false;
    overview.stream_count = 0;
    overview.service = (struct outbox_service_view){0};
    expect_health(&overview, HEALTH_LIVE, true, NULL);
    overview_fini(&overview);
}

/* With an outbox its service answers for the servers, and every inbox has a say about the schema; alone they answer. */
static void test_judgement(void **state)
{
    (void)state;
    struct overview overview;
    fill(&overview);
    struct inbox_stream_view *inbox = add_inbox(&overview);
    inbox->postgres_up = inbox->kafka_up = false;
    overview_judge(&overview);
    assert_true(overview.service.postgres_up && overview.service.kafka_up && overview.service.schema_ok);
    inbox->schema_ok = false;
    (void)error_set(&inbox->last_error, ERROR_CONFIG, "SCHEMA_OLD", "no inbox in it");
    overview_judge(&overview);
    expect_health(&overview, HEALTH_READY, false, "\"error\":\"no inbox in it\"");

    overview.outbox_on = false;
    overview.service = (struct outbox_service_view){0};
    inbox->postgres_reached = false;
    (void)error_set(&inbox->last_error, ERROR_RECONNECT, "CONNECT_FAILED", "refused");
    overview_judge(&overview);
    assert_false(overview.service.postgres_up || overview.service.postgres_reached || overview.service.schema_ok);
    expect_health(&overview, HEALTH_READY, false, "\"error\":\"refused\"");

    overview.service = (struct outbox_service_view){0};
    inbox->postgres_reached = inbox->postgres_up = inbox->kafka_up = inbox->schema_ok = true;
    overview_judge(&overview);
    assert_true(overview.service.postgres_up && overview.service.kafka_up && overview.service.schema_ok);
    assert_int_equal(overview.service.instance_error.class, ERROR_NONE);
    expect_health(&overview, HEALTH_READY, true, "{\"name\":\"schema\",\"status\":\"UP\",\"data\":{}}");
    overview_fini(&overview);
}

static void test_status_of_inboxes(void **state)
{
    (void)state;
    struct overview overview;
    fill(&overview);
    (void)add_inbox(&overview);
    char *status = health_render_status(&overview);
    static const char *const parts[] = {
        "\"stream\": \"outbox/main\"",
        "\"stream\": \"inbox/billing\"",
        "\"full\": true",
        "\"stored_rows\": 8",
        "\"duplicates\": 3",
        "\"conflicts\": 1",
        "\"dead_letters\": 2",
        "\"lag_records\": 17",
        "\"code\": \"TOPIC_CHANGED\"",
    };
    for (size_t i = 0; i < COUNT_OF(parts); i++)
        if (!strstr(status, parts[i]))
            fail_msg("no %s in %s", parts[i], status);
    free(status);
    overview_fini(&overview);
}

static void test_ready(void **state)
{
    (void)state;
    struct overview overview;
    fill(&overview);
    expect_health(&overview, HEALTH_READY, true, "\"data\":{\"version\":2}");
    overview.service.kafka_up = overview.service.postgres_up = false; /* away now, reached before */
    expect_health(&overview, HEALTH_READY, true, NULL);
    overview.ready_requires_kafka = true;
    expect_health(&overview, HEALTH_READY, false, "{\"name\":\"kafka\",\"status\":\"DOWN\"");
    overview.service.kafka_up = true;
    overview.service.schema_ok = false;
    expect_health(&overview, HEALTH_READY, false, "{\"name\":\"schema\",\"status\":\"DOWN\"");
    overview.service.schema_ok = true;
    overview.service.postgres_reached = false;
    (void)error_set(&overview.service.instance_error, ERROR_RECONNECT, "08006", "refused \xff\"");
    expect_health(&overview, HEALTH_READY, false, "{\"name\":\"postgres\",\"status\":\"DOWN\"");
    expect_health(&overview, HEALTH_ALL, false, "{\"name\":\"started\",\"status\":\"UP\"");
    expect_health(&overview, HEALTH_STARTED, true, NULL);
    overview.started = false;
    expect_health(&overview, HEALTH_STARTED, false, NULL);
    char *status = health_render_status(&overview);
    assert_non_null(strstr(status, "\"pending_rows\": 12"));
    assert_non_null(strstr(status, "\"size_bytes\": 5000000"));
    assert_non_null(strstr(status, "\"held_seconds\": 2.5"));
    assert_non_null(strstr(status, "\"held_by\": \"pid 7 (psql)\""));
    free(status);
    overview_fini(&overview);
}

static void expect_page(const struct overview *overview, enum health_page page, enum health_form form,
                        const char *expected)
{
    bool up;
    char *body = health_render(overview, page, form, &up);
    assert_string_equal(body, expected);
    free(body);
}

static void test_dialects(void **state)
{
    (void)state;
    struct overview overview;
    fill(&overview);
    expect_page(&overview, HEALTH_READY, HEALTH_KUBERNETES, "ok\n");
    expect_page(&overview, HEALTH_READY, HEALTH_VERBOSE,
                "[+]configuration ok\n[+]postgres ok\n[+]schema ok\nreadyz check passed\n");
    expect_page(&overview, HEALTH_STARTED, HEALTH_SPRING,
                "{\"status\":\"UP\",\"components\":{\"started\":{\"status\":\"UP\"}}}");
    overview.health_spring = true;
    expect_page(&overview, HEALTH_STARTED, HEALTH_CONFIGURED,
                "{\"status\":\"UP\",\"components\":{\"started\":{\"status\":\"UP\"}}}");
    expect_page(&overview, HEALTH_STARTED, HEALTH_MICROPROFILE,
                "{\"status\":\"UP\",\"checks\":[{\"name\":\"started\",\"status\":\"UP\"}]}");
    overview.service.schema_ok = false;
    (void)error_set(&overview.service.instance_error, ERROR_CONFIG, "SCHEMA_MISSING", "no schema");
    (void)error_hint(&overview.service.instance_error, "boxrelay migrate up");
    expect_page(&overview, HEALTH_READY, HEALTH_KUBERNETES,
                "[+]configuration ok\n[+]postgres ok\n[-]schema failed: no schema\nreadyz check failed\n");
    expect_page(
        &overview, HEALTH_READY, HEALTH_SPRING,
        "{\"status\":\"DOWN\",\"components\":{\"configuration\":{\"status\":\"UP\"},\"postgres\":{\"status\":\"UP\"},"
        "\"schema\":{\"status\":\"DOWN\",\"details\":{\"error\":\"no schema\",\"code\":\"SCHEMA_MISSING\","
        "\"hint\":\"boxrelay migrate up\",\"version\":2}}}}");
    overview.service.registry_progress_ms = overview.now_ms - OVERVIEW_STUCK_MS - 1000;
    expect_page(&overview, HEALTH_LIVE, HEALTH_VERBOSE,
                "[+]main-loop ok\n[-]registry failed: no progress for 121 s\n[+]leadership ok\n[+]outbox/main ok\n"
                "livez check failed\n");
    overview_fini(&overview);
}

/* The one line of `boxrelay health`, from either form. */
static void test_explain(void **state)
{
    (void)state;
    struct overview overview;
    fill(&overview);
    overview.service.schema_ok = overview.service.postgres_reached = false;
    (void)error_set(&overview.service.instance_error, ERROR_RECONNECT, "CONNECT_FAILED", "refused");
    for (int form = HEALTH_MICROPROFILE; form <= HEALTH_SPRING; form++) {
        bool up;
        char *body = health_render(&overview, HEALTH_ALL, (enum health_form)form, &up), *why = health_explain(body);
        assert_string_equal(why, "postgres: refused; schema: not known before PostgreSQL has answered");
        free(why);
        free(body);
    }
    char *nothing = health_explain("no JSON");
    assert_string_equal(nothing, "");
    free(nothing);
    overview_fini(&overview);
}

static void take(void *opaque, struct overview *overview)
{
    (void)opaque;
    fill(overview);
}

static void test_http(void **state)
{
    (void)state;
    struct http *http, *second;
    struct error error;
    char address[128], other[128], *body;
    int status;
    struct http_options options = {.listen = "127.0.0.1:0", .take = take};
    assert_int_equal(http_open(&options, address, &http, &error), ERROR_NONE);
    static const struct {
        const char *path;
        int status;
        const char *part;
    } pages[] = {
        {"/health/live", 200, "\"UP\""},
        {"/health/ready", 200, "schema"},
        {"/health/started", 200, "started"},
        {"/health", 200, "main-loop"},
        {"/livez", 200, "ok"},
        {"/readyz?verbose", 200, "[+]schema ok"},
        {"/livez?a=b&verbose", 200, "[+]main-loop ok"},
        {"/actuator/health", 200, "\"components\""},
        {"/actuator/health/liveness", 200, "registry"},
        {"/actuator/health/readiness", 200, "postgres"},
        {"/metrics", 200, "# TYPE"},
        {"/status", 200, "outbox/main"},
        {"/nope", 404, "/metrics"},
    };
    for (size_t i = 0; i < COUNT_OF(pages); i++) {
        assert_int_equal(probe_get(address, pages[i].path, &status, &body, &error), ERROR_NONE);
        assert_int_equal(status, pages[i].status);
        assert_non_null(strstr(body, pages[i].part));
        free(body);
    }
    options.listen = address;
    assert_int_equal(http_open(&options, other, &second, &error), ERROR_CONFIG);
    assert_non_null(strstr(error.text, "Address already in use"));
    assert_non_null(strstr(error.hint, "/http/listen"));
    http_close(&http);
    assert_null(http);
    assert_int_equal(probe_get(address, "/health", &status, &body, &error), ERROR_RECONNECT);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_metrics),
        cmocka_unit_test(test_openmetrics),
        cmocka_unit_test(test_metric_table),
        cmocka_unit_test(test_metrics_of_inboxes),
        cmocka_unit_test(test_live_of_inboxes),
        cmocka_unit_test(test_judgement),
        cmocka_unit_test(test_status_of_inboxes),
        cmocka_unit_test(test_live),
        cmocka_unit_test(test_ready),
        cmocka_unit_test(test_http),
        cmocka_unit_test(test_dialects),
        cmocka_unit_test(test_explain),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
