/*
 * Where each value of a JSON text stands: JSON pointer (RFC 6901) to line and column of its key and its value.
 *
 * Reads only text that jansson has accepted, so it checks nothing. Deeper than PLACES_DEPTH_MAX is not listed.
 * Thread: any.
 */
#ifndef APP_PLACES_H
#define APP_PLACES_H

#include <stdbool.h>
#include <stddef.h>

enum { PLACES_DEPTH_MAX = 8, PLACES_MAX = 4000 };

struct spot {
    int line, column; /* from 1; columns count characters, not bytes */
};

struct place {
    char *pointer;
    struct spot key; /* of an array's element: as value */
    struct spot value;
    bool duplicate; /* its object has had this key before */
};

struct places {
    size_t count, size;
    struct place *items;
};

/* Takes `text` of `length` bytes; at most PLACES_MAX places, the rest is left out. */
void places_scan(struct places *places, const char *text, size_t length);
void places_fini(struct places *places);

/* The last one with this pointer, as jansson keeps the last of duplicates; NULL: not in the text. */
const struct place *places_find(const struct places *places, const char *pointer);

/* `parent`/`key` with the key's "~" and "/" escaped; to be freed. */
char *places_pointer(const char *parent, const char *key);

#endif
