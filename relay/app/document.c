#include "document.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "interpolate.h"
#include "text.h"

void document_fail(struct document *document, const char *pointer)
{
    document->failed = text_memory_again(document->failed, document->failed_count + 1, sizeof *document->failed);
    document->failed[document->failed_count++] = text_copy(pointer);
}

/* Replaces in all strings below `value`, which is at `pointer`. */
static void expand_below(struct document *document, json_t *value, const char *pointer, struct problems *problems)
{
    if (json_is_string(value)) {
        char why[512];
        if (!strstr(json_string_value(value), "${"))
            return;
        char *text = interpolate(json_string_value(value), document->folder, why);
        if (!text || json_string_set(value, text) != 0) {
            problems_add(problems, document_where(document, pointer, false), "%s",
                         text ? "not UTF-8 after its ${...} were replaced" : why);
            document_fail(document, pointer);
        }
        free(text);
        return;
    }
    const char *key;
    json_t *member;
    json_object_foreach(value, key, member)
    {
        char *child = places_pointer(pointer, key);
        expand_below(document, member, child, problems);
        free(child);
    }
    for (size_t i = 0; i < json_array_size(value); i++) {
        char *child = text_printf("%s/%zu", pointer, i);
        expand_below(document, json_array_get(value, i), child, problems);
        free(child);
    }
}

/* Where the word begins that ends before `end`; a string begins at its quote, if that is on the same line. */
static size_t word_begin(const char *text, size_t end)
{
    size_t last = end - 1, begin = last;
    if (text[last] == '"') {
        while (begin > 0 && text[begin - 1] != '"' && text[begin - 1] != '\n')
            begin--;
        return begin > 0 && text[begin - 1] == '"' ? begin - 1 : last;
    }
    while (!strchr(",:{}[]", text[last]) && begin > 0 && !strchr(" \t\r\n,:\"{}[]", text[begin - 1]))
        begin--;
    return begin;
}

/* jansson names the last character of the word that it did not expect; people look at the first. */
static int word_column(const char *text, const json_error_t *error)
{
    int column = error->column > 0 ? error->column : 1;
    size_t end = error->position > 0 ? (size_t)error->position : 0;
    if (end == 0 || end > strlen(text) || !strstr(error->text, " near "))
        return column;
    for (size_t i = word_begin(text, end); i < end - 1; i++)
        column -= ((unsigned char)text[i] & 0xc0) != 0x80;
    return column > 0 ? column : 1;
}

/* Its "... near '<the text there>'" is cut: the text there may be a password. */
static void say_syntax(const struct document *document, const json_error_t *error, struct problems *problems)
{
    char text[JSON_ERROR_TEXT_LENGTH];
    snprintf(text, sizeof text, "%s", error->text);
    char *near = strstr(text, " near ");
    if (near)
        *near = '\0';
    const char *hint = "";
    if (strstr(text, "string or '}' expected") || strstr(text, "unexpected token") || strstr(text, "invalid token"))
        hint = " (a comma too many before it, or a value without quotes?)";
    else if (strstr(text, "'}' expected") || strstr(text, "']' expected"))
        hint = " (a comma missing before it?)";
    struct where where = {.source = document->file,
                          .line = error->line > 0 ? error->line : 1,
                          .column = word_column(document->text, error),
                          .text = document->text,
                          .broken = true};
    problems_add(problems, where, "not valid JSON: %s%s", text, hint);
}

static void say_duplicates(const struct document *document, struct problems *problems)
{
    for (size_t i = 0; i < document->places.count; i++) {
        const struct place *place = &document->places.items[i];
        if (place->duplicate)
            problems_add(problems,
                         (struct where){.source = document->file,
                                        .line = place->key.line,
                                        .column = place->key.column,
                                        .text = document->text,
                                        .pointer = place->pointer},
                         "written twice; keep one of them");
    }
}

/* The file's text as a tree; NULL: said why. */
static json_t *parse(struct document *document, struct problems *problems)
{
    char why[256];
    json_error_t error;
    document->text = interpolate_read_file(document->file, DOCUMENT_BYTES_MAX, why);
    if (!document->text) {
        problems_add(problems, (struct where){.source = document->file}, "cannot read the configuration: %s", why);
        return NULL;
    }
    json_t *root = json_loads(document->text, 0, &error);
    if (!root)
        say_syntax(document, &error, problems);
    else
        places_scan(&document->places, document->text, strlen(document->text));
    if (!root || json_is_object(root))
        return root;
    problems_add(problems, document_where(document, "", false), "a configuration is a JSON object: { \"name\": ... }");
    json_decref(root);
    return NULL;
}

bool document_open(struct document *document, const char *file, struct problems *problems)
{
    *document = (struct document){.file = file, .root = json_object()};
    const char *slash = file ? strrchr(file, '/') : NULL;
    if (slash)
        document->folder = text_copy_n(file, slash == file ? 1 : (size_t)(slash - file));
    json_t *root = file ? parse(document, problems) : json_object();
    if (!root)
        return false;
    json_decref(document->root);
    document->root = root;
    say_duplicates(document, problems);
    expand_below(document, root, "", problems);
    return true;
}

void document_fini(struct document *document)
{
    json_decref(document->root);
    places_fini(&document->places);
    for (size_t i = 0; i < document->overlay_count; i++) {
        free(document->overlays[i].pointer);
        free(document->overlays[i].source);
    }
    for (size_t i = 0; i < document->failed_count; i++)
        free(document->failed[i]);
    free(document->failed);
    free(document->folder);
    free(document->text);
    *document = (struct document){0};
}

bool document_failed(const struct document *document, const char *pointer)
{
    for (size_t i = 0; i < document->failed_count; i++)
        if (strcmp(document->failed[i], pointer) == 0)
            return true;
    return false;
}

/* Pointers put over others have no escapes: they come from the table of options and from --set. */
void document_put(struct document *document, const char *pointer, const char *value, const char *source,
                  struct problems *problems)
{
    struct where where = {.source = source, .pointer = pointer};
    json_t *at = document->root;
    const char *segment = pointer + 1;
    for (const char *slash; (slash = strchr(segment, '/')); segment = slash + 1) {
        char *key = text_copy_n(segment, (size_t)(slash - segment));
        json_t *next = json_object_get(at, key);
        if (!next && (next = json_object()))
            json_object_set_new(at, key, next);
        free(key);
        at = next;
        if (!json_is_object(at)) {
            problems_add(problems, where, "nothing can be set below a value that is no object");
            return;
        }
    }
    if (document->overlay_count == DOCUMENT_OVERLAYS_MAX) {
        problems_add(problems, where, "more than %d options set from outside the file", DOCUMENT_OVERLAYS_MAX);
        return;
    }
    if (!*segment || json_object_set_new(at, segment, json_string(value)) != 0) {
        problems_add(problems, where, "its value is not UTF-8");
        return;
    }
    document->overlays[document->overlay_count].pointer = text_copy(pointer);
    document->overlays[document->overlay_count++].source = text_copy(source);
}

static const char *overlay_source(const struct document *document, const char *pointer)
{
    for (size_t i = document->overlay_count; i > 0; i--)
        if (strcmp(document->overlays[i - 1].pointer, pointer) == 0)
            return document->overlays[i - 1].source;
    return NULL;
}

/* The place itself, or false: its parent has to do. */
static bool where_exactly(const struct document *document, const char *pointer, bool key, struct where *where)
{
    const char *source = overlay_source(document, pointer);
    const struct place *place = source ? NULL : places_find(&document->places, pointer);
    if (source)
        where->source = source;
    else if (place) {
        where->line = key ? place->key.line : place->value.line;
        where->column = key ? place->key.column : place->value.column;
        where->text = document->text;
    }
    return source || place;
}

struct where document_where(const struct document *document, const char *pointer, bool key)
{
    struct where where = {.source = document->file ? document->file : "configuration",
                          .pointer = *pointer ? pointer : NULL};
    char *at = text_copy(pointer);
    bool found = where_exactly(document, at, key, &where);
    for (char *slash; !found && (slash = strrchr(at, '/'));) {
        *slash = '\0';
        found = where_exactly(document, at, false, &where);
    }
    free(at);
    return where;
}
