#include "overlay.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "interpolate.h"
#include "option.h"
#include "suggest.h"
#include "text.h"

#define PREFIX "BOXRELAY_"

/* A variable's part of a pattern's "*": lower case; dots stand where a librdkafka property has them. */
static char *middle(const char *from, size_t length, bool dots)
{
    char *name = text_copy_n(from, length);
    for (char *c = name; *c; c++)
        *c = dots && *c == '_' ? '.' : (char)tolower((unsigned char)*c);
    return name;
}

/* The pointer if `name` is the variable of this option; *literal: how much of it is not the "*". */
static char *pointer_of(const struct option *option, const char *name, size_t *literal)
{
    char variable[128];
    option_environment(option, variable, sizeof variable);
    char *open = strchr(variable, '<');
    if (!open) {
        *literal = strlen(variable);
        return strcmp(variable, name) == 0 ? text_copy(option->path) : NULL;
    }
    const char *after = strchr(open, '>') + 1;
    *open = '\0';
    size_t before = strlen(variable), rest = strlen(after), length = strlen(name);
    *literal = before + rest;
    if (!text_starts(name, variable) || !text_ends(name, after) || length <= before + rest)
        return NULL;
    char *word = middle(name + before, length - before - rest, option->type == OPTION_PROPERTY);
    const char *star = strchr(option->path, '*');
    char *pointer = text_printf("%.*s%s%s", (int)(star - option->path), option->path, word, star + 1);
    free(word);
    return pointer;
}

/* The most literal match: BOXRELAY_KAFKA_PRODUCER_X is /kafka/producer/x, not /kafka/producer.x. */
char *overlay_pointer(const char *name)
{
    char *best = NULL;
    size_t best_literal = 0;
    for (size_t i = 0; i < option_count; i++) {
        size_t literal;
        char *pointer = option_table[i].type == OPTION_IGNORED ? NULL : pointer_of(&option_table[i], name, &literal);
        if (pointer && (!best || literal > best_literal)) {
            free(best);
            best = pointer;
            best_literal = literal;
        } else {
            free(pointer);
        }
    }
    return best;
}

/* Read elsewhere, or put there by Kubernetes for a service named boxrelay. */
static bool known_elsewhere(const char *name)
{
    static const char *const names[] = {"BOXRELAY_CONFIG", "BOXRELAY_FAILPOINTS", "BOXRELAY_PLANTED"};
    for (size_t i = 0; i < COUNT_OF(names); i++)
        if (strcmp(name, names[i]) == 0)
            return true;
    return text_starts(name, "BOXRELAY_PORT") || text_starts(name, "BOXRELAY_SERVICE_") ||
           text_starts(name, "BOXRELAY_FAULT_");
}

static void warn_unknown(const char *name, struct problems *warnings)
{
    char best[128] = "", variable[128];
    struct suggest suggest = {.word = name};
    if (known_elsewhere(name))
        return;
    for (size_t i = 0; i < option_count; i++) {
        if (option_table[i].type == OPTION_IGNORED || option_table[i].type == OPTION_REFUSED)
            continue;
        option_environment(&option_table[i], variable, sizeof variable);
        suggest_offer(&suggest, variable);
        if (suggest.best == variable)
            suggest.best = memcpy(best, variable, strlen(variable) + 1);
    }
    struct where where = {.source = "environment"};
    if (best[0])
        problems_suggest(warnings, where, best, "%s is no option of boxrelay", name);
    else
        problems_add(warnings, where, "%s is no option of boxrelay; it is ignored", name);
}

static void put_from_file(struct document *document, const char *pointer, const char *path, const char *source,
                          struct problems *problems)
{
    char why[256];
    char *value = interpolate_read_file(path, INTERPOLATE_FILE_BYTES_MAX, why);
    if (value) {
        document_put(document, pointer, value, source, problems);
    } else {
        problems_add(problems, (struct where){.source = source, .pointer = pointer}, "cannot read %s: %s", path, why);
        document_fail(document, pointer);
    }
    free(value);
}

static bool is_set(const char *const *environment, const char *name)
{
    size_t length = strlen(name);
    for (; *environment; environment++)
        if (strncmp(*environment, name, length) == 0 && (*environment)[length] == '=' && (*environment)[length + 1])
            return true;
    return false;
}

static void put_variable(struct document *document, const char *const *environment, const char *name, const char *value,
                         struct problems *problems, struct problems *warnings)
{
    char *source = text_printf("environment %s", name);
    bool file = text_ends(name, "_FILE");
    char *base = text_copy_n(name, strlen(name) - (file ? strlen("_FILE") : 0));
    char *pointer = overlay_pointer(base);
    if (!pointer)
        warn_unknown(name, warnings);
    else if (file && is_set(environment, base))
        problems_add(problems, (struct where){.source = source, .pointer = pointer},
                     "%s is set too; set only one of them", base);
    else if (file)
        put_from_file(document, pointer, value, source, problems);
    else
        document_put(document, pointer, value, source, problems);
    free(pointer);
    free(base);
    free(source);
}

void overlay_environment(struct document *document, const char *const *environment, struct problems *problems,
                         struct problems *warnings)
{
    for (const char *const *at = environment; *at; at++) {
        const char *equals = strchr(*at, '=');
        if (!text_starts(*at, PREFIX) || !equals || !equals[1])
            continue;
        char *name = text_copy_n(*at, (size_t)(equals - *at));
        put_variable(document, environment, name, equals + 1, problems, warnings);
        free(name);
    }
}

void overlay_assign(struct document *document, const char *assignment, struct problems *problems)
{
    struct where where = {.source = "--set"};
    const char *equals = strchr(assignment, '=');
    if (!equals || assignment[0] != '/') {
        problems_add(problems, where, "\"%.64s\" has to be PATH=VALUE with a path as /http/listen", assignment);
        return;
    }
    char *pointer = text_copy_n(assignment, (size_t)(equals - assignment));
    char *source = text_printf("--set %s", pointer);
    document_put(document, pointer, equals + 1, source, problems);
    free(source);
    free(pointer);
}
