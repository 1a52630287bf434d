/*
 * Commands: a tree of structs that carries its own help. Parsing, help texts and suggestions come from it.
 * Thread: main.
 */
#ifndef APP_COMMAND_H
#define APP_COMMAND_H

#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>

#include "say.h"
#include "settings.h"

enum { COMMAND_FLAGS_MAX = 64, COMMAND_WORDS_MAX = 8 };

struct flag {
    const char *name;  /* "--timeout"; NULL ends a list */
    const char *value; /* "DURATION"; NULL: it has none */
    const char *help;
    bool optional; /* the value may be left out; it stands behind "=" then */
};

struct invocation;

struct command {
    const char *name;      /* NULL ends a list */
    const char *arguments; /* "STREAM"; NULL: none */
    const char *summary;   /* one line */
    const char *detail;    /* more, with its line ends; may be NULL */
    const struct flag *flags;
    const struct command *children; /* then run is NULL */
    enum exit_code (*run)(const struct invocation *invocation);
    size_t words_min, words_max;
};

/* What was asked for; borrows argv. */
struct invocation {
    const struct command *command;
    const struct command *path[4]; /* from the root's child to `command` */
    size_t depth;
    size_t word_count;
    const char *words[COMMAND_WORDS_MAX];
    size_t flag_count;
    struct {
        const struct flag *flag;
        const char *value; /* "" for a flag without one */
    } flags[COMMAND_FLAGS_MAX];
};

extern const struct command command_root;
extern const struct flag command_globals[];

/* Parses and runs; the program's exit code. */
enum exit_code command_main(int argc, char **argv);

/* The last value given for the flag; NULL: not given. */
const char *command_flag(const struct invocation *invocation, const char *name);
bool command_has(const struct invocation *invocation, const char *name);

/* Help of the command at `path` below the root ("migrate", "up"); count 0: the whole. */
enum exit_code command_help(const char *const *path, size_t count);

/* A usage error: the message, where to read more, EXIT_USAGE. */
enum exit_code command_usage(const struct invocation *invocation, const char *format, ...) PRINTF_LIKE(2, 3);

/*
 * Loads the settings that --config, --set and the environment name; what is wrong is said on stderr. EXIT_OK with
 * *out, or EXIT_USAGE.
 */
enum exit_code command_settings(const struct invocation *invocation, enum settings_need need, struct settings **out);

/* The file and the rest that command_settings loads; valid as long as the invocation. `assignments` has room for 64. */
void command_source(const struct invocation *invocation, enum settings_need need, const char **assignments,
                    struct settings_source *source);

#endif
