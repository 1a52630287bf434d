/*
 * The configuration, read once: defaults < file < environment < flags. Immutable after settings_load; a reload loads
 * another one and compares. Shared by those who use it, gone with the last. Thread: any once loaded.
 */
#ifndef APP_SETTINGS_H
#define APP_SETTINGS_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "inbox/service.h"
#include "kafka/client.h"
#include "option.h"
#include "outbox/service.h"
#include "problems.h"

enum { SETTINGS_PROPERTIES_MAX = 256, SETTINGS_TOPICS_MAX = 1000 };

struct settings_property {
    enum kafka_scope scope;
    char *name, *value;
};

/* Where a value was written; line 0: not in a file's text ("environment BOXRELAY_NAME", "--set /name"). */
struct settings_origin {
    char *pointer, *source;
    int line, column;
};

struct settings {
    atomic_size_t users;
    char *name, *instance_id, *postgres; /* instance_id may be NULL */
    char *positions_topic;
    int32_t positions_replication_factor;
    bool positions_accept_weak;
    char *http_listen;
    bool ready_requires_kafka, health_spring;
    int32_t log_format, log_level; /* enum log_format, enum log_level */
    struct kafka_settings *kafka;
    size_t property_count; /* as written, to compare and to show what is no secret */
    struct settings_property properties[SETTINGS_PROPERTIES_MAX];
    bool outbox_on; /* false: "outbox": {} */
    size_t outbox_count;
    struct outbox_stream_options outboxes[OUTBOX_STREAMS_MAX];
    size_t inbox_count; /* none by default */
    struct inbox_stream_options inboxes[INBOX_STREAMS_MAX];
    size_t origin_count;
    struct settings_origin *origins; /* of everything that was written, in the order in which it was read */
};

/* What a command cannot do without; the rest may be missing, but what is there has to be right. */
enum settings_need { SETTINGS_NEED_NOTHING, SETTINGS_NEED_POSTGRES, SETTINGS_NEED_ALL };

struct settings_source {
    const char *file;               /* NULL: none */
    const char *const *environment; /* as environ */
    const char *const *assignments; /* "/http/listen=off" of --set */
    size_t assignment_count;
    enum settings_need need;
};

/*
 * Loads; true: *out is the caller's. False: what is wrong is in `problems`, all of it. `warnings` gets what is
 * suspicious but no error: environment variables of ours that are no option.
 */
MUST_CHECK bool settings_load(const struct settings_source *source, struct settings **out, struct problems *problems,
                              struct problems *warnings);
/* One more user, who has to free it too. */
struct settings *settings_share(struct settings *settings);

/* Lets go; sets NULL. */
void settings_free(struct settings **settings);

/* Where the value of `pointer` was written; NULL: nowhere, it is the default. */
const struct settings_origin *settings_origin(const struct settings *settings, const char *pointer);

/* As it was written in this scope; NULL: it was not. */
const struct settings_property *settings_property(const struct settings *settings, enum kafka_scope scope,
                                                  const char *name);

/* Calls changed() for each value that differs, with its path: "/outbox/main/retention", "/kafka/linger.ms". */
typedef void settings_changed(void *opaque, const struct option *option, const char *path);
void settings_compare(const struct settings *a, const struct settings *b, settings_changed *changed, void *opaque);

/* bootstrap.servers as configured; "" when it is missing. */
const char *settings_bootstrap(const struct settings *settings);

/* The options of outbox `name` in `settings`, made with its defaults if new; NULL: no room for one more. */
struct outbox_stream_options *settings_outbox(struct settings *settings, const char *name);

/* The same of inbox `name`. */
struct inbox_stream_options *settings_inbox(struct settings *settings, const char *name);

/* Frees the texts of an option that is a list, in the struct that it is stored in; it is empty then. */
void settings_list_free(const struct option *option, void *base);

/* Fills what a service is started with; everything in it is borrowed from `settings`. */
void settings_outbox_service(const struct settings *settings, struct outbox_service_options *options);
void settings_inbox_service(const struct settings *settings, struct inbox_service_options *options);

#endif
