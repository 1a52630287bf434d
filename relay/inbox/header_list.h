/* The headers of one message, and how a row holds them. Thread: the stream's receiver. */
#ifndef INBOX_HEADER_LIST_H
#define INBOX_HEADER_LIST_H

#include "intake.h"

struct header {
    const char *name;
    const char *value; /* NULL: a header without value */
    size_t size;
};

struct header_list {
    struct header headers[INTAKE_HEADERS_MAX]; /* in their order; they borrow from the message */
    size_t count;
    bool truncated; /* there are more, or too many bytes of them */
};

void header_list_read(const struct message *message, struct header_list *list);

/* The last one of this name, as most readers take it; NULL: none. */
const struct header *header_find(const struct header_list *list, const char *name, size_t length);

/*
 * *text: a JSON object of the headers with text, the last of each name. *exact: a JSON array of [name, value in base64
 * or null], all of them in their order; NULL where *text loses nothing. The caller frees both.
 */
void header_list_render(const struct header_list *list, char **text, char **exact);

#endif
