#include "say.h"

#include <assert.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "text.h"

enum { SAY_WIDTH = 80, SAY_WIDTH_MIN = 40, SAY_CUT_MIN = 8 };

enum exit_code say_code(enum error_class class)
{
    switch (class) {
    case ERROR_NONE:
        return EXIT_OK;
    case ERROR_POISON:
    case ERROR_CONFIG:
        return EXIT_FAILED;
    case ERROR_INTEGRITY:
        return EXIT_REFUSED;
    default:
        return EXIT_TRY_AGAIN;
    }
}

enum exit_code say_error(const struct error *error, const char *doing)
{
    fprintf(stderr, "boxrelay: %s: %s", doing, error->text);
    fprintf(stderr, error->code[0] ? " [%s]\n" : "%s\n", error->code);
    if (error->hint[0])
        fprintf(stderr, "  what to do: %s\n", error->hint);
    return say_code(error->class);
}

void say_message(const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    fputs("boxrelay: ", stderr);
    vfprintf(stderr, format, arguments);
    fputc('\n', stderr);
    va_end(arguments);
}

const char *say_style(FILE *out, enum say_style style)
{
    static const char *const sequences[] = {"\033[0m", "\033[1m", "\033[32m", "\033[33m", "\033[31m"};
    const char *no_color = getenv("NO_COLOR");
    const char *term = getenv("TERM");
    bool wanted = isatty(fileno(out)) && !(no_color && *no_color) && !(term && strcmp(term, "dumb") == 0);
    return wanted ? sequences[style] : "";
}

size_t say_width(FILE *out)
{
    struct winsize size;
    if (!isatty(fileno(out)) || ioctl(fileno(out), TIOCGWINSZ, &size) != 0 || size.ws_col == 0)
        return SAY_WIDTH;
    return size.ws_col < SAY_WIDTH_MIN ? SAY_WIDTH_MIN : size.ws_col;
}

/* How wide it is on a screen: escape sequences and the middles of UTF-8 characters take no column. */
static size_t columns_of(const char *text, size_t length)
{
    size_t columns = 0;
    for (size_t i = 0; i < length; i++) {
        if (text[i] == '\033')
            while (i < length && text[i] != 'm')
                i++;
        else
            columns += ((unsigned char)text[i] & 0xc0) != 0x80;
    }
    return columns;
}

static void print_wrapped(FILE *out, size_t indent, const char *text)
{
    size_t width = say_width(out), column = strspn(text, " ");
    bool fresh = true; /* nothing on this line yet */
    fprintf(out, "%*s", (int)column, "");
    for (text += column; *text; text += strspn(text, " ")) {
        size_t span = strcspn(text, " "), wide = columns_of(text, span);
        if (!fresh && column + 1 + wide > width) {
            fprintf(out, "\n%*s", (int)indent, "");
            column = indent;
            fresh = true;
        }
        fprintf(out, "%s%.*s", fresh ? "" : " ", (int)span, text);
        column += wide + !fresh;
        fresh = false;
        text += span;
    }
    fputc('\n', out);
}

void say_wrapped(FILE *out, size_t indent, const char *format, ...)
{
    char *text = NULL;
    va_list arguments;
    va_start(arguments, format);
    int length = vasprintf(&text, format, arguments);
    va_end(arguments);
    if (length < 0)
        return;
    print_wrapped(out, indent, text);
    free(text);
}

void say_progress(const char *line)
{
    if (!isatty(STDERR_FILENO))
        return;
    fprintf(stderr, "\r\033[K%s", line ? line : "");
    fflush(stderr);
}

void say_table_init(struct say_table *table, size_t columns, unsigned right)
{
    assert(columns >= 1 && columns <= SAY_COLUMNS_MAX);
    *table = (struct say_table){.columns = columns, .right = right};
}

void say_table_cell(struct say_table *table, const char *format, ...)
{
    char cell[256];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(cell, sizeof cell, format, arguments);
    va_end(arguments);
    table->cells = text_memory_again(table->cells, table->cell_count + 1, sizeof *table->cells);
    table->cells[table->cell_count++] = text_copy(cell);
}

/* The text in at most `room` columns, at least some of it. */
static void print_cut(FILE *out, const char *text, size_t room)
{
    if (room < SAY_CUT_MIN)
        room = SAY_CUT_MIN;
    if (strlen(text) <= room)
        fputs(text, out);
    else
        fprintf(out, "%.*s...", (int)room - 3, text);
}

void say_table_print(const struct say_table *table, FILE *out)
{
    int widths[SAY_COLUMNS_MAX] = {0};
    for (size_t i = 0; i < table->cell_count; i++) {
        int length = (int)strlen(table->cells[i]);
        if (length > widths[i % table->columns])
            widths[i % table->columns] = length;
    }
    size_t width = say_width(out), before = 0;
    for (size_t i = 0; i + 1 < table->columns; i++)
        before += (size_t)widths[i] + 2;
    for (size_t i = 0; i < table->cell_count; i++) {
        size_t column = i % table->columns;
        bool last = column == table->columns - 1, right = table->right >> column & 1;
        if (i == 0)
            fputs(say_style(out, SAY_BOLD), out);
        if (last && table->may_cut && isatty(fileno(out)))
            print_cut(out, table->cells[i], width > before ? width - before : 0);
        else
            fprintf(out, "%*s", right ? widths[column] : last ? 0 : -widths[column], table->cells[i]);
        if (i == table->columns - 1)
            fputs(say_style(out, SAY_PLAIN), out);
        fputs(last ? "\n" : "  ", out);
    }
}

void say_table_fini(struct say_table *table)
{
    for (size_t i = 0; i < table->cell_count; i++)
        free(table->cells[i]);
    free(table->cells);
    *table = (struct say_table){0};
}
