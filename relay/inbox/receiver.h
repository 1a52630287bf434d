/*
 * A receiver: the thread of one inbox stream, with its own PostgreSQL session and its own consumer.
 *
 * It performs the action of the subscriber's state (core/subscriber.h decides, receiver_start.c and receiver_store.c
 * act), reports one event, and lets go what the subscriber says. While it waits it serves the group's membership. Its
 * struct belongs to its thread; others use the flags and the view, which has its own lock.
 */
#ifndef INBOX_RECEIVER_H
#define INBOX_RECEIVER_H

#include <pthread.h>
#include <stdatomic.h>

#include "base/log.h"
#include "core/subscriber.h"
#include "inbox/service.h"
#include "intake.h"
#include "kafka/consumer.h"
#include "pg/catalog.h"
#include "pg/store.h"
#include "receiver_view.h"
#include "subscriptions.h"

enum {
    RECEIVER_MAGIC = 0x696e6277,  /* "inbw" */
    RECEIVER_POLL_MS = 200,       /* the longest wait for messages at once: commands are seen so often */
    RECEIVER_ASK_MS_MAX = 5000,   /* for one answer of a broker while starting */
    RECEIVER_ENDS_MS_MAX = 1000,  /* for where the partitions of a full inbox end */
    RECEIVER_STATE_MS = 5000,     /* between reports to relay.status, offsets told to Kafka, looks at what waits */
    RECEIVER_LOOK_MS = 60000,     /* between looks whether partitions are still what they were [I5] */
    RECEIVER_WAITING_MS = 1000,   /* between looks at what waits in the inbox [I6] */
    RECEIVER_CLEAN_MS = 10000,    /* between looks at what is old enough to be removed */
    RECEIVER_CLEAN_MS_MIN = 200,  /* the same after a step, and for short retentions */
    RECEIVER_NOTIFY_GAP_MS = 100, /* between notifications of channel relay_inbox */
    RECEIVER_OWNER_MAX = 128,
};

/* A partition that the group gave us. */
struct receiver_source {
    char topic[CONSUMER_TOPIC_MAX + 1];
    int32_t partition;
    struct store_source store;
    struct store_witness moved; /* what the open batch makes of store.witness */
    struct error error;         /* it is stopped; class ERROR_NONE: it is read [I5] */
    bool checking;              /* read from its witness on, which was not seen yet */
    int64_t end;                /* its end as last reached: all before is fetched; 0: not yet */
    int64_t told;               /* the offset that Kafka was told last */
};

struct receiver {
    unsigned magic;
    struct subscriptions *subscriptions;         /* what it was started with, to its end */
    const struct inbox_service_options *service; /* in it */
    struct inbox_stream_options options;
    char stream[INBOX_STREAM_NAME_MAX]; /* "inbox/main" */
    char owner[RECEIVER_OWNER_MAX];     /* host and pid */
    char group_id[256];
    char application_name[160];

    pthread_t thread;
    atomic_bool ended, wake, stop;
    struct session_stop session_stop;
    struct receiver_view view;

    struct subscriber subscriber;
    struct session *session;
    bool session_stale; /* only to tell the state with: the next connection is a new one */
    struct store_inbox inbox;
    struct store_writer *writer;
    struct consumer *consumer;
    enum subscriber_state failed_during; /* the last failure */
    bool consumer_dead, missing;
    struct receiver_source *sources; /* by topic and partition */
    size_t source_count, last_source;
    struct fetch fetch;
    struct intake *intakes; /* of the fetch, in its order */
    size_t intake_count, intake_capacity;

    bool paused, full;
    int64_t notified_ms;   /* monotonic: the last notification */
    bool notify_due;       /* messages were committed since */
    int64_t reported_ms;   /* monotonic: the last report */
    int32_t newest_source; /* as last seen */
    int64_t clean_at_ms;   /* monotonic: when the next step of cleaning is due */
    int64_t counted_ms;    /* monotonic: the last look at what waits */
    int64_t looked_ms;     /* monotonic: the last receiver_look, or the start of reading */
    uint64_t stored_before;
    struct error error;              /* of the last failed action */
    char kafka_code[ERROR_CODE_MAX]; /* what stands in Kafka's way, as last shown; "": nothing */
    struct log_said said, kafka_said, missing_said;
    /* `run --once`: where the subscribed partitions ended when it was asked; another thread asks. */
    atomic_bool drain_asked, drain_done;
    struct consumer_partition *drain_ends;
    size_t drain_count;
};

/* `before`: the ended receiver whose counters it carries on; NULL: the stream's first. */
MUST_CHECK enum error_class receiver_start(struct subscriptions *subscriptions,
                                           const struct inbox_stream_options *options, struct receiver *before,
                                           struct receiver **out, struct error *error);

/* Thread: any. */
void receiver_request_stop(struct receiver *receiver, bool now);

/* An operator did something: a stopped inbox tries again now. Thread: any. */
void receiver_wake(struct receiver *receiver);

/* Joins and frees; after it has ended. */
void receiver_free(struct receiver **receiver);

/* The actions, one a state: ERROR_NONE or the class in receiver->error. */
enum error_class receiver_connect(struct receiver *receiver, bool *paused);
enum error_class receiver_join(struct receiver *receiver);
enum error_class receiver_first(struct receiver *receiver);
enum error_class receiver_assign(struct receiver *receiver);
enum error_class receiver_fetch(struct receiver *receiver, enum subscriber_event *event);
enum error_class receiver_store(struct receiver *receiver, bool *paused);

/* Reads the sources that are not stopped, from where they stand. */
MUST_CHECK enum error_class receiver_read(struct receiver *receiver);

/* Drops what was fetched. */
void receiver_drop_fetch(struct receiver *receiver);

/* Are the offsets in the database those of this instance, each of its partition's newest generation? Else FENCED. */
MUST_CHECK enum error_class receiver_compare(struct receiver *receiver);

/* Each minute: is what is in the database and in Kafka still what it was? FENCED: the offsets have to be taken over
 * again. */
MUST_CHECK enum error_class receiver_look(struct receiver *receiver);

/* Is the first record, or the end, found after a start of reading what it has to be? False: the source is stopped. */
bool receiver_check_witness(struct receiver *receiver, struct receiver_source *source, const struct message *message);
bool receiver_check_end(struct receiver *receiver, struct receiver_source *source, int64_t end);

/* What the fetch says could not be read: stops those partitions; the rest has to be read anew. */
void receiver_judge_failures(struct receiver *receiver);
void receiver_stop_source(struct receiver *receiver, struct receiver_source *source, const struct error *error);

/* The source of a partition; NULL: it is not ours. */
struct receiver_source *receiver_source_of(struct receiver *receiver, const char *topic, int32_t partition);

/*
 * Between batches, when nothing is fetched: sends a notification that is due, stores ends that were reached, and each
 * few seconds tells Kafka, relay.status and the view where the stream stands.
 */
MUST_CHECK enum error_class receiver_report(struct receiver *receiver);

/* Tells relay.status where the stream stands, if there is a session to do it with. */
void receiver_tell_state(struct receiver *receiver);

/* Sends a notification if one is due: at most ten a second. */
MUST_CHECK enum error_class receiver_notify(struct receiver *receiver);

#endif
