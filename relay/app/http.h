/*
 * The HTTP pages: health, metrics, status. GET and HEAD only; its own thread (libmicrohttpd's), which renders each
 * page from an overview taken at that moment, so it answers whatever the main loop, PostgreSQL and Kafka do.
 * Bounds: HTTP_CONNECTIONS_MAX connections, HTTP_TIMEOUT_S of silence.
 */
#ifndef APP_HTTP_H
#define APP_HTTP_H

#include "base/error.h"
#include "overview.h"

enum { HTTP_CONNECTIONS_MAX = 64, HTTP_TIMEOUT_S = 10, HTTP_CONNECTION_BYTES = 16384 };

struct http_options {
    const char *listen;                                    /* names_listen's form, not "off" */
    void (*take)(void *opaque, struct overview *overview); /* called in the HTTP thread; zeroed before */
    void *opaque;
};

struct http;

/* CONFIG when the address cannot be listened on. `address` gets what was bound: "127.0.0.1:8090". */
MUST_CHECK enum error_class http_open(const struct http_options *options, char address[128], struct http **out,
                                      struct error *error);
void http_close(struct http **http);

#endif
