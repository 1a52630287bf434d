#include "problems.h"

#include <limits.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include "text.h"

void problems_fini(struct problems *problems)
{
    for (size_t i = 0; i < problems->count; i++) {
        free(problems->items[i].source);
        free(problems->items[i].text);
    }
    problems->count = problems->left_out = 0;
}

void problems_add(struct problems *problems, struct where where, const char *format, ...)
{
    if (problems->count == PROBLEMS_MAX) {
        problems->left_out++;
        return;
    }
    char text[2048];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    problems->items[problems->count++] =
        (struct problem){text_copy(where.source), where.line, where.column, text_copy(text)};
}

static int compare(const void *left, const void *right)
{
    const struct problem *a = left, *b = right;
    int a_line = a->line ? a->line : INT_MAX, b_line = b->line ? b->line : INT_MAX;
    if (a_line != b_line)
        return a_line < b_line ? -1 : 1;
    return (a->column > b->column) - (a->column < b->column);
}

/* Insertion: stable, and there are few. */
void problems_sort(struct problems *problems)
{
    for (size_t i = 1; i < problems->count; i++) {
        struct problem item = problems->items[i];
        size_t at = i;
        for (; at > 0 && compare(&problems->items[at - 1], &item) > 0; at--)
            problems->items[at] = problems->items[at - 1];
        problems->items[at] = item;
    }
}

void problems_print(const struct problems *problems, const char *prefix, FILE *out)
{
    for (size_t i = 0; i < problems->count; i++) {
        const struct problem *problem = &problems->items[i];
        if (problem->line)
            fprintf(out, "%s%s:%d:%d: %s\n", prefix, problem->source, problem->line, problem->column, problem->text);
        else
            fprintf(out, "%s%s: %s\n", prefix, problem->source, problem->text);
    }
    if (problems->left_out)
        fprintf(out, "%s... and %zu more\n", prefix, problems->left_out);
}
