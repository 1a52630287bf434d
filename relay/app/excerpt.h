/*
 * The line of a text that a mistake is in, ready to be printed with a caret under the place.
 *
 * Made for any bytes: tabs are one space, what is no printable UTF-8 is "?", a long line is cut around the place, and
 * values of keys that may hold a password are "***". The caret counts columns of a terminal, so wide and combining
 * characters move it as they move the text. Thread: any.
 */
#ifndef APP_EXCERPT_H
#define APP_EXCERPT_H

#include <stdbool.h>
#include <stddef.h>

enum { EXCERPT_COLUMNS_MAX = 100 };

struct excerpt {
    char *line;   /* owned; NULL: there is no such line */
    size_t caret; /* columns before it */
};

/* `line` and `column` from 1, in characters; `valid`: the text is JSON, so strings end where they seem to. */
struct excerpt excerpt_of(const char *text, int line, int column, bool valid);
void excerpt_fini(struct excerpt *excerpt);

#endif
