#include "errors.h"

#include <stddef.h>

struct row {
    int code;
    enum error_class class;
};

#define ROW(name_, class_)                                                                                             \
    {                                                                                                                  \
        RD_KAFKA_RESP_ERR_##name_, ERROR_##class_                                                                      \
    }

/* One row a code; a code that is missing here can pass by itself (RETRY). */
static const struct row table[] = {
    ROW(NO_ERROR, NONE),

    /* The way to the brokers. */
    ROW(_TRANSPORT, RECONNECT),
    ROW(_ALL_BROKERS_DOWN, RECONNECT),
    ROW(_RESOLVE, RECONNECT),
    ROW(_SSL, RECONNECT),
    ROW(_UNKNOWN_BROKER, RECONNECT),
    ROW(BROKER_NOT_AVAILABLE, RECONNECT),
    ROW(NETWORK_EXCEPTION, RECONNECT),

    /* Brokers that are busy, moving or short of replicas. */
    ROW(_TIMED_OUT, RETRY),
    ROW(_TIMED_OUT_QUEUE, RETRY),
    ROW(_MSG_TIMED_OUT, RETRY),
    ROW(_QUEUE_FULL, RETRY),
    ROW(_WAIT_COORD, RETRY),
    ROW(_WAIT_CACHE, RETRY),
    ROW(_ISR_INSUFF, RETRY),
    ROW(INVALID_MSG, RETRY), /* damaged on the way: the checksum does not match */
    ROW(LEADER_NOT_AVAILABLE, RETRY),
    ROW(NOT_LEADER_FOR_PARTITION, RETRY),
    ROW(REPLICA_NOT_AVAILABLE, RETRY),
    ROW(REQUEST_TIMED_OUT, RETRY),
    ROW(COORDINATOR_LOAD_IN_PROGRESS, RETRY),
    ROW(COORDINATOR_NOT_AVAILABLE, RETRY),
    ROW(NOT_COORDINATOR, RETRY),
    ROW(NOT_ENOUGH_REPLICAS, RETRY),
    ROW(NOT_ENOUGH_REPLICAS_AFTER_APPEND, RETRY),
    ROW(NOT_CONTROLLER, RETRY),
    ROW(CONCURRENT_TRANSACTIONS, RETRY),
    ROW(KAFKA_STORAGE_ERROR, RETRY),
    ROW(REBALANCE_IN_PROGRESS, RETRY),
    ROW(UNKNOWN_MEMBER_ID, RETRY),
    ROW(ILLEGAL_GENERATION, RETRY),
    ROW(THROTTLING_QUOTA_EXCEEDED, RETRY),
    ROW(UNKNOWN_LEADER_EPOCH, RETRY),
    ROW(FENCED_LEADER_EPOCH, RETRY),
    ROW(OFFSET_NOT_AVAILABLE, RETRY),

    /* This producer is finished. _FENCED and its kin do not prove another owner [K7]. */
    ROW(_FENCED, RECREATE),
    ROW(_FATAL, RECREATE),
    ROW(_STATE, RECREATE),
    ROW(_CONFLICT, RECREATE),
    ROW(_PURGE_QUEUE, RECREATE),
    ROW(_PURGE_INFLIGHT, RECREATE),
    ROW(_INCONSISTENT, RECREATE),
    ROW(_GAPLESS_GUARANTEE, RECREATE),
    ROW(PRODUCER_FENCED, RECREATE),
    ROW(INVALID_PRODUCER_EPOCH, RECREATE),
    ROW(INVALID_PRODUCER_ID_MAPPING, RECREATE),
    ROW(UNKNOWN_PRODUCER_ID, RECREATE),
    ROW(INVALID_TXN_STATE, RECREATE),
    ROW(TRANSACTION_COORDINATOR_FENCED, RECREATE),
    ROW(OUT_OF_ORDER_SEQUENCE_NUMBER, RECREATE),
    ROW(DUPLICATE_SEQUENCE_NUMBER, RECREATE),

    /* The record itself. */
    ROW(MSG_SIZE_TOO_LARGE, POISON),
    ROW(RECORD_LIST_TOO_LARGE, POISON),
    ROW(INVALID_MSG_SIZE, POISON),
    ROW(INVALID_RECORD, POISON),
    ROW(INVALID_TIMESTAMP, POISON),
    ROW(_UNKNOWN_PARTITION, POISON),
    ROW(TOPIC_EXCEPTION, POISON), /* no legal name of a topic */

    /* People have to change something. */
    ROW(_AUTHENTICATION, CONFIG),
    ROW(_UNKNOWN_TOPIC, CONFIG),
    ROW(_INVALID_ARG, CONFIG),
    ROW(_UNSUPPORTED_FEATURE, CONFIG),
    ROW(_NOT_IMPLEMENTED, CONFIG),
    ROW(UNKNOWN_TOPIC_OR_PART, CONFIG),
    ROW(SASL_AUTHENTICATION_FAILED, CONFIG),
    ROW(UNSUPPORTED_SASL_MECHANISM, CONFIG),
    ROW(ILLEGAL_SASL_STATE, CONFIG),
    ROW(TOPIC_AUTHORIZATION_FAILED, CONFIG),
    ROW(GROUP_AUTHORIZATION_FAILED, CONFIG),
    ROW(CLUSTER_AUTHORIZATION_FAILED, CONFIG),
    ROW(TRANSACTIONAL_ID_AUTHORIZATION_FAILED, CONFIG),
    ROW(SECURITY_DISABLED, CONFIG),
    ROW(INVALID_TRANSACTION_TIMEOUT, CONFIG),
    ROW(INVALID_REQUIRED_ACKS, CONFIG),
    ROW(INVALID_SESSION_TIMEOUT, CONFIG),
    ROW(INVALID_GROUP_ID, CONFIG),
    ROW(INCONSISTENT_GROUP_PROTOCOL, CONFIG),
    ROW(GROUP_MAX_SIZE_REACHED, CONFIG),
    ROW(UNSUPPORTED_VERSION, CONFIG),
    ROW(UNSUPPORTED_FOR_MESSAGE_FORMAT, CONFIG),
    ROW(UNSUPPORTED_COMPRESSION_TYPE, CONFIG),
    ROW(INVALID_CONFIG, CONFIG),
    ROW(INVALID_PARTITIONS, CONFIG),
    ROW(INVALID_REPLICATION_FACTOR, CONFIG),
    ROW(INVALID_REPLICA_ASSIGNMENT, CONFIG),
    ROW(INVALID_REQUEST, CONFIG),
    ROW(POLICY_VIOLATION, CONFIG),

    /* Two members say that they are the same one. */
    ROW(FENCED_INSTANCE_ID, INTEGRITY),
};

struct advice {
    int code;
    const char *hint;
};

#define AWAY "see that the brokers run and that bootstrap.servers is right; boxrelay run goes on by itself"
#define LOGIN                                                                                                          \
    "check sasl.mechanisms, sasl.username and sasl.password under /kafka, and that this listener of the broker takes " \
    "them"
#define RIGHTS "grant it (docs/handbook.md, \"Kafka's side\", lists what the relay's user needs); tried again by itself"

/* What to do next, where the code alone tells; the caller may know better. */
static const struct advice advices[] = {
    {RD_KAFKA_RESP_ERR__TRANSPORT, AWAY},
    {RD_KAFKA_RESP_ERR__ALL_BROKERS_DOWN, AWAY},
    {RD_KAFKA_RESP_ERR__TIMED_OUT,
     "see that the brokers run and are not overloaded, and that the ports in bootstrap.servers are Kafka's"},
    {RD_KAFKA_RESP_ERR__BAD_MSG, "what answers there is no Kafka listener, or one with TLS: check the ports in "
                                 "bootstrap.servers, and security.protocol"},
    {RD_KAFKA_RESP_ERR__RESOLVE, "correct the host names in bootstrap.servers, and those that the brokers advertise"},
    {RD_KAFKA_RESP_ERR__SSL,
     "does this listener speak TLS? Check security.protocol and the ssl properties under /kafka: ssl.ca.location, "
     "ssl.certificate.location, ssl.key.location"},
    {RD_KAFKA_RESP_ERR__AUTHENTICATION, LOGIN},
    {RD_KAFKA_RESP_ERR_SASL_AUTHENTICATION_FAILED, LOGIN},
    {RD_KAFKA_RESP_ERR_UNSUPPORTED_SASL_MECHANISM, LOGIN},
    {RD_KAFKA_RESP_ERR_ILLEGAL_SASL_STATE, LOGIN},
    {RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED, RIGHTS},
    {RD_KAFKA_RESP_ERR_GROUP_AUTHORIZATION_FAILED, RIGHTS},
    {RD_KAFKA_RESP_ERR_CLUSTER_AUTHORIZATION_FAILED, RIGHTS},
    {RD_KAFKA_RESP_ERR_TRANSACTIONAL_ID_AUTHORIZATION_FAILED, RIGHTS},
    {RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART,
     "create the topic, or correct its name; the relay makes none but its own"},
    {RD_KAFKA_RESP_ERR_MSG_SIZE_TOO_LARGE, "raise max.message.bytes of the topic, and message.max.bytes under "
                                           "/kafka/producer"},
    {RD_KAFKA_RESP_ERR_INVALID_TRANSACTION_TIMEOUT,
     "the brokers allow less: raise transaction.max.timeout.ms there to 30000 "
     "or more"},
    {RD_KAFKA_RESP_ERR_INCONSISTENT_GROUP_PROTOCOL,
     "the other members of the group share partitions in another way: they are no relays, or their librdkafka is older "
     "than 2.6.1 and this one is not, or the other way round; stop one kind"},
    {RD_KAFKA_RESP_ERR_NOT_ENOUGH_REPLICAS,
     "too few replicas are in sync for min.insync.replicas: see which broker is away"},
    {RD_KAFKA_RESP_ERR_NOT_ENOUGH_REPLICAS_AFTER_APPEND,
     "too few replicas are in sync for min.insync.replicas: see which broker is away"},
};

void kafka_error_advise(struct error *error, int code)
{
    for (size_t i = 0; i < COUNT_OF(advices); i++)
        if (advices[i].code == code)
            (void)error_hint(error, "%s", advices[i].hint);
}

enum error_class kafka_error_class(int code)
{
    for (size_t i = 0; i < COUNT_OF(table); i++)
        if (table[i].code == code)
            return table[i].class;
    return ERROR_RETRY;
}

enum error_class kafka_error_class_in_transaction(int code)
{
    enum error_class class = kafka_error_class(code);
    return class == ERROR_POISON || class == ERROR_CONFIG ? class : ERROR_RECREATE;
}

bool kafka_error_is_purge(int code)
{
    return code == RD_KAFKA_RESP_ERR__PURGE_QUEUE || code == RD_KAFKA_RESP_ERR__PURGE_INFLIGHT;
}

const char *kafka_error_name(int code) { return rd_kafka_err2name((rd_kafka_resp_err_t)code); }

enum error_class kafka_error_set(struct error *error, enum error_class class, int code, const char *what,
                                 const char *text)
{
    if (!text || !text[0])
        text = rd_kafka_err2str((rd_kafka_resp_err_t)code);
    error_set(error, class, kafka_error_name(code), "%s: %s", what, text);
    kafka_error_advise(error, code);
    return class;
}
