#include "reason.h"

#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include "base/attributes.h"
#include "base/log.h"
#include "errors.h"

enum { SYSLOG_ERROR = 3 };

static bool says_certificate(const char *text) { return strcasestr(text, "certif") != NULL; }

/* A rejected certificate needs a person; any other TLS failure can be a broker that died in the handshake. */
static enum error_class class_of(int code, const char *text)
{
    if (code == RD_KAFKA_RESP_ERR__SSL && says_certificate(text))
        return ERROR_CONFIG;
    return kafka_error_class(code);
}

/*
 * What the library adds and nobody is helped by: numbers that change each time, and guesses that are wrong of every
 * broker of the last ten years (librdkafka 2.0.2, rdkafka_broker.c).
 */
static size_t length_without_remark(const char *text)
{
    static const char *const remarks[] = {" (after ", ": increase receive.message.max.bytes",
                                          " or broker version is < 0.10", ": might be caused by broker version < 0.10",
                                          ": probably due to broker version < 0.10"};
    size_t length = strlen(text);
    for (size_t i = 0; i < COUNT_OF(remarks); i++) {
        const char *remark = strstr(text, remarks[i]);
        if (remark && (size_t)(remark - text) < length)
            length = (size_t)(remark - text);
    }
    return length;
}

void reason_note_error(struct reason *reason, int code, const char *text)
{
    /* "All brokers are down" follows every cause and explains none. */
    if (reason->code != 0 && code == RD_KAFKA_RESP_ERR__ALL_BROKERS_DOWN)
        return;
    if (reason->code != 0 && class_of(reason->code, reason->text) == ERROR_CONFIG &&
        class_of(code, text) != ERROR_CONFIG)
        return;
    reason->code = code;
    snprintf(reason->text, sizeof reason->text, "%.*s", (int)length_without_remark(text), text);
}

void reason_note_log(struct reason *reason, int level, const char *text)
{
    log_debug("librdkafka", LOG_INT("severity", level), LOG_STR("text", text));
    if (level <= SYSLOG_ERROR)
        snprintf(reason->log, sizeof reason->log, "%s", text);
}

void reason_note(struct reason *reason, rd_kafka_event_t *event)
{
    const char *facility, *text;
    int level;
    switch (rd_kafka_event_type(event)) {
    case RD_KAFKA_EVENT_ERROR:
        reason_note_error(reason, rd_kafka_event_error(event), rd_kafka_event_error_string(event));
        break;
    case RD_KAFKA_EVENT_LOG:
        if (rd_kafka_event_log(event, &facility, &text, &level) == 0)
            reason_note_log(reason, level, text);
        break;
    default:
        break;
    }
}

void reason_serve(struct reason *reason, rd_kafka_queue_t *queue)
{
    for (rd_kafka_event_t *event = rd_kafka_queue_poll(queue, 0); event; event = rd_kafka_queue_poll(queue, 0)) {
        reason_note(reason, event);
        rd_kafka_event_destroy(event);
    }
}

enum error_class reason_class(const struct reason *reason)
{
    enum error_class class = reason->code ? class_of(reason->code, reason->text) : ERROR_RETRY;
    return class == ERROR_CONFIG || class == ERROR_RECONNECT || class == ERROR_INTEGRITY ? class : ERROR_RETRY;
}

enum error_class reason_timed_out(const struct reason *reason, struct error *error, const char *what,
                                  long long timeout_ms)
{
    const char *why = reason->code ? reason->text : reason->log;
    const char *code = reason->code ? kafka_error_name(reason->code) : "_TIMED_OUT";
    enum error_class class = reason_class(reason);
    error_set(error, class, code, why[0] ? "%s: no success within %lld ms: %s" : "%s: no success within %lld ms", what,
              timeout_ms, why);
    kafka_error_advise(error, reason->code ? reason->code : RD_KAFKA_RESP_ERR__TIMED_OUT);
    return class;
}
