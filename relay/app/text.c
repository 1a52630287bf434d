#include "text.h"

#include <assert.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static _Noreturn void give_up(void)
{
    fputs("boxrelay: out of memory\n", stderr);
    abort();
}

void *text_memory(size_t count, size_t size)
{
    void *memory = calloc(count ? count : 1, size);
    if (!memory)
        give_up();
    return memory;
}

void *text_memory_again(void *memory, size_t count, size_t size)
{
    void *again = reallocarray(memory, count ? count : 1, size);
    if (!again)
        give_up();
    return again;
}

char *text_copy_n(const char *from, size_t length)
{
    char *copy = text_memory(length + 1, 1);
    memcpy(copy, from, length);
    return copy;
}

char *text_copy(const char *from) { return text_copy_n(from, strlen(from)); }

char *text_printf(const char *format, ...)
{
    char *out = NULL;
    va_list arguments;
    va_start(arguments, format);
    if (vasprintf(&out, format, arguments) < 0)
        give_up();
    va_end(arguments);
    return out;
}

void text_init(struct text *text, size_t max) { *text = (struct text){.max = max}; }

void text_fini(struct text *text)
{
    free(text->bytes);
    text_init(text, text->max);
}

void text_add_bytes(struct text *text, const char *more, size_t length)
{
    assert(text->length <= text->max);
    if (length > text->max - text->length) {
        length = text->max - text->length;
        text->cut = true;
    }
    if (text->length + length + 1 > text->size) {
        text->size = 2 * (text->length + length) + 64;
        text->bytes = text_memory_again(text->bytes, text->size, 1);
    }
    memcpy(text->bytes + text->length, more, length);
    text->length += length;
    text->bytes[text->length] = '\0';
}

void text_add(struct text *text, const char *more) { text_add_bytes(text, more, strlen(more)); }

void text_addf(struct text *text, const char *format, ...)
{
    char *more = NULL;
    va_list arguments;
    va_start(arguments, format);
    if (vasprintf(&more, format, arguments) < 0)
        give_up();
    va_end(arguments);
    text_add(text, more);
    free(more);
}

char *text_take(struct text *text)
{
    char *bytes = text->bytes ? text->bytes : text_copy("");
    text_init(text, text->max);
    return bytes;
}

bool text_starts(const char *text, const char *with) { return strncmp(text, with, strlen(with)) == 0; }

bool text_ends(const char *text, const char *with)
{
    size_t length = strlen(text), end = strlen(with);
    return length >= end && strcmp(text + length - end, with) == 0;
}

bool text_word_of(const char *words, const char *word, size_t *index)
{
    size_t length = strlen(word), at = 0;
    for (const char *start = words; *start; at++) {
        size_t span = strcspn(start, "|");
        if (span == length && strncmp(start, word, span) == 0) {
            *index = at;
            return true;
        }
        start += span + (start[span] == '|');
    }
    return false;
}
