#include "problems.h"

#include <limits.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include "say.h"
#include "text.h"

void problems_fini(struct problems *problems)
{
    for (size_t i = 0; i < problems->count; i++) {
        struct problem *problem = &problems->items[i];
        free(problem->source);
        free(problem->pointer);
        free(problem->text);
        free(problem->suggestion);
        excerpt_fini(&problem->excerpt);
    }
    problems->count = problems->left_out = 0;
}

static void add(struct problems *problems, struct where where, const char *suggestion, const char *format,
                va_list arguments) __attribute__((format(printf, 4, 0)));
static void add(struct problems *problems, struct where where, const char *suggestion, const char *format,
                va_list arguments)
{
    char text[2048];
    if (problems->count == PROBLEMS_MAX) {
        problems->left_out++;
        return;
    }
    vsnprintf(text, sizeof text, format, arguments);
    struct problem *problem = &problems->items[problems->count++];
    *problem = (struct problem){.source = text_copy(where.source), .line = where.line, .column = where.column};
    problem->pointer = where.pointer ? text_copy(where.pointer) : NULL;
    problem->suggestion = suggestion ? text_copy(suggestion) : NULL;
    problem->text =
        text_printf("%s%s%s%s%s%s", where.pointer ? where.pointer : "", where.pointer ? ": " : "", text,
                    suggestion ? ", did you mean \"" : "", suggestion ? suggestion : "", suggestion ? "\"?" : "");
    if (where.text && where.line)
        problem->excerpt = excerpt_of(where.text, where.line, where.column, !where.broken);
}

void problems_add(struct problems *problems, struct where where, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    add(problems, where, NULL, format, arguments);
    va_end(arguments);
}

void problems_suggest(struct problems *problems, struct where where, const char *suggestion, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    add(problems, where, suggestion, format, arguments);
    va_end(arguments);
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

static void print_excerpt(const struct problem *problem, FILE *out)
{
    fprintf(out, "%5d | %s\n", problem->line, problem->excerpt.line);
    fprintf(out, "      | %*s%s^%s\n", (int)problem->excerpt.caret, "", say_style(out, SAY_BAD),
            say_style(out, SAY_PLAIN));
}

void problems_print(const struct problems *problems, const char *prefix, FILE *out)
{
    const char *bold = say_style(out, SAY_BOLD), *plain = say_style(out, SAY_PLAIN);
    for (size_t i = 0; i < problems->count; i++) {
        const struct problem *problem = &problems->items[i];
        fprintf(out, "%s%s%s", prefix, bold, problem->source);
        if (problem->line)
            fprintf(out, ":%d:%d", problem->line, problem->column);
        fprintf(out, ":%s %s\n", plain, problem->text);
        if (problem->excerpt.line)
            print_excerpt(problem, out);
    }
    if (problems->left_out)
        fprintf(out, "%s... and %zu more\n", prefix, problems->left_out);
}

static json_t *problem_json(const struct problem *problem)
{
    json_t *item = json_object();
    json_object_set_new(item, "source", json_string(problem->source));
    if (problem->line) {
        json_object_set_new(item, "line", json_integer(problem->line));
        json_object_set_new(item, "column", json_integer(problem->column));
    }
    if (problem->pointer)
        json_object_set_new(item, "pointer", json_string(problem->pointer));
    json_object_set_new(item, "text", json_string(problem->text));
    if (problem->suggestion)
        json_object_set_new(item, "suggestion", json_string(problem->suggestion));
    if (problem->excerpt.line) {
        json_object_set_new(item, "excerpt", json_string(problem->excerpt.line));
        json_object_set_new(item, "caret", json_integer((json_int_t)problem->excerpt.caret));
    }
    return item;
}

json_t *problems_json(const struct problems *problems)
{
    json_t *list = json_array();
    for (size_t i = 0; i < problems->count; i++)
        json_array_append_new(list, problem_json(&problems->items[i]));
    return list;
}
