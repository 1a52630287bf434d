/*
 * Everything that health, metrics and status pages are made from, as it was at one moment. A plain copy: pages are
 * rendered from it without locks, and unit tests fill it by hand. Thread: any.
 */
#ifndef APP_OVERVIEW_H
#define APP_OVERVIEW_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "certificate.h"
#include "services.h"

enum { OVERVIEW_STUCK_MS = 120000 }; /* a loop without progress for so long is not live: twice the longest commit */

struct overview_process {
    double cpu_seconds, start_seconds; /* user and system; since 1970 */
    int64_t resident_bytes, virtual_bytes;
    int64_t open_fds, max_fds; /* -1: not known */
};

struct overview {
    const char *name; /* the relay's */
    const char *version, *library_version;
    int64_t now_ms, beat_ms; /* monotonic: now, and the main loop's last beat */
    bool started, stopping;
    bool ready_requires_kafka, health_spring;
    bool reload_success; /* the last reading of the configuration */
    struct overview_process process;
    size_t certificate_count;
    struct certificate_file certificates[CERTIFICATE_FILES_MAX];
    bool outbox_on;
    /* What the outbox service knows of the whole instance. While it is off, the same as far as inboxes know it: one
     * that has reached a server stands for all. The schema has to be right for every one of them. */
    struct outbox_service_view service;
    size_t stream_count;
    struct outbox_stream_view *streams; /* owned */
    size_t inbox_count;
    struct inbox_stream_view *inboxes; /* owned */
};

/* Fills service, streams and inboxes. */
void overview_take(struct overview *overview, struct services *services);

/* Brings what the inboxes know into `service`; a part of overview_take. */
void overview_judge(struct overview *overview);
void overview_take_process(struct overview *overview);
void overview_fini(struct overview *overview);

#endif
