/*
 * What is wrong with a configuration, all of it at once: a bounded list, printed in the order of the file as
 *
 *   config.json:31:17: /outbox/main/topik: unknown key, did you mean "topics"?
 *     31 |   "main": { "topik": [] }
 *        |             ^
 *
 * Thread: one at a time.
 */
#ifndef APP_PROBLEMS_H
#define APP_PROBLEMS_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>

#include "base/attributes.h"
#include "excerpt.h"

enum { PROBLEMS_MAX = 100 };

/* Where a value was written; line 0: not in a file's text (then `source` alone says where). Everything is borrowed. */
struct where {
    const char *source; /* "config.json", "environment BOXRELAY_NAME", "--set" */
    int line, column;   /* from 1, in characters */
    const char *text;   /* the whole file, to show the line; NULL: not to be shown */
    bool broken;        /* the text is no JSON */
    const char *pointer;
};

struct problem {
    char *source, *pointer; /* pointer: of the value; may be NULL */
    int line, column;
    char *text;
    char *suggestion; /* what may have been meant; NULL: nothing is near */
    struct excerpt excerpt;
};

struct problems {
    size_t count;
    size_t left_out; /* more than PROBLEMS_MAX were found */
    struct problem items[PROBLEMS_MAX];
};

void problems_fini(struct problems *problems);

/* The message is "POINTER: text" where there is a pointer. */
void problems_add(struct problems *problems, struct where where, const char *format, ...) PRINTF_LIKE(3, 4);

/* The same; `suggestion` (NULL: none) ends the message as: did you mean "..."? */
void problems_suggest(struct problems *problems, struct where where, const char *suggestion, const char *format, ...)
    PRINTF_LIKE(4, 5);

/* By line and column; those without a line last. */
void problems_sort(struct problems *problems);

/* A line each, and under it the line of the file with the place marked. */
void problems_print(const struct problems *problems, const char *prefix, FILE *out);

/* The same as data: a list of objects. */
json_t *problems_json(const struct problems *problems);

#endif
