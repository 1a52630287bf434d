/*
 * Text that grows up to a maximum, and memory that is there or ends the program.
 *
 * The app room allocates little (settings at start, a page per request); where even that fails nothing sensible is
 * left to do, so the helpers here never return NULL. Thread: any, each text by one thread.
 */
#ifndef APP_TEXT_H
#define APP_TEXT_H

#include <stdbool.h>
#include <stddef.h>

#include "base/attributes.h"

struct text {
    char *bytes; /* NUL-terminated once something was added; NULL before */
    size_t length, size, max;
    bool cut; /* something did not fit below `max` and was left out */
};

void text_init(struct text *text, size_t max);
void text_fini(struct text *text);
void text_add(struct text *text, const char *more);
void text_add_bytes(struct text *text, const char *more, size_t length);
void text_addf(struct text *text, const char *format, ...) PRINTF_LIKE(2, 3);

/* Gives the bytes ("" when empty), to be freed by the caller; the text is empty afterwards. */
char *text_take(struct text *text);

/* Zeroed; never NULL. */
void *text_memory(size_t count, size_t size);
void *text_memory_again(void *memory, size_t count, size_t size);
char *text_copy(const char *from);
char *text_copy_n(const char *from, size_t length);
char *text_printf(const char *format, ...) PRINTF_LIKE(1, 2);

bool text_starts(const char *text, const char *with);
bool text_ends(const char *text, const char *with);

/* Is `word` one of "a|b|c"? *index counts from 0. */
bool text_word_of(const char *words, const char *word, size_t *index);

#endif
