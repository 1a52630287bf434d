#include "http.h"

#include <errno.h>
#include <microhttpd.h>
#include <netdb.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "accept.h"
#include "health.h"
#include "metrics.h"
#include "names.h"
#include "text.h"

struct http {
    struct MHD_Daemon *daemon;
    struct http_options options;
};

struct page {
    char *body; /* malloc'ed */
    unsigned status;
    const char *type;
};

#define TYPE_JSON "application/json"
#define TYPE_TEXT "text/plain; charset=utf-8"

struct request {
    const struct route *route;
    const struct overview *overview;
    const char *accept; /* may be NULL */
    bool verbose;
};

struct route {
    const char *path;
    struct page (*render)(const struct request *request);
    enum health_page page;
    enum health_form form;
};

static struct page health(const struct request *request)
{
    static const char *const spring_types[] = {"application/vnd.spring-boot.actuator.v3+json", TYPE_JSON};
    enum health_form form = request->route->form;
    bool up;
    const char *type = TYPE_JSON;
    if (form == HEALTH_SPRING)
        type = spring_types[accept_choose(request->accept, spring_types, COUNT_OF(spring_types))];
    if (form == HEALTH_KUBERNETES) {
        type = TYPE_TEXT;
        form = request->verbose ? HEALTH_VERBOSE : form;
    }
    char *body = health_render(request->overview, request->route->page, form, &up);
    return (struct page){body, up ? MHD_HTTP_OK : MHD_HTTP_SERVICE_UNAVAILABLE, type};
}

static struct page status(const struct request *request)
{
    return (struct page){health_render_status(request->overview), MHD_HTTP_OK, TYPE_JSON};
}

static struct page metrics(const struct request *request)
{
    static const char *const types[] = {"text/plain", "application/openmetrics-text"};
    bool openmetrics = accept_choose(request->accept, types, COUNT_OF(types)) == 1;
    return (struct page){metrics_render(request->overview, openmetrics), MHD_HTTP_OK,
                         openmetrics ? "application/openmetrics-text; version=1.0.0; charset=utf-8"
                                     : "text/plain; version=0.0.4; charset=utf-8"};
}

static const struct route routes[] = {
    {"/health/live", health, HEALTH_LIVE, HEALTH_CONFIGURED},
    {"/health/ready", health, HEALTH_READY, HEALTH_CONFIGURED},
    {"/health/started", health, HEALTH_STARTED, HEALTH_CONFIGURED},
    {"/health", health, HEALTH_ALL, HEALTH_CONFIGURED},
    {"/livez", health, HEALTH_LIVE, HEALTH_KUBERNETES},
    {"/readyz", health, HEALTH_READY, HEALTH_KUBERNETES},
    {"/actuator/health", health, HEALTH_ALL, HEALTH_SPRING},
    {"/actuator/health/liveness", health, HEALTH_LIVE, HEALTH_SPRING},
    {"/actuator/health/readiness", health, HEALTH_READY, HEALTH_SPRING},
    {.path = "/metrics", .render = metrics},
    {.path = "/status", .render = status},
};

static struct page not_found(void)
{
    struct text body;
    text_init(&body, 1024);
    text_add(&body, "no such page; there are");
    for (size_t i = 0; i < COUNT_OF(routes); i++)
        text_addf(&body, " %s", routes[i].path);
    text_add(&body, "\n");
    return (struct page){text_take(&body), MHD_HTTP_NOT_FOUND, TYPE_TEXT};
}

static struct page render(const struct http *http, const char *url, struct request *request)
{
    for (size_t i = 0; i < COUNT_OF(routes); i++) {
        if (strcmp(url, routes[i].path) != 0)
            continue;
        struct overview *overview = text_memory(1, sizeof *overview);
        http->options.take(http->options.opaque, overview);
        request->route = &routes[i];
        request->overview = overview;
        struct page page = routes[i].render(request);
        overview_fini(overview);
        free(overview);
        return page;
    }
    return not_found();
}

static enum MHD_Result answer(struct MHD_Connection *connection, struct page page)
{
    if (!page.body)
        return MHD_NO;
    struct MHD_Response *response =
        MHD_create_response_from_buffer(strlen(page.body), page.body, MHD_RESPMEM_MUST_FREE);
    if (!response) {
        free(page.body);
        return MHD_NO;
    }
    MHD_add_response_header(response, MHD_HTTP_HEADER_CONTENT_TYPE, page.type);
    MHD_add_response_header(response, MHD_HTTP_HEADER_CACHE_CONTROL, "no-store");
    if (page.status == MHD_HTTP_METHOD_NOT_ALLOWED)
        MHD_add_response_header(response, MHD_HTTP_HEADER_ALLOW, "GET, HEAD");
    enum MHD_Result result = MHD_queue_response(connection, page.status, response);
    MHD_destroy_response(response);
    return result;
}

/* libmicrohttpd calls it first with the headers alone, then for the body: the second time it is answered. */
static enum MHD_Result handle(void *opaque, struct MHD_Connection *connection, const char *url, const char *method,
                              const char *version, const char *upload, size_t *upload_size, void **state)
{
    static int seen;
    (void)version;
    (void)upload;
    if (strcmp(method, MHD_HTTP_METHOD_GET) != 0 && strcmp(method, MHD_HTTP_METHOD_HEAD) != 0)
        return answer(connection,
                      (struct page){text_copy("only GET and HEAD\n"), MHD_HTTP_METHOD_NOT_ALLOWED, TYPE_TEXT});
    if (*upload_size > 0)
        return MHD_NO;
    if (!*state) {
        *state = &seen;
        return MHD_YES;
    }
    static const char verbose[] = "verbose"; /* "?verbose" has no value, so it is asked for by length */
    struct request request = {
        .accept = MHD_lookup_connection_value(connection, MHD_HEADER_KIND, MHD_HTTP_HEADER_ACCEPT),
        .verbose = MHD_lookup_connection_value_n(connection, MHD_GET_ARGUMENT_KIND, verbose, strlen(verbose), NULL,
                                                 NULL) == MHD_YES,
    };
    return answer(connection, render(opaque, url, &request));
}

static int listen_on(const struct addrinfo *address)
{
    int on = 1;
    int fd = socket(address->ai_family, address->ai_socktype | SOCK_CLOEXEC, address->ai_protocol);
    if (fd < 0)
        return -1;
    if (setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on) == 0 &&
        bind(fd, address->ai_addr, address->ai_addrlen) == 0 && listen(fd, HTTP_CONNECTIONS_MAX) == 0)
        return fd;
    int saved = errno;
    close(fd);
    errno = saved;
    return -1;
}

static void name_address(int fd, char address[128])
{
    struct sockaddr_storage bound;
    socklen_t size = sizeof bound;
    char host[100], port[8];
    if (getsockname(fd, (struct sockaddr *)&bound, &size) != 0 ||
        getnameinfo((struct sockaddr *)&bound, size, host, sizeof host, port, sizeof port,
                    NI_NUMERICHOST | NI_NUMERICSERV) != 0)
        snprintf(address, 128, "unknown");
    else
        snprintf(address, 128, strchr(host, ':') ? "[%s]:%s" : "%s:%s", host, port);
}

static const char *hint_for(int failure)
{
    switch (failure) {
    case EADDRINUSE:
        return "another process (another boxrelay?) has the port; choose one by /http/listen or BOXRELAY_HTTP_LISTEN, "
               "or "
               "turn it off with \"off\"";
    case EADDRNOTAVAIL:
        return "this machine has no such address; 127.0.0.1 is for itself only, 0.0.0.0 means all it has";
    case EACCES:
        return "ports below 1024 are for root: choose a higher one by /http/listen or BOXRELAY_HTTP_LISTEN";
    default:
        return "correct /http/listen, or turn it off with \"off\"";
    }
}

/* The socket is bound here, not by the library, for the sake of a message that says why it failed. */
static enum error_class bind_address(const char *listen_text, int *fd, struct error *error)
{
    char host[NAMES_HOST_MAX + 1], port[6];
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_flags = AI_PASSIVE}, *found = NULL;
    names_listen_split(listen_text, host, port);
    int failed = getaddrinfo(host[0] && strcmp(host, "*") != 0 ? host : NULL, port, &hints, &found);
    if (failed) {
        error_set(error, ERROR_CONFIG, "LISTEN", "cannot listen on %s: %s", listen_text, gai_strerror(failed));
        return error_hint(error, "correct /http/listen, or turn it off with \"off\"");
    }
    *fd = listen_on(found);
    int saved = errno;
    freeaddrinfo(found);
    if (*fd >= 0)
        return ERROR_NONE;
    error_set(error, ERROR_CONFIG, "LISTEN", "cannot listen on %s: %s", listen_text, strerror(saved));
    return error_hint(error, "%s", hint_for(saved));
}

enum error_class http_open(const struct http_options *options, char address[128], struct http **out,
                           struct error *error)
{
    int fd = -1;
    if (bind_address(options->listen, &fd, error) != ERROR_NONE)
        return error->class;
    name_address(fd, address);
    struct http *http = text_memory(1, sizeof *http);
    http->options = *options;
    http->daemon = MHD_start_daemon(
        MHD_USE_INTERNAL_POLLING_THREAD | MHD_USE_AUTO, 0, NULL, NULL, handle, http, MHD_OPTION_LISTEN_SOCKET, fd,
        MHD_OPTION_CONNECTION_LIMIT, (unsigned)HTTP_CONNECTIONS_MAX, MHD_OPTION_CONNECTION_TIMEOUT,
        (unsigned)HTTP_TIMEOUT_S, MHD_OPTION_CONNECTION_MEMORY_LIMIT, (size_t)HTTP_CONNECTION_BYTES, MHD_OPTION_END);
    if (!http->daemon) {
        close(fd);
        free(http);
        return error_set(error, ERROR_CONFIG, "LISTEN", "cannot serve HTTP on %s", options->listen);
    }
    *out = http;
    return ERROR_NONE;
}

void http_close(struct http **http)
{
    if (!*http)
        return;
    MHD_stop_daemon((*http)->daemon);
    free(*http);
    *http = NULL;
}
