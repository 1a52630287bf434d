#include "command.h"

#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "suggest.h"
#include "text.h"

const char *command_flag(const struct invocation *invocation, const char *name)
{
    for (size_t i = invocation->flag_count; i > 0; i--)
        if (strcmp(invocation->flags[i - 1].flag->name, name) == 0)
            return invocation->flags[i - 1].value;
    return NULL;
}

bool command_has(const struct invocation *invocation, const char *name)
{
    return command_flag(invocation, name) != NULL;
}

/* "migrate up" */
static void print_path(FILE *out, const struct invocation *invocation)
{
    for (size_t i = 0; i < invocation->depth; i++)
        fprintf(out, " %s", invocation->path[i]->name);
}

enum exit_code command_usage(const struct invocation *invocation, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    fputs("boxrelay:", stderr);
    print_path(stderr, invocation);
    fputs(invocation->depth ? ": " : " ", stderr);
    vfprintf(stderr, format, arguments);
    va_end(arguments);
    fputs("\n  what to do: see boxrelay help", stderr);
    print_path(stderr, invocation);
    fputc('\n', stderr);
    return EXIT_USAGE;
}

static const struct command *find_child(const struct command *command, const char *name)
{
    for (const struct command *child = command->children; child && child->name; child++)
        if (strcmp(child->name, name) == 0)
            return child;
    return NULL;
}

static const struct flag *find_flag_in(const struct flag *flags, const char *name, size_t length)
{
    for (; flags && flags->name; flags++)
        if (strlen(flags->name) == length && strncmp(flags->name, name, length) == 0)
            return flags;
    return NULL;
}

static const struct flag *find_flag(const struct command *command, const char *name, size_t length)
{
    const struct flag *flag = find_flag_in(command->flags, name, length);
    return flag ? flag : find_flag_in(command_globals, name, length);
}

static enum exit_code unknown_command(const struct invocation *invocation, const char *word)
{
    struct suggest suggest = {.word = word};
    for (const struct command *child = invocation->command->children; child->name; child++)
        suggest_offer(&suggest, child->name);
    if (suggest.best)
        return command_usage(invocation, "unknown command \"%.64s\", did you mean \"%s\"?", word, suggest.best);
    return command_usage(invocation, "unknown command \"%.64s\"", word);
}

static enum exit_code unknown_flag(const struct invocation *invocation, const char *word)
{
    char *name = text_copy_n(word, strcspn(word, "="));
    struct suggest suggest = {.word = name};
    for (const struct flag *flag = invocation->command->flags; flag && flag->name; flag++)
        suggest_offer(&suggest, flag->name);
    for (const struct flag *flag = command_globals; flag->name; flag++)
        suggest_offer(&suggest, flag->name);
    enum exit_code code = suggest.best
                              ? command_usage(invocation, "unknown flag %.64s, did you mean %s?", name, suggest.best)
                              : command_usage(invocation, "unknown flag %.64s", name);
    free(name);
    return code;
}

/* One flag at argv[*at], with its value behind "=" or as the next word. */
static enum exit_code parse_flag(struct invocation *invocation, int argc, char **argv, int *at)
{
    const char *word = strcmp(argv[*at], "-h") == 0 ? "--help" : argv[*at];
    size_t length = strcspn(word, "=");
    const struct flag *flag = find_flag(invocation->command, word, length);
    if (!flag)
        return unknown_flag(invocation, word);
    const char *value = word[length] == '=' ? word + length + 1 : NULL;
    if (!flag->value && value)
        return command_usage(invocation, "%s takes no value", flag->name);
    if (flag->value && !value && !flag->optional) {
        if (*at + 1 >= argc)
            return command_usage(invocation, "%s needs a value: %s %s", flag->name, flag->name, flag->value);
        value = argv[++*at];
    }
    if (invocation->flag_count == COMMAND_FLAGS_MAX)
        return command_usage(invocation, "more than %d flags", COMMAND_FLAGS_MAX);
    invocation->flags[invocation->flag_count].flag = flag;
    invocation->flags[invocation->flag_count++].value = value ? value : "";
    return EXIT_OK;
}

static enum exit_code parse_word(struct invocation *invocation, const char *word)
{
    if (invocation->command->children) {
        const struct command *child = find_child(invocation->command, word);
        if (!child)
            return unknown_command(invocation, word);
        invocation->command = invocation->path[invocation->depth++] = child;
        return EXIT_OK;
    }
    if (invocation->word_count >= invocation->command->words_max || invocation->word_count == COMMAND_WORDS_MAX)
        return command_usage(invocation, "\"%.64s\" is one argument too many", word);
    invocation->words[invocation->word_count++] = word;
    return EXIT_OK;
}

static enum exit_code parse(struct invocation *invocation, int argc, char **argv)
{
    enum exit_code code = EXIT_OK;
    bool flags_ended = false;
    for (int i = 1; i < argc && code == EXIT_OK; i++) {
        if (!flags_ended && strcmp(argv[i], "--") == 0)
            flags_ended = true;
        else if (!flags_ended && argv[i][0] == '-' && argv[i][1])
            code = parse_flag(invocation, argc, argv, &i);
        else
            code = parse_word(invocation, argv[i]);
    }
    return code;
}

static enum exit_code missing_child(const struct invocation *invocation)
{
    char names[256] = "";
    for (const struct command *child = invocation->command->children; child->name; child++)
        snprintf(names + strlen(names), sizeof names - strlen(names), "%s%s", names[0] ? ", " : "", child->name);
    return command_usage(invocation, "needs one of %s", names);
}

enum exit_code command_main(int argc, char **argv)
{
    struct invocation invocation = {.command = &command_root};
    enum exit_code code = parse(&invocation, argc, argv);
    if (code != EXIT_OK)
        return code;
    const struct command *command = invocation.command;
    const char *names[COUNT_OF(invocation.path)];
    for (size_t i = 0; i < invocation.depth; i++)
        names[i] = invocation.path[i]->name;
    if (command_has(&invocation, "--help"))
        return command_help(names, invocation.depth);
    if (command_has(&invocation, "--version"))
        return find_child(&command_root, "version")->run(&invocation);
    if (!command->run) {
        if (invocation.depth > 0)
            return missing_child(&invocation);
        (void)command_help(names, 0);
        return argc > 1 ? EXIT_USAGE : EXIT_OK;
    }
    if (invocation.word_count < command->words_min)
        return command_usage(&invocation, "needs %s", command->arguments);
    code = command->run(&invocation);
    if (fflush(stdout) != 0 || ferror(stdout)) {
        say_message("writing the output failed");
        return code == EXIT_OK ? EXIT_FAILED : code;
    }
    return code;
}

static void help_flags(const struct flag *flags, const char *title)
{
    if (!flags || !flags->name)
        return;
    printf("\n%s%s%s\n", say_style(stdout, SAY_BOLD), title, say_style(stdout, SAY_PLAIN));
    for (; flags->name; flags++) {
        char left[64];
        snprintf(left, sizeof left,
                 flags->optional ? "%s[=%s]"
                 : flags->value  ? "%s %s"
                                 : "%s",
                 flags->name, flags->value);
        printf("  %-22s %s\n", left, flags->help);
    }
}

static void help_children(const struct command *command)
{
    printf("\n%sCommands%s\n", say_style(stdout, SAY_BOLD), say_style(stdout, SAY_PLAIN));
    for (const struct command *child = command->children; child->name; child++) {
        char left[64];
        snprintf(left, sizeof left, "%s%s%s", child->name, child->arguments ? " " : "",
                 child->arguments ? child->arguments : "");
        printf("  %-22s %s\n", left, child->summary);
    }
}

enum exit_code command_help(const char *const *path, size_t count)
{
    struct invocation at = {.command = &command_root};
    for (size_t i = 0; i < count; i++) {
        const struct command *child = at.command->children ? find_child(at.command, path[i]) : NULL;
        if (!child)
            return at.command->children ? unknown_command(&at, path[i])
                                        : command_usage(&at, "has no command \"%.64s\"", path[i]);
        at.command = at.path[at.depth++] = child;
    }
    printf("%s\n\n%sUsage%s\n  boxrelay", at.command->summary, say_style(stdout, SAY_BOLD),
           say_style(stdout, SAY_PLAIN));
    print_path(stdout, &at);
    printf("%s%s%s [flags]\n", at.command->children ? " COMMAND" : "", at.command->arguments ? " " : "",
           at.command->arguments ? at.command->arguments : "");
    if (at.command->detail)
        printf("\n%s\n", at.command->detail);
    if (at.command->children)
        help_children(at.command);
    help_flags(at.command->flags, "Flags");
    help_flags(command_globals, "Flags of every command");
    return EXIT_OK;
}

void command_source(const struct invocation *invocation, enum settings_need need, const char **assignments,
                    struct settings_source *source)
{
    const char *file = command_flag(invocation, "--config");
    const char *variable = getenv("BOXRELAY_CONFIG");
    *source = (struct settings_source){
        .file = file                    ? file
                : variable && *variable ? variable
                                        : NULL,
        .environment = (const char *const *)environ,
        .assignments = assignments,
        .need = need,
    };
    for (size_t i = 0; i < invocation->flag_count; i++)
        if (strcmp(invocation->flags[i].flag->name, "--set") == 0)
            assignments[source->assignment_count++] = invocation->flags[i].value;
}

enum exit_code command_settings(const struct invocation *invocation, enum settings_need need, struct settings **out)
{
    const char *assignments[COMMAND_FLAGS_MAX];
    struct settings_source source;
    struct problems problems = {0}, warnings = {0};
    command_source(invocation, need, assignments, &source);
    bool good = settings_load(&source, out, &problems, &warnings);
    problems_print(&warnings, "warning: ", stderr);
    problems_print(&problems, "", stderr);
    problems_fini(&problems);
    problems_fini(&warnings);
    return good ? EXIT_OK : EXIT_USAGE;
}
