/*
 * How the command line speaks: data to stdout, messages to stderr, and one exit code for one kind of ending.
 * Colours only on a terminal and without NO_COLOR. Thread: main.
 */
#ifndef APP_SAY_H
#define APP_SAY_H

#include <stdbool.h>
#include <stdio.h>

#include "base/error.h"

enum exit_code {
    EXIT_OK = 0,
    EXIT_FAILED = 1,
    EXIT_USAGE = 2, /* also: configuration */
    EXIT_DEGRADED = 3,
    EXIT_REFUSED = 4, /* an operator has to choose */
    EXIT_TRY_AGAIN = 75,
};

/* The exit code that an error of this class ends a command with. */
enum exit_code say_code(enum error_class class);

/* "boxrelay: <doing>: <text>" and, indented, what to do next; returns say_code. */
enum exit_code say_error(const struct error *error, const char *doing);

/* "boxrelay: ..." on stderr. */
void say_message(const char *format, ...) PRINTF_LIKE(1, 2);

enum say_style { SAY_PLAIN, SAY_BOLD, SAY_GOOD, SAY_WARN, SAY_BAD };

/* The escape sequence that begins (SAY_PLAIN: ends) a style on this stream; "" where colours are not wanted. */
const char *say_style(FILE *out, enum say_style style);

/* Columns of the terminal behind `out`; 80 where there is none. */
size_t say_width(FILE *out);

/* A paragraph, broken between words at say_width; `indent` spaces before each line but the first. Ends the line. */
void say_wrapped(FILE *out, size_t indent, const char *format, ...) PRINTF_LIKE(3, 4);

/* A line that the next one overwrites; only on a terminal. NULL: done with it. */
void say_progress(const char *line);

/* Columns wide enough for their widest cell; the first row is the heading. `right`: numbers' columns, as a bit set. */
enum { SAY_COLUMNS_MAX = 12 };

struct say_table {
    size_t columns, cell_count;
    unsigned right;
    bool may_cut; /* on a terminal the last column is cut where the line would not fit */
    char **cells; /* row after row, owned */
};

void say_table_init(struct say_table *table, size_t columns, unsigned right);
void say_table_cell(struct say_table *table, const char *format, ...) PRINTF_LIKE(2, 3);
void say_table_print(const struct say_table *table, FILE *out);
void say_table_fini(struct say_table *table);

#endif
