#include "conf.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>

#include "kafka/group.h"
#include "kafka/producer.h"
#include "kafka/properties.h"

enum { TIMER_SLACK_NS = 2000000 };

/* Below the user's: better than the library's for us, but a matter of taste. */
static const struct {
    int kinds;
    const char *name, *value;
} defaults[] = {
    {CONF_EVERY, "socket.nagle.disable", "true"},
    {CONF_EVERY, "socket.keepalive.enable", "true"},
    {CONF_EVERY, "reconnect.backoff.max.ms", "1000"},
    {CONF_PRODUCER, "linger.ms", "5"}, /* a commit flushes regardless */
    {CONF_PRODUCER, "compression.type", "lz4"},
    {CONF_INBOX, "queued.max.messages.kbytes", "16384"},
    {CONF_INBOX, "fetch.error.backoff.ms", "5"}, /* else a full queue costs half a second each time */
};

#define TEXT_(number) #number
#define TEXT(number)  TEXT_(number)

/* The protocol's: refused from users with the reason; set by us where a value stands here, else by the caller. */
static const struct {
    int kinds;
    const char *name, *value, *reason;
} owned[] = {
    {0, "transactional.id", NULL, "it is constant per stream, made from the relay's name"},
    {CONF_PRODUCER, "enable.idempotence", "true", "a transactional producer needs it"},
    {0, "acks", NULL, "a transactional producer waits for all in-sync replicas"},
    {0, "request.required.acks", NULL, "a transactional producer waits for all in-sync replicas"},
    {0, "max.in.flight.requests.per.connection", NULL, "the idempotent producer sets it"},
    {0, "max.in.flight", NULL, "the idempotent producer sets it"},
    {0, "retries", NULL, "the idempotent producer sets it; giving up early would only fail batches"},
    {0, "message.send.max.retries", NULL, "the idempotent producer sets it; giving up early would only fail batches"},
    {0, "queuing.strategy", NULL, "order within a partition rests on it"},
    {0, "enable.gapless.guarantee", NULL, "the transaction already guarantees it"},
    {CONF_PRODUCER, "transaction.timeout.ms", TEXT(30000), "a dead relay may hold readers back only so long"},
    {0, "message.timeout.ms", NULL, "it follows transaction.timeout.ms"},
    {0, "delivery.timeout.ms", NULL, "it follows transaction.timeout.ms"},
    {CONF_PRODUCER, "partitioner", "murmur2_random", "keys must go where Java clients send them"},
    {CONF_EVERY, "allow.auto.create.topics", "false", "a misspelt topic must show, not appear"},
    {CONF_PRODUCER, "delivery.report.only.error", "true", "the commit counts on it"},
    {CONF_EVERY, "log.queue", "true", "the library's log lines go through the relay's log"},
    {CONF_READER | CONF_INBOX, "isolation.level", "read_committed", "exactly once rests on it"},
    {CONF_READER | CONF_INBOX, "auto.offset.reset", "error",
     "a jump to another offset would lose messages without a word"},
    {CONF_READER | CONF_GROUP | CONF_INBOX, "enable.auto.commit", "false", "offsets are kept where the data is"},
    {0, "auto.commit.enable", NULL, "offsets are kept where the data is"},
    {CONF_READER | CONF_GROUP | CONF_INBOX, "enable.auto.offset.store", "false", "offsets are kept where the data is"},
    {0, "offset.store.method", NULL, "offsets are kept where the data is"},
    {CONF_INBOX, "enable.partition.eof", "true", "an inbox looks for the end of its partitions itself"},
    {CONF_READER | CONF_INBOX, "check.crcs", "true", "damaged records must not be stored"},
    {0, "group.id", NULL, "it is made from the relay's name"},
    {0, "group.instance.id", NULL, "it is the option instance_id"},
    {0, "group.protocol", NULL, "leadership rests on the classic protocol's timing"},
    {0, "group.remote.assignor", NULL, "leadership rests on the classic protocol's timing"},
    {0, "group.protocol.type", NULL, "all instances must agree on it"},
    {0, "max.poll.interval.ms", NULL, "a slow broker must not cost the leadership"},
    {0, "test.mock.num.brokers", NULL, "a cluster that is not there keeps nothing"},
    {0, "partition.assignment.strategy", NULL, "all instances must agree on it"},
    {CONF_GROUP | CONF_INBOX, "session.timeout.ms", TEXT(6000), "it decides how soon another instance takes over"},
    {CONF_GROUP | CONF_INBOX, "heartbeat.interval.ms", TEXT(500), "it decides how soon another instance takes over"},
    {CONF_GROUP | CONF_INBOX, "topic.metadata.refresh.interval.ms", TEXT(2000),
     "a new stream or partition must be seen soon"},
    {0, "enabled_events", NULL, "the relay chooses its events"},
};

_Static_assert(PRODUCER_TRANSACTION_TIMEOUT_MS == 30000, "the table's transaction.timeout.ms [K8]");
_Static_assert(GROUP_SESSION_TIMEOUT_MS == 6000 && GROUP_HEARTBEAT_MS == 500 && GROUP_METADATA_REFRESH_MS == 2000,
               "the table's group timing");

const char *conf_owned_reason(const char *name)
{
    for (size_t i = 0; i < COUNT_OF(owned); i++)
        if (strcmp(owned[i].name, name) == 0)
            return owned[i].reason;
    return NULL;
}

bool conf_default(size_t index, const char **name, const char **value, enum conf_kind *kind)
{
    if (index >= COUNT_OF(defaults))
        return false;
    *name = defaults[index].name;
    *value = defaults[index].value;
    *kind = defaults[index].kinds == CONF_EVERY ? CONF_ADMIN : (enum conf_kind)defaults[index].kinds;
    return true;
}

void conf_owned_names(void (*offer)(void *opaque, const char *name), void *opaque)
{
    for (size_t i = 0; i < COUNT_OF(owned); i++)
        offer(opaque, owned[i].name);
}

enum error_class conf_set(rd_kafka_conf_t *conf, const char *name, const char *value, struct error *error)
{
    char why[512];
    rd_kafka_conf_res_t result = rd_kafka_conf_set(conf, name, value, why, sizeof why);
    if (result == RD_KAFKA_CONF_OK)
        return ERROR_NONE;
    /* The library quotes the value in its text. */
    if (kafka_property_is_secret(name) && result == RD_KAFKA_CONF_INVALID)
        snprintf(why, sizeof why, "Invalid value for configuration property \"%s\"", name);
    return error_set(error, ERROR_CONFIG, result == RD_KAFKA_CONF_UNKNOWN ? "UNKNOWN_PROPERTY" : "INVALID_PROPERTY",
                     "%s", why);
}

enum error_class conf_set_int(rd_kafka_conf_t *conf, const char *name, int64_t value, struct error *error)
{
    char text[24];
    snprintf(text, sizeof text, "%" PRId64, value);
    return conf_set(conf, name, text, error);
}

static enum error_class set_defaults(rd_kafka_conf_t *conf, enum conf_kind kind, struct error *error)
{
    enum error_class class = ERROR_NONE;
    for (size_t i = 0; i < COUNT_OF(defaults) && class == ERROR_NONE; i++)
        if (defaults[i].kinds & (int)kind)
            class = conf_set(conf, defaults[i].name, defaults[i].value, error);
    return class;
}

static enum error_class set_owned(rd_kafka_conf_t *conf, enum conf_kind kind, struct error *error)
{
    enum error_class class = ERROR_NONE;
    for (size_t i = 0; i < COUNT_OF(owned) && class == ERROR_NONE; i++)
        if (owned[i].kinds & (int)kind)
            class = conf_set(conf, owned[i].name, owned[i].value, error);
    return class;
}

static enum kafka_scope scope_of(enum conf_kind kind)
{
    return kind == CONF_PRODUCER || kind == CONF_ADMIN ? KAFKA_PRODUCER : KAFKA_CONSUMER;
}

enum error_class conf_make(const struct kafka_settings *settings, enum conf_kind kind, const char *client_id,
                           rd_kafka_conf_t **out, struct error *error)
{
    rd_kafka_conf_t *conf = rd_kafka_conf_new();
    enum error_class class = set_defaults(conf, kind, error);
    if (class == ERROR_NONE && client_id)
        class = conf_set(conf, "client.id", client_id, error);
    if (class == ERROR_NONE)
        class = settings_apply(settings, KAFKA_ALL, conf, error);
    if (class == ERROR_NONE)
        class = settings_apply(settings, scope_of(kind), conf, error);
    if (class == ERROR_NONE)
        class = set_owned(conf, kind, error);
    if (class != ERROR_NONE) {
        rd_kafka_conf_destroy(conf);
        return class;
    }
    *out = conf;
    return ERROR_NONE;
}

/*
 * The library's main thread waits for its timers in whole milliseconds, rounded down, and turns in a loop for the rest
 * (librdkafka 2.0.2, rdkafka.c, rd_kafka_thread_main): with a timer a second this was most of what an idle producer
 * cost. A wait that may end a little late ends after its timer. Messages to the thread wake it as soon as ever, and the
 * threads that talk to brokers, some of which it starts, are as prompt as the one that opened the handle.
 */
static rd_kafka_resp_err_t be_unhurried(rd_kafka_t *handle, rd_kafka_thread_type_t type, const char *name, void *opaque)
{
    (void)handle, (void)name;
    unsigned long slack_ns = type == RD_KAFKA_THREAD_MAIN ? TIMER_SLACK_NS : (unsigned long)(uintptr_t)opaque;
    (void)prctl(PR_SET_TIMERSLACK, slack_ns, 0UL, 0UL, 0UL);
    return RD_KAFKA_RESP_ERR_NO_ERROR;
}

static rd_kafka_resp_err_t listen_to_threads(rd_kafka_t *handle, const rd_kafka_conf_t *conf, void *opaque, char *why,
                                             size_t size)
{
    (void)conf, (void)opaque, (void)why, (void)size;
    int slack_ns = prctl(PR_GET_TIMERSLACK, 0UL, 0UL, 0UL, 0UL);
    if (slack_ns <= 0)
        return RD_KAFKA_RESP_ERR_NO_ERROR;
    void *of_opener = (void *)(uintptr_t)slack_ns;
    return rd_kafka_interceptor_add_on_thread_start(handle, "boxrelay-threads", be_unhurried, of_opener);
}

enum error_class conf_open(rd_kafka_type_t type, rd_kafka_conf_t **conf, rd_kafka_t **out, struct error *error)
{
    char why[512];
    rd_kafka_conf_interceptor_add_on_new(*conf, "boxrelay-threads", listen_to_threads, NULL);
    rd_kafka_t *handle = rd_kafka_new(type, *conf, why, sizeof why);
    if (!handle) {
        rd_kafka_conf_destroy(*conf);
        *conf = NULL;
        return error_set(error, ERROR_CONFIG, "INVALID_PROPERTY", "Kafka client refused: %s", why);
    }
    *conf = NULL;
    rd_kafka_set_log_queue(handle, NULL);
    *out = handle;
    return ERROR_NONE;
}
