#include "say.h"

#include <assert.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "text.h"

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

void say_table_print(const struct say_table *table, FILE *out)
{
    int widths[SAY_COLUMNS_MAX] = {0};
    for (size_t i = 0; i < table->cell_count; i++) {
        int length = (int)strlen(table->cells[i]);
        if (length > widths[i % table->columns])
            widths[i % table->columns] = length;
    }
    for (size_t i = 0; i < table->cell_count; i++) {
        size_t column = i % table->columns;
        bool last = column == table->columns - 1, right = table->right >> column & 1;
        if (i == 0)
            fputs(say_style(out, SAY_BOLD), out);
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
