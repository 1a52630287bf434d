/*
 * A configuration before its meaning is known: a JSON tree from a file, with what the environment and the command
 * line put over it, and for each value where it was written.
 *
 * Order: file < environment < flag. ${...} is replaced in the file's string values (interpolate.h); values from
 * elsewhere are taken as they are. Thread: one at a time.
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
    DOCUMENT_OVERLAYS_MAX = 512,
};

struct document {
    const char *file; /* NULL: there is none. Borrowed */
    char *folder;     /* the file's, where relative ${file:...} begin; NULL: where we run */
    char *text;       /* the file's; NULL: it cannot be read */
    json_t *root;     /* an object, also after a failure */
    struct places places;
    size_t overlay_count;
    struct {
        char *pointer, *source;
    } overlays[DOCUMENT_OVERLAYS_MAX];
    size_t failed_count;
    char **failed; /* pointers of values that are known to have none, which was said */
};

/* False: no value of the file can be read (not there, no JSON); said in `problems`. */
MUST_CHECK bool document_open(struct document *document, const char *file, struct problems *problems);
void document_fini(struct document *document);

/* Puts a string over what is there; objects on the way are made. `source` is where it comes from, for messages. */
void document_put(struct document *document, const char *pointer, const char *value, const char *source,
                  struct problems *problems);

/* The value at `pointer` is there but cannot be had, and that was said: nothing more is to be said about it. */
void document_fail(struct document *document, const char *pointer);
bool document_failed(const struct document *document, const char *pointer);

/* Where the key (or the value) of `pointer` was written; of what is not there: its nearest parent. Borrows `pointer`.
 */
struct where document_where(const struct document *document, const char *pointer, bool key);

#endif
