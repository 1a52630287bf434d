/* `boxrelay completion bash|zsh|fish`: a script for the shell, made from the tree of commands and the table of options.
 */
#include <string.h>

#include "commands.h"
#include "option.h"

/* Calls visit() with each command below `command` and its path from the root, " migrate up". */
static void each_command(const struct command *command, const char *path,
                         void (*visit)(const struct command *command, const char *path))
{
    visit(command, path);
    for (const struct command *child = command->children; child && child->name; child++) {
        char below[128];
        snprintf(below, sizeof below, "%s %s", path, child->name);
        each_command(child, below, visit);
    }
}

/* The names of all flags that a value follows, each behind `before`. */
static void print_value_flags(const struct command *command, const char *before)
{
    for (const struct flag *flag = command->flags; flag && flag->name; flag++)
        if (flag->value)
            printf("%s%s", before, flag->name);
    for (const struct command *child = command->children; child && child->name; child++)
        print_value_flags(child, before);
}

static bool takes_option(const char *path) { return strcmp(path, " config explain") == 0; }

/* Only whole paths can be offered: names of outboxes and properties are not known here. */
static bool is_offered(const struct option *option)
{
    return option->type != OPTION_IGNORED && option->type != OPTION_REFUSED && !strchr(option->path, '*');
}

static void print_options(const char *after)
{
    for (size_t i = 0; i < option_count; i++)
        if (is_offered(&option_table[i]))
            printf("%s%s ", option_table[i].path, after);
}

/* What may follow the command: its children, or its flags. */
static void bash_case(const struct command *command, const char *path)
{
    printf("        \"%s\") words='", path);
    for (const struct command *child = command->children; child && child->name; child++)
        printf("%s ", child->name);
    for (const struct flag *flag = command->flags; flag && flag->name; flag++)
        printf("%s ", flag->name);
    if (takes_option(path))
        print_options("");
    puts("' ;;");
}

static void print_bash(void)
{
    puts("# boxrelay in bash: source <(boxrelay completion bash)\n"
         "_boxrelay() {\n"
         "    local word=${COMP_WORDS[COMP_CWORD]} before=${COMP_WORDS[COMP_CWORD - 1]} path='' words='' i\n"
         "    for ((i = 1; i < COMP_CWORD; i++)); do\n"
         "        case ${COMP_WORDS[i]} in");
    fputs("            --config | --set", stdout);
    print_value_flags(&command_root, " | ");
    puts(") ((i++)) ;;\n"
         "            -*) ;;\n"
         "            *) path+=\" ${COMP_WORDS[i]}\" ;;\n"
         "        esac\n"
         "    done\n"
         "    COMPREPLY=()\n"
         "    case $before in\n"
         "        --config) mapfile -t COMPREPLY < <(compgen -f -- \"$word\"); return ;;");
    fputs("        --set) mapfile -t COMPREPLY < <(compgen -W '", stdout);
    print_options("=");
    puts("' -- \"$word\"); compopt -o nospace 2>/dev/null; return ;;");
    fputs("        --none", stdout);
    print_value_flags(&command_root, " | ");
    puts(") return ;;\n"
         "    esac\n"
         "    case $path in");
    each_command(&command_root, "", bash_case);
    puts("    esac\n"
         "    mapfile -t COMPREPLY < <(compgen -W \"$words--config --set --help\" -- \"$word\")\n"
         "}\n"
         "complete -F _boxrelay boxrelay");
}

/* Within single quotes; ":" separates a word from its description in zsh. */
static void print_quoted(const char *text, bool colons)
{
    for (; *text; text++)
        if (*text == '\'')
            fputs("'\\''", stdout);
        else
            printf(*text == ':' && colons ? "\\%c" : "%c", *text);
}

static void zsh_word(const char *name, const char *summary)
{
    fputs(" '", stdout);
    print_quoted(name, true);
    fputc(':', stdout);
    print_quoted(summary, false);
    fputc('\'', stdout);
}

static void zsh_case(const struct command *command, const char *path)
{
    printf("        (\"%s\") offers=(", path);
    for (const struct command *child = command->children; child && child->name; child++)
        zsh_word(child->name, child->summary);
    for (const struct flag *flag = command->flags; flag && flag->name; flag++)
        zsh_word(flag->name, flag->help);
    for (size_t i = 0; takes_option(path) && i < option_count; i++)
        if (is_offered(&option_table[i]))
            zsh_word(option_table[i].path, option_table[i].meaning);
    puts(") ;;");
}

static void print_zsh(void)
{
    puts("#compdef boxrelay\n"
         "# boxrelay in zsh: boxrelay completion zsh > \"${fpath[1]}/_boxrelay\"\n"
         "_boxrelay() {\n"
         "    local place='' i\n"
         "    for ((i = 2; i < CURRENT; i++)); do\n"
         "        case ${words[i]} in");
    fputs("            (--config|--set", stdout);
    print_value_flags(&command_root, "|");
    puts(") ((i++)) ;;\n"
         "            (-*) ;;\n"
         "            (*) place+=\" ${words[i]}\" ;;\n"
         "        esac\n"
         "    done\n"
         "    [[ ${words[CURRENT-1]} == --config ]] && { _files; return }\n"
         "    local -a offers\n"
         "    case $place in");
    each_command(&command_root, "", zsh_case);
    fputs("    esac\n    offers+=(", stdout);
    for (const struct flag *flag = command_globals; flag->name; flag++)
        zsh_word(flag->name, flag->help);
    puts(")\n"
         "    _describe 'boxrelay' offers\n"
         "}\n"
         "if [[ $funcstack[1] == _boxrelay ]]; then _boxrelay \"$@\"; else compdef _boxrelay boxrelay; fi");
}

static void fish_flag(const char *path, const struct flag *flag)
{
    if (path)
        printf("complete -c boxrelay -n '__boxrelay_at \"%s\"' -l %s", path, flag->name + 2);
    else
        printf("complete -c boxrelay -l %s", flag->name + 2);
    printf("%s%s -d '", flag->value ? " -r" : "", strcmp(flag->name, "--config") == 0 ? " -F" : "");
    print_quoted(flag->help, false);
    puts("'");
}

static void fish_case(const struct command *command, const char *path)
{
    for (const struct command *child = command->children; child && child->name; child++) {
        printf("complete -c boxrelay -n '__boxrelay_at \"%s\"' -a %s -d '", path, child->name);
        print_quoted(child->summary, false);
        puts("'");
    }
    for (const struct flag *flag = command->flags; flag && flag->name; flag++)
        fish_flag(path, flag);
    if (takes_option(path)) {
        printf("complete -c boxrelay -n '__boxrelay_at \"%s\"' -a '", path);
        print_options("");
        puts("'");
    }
}

static void print_fish(void)
{
    puts("# boxrelay in fish: boxrelay completion fish > ~/.config/fish/completions/boxrelay.fish\n"
         "function __boxrelay_at\n"
         "    set -l place ''\n"
         "    set -l skip 0\n"
         "    for word in (commandline -opc)[2..-1]\n"
         "        if test $skip = 1\n"
         "            set skip 0\n"
         "        else");
    fputs("            switch $word\n                case --config --set", stdout);
    print_value_flags(&command_root, " ");
    puts("\n"
         "                    set skip 1\n"
         "                case '-*'\n"
         "                case '*'\n"
         "                    set place \"$place $word\"\n"
         "            end\n"
         "        end\n"
         "    end\n"
         "    test \"$place\" = \"$argv[1]\"\n"
         "end\n"
         "complete -c boxrelay -f");
    each_command(&command_root, "", fish_case);
    for (const struct flag *flag = command_globals; flag->name; flag++)
        fish_flag(NULL, flag);
}

enum exit_code completion_run(const struct invocation *invocation)
{
    static const struct shell {
        const char *name;
        void (*print)(void);
    } shells[] = {{"bash", print_bash}, {"zsh", print_zsh}, {"fish", print_fish}};
    for (size_t i = 0; i < COUNT_OF(shells); i++)
        if (strcmp(shells[i].name, invocation->words[0]) == 0) {
            shells[i].print();
            return EXIT_OK;
        }
    return command_usage(invocation, "\"%.32s\" is none of bash, zsh, fish", invocation->words[0]);
}
