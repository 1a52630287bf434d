#include "excerpt.h"

#include <locale.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <wchar.h>

#include "option.h"
#include "text.h"

enum { BEFORE_COLUMNS = 60, LINE_BYTES_MAX = 1 << 20, CHARACTER_BYTES_MAX = 4 };

#define CUT    "..."
#define MASKED "***"

/* One character as it is shown. */
struct glyph {
    const char *bytes;
    size_t length; /* in the output */
    size_t taken;  /* of the input */
    size_t columns;
};

/* Walks through the text from its start, so that a value is known to be secret also when its key is a line above. */
struct walker {
    const char *at;
    int line, column;
    bool valid;
    bool value;  /* a colon stood before: what comes is no key */
    bool secret; /* the next value may be a password */
    bool hidden; /* we are inside such a value */
};

static struct glyph glyph_at(const char *at)
{
    wchar_t wide;
    mbstate_t state = {0};
    size_t taken = mbrtowc(&wide, at, strnlen(at, CHARACTER_BYTES_MAX), &state);
    if (*at == '\t')
        return (struct glyph){" ", 1, 1, 1};
    if (taken == (size_t)-1 || taken == (size_t)-2 || taken == 0)
        return (struct glyph){"?", 1, 1, 1};
    int columns = wcwidth(wide);
    if (columns < 0)
        return (struct glyph){"?", 1, taken, 1};
    return (struct glyph){at, taken, taken, (size_t)columns};
}

/* The length of the string that begins at a quote; one that does not end on its line ends with it. */
static size_t string_length(const char *quote)
{
    size_t length = 1;
    while (quote[length] && !strchr("\"\r\n", quote[length]))
        length += quote[length] == '\\' && quote[length + 1] && !strchr("\r\n", quote[length + 1]) ? 2 : 1;
    return length + (quote[length] == '"');
}

static bool is_bare(char c) { return c && !strchr(" \t\r\n,:\"{}[]", c); }

/* A key, in quotes or without: does its value have to be hidden? */
static bool opens_secret(const char *at, size_t length)
{
    bool quoted = *at == '"';
    char *key = text_copy_n(at + quoted, length - (quoted ? 2 : 0) * (length >= 2));
    bool secret = option_key_is_secret(key);
    free(key);
    return secret;
}

/* How many bytes from here are one token to hide or to show. */
static size_t token_length(struct walker *walker)
{
    const char *at = walker->at;
    size_t length = 1;
    if (*at == '"')
        length = string_length(at);
    else
        while (is_bare(*at) && is_bare(at[length]))
            length++;
    if (*at != '"' && !is_bare(*at)) {
        walker->hidden = false;
        walker->value = *at == ':' || (walker->value && strchr(" \t\r\n", *at));
        if (strchr("{}[]", *at) || (walker->valid && *at == ','))
            walker->secret = false;
        return length;
    }
    walker->hidden = walker->secret;
    if (walker->hidden && !walker->valid)
        length = strcspn(at, "\r\n"); /* where a broken value ends nobody knows */
    walker->secret = !walker->hidden && !walker->value && opens_secret(at, length);
    walker->value = false;
    return length;
}

/* Moves on by bytes within or over lines. */
static void advance(struct walker *walker, size_t length)
{
    for (const char *end = walker->at + length; walker->at < end; walker->at++) {
        if (*walker->at == '\n') {
            walker->line++;
            walker->column = 1;
        } else if (((unsigned char)*walker->at & 0xc0) != 0x80) {
            walker->column++;
        }
    }
}

struct shown {
    struct text text;
    size_t columns;
    size_t caret;
    bool placed;
};

static void show(struct shown *shown, const char *bytes, size_t length, size_t columns)
{
    text_add_bytes(&shown->text, bytes, length);
    shown->columns += columns;
}

static void place(struct shown *shown, const struct walker *walker, int column)
{
    if (!shown->placed && walker->column >= column) {
        shown->caret = shown->columns;
        shown->placed = true;
    }
}

/* One token of the line. Of a hidden one only its place is shown. */
static void show_token(struct shown *shown, struct walker *walker, int column)
{
    size_t length = token_length(walker);
    const char *end = walker->at + length;
    if (walker->hidden) {
        place(shown, walker, column);
        size_t caret = shown->columns;
        advance(walker, length);
        if (!shown->placed && walker->column > column) { /* inside it */
            shown->caret = caret;
            shown->placed = true;
        }
        show(shown, MASKED, strlen(MASKED), strlen(MASKED));
        return;
    }
    while (walker->at < end && *walker->at != '\n' && *walker->at) {
        struct glyph glyph = glyph_at(walker->at);
        place(shown, walker, column);
        show(shown, glyph.bytes, glyph.length, glyph.columns);
        advance(walker, glyph.taken);
    }
}

/* The part of a long line around the caret, with marks where something is left out. */
static struct excerpt cut(struct shown *shown)
{
    size_t first =
        shown->columns > EXCERPT_COLUMNS_MAX && shown->caret > BEFORE_COLUMNS ? shown->caret - BEFORE_COLUMNS : 0;
    struct excerpt excerpt = {.caret = shown->caret - first};
    struct text out;
    text_init(&out, LINE_BYTES_MAX);
    size_t column = 0;
    for (const char *at = shown->text.bytes; at && *at;) {
        struct glyph glyph = glyph_at(at);
        size_t after = column + glyph.columns;
        bool left = first > 0 && column < first + strlen(CUT);
        if (!left && after <= first + EXCERPT_COLUMNS_MAX)
            text_add_bytes(&out, glyph.bytes, glyph.length);
        for (size_t i = column > first ? column : first; left && i < after; i++)
            text_add(&out, "."); /* for each column that is left out within the window */
        column = after;
        at += glyph.taken;
    }
    if (column > first + EXCERPT_COLUMNS_MAX)
        text_add(&out, CUT);
    excerpt.line = text_take(&out);
    return excerpt;
}

struct excerpt excerpt_of(const char *text, int line, int column, bool valid)
{
    struct walker walker = {.at = text, .line = 1, .column = 1, .valid = valid};
    struct shown shown = {0};
    text_init(&shown.text, LINE_BYTES_MAX);
    locale_t utf8 = newlocale(LC_CTYPE_MASK, "C.UTF-8", (locale_t)0);
    locale_t before = utf8 ? uselocale(utf8) : (locale_t)0;
    while (*walker.at && walker.line < line)
        advance(&walker, token_length(&walker));
    bool found = walker.line == line;
    while (found && *walker.at && *walker.at != '\n' && *walker.at != '\r')
        show_token(&shown, &walker, column);
    if (!shown.placed)
        shown.caret = shown.columns;
    struct excerpt excerpt = found ? cut(&shown) : (struct excerpt){0};
    if (utf8) {
        uselocale(before);
        freelocale(utf8);
    }
    text_fini(&shown.text);
    return excerpt;
}

void excerpt_fini(struct excerpt *excerpt)
{
    free(excerpt->line);
    *excerpt = (struct excerpt){0};
}
