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
#include "outbox/service.h"

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
    struct outbox_service_view service;
    size_t stream_count;
    struct outbox_stream_view *streams; /* owned */
};

/* Fills service and streams; NULL: the service is not started yet. */
void overview_take(struct overview *overview, struct outbox_service *service);
void overview_take_process(struct overview *overview);
void overview_fini(struct overview *overview);

#endif
