#include "places.h"

#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#include "text.h"

struct scanner {
    const char *at, *end;
    struct spot spot;
    struct places *places;
};

static void step(struct scanner *scanner)
{
    unsigned char byte = (unsigned char)*scanner->at++;
    if (byte == '\n') {
        scanner->spot.line++;
        scanner->spot.column = 1;
    } else if ((byte & 0xc0) != 0x80) { /* not the middle of a UTF-8 character */
        scanner->spot.column++;
    }
}

static bool ended(const struct scanner *scanner) { return scanner->at >= scanner->end; }

/* White space, and the separators, which valid JSON has where they belong. */
static void skip_space(struct scanner *scanner)
{
    while (!ended(scanner) && strchr(" \t\r\n,:", *scanner->at))
        step(scanner);
}

static void skip_string(struct scanner *scanner)
{
    step(scanner);
    while (!ended(scanner) && *scanner->at != '"') {
        if (*scanner->at == '\\')
            step(scanner);
        if (!ended(scanner))
            step(scanner);
    }
    if (!ended(scanner))
        step(scanner);
}

/* The key as jansson sees it, escapes undone. */
static char *read_key(struct scanner *scanner)
{
    const char *start = scanner->at;
    skip_string(scanner);
    json_t *key = json_loadb(start, (size_t)(scanner->at - start), JSON_DECODE_ANY, NULL);
    char *copy = text_copy(key ? json_string_value(key) : "");
    json_decref(key);
    return copy;
}

char *places_pointer(const char *parent, const char *key)
{
    struct text out;
    text_init(&out, 65536);
    text_add(&out, parent);
    text_add(&out, "/");
    for (; *key; key++) {
        if (*key == '~')
            text_add(&out, "~0");
        else if (*key == '/')
            text_add(&out, "~1");
        else
            text_add_bytes(&out, key, 1);
    }
    return text_take(&out);
}

const struct place *places_find(const struct places *places, const char *pointer)
{
    for (size_t i = places->count; i > 0; i--)
        if (strcmp(places->items[i - 1].pointer, pointer) == 0)
            return &places->items[i - 1];
    return NULL;
}

/* Takes the pointer. */
static void note(struct places *places, char *pointer, struct spot key, struct spot value, bool duplicate)
{
    if (places->count == PLACES_MAX) {
        free(pointer);
        return;
    }
    if (places->count == places->size) {
        places->size = 2 * places->size + 64;
        places->items = text_memory_again(places->items, places->size, sizeof *places->items);
    }
    places->items[places->count++] = (struct place){pointer, key, value, duplicate};
}

static void scan_value(struct scanner *scanner, const char *pointer, int depth);

static void scan_members(struct scanner *scanner, const char *pointer, int depth)
{
    size_t index = 0;
    bool object = *scanner->at == '{';
    step(scanner);
    for (skip_space(scanner); !ended(scanner) && !strchr("]}", *scanner->at); skip_space(scanner)) {
        struct spot key_spot = scanner->spot;
        char *key = object ? read_key(scanner) : text_printf("%zu", index++);
        skip_space(scanner);
        char *child = places_pointer(pointer, key);
        free(key);
        if (depth < PLACES_DEPTH_MAX) {
            bool duplicate = object && places_find(scanner->places, child) != NULL;
            note(scanner->places, text_copy(child), key_spot, scanner->spot, duplicate);
        }
        scan_value(scanner, child, depth + 1);
        free(child);
    }
    if (!ended(scanner))
        step(scanner);
}

/* jansson bounds the depth of what it accepts, so recursion is bounded too. */
static void scan_value(struct scanner *scanner, const char *pointer, int depth)
{
    if (ended(scanner))
        return;
    if (*scanner->at == '{' || *scanner->at == '[')
        scan_members(scanner, pointer, depth);
    else if (*scanner->at == '"')
        skip_string(scanner);
    else
        while (!ended(scanner) && !strchr(" \t\r\n,]}", *scanner->at))
            step(scanner);
}

void places_scan(struct places *places, const char *text, size_t length)
{
    struct scanner scanner = {text, text + length, {1, 1}, places};
    skip_space(&scanner);
    note(places, text_copy(""), scanner.spot, scanner.spot, false);
    scan_value(&scanner, "", 0);
}

void places_fini(struct places *places)
{
    for (size_t i = 0; i < places->count; i++)
        free(places->items[i].pointer);
    free(places->items);
    *places = (struct places){0};
}
