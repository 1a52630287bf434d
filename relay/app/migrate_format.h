/*
 * Migrations in the shape of other people's runners: a table of formats, one row a tool, and the filling of its
 * templates. What a released row makes must not change: runners keep checksums of what they applied.
 * Thread: main.
 */
#ifndef APP_MIGRATE_FORMAT_H
#define APP_MIGRATE_FORMAT_H

#include <stdbool.h>
#include <stddef.h>

#include "pg/migrate.h"
#include "text.h"

enum { FORMAT_PARTS_MAX = 4, FORMAT_ESCAPES_MAX = 3, FORMAT_TEXT_MAX = 4 << 20 };

/*
 * Templates hold {version} 0002, {version6} 000002, {number} 2, {name} outbox, {Name} Outbox, {time} and {iso}: a
 * time made from the number, {previous}: of the migration before, {refuse}: SQL that refuses to go back, {why}: the
 * same as a sentence, {text}: the migration. Other braces stand for themselves.
 */
struct format_part {
    const char *path; /* NULL ends the list */
    const char *body;
    const char *head; /* the file is shared: body is a line for it, head its beginning when it is not there yet */
};

struct format {
    const char *name; /* NULL ends the table */
    struct format_part parts[FORMAT_PARTS_MAX];
    struct {
        const char *from, *to;
    } escapes[FORMAT_ESCAPES_MAX]; /* what {text} may not hold as it is */
    const char *first, *previous;  /* {previous} of the first migration, and the template for that of others */
    const char *grants;            /* the file of grants.sql; NULL: it goes to the end of the last migration */
    const char *next;              /* what to do with the files */
};

extern const struct format formats[];

/* NULL: there is none of that name. */
const struct format *format_find(const char *name);

/* Fills a template for all[index]; `text` is the SQL, not yet escaped. */
void format_fill(const struct format *format, const char *template, const struct migration *all, size_t index,
                 const char *text, struct text *out);

#endif
