/*
 * The table of options: the one source of what may stand in a configuration. Reading, defaults, `help options`, the
 * environment's names and the documentation's list come from it.
 *
 * A path is a JSON pointer in which "*" stands for one name. Thread: any; the table is constant.
 */
#ifndef APP_OPTION_H
#define APP_OPTION_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include "base/error.h"

/* Shapes of names as regular expressions (ECMA 262), as names.c has them. */
#define OPTION_KAFKA_PATTERN  "^[a-zA-Z0-9._-]{1,249}$"
#define OPTION_TOPIC_PATTERN  "^(?!\\.{1,2}$)(?!__)[a-zA-Z0-9._-]{1,249}$"
#define OPTION_STREAM_PATTERN "^[a-z][a-z0-9_]{0,39}$" /* an outbox', an inbox' */
#define OPTION_HEADER_PATTERN "^[^+]{1,249}([+][^+]{1,249})?$"

enum option_type {
    OPTION_TEXT,
    OPTION_BOOLEAN,
    OPTION_INTEGER,
    OPTION_DURATION, /* stored in milliseconds */
    OPTION_SIZE,     /* stored in bytes */
    OPTION_WORD,     /* stored as its place in `words` */
    OPTION_TOPICS,   /* a list of topic names and ^regexes */
    OPTION_HEADERS,  /* a list of header names, or of two with a "+" between them */
    OPTION_START,    /* one of `words`, or a time */
    OPTION_PROPERTY, /* a librdkafka property, the path's "*" being its name */
    OPTION_REFUSED,  /* known, but not available in this version, whatever the value */
    OPTION_IGNORED,
};

/* The C type of the field at `at`: in struct settings, below /outbox/ in struct outbox_stream_options, below /inbox/ in
 * struct inbox_stream_options. */
enum option_store {
    OPTION_NOWHERE,
    OPTION_AS_TEXT,
    OPTION_AS_BOOL,
    OPTION_AS_INT32,
    OPTION_AS_INT64,
    OPTION_AS_LIST, /* const char *const *, and a size_t at `count_at` */
    OPTION_AS_START /* enum inbox_start, and unix milliseconds at `time_at` */
};

/* What a reload (SIGHUP) does with a change. */
enum option_reload {
    RELOAD_AT_ONCE,
    RELOAD_ANEW,    /* the connections that use it are made anew */
    RELOAD_REFUSED, /* the whole reload is refused: it needs a restart [L5] */
};

struct option {
    const char *path;
    enum option_type type;
    enum option_store store;
    size_t at, count_at, time_at;
    const char *otherwise; /* the default as a user would write it; "<name>" in it is the relay's name. NULL: none */
    const char *unit;      /* of numbers: "ms", "rows" */
    int64_t min, max;      /* of numbers, durations (ms) and sizes (bytes); of a list's length */
    const char *words;     /* OPTION_WORD: "wait|poison"; OPTION_START */
    const char *later;     /* OPTION_WORD: words that are known but not available in this version */
    bool (*check)(const char *value, struct error *error); /* OPTION_TEXT: its shape; the text says what it must be */
    const char *pattern; /* the same as far as a regular expression (ECMA 262) can say it */
    bool required;
    enum option_reload reload;
    bool secret; /* may hold a password: never shown */
    const char *meaning;
};

extern const struct option option_table[];
extern const size_t option_count;

/* The option at this path, exactly or through a "*"; NULL: none, or an object of options. */
const struct option *option_find(const char *path);

/* Is something below this path an option? ("/kafka" and "/outbox/main" are such.) */
bool option_inside(const char *path);

/* Is `path` (of a value) matched by `pattern`? */
bool option_matches(const char *pattern, const char *path);

/* The option's next part below `parent`, into `word`; false: it is not below it. */
bool option_child(const struct option *option, const char *parent, char *word, size_t size);

/* "30s to 365d", "stop", "true or false" ...: what may be written. */
void option_values(const struct option *option, char *text, size_t size);

/* The option's environment variable: BOXRELAY_OUTBOX_<NAME>_RETENTION. */
void option_environment(const struct option *option, char *text, size_t size);

/* "at once", "new connections", "no, restart": what a reload does with a change. */
const char *option_reload_name(enum option_reload reload);

/* May values of this key hold a password? Knows misspelt names of secrets too, for what is shown of a wrong file. */
bool option_key_is_secret(const char *key);

/* Words wrapped at 78 columns, each line behind six spaces. */
void option_wrap(FILE *out, const char *text);

/* The whole table for people; with `markdown`, for the documentation. */
void option_help(FILE *out, bool markdown);

#endif
