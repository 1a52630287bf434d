#include "document.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "text.h"

char *document_read_file(const char *path, size_t max, char why[256])
{
    FILE *in = fopen(path, "re");
    if (!in) {
        snprintf(why, 256, "%s", strerror(errno));
        return NULL;
    }
    char *bytes = text_memory(max + 2, 1);
    size_t length = fread(bytes, 1, max + 1, in);
    int failed = ferror(in) ? errno : 0;
    fclose(in);
    if (!failed && length <= max && !memchr(bytes, '\0', length)) {
        while (length > 0 && strchr("\r\n", bytes[length - 1]))
            bytes[--length] = '\0';
        return bytes;
    }
    free(bytes);
    if (failed)
        snprintf(why, 256, "%s", strerror(failed));
    else
        snprintf(why, 256, length > max ? "larger than %zu bytes" : "has NUL bytes within %zu bytes", max);
    return NULL;
}

/* One ${...}, without its braces, as `name`. */
static bool expand_one(struct text *out, char *name, char why[512])
{
    char reason[256];
    if (text_starts(name, "file:")) {
        char *bytes = document_read_file(name + 5, DOCUMENT_INCLUDED_BYTES_MAX, reason);
        if (!bytes) {
            snprintf(why, 512, "${%s}: cannot read the file: %s", name, reason);
            return false;
        }
        text_add(out, bytes);
        free(bytes);
        return true;
    }
    char *otherwise = strstr(name, ":-");
    if (otherwise)
        *otherwise = '\0';
    const char *value = getenv(name);
    if (otherwise && (!value || !*value))
        value = otherwise + 2;
    if (!value)
        snprintf(why, 512, "environment variable %s is not set; set it, or write ${%s:-default}", name, name);
    else
        text_add(out, value);
    return value != NULL;
}

char *document_expand(const char *from, char why[512])
{
    struct text out;
    text_init(&out, DOCUMENT_BYTES_MAX);
    for (const char *mark; (mark = strstr(from, "${"));) {
        text_add_bytes(&out, from, (size_t)(mark - from));
        if (mark > from && mark[-1] == '$') { /* "$${": the first $ went out, the second is dropped */
            text_add(&out, "{");
            from = mark + 2;
            continue;
        }
        const char *end = strchr(mark, '}');
        char *name = end ? text_copy_n(mark + 2, (size_t)(end - mark - 2)) : NULL;
        if (!end)
            snprintf(why, 512, "\"${\" without \"}\"; write $${ for a literal ${");
        bool good = end && expand_one(&out, name, why);
        free(name);
        if (!good) {
            text_fini(&out);
            return NULL;
        }
        from = end + 1;
    }
    text_add(&out, from);
    return text_take(&out);
}

/* Replaces in all strings below `value`, which is at `pointer`. */
static void expand_below(struct document *document, json_t *value, const char *pointer, struct problems *problems)
{
    if (json_is_string(value)) {
        char why[512];
        if (!strstr(json_string_value(value), "${"))
            return;
        char *text = document_expand(json_string_value(value), why);
        if (!text || json_string_set(value, text) != 0)
            problems_add(problems, document_where(document, pointer, false), "%s: %s", pointer,
                         text ? "not UTF-8 after its ${...} were replaced" : why);
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

/* jansson's "... near '<the text there>'" is cut: the text there may be a password. */
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
    struct where where = {document->file, error->line > 0 ? error->line : 1, error->column > 0 ? error->column : 1};
    problems_add(problems, where, "not valid JSON: %s%s", text, hint);
}

static void say_duplicates(const struct document *document, struct problems *problems)
{
    for (size_t i = 0; i < document->places.count; i++) {
        const struct place *place = &document->places.items[i];
        if (place->duplicate)
            problems_add(problems, (struct where){document->file, place->key.line, place->key.column},
                         "%s: written twice; keep one of them", place->pointer);
    }
}

bool document_open(struct document *document, const char *file, struct problems *problems)
{
    *document = (struct document){.file = file, .root = json_object()};
    if (!file)
        return true;
    char why[256];
    char *text = document_read_file(file, DOCUMENT_BYTES_MAX, why);
    if (!text) {
        problems_add(problems, (struct where){.source = file}, "cannot read the configuration: %s", why);
        return false;
    }
    json_error_t error;
    json_t *root = json_loads(text, 0, &error);
    if (root)
        places_scan(&document->places, text, strlen(text));
    free(text);
    if (!root) {
        say_syntax(document, &error, problems);
        return false;
    }
    if (!json_is_object(root)) {
        problems_add(problems, (struct where){file, 1, 1}, "a configuration is a JSON object: { \"name\": ... }");
        json_decref(root);
        return false;
    }
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
    *document = (struct document){0};
}

/* Pointers put over others have no escapes: they come from the table of options and from --set. */
void document_put(struct document *document, const char *pointer, const char *value, const char *source,
                  struct problems *problems)
{
    struct where where = {.source = source};
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
            problems_add(problems, where, "%s: nothing can be set below a value that is no object", pointer);
            return;
        }
    }
    if (document->overlay_count == DOCUMENT_OVERLAYS_MAX) {
        problems_add(problems, where, "%s: more than %d options set from outside the file", pointer,
                     DOCUMENT_OVERLAYS_MAX);
        return;
    }
    if (!*segment || json_object_set_new(at, segment, json_string(value)) != 0) {
        problems_add(problems, where, "%s: its value is not UTF-8", pointer);
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
        *where = (struct where){.source = source};
    else if (place)
        *where = (struct where){document->file, key ? place->key.line : place->value.line,
                                key ? place->key.column : place->value.column};
    return source || place;
}

struct where document_where(const struct document *document, const char *pointer, bool key)
{
    struct where where = {.source = document->file ? document->file : "configuration"};
    char *at = text_copy(pointer);
    bool found = where_exactly(document, at, key, &where);
    for (char *slash; !found && (slash = strrchr(at, '/'));) {
        *slash = '\0';
        found = where_exactly(document, at, false, &where);
    }
    free(at);
    return where;
}
