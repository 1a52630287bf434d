/*
 * A configuration before its meaning is known: a JSON tree from a file, with what the environment and the command
 * line put over it, and for each value where it was written.
 *
 * Order: file < environment < flag. `${VAR}`, `${VAR:-default}` and `${file:PATH}` are replaced in the file's string
 * values ("$${" stands for "${"); values from elsewhere are taken as they are. Thread: one at a time.
 */
#ifndef APP_DOCUMENT_H
#define APP_DOCUMENT_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>

#include "places.h"
#include "problems.h"

enum {
    DOCUMENT_BYTES_MAX = 1 << 20,
    DOCUMENT_INCLUDED_BYTES_MAX = 1 << 16, /* of a ${file:...} or ..._FILE */
    DOCUMENT_OVERLAYS_MAX = 512,
};

struct document {
    const char *file; /* NULL: there is none. Borrowed */
    json_t *root;     /* an object, also after a failure */
    struct places places;
    size_t overlay_count;
    struct {
        char *pointer, *source;
    } overlays[DOCUMENT_OVERLAYS_MAX];
};

/* False: no value of the file can be read (not there, no JSON); said in `problems`. */
MUST_CHECK bool document_open(struct document *document, const char *file, struct problems *problems);
void document_fini(struct document *document);

/* Puts a string over what is there; objects on the way are made. `source` is where it comes from, for messages. */
void document_put(struct document *document, const char *pointer, const char *value, const char *source,
                  struct problems *problems);

/* Where the key (or the value) of `pointer` was written; of what is not there: its nearest parent. */
struct where document_where(const struct document *document, const char *pointer, bool key);

/* A file's bytes without the line ends at its end; NULL and *why when it cannot be read or is larger than `max`. */
char *document_read_file(const char *path, size_t max, char why[256]);

/* All ${...} of `from` replaced; NULL and *why when one cannot be. */
char *document_expand(const char *from, char why[512]);

#endif
