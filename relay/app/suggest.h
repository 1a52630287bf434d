/* "did you mean": the nearest of some words. Thread: any. */
#ifndef APP_SUGGEST_H
#define APP_SUGGEST_H

#include <stddef.h>

enum { SUGGEST_WORD_MAX = 64 }; /* longer words get no suggestion */

struct suggest {
    const char *word; /* what was written */
    const char *best; /* the nearest so far; NULL: none near enough */
    size_t distance;
};

/* Start with {.word = ...}, offer each candidate (borrowed), read best. */
void suggest_offer(struct suggest *suggest, const char *candidate);

#endif
