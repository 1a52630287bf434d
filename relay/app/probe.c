#include "probe.h"

#include <errno.h>
#include <netdb.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

#include "names.h"
#include "text.h"

static enum error_class refuse(struct error *error, const char *listen, const char *why)
{
    error_set(error, ERROR_RECONNECT, "NO_ANSWER", "no relay answers at %s: %s", listen, why);
    return error_hint(error, "see that boxrelay run is up with the same /http/listen");
}

static int connect_to(const struct addrinfo *address)
{
    struct timeval timeout = {.tv_sec = PROBE_TIMEOUT_S};
    int fd = socket(address->ai_family, address->ai_socktype | SOCK_CLOEXEC, address->ai_protocol);
    if (fd < 0)
        return -1;
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &timeout, sizeof timeout);
    setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &timeout, sizeof timeout);
    if (connect(fd, address->ai_addr, address->ai_addrlen) == 0)
        return fd;
    int saved = errno;
    close(fd);
    errno = saved;
    return -1;
}

/* A relay that listens on all addresses is asked on the loopback. */
static enum error_class open_socket(const char *listen, int *fd, struct error *error)
{
    char host[NAMES_HOST_MAX + 1], port[6];
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM}, *found = NULL;
    names_listen_split(listen, host, port);
    bool any = !host[0] || strcmp(host, "*") == 0 || strcmp(host, "0.0.0.0") == 0;
    const char *to = any ? "127.0.0.1" : strcmp(host, "::") == 0 ? "::1" : host;
    int failed = getaddrinfo(to, port, &hints, &found);
    if (failed)
        return refuse(error, listen, gai_strerror(failed));
    *fd = connect_to(found);
    int saved = errno;
    freeaddrinfo(found);
    return *fd < 0 ? refuse(error, listen, strerror(saved)) : ERROR_NONE;
}

static enum error_class read_all(int fd, const char *listen, struct text *answer, struct error *error)
{
    char part[4096];
    for (;;) {
        ssize_t length = recv(fd, part, sizeof part, 0);
        if (length < 0)
            return refuse(error, listen, strerror(errno));
        if (length == 0)
            return ERROR_NONE;
        text_add_bytes(answer, part, (size_t)length);
    }
}

enum error_class probe_get(const char *listen, const char *path, int *status, char **body, struct error *error)
{
    int fd = -1;
    struct text answer;
    char request[256];
    if (open_socket(listen, &fd, error) != ERROR_NONE)
        return error->class;
    text_init(&answer, PROBE_BYTES_MAX);
    int length = snprintf(request, sizeof request, "GET %s HTTP/1.0\r\nHost: localhost\r\n\r\n", path);
    if (send(fd, request, (size_t)length, MSG_NOSIGNAL) != length) {
        refuse(error, listen, strerror(errno));
        goto out;
    }
    if (read_all(fd, listen, &answer, error) != ERROR_NONE)
        goto out;
    const char *start = answer.bytes ? strstr(answer.bytes, "\r\n\r\n") : NULL;
    if (!start || sscanf(answer.bytes, "HTTP/1.%*d %d", status) != 1) {
        refuse(error, listen, "what answers there is no relay");
        goto out;
    }
    *body = text_copy(start + 4);
    error->class = ERROR_NONE;
out:
    close(fd);
    text_fini(&answer);
    return error->class;
}
