/*
 * What is wrong with a configuration, all of it at once: a bounded list, printed in the order of the file as
 *
 *   config.json:31:17: /outbox/main/topik: unknown key, did you mean "topics"?
 *
 * Thread: one at a time.
 */
#ifndef APP_PROBLEMS_H
#define APP_PROBLEMS_H

#include <stddef.h>
#include <stdio.h>

#include "base/attributes.h"

enum { PROBLEMS_MAX = 100 };

/* Where a value was written; line 0: not in a file's text (then `source` alone says where). */
struct where {
    const char *source; /* "config.json", "environment BOXRELAY_NAME", "--set" */
    int line, column;   /* from 1, in characters */
};

struct problem {
    char *source;
    int line, column;
    char *text;
};

struct problems {
    size_t count;
    size_t left_out; /* more than PROBLEMS_MAX were found */
    struct problem items[PROBLEMS_MAX];
};

void problems_fini(struct problems *problems);
void problems_add(struct problems *problems, struct where where, const char *format, ...) PRINTF_LIKE(3, 4);

/* By line and column; those without a line last. */
void problems_sort(struct problems *problems);

/* A line each. */
void problems_print(const struct problems *problems, const char *prefix, FILE *out);

#endif
