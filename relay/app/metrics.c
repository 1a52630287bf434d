#include "metrics.h"

#include <inttypes.h>
#include <string.h>

#include "core/publisher.h"
#include "core/subscriber.h"

struct metrics_page {
    const struct overview *overview;
    struct text out;
    bool openmetrics;
};

enum { LABELS_MAX = 3 };

struct label {
    const char *name, *value;
};

void metrics_escape(struct text *out, const char *value)
{
    for (; *value; value++) {
        if (*value == '\n')
            text_add(out, "\\n");
        else if (*value == '\\' || *value == '"')
            text_addf(out, "\\%c", *value);
        else
            text_add_bytes(out, value, 1);
    }
}

static void put_labels(struct text *out, const struct label *labels)
{
    const char *before = "{";
    for (size_t i = 0; labels && i < LABELS_MAX && labels[i].name; i++) {
        text_addf(out, "%s%s=\"", before, labels[i].name);
        metrics_escape(out, labels[i].value);
        text_add(out, "\"");
        before = ",";
    }
    if (*before == ',')
        text_add(out, "}");
}

/* One line. Counts below 2^53 are exact in a double; 17 digits keep times to the millisecond. */
static void put(struct metrics_page *page, const char *name, const char *suffix, const struct label *labels,
                double value)
{
    text_addf(&page->out, "%s%s", name, suffix);
    put_labels(&page->out, labels);
    bool whole = value > -9e15 && value < 9e15 && value == (double)(int64_t)value;
    if (whole)
        text_addf(&page->out, " %.0f\n", value);
    else
        text_addf(&page->out, " %.15g\n", value);
}

static void put_one(struct metrics_page *page, const struct metric *metric, const struct label *labels, double value)
{
    put(page, metric->name, metric->type == METRIC_COUNTER ? "_total" : "", labels, value);
}

/* Calls each of the streams' samples; most metrics are one number a stream. */
#define EACH_STREAM(page_, stream_)                                                                                    \
    for (const struct outbox_stream_view *stream_ = (page_)->overview->streams,                                        \
                                         *end_ = stream_ + (page_)->overview->stream_count;                            \
         stream_ < end_; stream_++)

#define EACH_INBOX(page_, inbox_)                                                                                      \
    for (const struct inbox_stream_view *inbox_ = (page_)->overview->inboxes,                                          \
                                        *end_ = inbox_ + (page_)->overview->inbox_count;                               \
         inbox_ < end_; inbox_++)

#define OF_STREAM(stream_) ((struct label[LABELS_MAX]){{"stream", (stream_)->stream}})
#define OF_STREAM_AND(stream_, name_, value_)                                                                          \
    ((struct label[LABELS_MAX]){{"stream", (stream_)->stream}, {(name_), (value_)}})

static void pending_rows(struct metrics_page *page, const struct metric *metric)
{
    EACH_STREAM(page, stream)
    if (stream->pending_rows >= 0)
        put_one(page, metric, OF_STREAM(stream), (double)stream->pending_rows);
}

static void oldest_age(struct metrics_page *page, const struct metric *metric)
{
    EACH_STREAM(page, stream)
    if (stream->oldest_age_ms >= 0)
        put_one(page, metric, OF_STREAM(stream), (double)stream->oldest_age_ms / 1000);
}

static void published(struct metrics_page *page, const struct metric *metric)
{
    EACH_STREAM(page, stream)
    for (size_t i = 0; i < stream->topic_count; i++)
        put_one(page, metric, OF_STREAM_AND(stream, "topic", stream->topics[i].topic),
                (double)stream->topics[i].published);
}

static void published_bytes(struct metrics_page *page, const struct metric *metric)
{
    EACH_STREAM(page, stream)
    put_one(page, metric, OF_STREAM(stream), (double)stream->published_bytes);
}

static void end_to_end(struct metrics_page *page, const struct metric *metric)
{
    EACH_STREAM(page, stream)
    {
        double sum = 0;
        for (size_t i = 0; i < OUTBOX_LATENCY_BUCKETS; i++) {
            char bound[32] = "+Inf";
            if (i < OUTBOX_LATENCY_BUCKETS - 1)
                snprintf(bound, sizeof bound, "%g", outbox_latency_bounds[i]);
            if (page->openmetrics && !strpbrk(bound, ".eI")) /* OpenMetrics: a float, so "1.0" */
                snprintf(bound + strlen(bound), sizeof bound - strlen(bound), ".0");
            sum += (double)stream->latency_counts[i];
            put(page, metric->name, "_bucket", OF_STREAM_AND(stream, "le", bound), sum);
        }
        put(page, metric->name, "_sum", OF_STREAM(stream), stream->latency_sum_seconds);
        put(page, metric->name, "_count", OF_STREAM(stream), sum);
    }
}

static void inbox_pending_rows(struct metrics_page *page, const struct metric *metric)
{
    EACH_INBOX(page, inbox)
    if (inbox->pending_rows >= 0)
        put_one(page, metric, OF_STREAM(inbox), (double)inbox->pending_rows);
}

static void inbox_oldest_age(struct metrics_page *page, const struct metric *metric)
{
    EACH_INBOX(page, inbox)
    if (inbox->oldest_age_ms >= 0)
        put_one(page, metric, OF_STREAM(inbox), (double)inbox->oldest_age_ms / 1000);
}

static void inbox_full(struct metrics_page *page, const struct metric *metric)
{
    EACH_INBOX(page, inbox)
    put_one(page, metric, OF_STREAM(inbox), inbox->full);
}

static void stored(struct metrics_page *page, const struct metric *metric)
{
    EACH_INBOX(page, inbox)
    for (size_t i = 0; i < inbox->topic_count; i++)
        put_one(page, metric, OF_STREAM_AND(inbox, "topic", inbox->topics[i].topic), (double)inbox->topics[i].stored);
}

static void stored_bytes(struct metrics_page *page, const struct metric *metric)
{
    EACH_INBOX(page, inbox)
    put_one(page, metric, OF_STREAM(inbox), (double)inbox->stored_bytes);
}

static void duplicates(struct metrics_page *page, const struct metric *metric)
{
    EACH_INBOX(page, inbox)
    put_one(page, metric, OF_STREAM(inbox), (double)inbox->duplicates);
}

static void conflicts(struct metrics_page *page, const struct metric *metric)
{
    EACH_INBOX(page, inbox)
    put_one(page, metric, OF_STREAM(inbox), (double)inbox->conflicts);
}

static void dead_lettered(struct metrics_page *page, const struct metric *metric)
{
    EACH_INBOX(page, inbox)
    put_one(page, metric, OF_STREAM(inbox), (double)inbox->dead_letters);
}

static void put_partition(struct metrics_page *page, const struct metric *metric, const struct inbox_stream_view *inbox,
                          const struct inbox_partition_view *partition, double value)
{
    char number[16];
    snprintf(number, sizeof number, "%" PRId32, partition->partition);
    const struct label labels[LABELS_MAX] = {
        {"stream", inbox->stream}, {"topic", partition->topic}, {"partition", number}};
    put_one(page, metric, labels, value);
}

static void lag_records(struct metrics_page *page, const struct metric *metric)
{
    EACH_INBOX(page, inbox)
    for (size_t i = 0; i < inbox->partition_count; i++)
        if (inbox->partitions[i].lag_records >= 0)
            put_partition(page, metric, inbox, &inbox->partitions[i], (double)inbox->partitions[i].lag_records);
}

static void partition_stopped(struct metrics_page *page, const struct metric *metric)
{
    EACH_INBOX(page, inbox)
    for (size_t i = 0; i < inbox->partition_count; i++)
        put_partition(page, metric, inbox, &inbox->partitions[i], inbox->partitions[i].last_error.class != ERROR_NONE);
}

static void put_errors(struct metrics_page *page, const struct metric *metric, const char *stream,
                       const uint64_t counts[ERROR_INTEGRITY + 1])
{
    for (int class = ERROR_RETRY; class <= ERROR_INTEGRITY; class ++) {
        const struct label labels[LABELS_MAX] = {{"stream", stream},
                                                 {"class", error_class_name((enum error_class) class)}};
        put_one(page, metric, labels, (double)counts[class]);
    }
}

static void errors(struct metrics_page *page, const struct metric *metric)
{
    EACH_STREAM(page, stream)
    put_errors(page, metric, stream->stream, stream->errors);
    EACH_INBOX(page, inbox)
    put_errors(page, metric, inbox->stream, inbox->errors);
}

static void stream_state(struct metrics_page *page, const struct metric *metric)
{
    EACH_STREAM(page, stream)
    for (int state = 0; state < PUBLISHER_STATES; state++) {
        const char *name = publisher_state_name((enum publisher_state)state);
        put_one(page, metric, OF_STREAM_AND(stream, "state", name), strcmp(name, stream->state) == 0);
    }
    EACH_INBOX(page, inbox)
    for (int state = 0; state < SUBSCRIBER_STATES; state++) {
        const char *name = subscriber_state_name((enum subscriber_state)state);
        put_one(page, metric, OF_STREAM_AND(inbox, "state", name), strcmp(name, inbox->state) == 0);
    }
}

static void leader(struct metrics_page *page, const struct metric *metric)
{
    EACH_STREAM(page, stream)
    put_one(page, metric, OF_STREAM(stream), stream->leader);
}

static void paused(struct metrics_page *page, const struct metric *metric)
{
    EACH_STREAM(page, stream)
    put_one(page, metric, OF_STREAM(stream), stream->paused);
    EACH_INBOX(page, inbox)
    put_one(page, metric, OF_STREAM(inbox), inbox->paused);
}

static void transactions(struct metrics_page *page, const struct metric *metric)
{
    EACH_STREAM(page, stream)
    {
        put_one(page, metric, OF_STREAM_AND(stream, "result", "committed"), (double)stream->transactions_committed);
        put_one(page, metric, OF_STREAM_AND(stream, "result", "failed"), (double)stream->transactions_failed);
    }
    EACH_INBOX(page, inbox)
    {
        put_one(page, metric, OF_STREAM_AND(inbox, "result", "committed"), (double)inbox->transactions_committed);
        put_one(page, metric, OF_STREAM_AND(inbox, "result", "failed"), (double)inbox->transactions_failed);
    }
}

static void recreated(struct metrics_page *page, const struct metric *metric)
{
    EACH_STREAM(page, stream)
    {
        for (int class = ERROR_RETRY; class <= ERROR_INTEGRITY; class ++)
            put_one(page, metric, OF_STREAM_AND(stream, "reason", error_class_name((enum error_class) class)),
                    (double)stream->recreated[class]);
        put_one(page, metric, OF_STREAM_AND(stream, "reason", "end_txn_repeated"), (double)stream->recreated_end_txn);
    }
}

/* Only its leader looks at an outbox table; what an earlier one saw is old. */
static bool cleans(const struct outbox_stream_view *stream) { return stream->leader && stream->cleanup.looked_ms > 0; }

/* An age at the last look goes on rising; there is none: 0. */
static void put_age(struct metrics_page *page, const struct metric *metric, const struct outbox_stream_view *stream,
                    int64_t then_ms)
{
    int64_t since_ms = page->overview->now_ms - stream->cleanup.looked_ms;
    put_one(page, metric, OF_STREAM(stream), then_ms < 0 ? 0 : (double)(then_ms + since_ms) / 1000);
}

static void size_bytes(struct metrics_page *page, const struct metric *metric)
{
    EACH_STREAM(page, stream)
    if (cleans(stream) && stream->cleanup.size_bytes >= 0)
        put_one(page, metric, OF_STREAM(stream), (double)stream->cleanup.size_bytes);
}

static void size_alarm(struct metrics_page *page, const struct metric *metric)
{
    EACH_STREAM(page, stream)
    if (cleans(stream))
        put_one(page, metric, OF_STREAM(stream), stream->cleanup.size_alarm);
}

static void oldest_slot_age(struct metrics_page *page, const struct metric *metric)
{
    EACH_STREAM(page, stream)
    if (cleans(stream))
        put_age(page, metric, stream, stream->cleanup.oldest_age_ms);
}

static void cleanup_blocked(struct metrics_page *page, const struct metric *metric)
{
    EACH_STREAM(page, stream)
    if (cleans(stream))
        put_age(page, metric, stream, stream->cleanup.held_ms);
}

static void slots_emptied(struct metrics_page *page, const struct metric *metric)
{
    EACH_STREAM(page, stream)
    put_one(page, metric, OF_STREAM(stream), (double)stream->slots_emptied);
}

static void postgres_up(struct metrics_page *page, const struct metric *metric)
{
    put_one(page, metric, NULL, page->overview->service.postgres_up);
}

static void kafka_up(struct metrics_page *page, const struct metric *metric)
{
    put_one(page, metric, NULL, page->overview->service.kafka_up);
}

static void schema_version(struct metrics_page *page, const struct metric *metric)
{
    put_one(page, metric, NULL, page->overview->service.schema_version);
}

static void certificate_expiry_seconds(struct metrics_page *page, const struct metric *metric)
{
    for (size_t i = 0; i < page->overview->certificate_count; i++) {
        const struct certificate_file *file = &page->overview->certificates[i];
        put_one(page, metric, (struct label[LABELS_MAX]){{"file", file->path}}, file->expiry_seconds);
    }
}

static void reload_success(struct metrics_page *page, const struct metric *metric)
{
    put_one(page, metric, NULL, page->overview->reload_success);
}

static void build_info(struct metrics_page *page, const struct metric *metric)
{
    const struct label labels[LABELS_MAX] = {
        {"version", page->overview->version},
        {"librdkafka", page->overview->library_version},
        {"name", page->overview->name},
    };
    put_one(page, metric, labels, 1);
}

static void cpu_seconds(struct metrics_page *page, const struct metric *metric)
{
    put_one(page, metric, NULL, page->overview->process.cpu_seconds);
}

static void resident_bytes(struct metrics_page *page, const struct metric *metric)
{
    put_one(page, metric, NULL, (double)page->overview->process.resident_bytes);
}

static void virtual_bytes(struct metrics_page *page, const struct metric *metric)
{
    put_one(page, metric, NULL, (double)page->overview->process.virtual_bytes);
}

static void start_seconds(struct metrics_page *page, const struct metric *metric)
{
    put_one(page, metric, NULL, page->overview->process.start_seconds);
}

static void open_fds(struct metrics_page *page, const struct metric *metric)
{
    if (page->overview->process.open_fds >= 0)
        put_one(page, metric, NULL, (double)page->overview->process.open_fds);
}

static void max_fds(struct metrics_page *page, const struct metric *metric)
{
    if (page->overview->process.max_fds >= 0)
        put_one(page, metric, NULL, (double)page->overview->process.max_fds);
}

const struct metric metric_table[] = {
    {"boxrelay_outbox_pending_rows", METRIC_GAUGE, NULL, "stream", "Rows not yet published, counted to a bound.",
     pending_rows},
    {"boxrelay_outbox_oldest_age_seconds", METRIC_GAUGE, "seconds", "stream",
     "Age of the oldest row not yet published; 0 when there is none.", oldest_age},
    {"boxrelay_outbox_published", METRIC_COUNTER, NULL, "stream, topic",
     "Rows committed to Kafka; topics beyond the first ones count as \"other\".", published},
    {"boxrelay_outbox_published_bytes", METRIC_COUNTER, "bytes", "stream", "Bytes of rows committed to Kafka.",
     published_bytes},
    {"boxrelay_outbox_end_to_end_seconds", METRIC_HISTOGRAM, "seconds", "stream",
     "Time from writing a row to its commit in Kafka.", end_to_end},
    {"boxrelay_outbox_size_bytes", METRIC_GAUGE, "bytes", "stream",
     "Size of the table with indexes and TOAST; of the leader only, as the next three.", size_bytes},
    {"boxrelay_outbox_size_alarm", METRIC_GAUGE, NULL, "stream",
     "1 while the table is larger than the option size_alarm.", size_alarm},
    {"boxrelay_outbox_oldest_slot_age_seconds", METRIC_GAUGE, "seconds", "stream",
     "Since when the oldest slot that has rows has them; 0 when there are none.", oldest_slot_age},
    {"boxrelay_outbox_cleanup_blocked_seconds", METRIC_GAUGE, "seconds", "stream",
     "Since when a lock or a position that does not move holds cleaning back; 0 when nothing does.", cleanup_blocked},
    {"boxrelay_outbox_slots_emptied", METRIC_COUNTER, NULL, "stream", "Slots of the table emptied by TRUNCATE.",
     slots_emptied},
    {"boxrelay_inbox_stored", METRIC_COUNTER, NULL, "stream, topic",
     "Messages stored in the inbox; topics beyond the first ones count as \"other\".", stored},
    {"boxrelay_inbox_stored_bytes", METRIC_COUNTER, "bytes", "stream", "Bytes of messages stored in the inbox.",
     stored_bytes},
    {"boxrelay_inbox_duplicates", METRIC_COUNTER, NULL, "stream",
     "Messages not stored because their id is known with the same payload.", duplicates},
    {"boxrelay_inbox_conflicts", METRIC_COUNTER, NULL, "stream",
     "Messages set aside because their id is known with another payload.", conflicts},
    {"boxrelay_inbox_dead_lettered", METRIC_COUNTER, NULL, "stream",
     "Messages set aside as dead letters instead of being stored, conflicts among them.", dead_lettered},
    {"boxrelay_inbox_lag_records", METRIC_GAUGE, NULL, "stream, topic, partition",
     "Records behind the stored offset, of the partitions that this instance reads.", lag_records},
    {"boxrelay_inbox_partition_stopped", METRIC_GAUGE, NULL, "stream, topic, partition",
     "1 while a partition of this instance is stopped by an error of its own, else 0.", partition_stopped},
    {"boxrelay_inbox_pending_rows", METRIC_GAUGE, NULL, "stream",
     "Messages that wait for business code, counted to a bound.", inbox_pending_rows},
    {"boxrelay_inbox_oldest_age_seconds", METRIC_GAUGE, "seconds", "stream",
     "Age of the oldest message that waits; 0 when there is none.", inbox_oldest_age},
    {"boxrelay_inbox_full", METRIC_GAUGE, NULL, "stream",
     "1 while partitions pause because too much waits in the inbox.", inbox_full},
    {"boxrelay_errors", METRIC_COUNTER, NULL, "stream, class", "Failures by what is done about them.", errors},
    {"boxrelay_stream_state", METRIC_GAUGE, NULL, "stream, state", "1 for the state that the stream is in, else 0.",
     stream_state},
    {"boxrelay_leader", METRIC_GAUGE, NULL, "stream", "1 where this instance publishes the stream.", leader},
    {"boxrelay_stream_paused", METRIC_GAUGE, NULL, "stream", "1 while an operator has paused the stream.", paused},
    {"boxrelay_transactions", METRIC_COUNTER, NULL, "stream, result",
     "Transactions by how they ended: in Kafka of outboxes, in PostgreSQL of inboxes.", transactions},
    {"boxrelay_producer_recreated", METRIC_COUNTER, NULL, "stream, reason",
     "Producers thrown away and made again, by the class of the failure.", recreated},
    {"boxrelay_postgres_up", METRIC_GAUGE, NULL, "", "1 while PostgreSQL answers.", postgres_up},
    {"boxrelay_kafka_up", METRIC_GAUGE, NULL, "", "1 while Kafka answers.", kafka_up},
    {"boxrelay_schema_version", METRIC_GAUGE, NULL, "",
     "Version of schema relay in the database; 0: not known, as while the outbox is turned off.", schema_version},
    {"boxrelay_certificate_expiry_seconds", METRIC_GAUGE, "seconds", "file",
     "When the first certificate of a configured file runs out, in seconds since 1970; files with more than 16 are "
     "left "
     "out.",
     certificate_expiry_seconds},
    {"boxrelay_config_reload_success", METRIC_GAUGE, NULL, "",
     "1 when the last reading of the configuration succeeded.", reload_success},
    {"boxrelay_build_info", METRIC_GAUGE, NULL, "version, librdkafka, name", "Always 1; the labels say what runs.",
     build_info},
    {"process_cpu_seconds", METRIC_COUNTER, "seconds", "", "User and system CPU time.", cpu_seconds},
    {"process_resident_memory_bytes", METRIC_GAUGE, "bytes", "", "Resident memory.", resident_bytes},
    {"process_virtual_memory_bytes", METRIC_GAUGE, "bytes", "", "Virtual memory.", virtual_bytes},
    {"process_start_time_seconds", METRIC_GAUGE, "seconds", "", "Start of the process since 1970.", start_seconds},
    {"process_open_fds", METRIC_GAUGE, NULL, "", "Open file descriptors.", open_fds},
    {"process_max_fds", METRIC_GAUGE, NULL, "", "Most file descriptors that may be open.", max_fds},
};

const size_t metric_count = COUNT_OF(metric_table);

static const char *const type_names[] = {"gauge", "counter", "histogram"};

/* The family's name: OpenMetrics leaves "_total" out of it, the older format does not. */
static void put_head(struct metrics_page *page, const struct metric *metric)
{
    const char *suffix = metric->type == METRIC_COUNTER && !page->openmetrics ? "_total" : "";
    text_addf(&page->out, "# TYPE %s%s %s\n", metric->name, suffix, type_names[metric->type]);
    if (page->openmetrics && metric->unit && text_ends(metric->name, metric->unit))
        text_addf(&page->out, "# UNIT %s %s\n", metric->name, metric->unit);
    text_addf(&page->out, "# HELP %s%s ", metric->name, suffix);
    if (page->openmetrics)
        metrics_escape(&page->out, metric->help);
    else
        text_add(&page->out, metric->help);
    text_add(&page->out, "\n");
}

char *metrics_render(const struct overview *overview, bool openmetrics)
{
    struct metrics_page page = {.overview = overview, .openmetrics = openmetrics};
    text_init(&page.out, METRICS_BYTES_MAX);
    for (size_t i = 0; i < metric_count; i++) {
        put_head(&page, &metric_table[i]);
        metric_table[i].samples(&page, &metric_table[i]);
    }
    if (openmetrics)
        text_add(&page.out, "# EOF\n");
    return text_take(&page.out);
}

void metrics_help(FILE *out, bool markdown)
{
    if (markdown)
        fputs("| metric | type | labels | meaning |\n|---|---|---|---|\n", out);
    for (size_t i = 0; i < metric_count; i++)
        fprintf(out, markdown ? "| `%s%s` | %s | %s | %s |\n" : "%s%s %s {%s}\n      %s\n", metric_table[i].name,
                metric_table[i].type == METRIC_COUNTER ? "_total" : "", type_names[metric_table[i].type],
                metric_table[i].labels, metric_table[i].help);
}
