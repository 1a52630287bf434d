/* `boxrelay config explain PATH`: everything about one option, or what there is below a path. */
#include <ctype.h>
#include <stdlib.h>
#include <string.h>

#include "commands.h"
#include "kafka/properties.h"
#include "overlay.h"
#include "settings_values.h"
#include "suggest.h"
#include "text.h"

/* What is asked for. */
struct question {
    char *path;
    const struct option *option; /* NULL: a group of options */
    struct kafka_property property;
    bool has_property;
    const char *owned; /* why a property is refused */
};

/* An option's values in force. */
struct answers {
    const struct question *question;
    json_t *list;
};

/* "outbox.main.retention" -> "/outbox/main/retention"; a property's name keeps its dots. */
static char *pointer_of_dots(const char *dots)
{
    size_t keep = text_starts(dots, "kafka.producer.") || text_starts(dots, "kafka.consumer.") ? 2
                  : text_starts(dots, "kafka.")                                                ? 1
                                                                                               : SIZE_MAX;
    char *pointer = text_printf("/%s", dots);
    for (char *c = pointer; *c && keep > 0; c++)
        if (*c == '.') {
            *c = '/';
            keep--;
        }
    return pointer;
}

static char *pointer_of(const char *word)
{
    struct kafka_property property;
    char *pointer = NULL;
    if (text_starts(word, "BOXRELAY_")) {
        char *base = text_copy_n(word, strlen(word) - (text_ends(word, "_FILE") ? strlen("_FILE") : 0));
        pointer = overlay_pointer(base);
        free(base);
    } else {
        pointer = word[0] == '/' ? text_copy(word) : pointer_of_dots(word);
    }
    if (pointer && !option_find(pointer) && !option_inside(pointer) && kafka_property_describe(word, &property)) {
        free(pointer); /* a property's bare name */
        pointer = text_printf("/kafka/%s", word);
    }
    return pointer ? pointer : text_copy(word);
}

static bool find(const char *word, struct question *question)
{
    *question = (struct question){.path = pointer_of(word)};
    question->option = option_find(question->path);
    if (!question->option)
        return option_inside(question->path);
    if (question->option->type != OPTION_PROPERTY || text_ends(question->path, "/*"))
        return true;
    const char *name = strrchr(question->path, '/') + 1;
    question->has_property = kafka_property_describe(name, &question->property);
    question->owned = kafka_property_owned(name);
    return question->has_property || question->owned;
}

/* The neighbour of the last part that may have been meant; to be freed, NULL: none is near. */
static char *nearest_neighbour(const char *path)
{
    const char *slash = strrchr(path, '/');
    if (!slash)
        return NULL;
    char *parent = text_copy_n(path, (size_t)(slash - path)), best[SUGGEST_WORD_MAX + 1] = "";
    struct suggest suggest = {.word = slash + 1};
    for (size_t i = 0; i < option_count; i++) {
        char word[SUGGEST_WORD_MAX + 1];
        if (!option_child(&option_table[i], parent, word, sizeof word) || word[0] == '*')
            continue;
        suggest_offer(&suggest, word);
        if (suggest.best == word)
            suggest.best = memcpy(best, word, strlen(word) + 1);
    }
    char *found = suggest.best ? text_printf("%s/%s", parent, best) : NULL;
    free(parent);
    return found;
}

/* The option whose last part is near to what was written, else the nearest path; NULL: none. */
static const char *nearest_anywhere(const char *path)
{
    const char *last = strrchr(path, '/') ? strrchr(path, '/') + 1 : path, *by_end = NULL;
    struct suggest paths = {.word = path}, ends = {.word = last};
    for (size_t i = 0; i < option_count; i++) {
        const char *before = ends.best;
        suggest_offer(&paths, option_table[i].path);
        suggest_offer(&ends, strrchr(option_table[i].path, '/') + 1);
        if (ends.best != before)
            by_end = option_table[i].path;
    }
    return by_end ? by_end : paths.best;
}

static enum exit_code unknown(const struct invocation *invocation, const struct question *question)
{
    char *neighbour = nearest_neighbour(question->path);
    const char *best = neighbour ? neighbour : nearest_anywhere(question->path);
    enum exit_code code =
        best
            ? command_usage(invocation, "no option \"%.100s\", did you mean %s?", invocation->words[0], best)
            : command_usage(invocation, "no option \"%.100s\"; boxrelay help options lists them", invocation->words[0]);
    free(neighbour);
    return code;
}

static void add_answer(void *opaque, const struct settings_value *value)
{
    struct answers *answers = opaque;
    const struct question *question = answers->question;
    const char *name = strrchr(question->path, '/');
    bool of_some = question->has_property && option_matches("/kafka/*", question->path) &&
                   text_starts(value->path, "/kafka/") && strcmp(strrchr(value->path, '/'), name) == 0;
    bool of_all = value->option == question->option && strchr(question->path, '*');
    if (!of_some && !of_all && strcmp(value->path, question->path) != 0)
        return;
    json_t *item = json_object();
    char *from = settings_value_from(value);
    json_object_set_new(item, "path", json_string(value->path));
    json_object_set_new(item, "value", settings_value_json(value));
    json_object_set_new(item, "text", value->text ? json_string(value->text) : json_null());
    json_object_set_new(item, "from", json_string(from));
    json_object_set_new(item, "origin", settings_value_origin_json(value));
    json_array_append_new(answers->list, item);
    free(from);
}

/* The values in force; NULL: the configuration has so many errors. */
static json_t *values_now(const struct invocation *invocation, const struct question *question, size_t *errors)
{
    const char *assignments[COMMAND_FLAGS_MAX];
    struct settings_source source;
    struct settings *settings;
    struct problems problems = {0}, warnings = {0};
    command_source(invocation, SETTINGS_NEED_NOTHING, assignments, &source);
    json_t *list = NULL;
    if (settings_load(&source, &settings, &problems, &warnings)) {
        list = json_array();
        settings_each(settings, add_answer, &(struct answers){question, list});
    }
    *errors = problems.count + problems.left_out;
    settings_free(&settings);
    problems_fini(&problems);
    problems_fini(&warnings);
    return list;
}

/* The option's variable, with the name of the path where the table has "<NAME>". */
static void variable_of(const struct question *question, char *text, size_t size)
{
    struct option named = *question->option;
    named.path = question->path;
    option_environment(&named, text, size);
}

static void print_now(const struct invocation *invocation, const struct question *question)
{
    size_t errors, index;
    json_t *item, *list = values_now(invocation, question, &errors);
    if (!list)
        printf("  now          not known: the configuration has %zu error%s, see boxrelay check\n", errors,
               errors == 1 ? "" : "s");
    json_array_foreach(list, index, item)
    {
        const char *text = json_string_value(json_object_get(item, "text"));
        const char *from = json_string_value(json_object_get(item, "from"));
        bool several = strcmp(json_string_value(json_object_get(item, "path")), question->path) != 0;
        if (text)
            printf("  now          %s%s%s   (%s)\n", several ? json_string_value(json_object_get(item, "path")) : "",
                   several ? " " : "", text, from);
        else
            printf("  now          not set\n");
    }
    if (list && json_array_size(list) == 0)
        printf("  now          not set\n");
    json_decref(list);
}

static void print_option(const struct invocation *invocation, const struct question *question)
{
    const struct option *option = question->option;
    char values[128], variable[256];
    option_values(option, values, sizeof values);
    variable_of(question, variable, sizeof variable);
    printf("%s%s%s\n", say_style(stdout, SAY_BOLD), question->path, say_style(stdout, SAY_PLAIN));
    option_wrap(stdout, option->meaning);
    if (option->type == OPTION_REFUSED) {
        printf("\n  values       not available in this version: leave it out\n");
        return;
    }
    printf("\n  values       %s\n", values);
    if (option->later)
        printf("  later        %s (not available in this version)\n", option->later);
    printf("  default      %s\n", option->required    ? "none, it is required"
                                  : option->otherwise ? option->otherwise
                                                      : "not set");
    printf("  environment  %s, or ..._FILE with the path of a file\n", variable);
    printf("  reload       %s\n",
           option->reload == RELOAD_REFUSED ? "refused: it needs a restart" : option_reload_name(option->reload));
    print_now(invocation, question);
}

static void print_property(const struct invocation *invocation, const struct question *question)
{
    const struct kafka_property *property = &question->property;
    char variable[256];
    printf("%s%s%s\n", say_style(stdout, SAY_BOLD), question->path, say_style(stdout, SAY_PLAIN));
    if (question->has_property)
        option_wrap(stdout, property->meaning);
    if (question->owned) {
        printf("\n  refused      the relay sets it itself: %s\n", question->owned);
        return;
    }
    printf("\n  values       %s\n", property->values[0] ? property->values : "text");
    printf("  default      %s\n", property->otherwise[0] ? property->otherwise : "not set");
    printf("  clients      %s\n", property->kind == 'P' ? "producers" : property->kind == 'C' ? "consumers" : "all");
    variable_of(question, variable, sizeof variable);
    printf("  environment  %s, or ..._FILE with the path of a file\n", variable);
    printf("  reload       %s\n", option_reload_name(question->option->reload));
    print_now(invocation, question);
}

static void print_group(const struct question *question)
{
    char word[64];
    for (size_t i = 0; i < option_count; i++) {
        if (!option_child(&option_table[i], question->path, word, sizeof word) ||
            option_table[i].type == OPTION_IGNORED)
            continue;
        printf("%s\n", option_table[i].path);
        option_wrap(stdout, option_table[i].meaning);
    }
}

static json_t *group_json(const struct question *question)
{
    json_t *list = json_array();
    char word[64];
    for (size_t i = 0; i < option_count; i++)
        if (option_child(&option_table[i], question->path, word, sizeof word) && option_table[i].type != OPTION_IGNORED)
            json_array_append_new(list, json_string(option_table[i].path));
    return list;
}

static json_t *question_json(const struct invocation *invocation, const struct question *question)
{
    const struct option *option = question->option;
    char values[128], variable[256];
    size_t errors;
    json_t *item = json_object();
    json_object_set_new(item, "path", json_string(question->path));
    if (!option) {
        json_object_set_new(item, "options", group_json(question));
        return item;
    }
    const struct kafka_property *property = question->has_property ? &question->property : NULL;
    option_values(option, values, sizeof values);
    variable_of(question, variable, sizeof variable);
    json_object_set_new(item, "meaning", json_string(property ? property->meaning : option->meaning));
    json_object_set_new(item, "values", json_string(property ? property->values : values));
    const char *otherwise = property ? property->otherwise : option->otherwise;
    json_object_set_new(item, "default", otherwise && *otherwise ? json_string(otherwise) : json_null());
    json_object_set_new(item, "required", json_boolean(option->required));
    json_object_set_new(item, "environment", json_string(variable));
    json_object_set_new(item, "reload", json_string(option_reload_name(option->reload)));
    if (question->owned)
        json_object_set_new(item, "refused", json_string(question->owned));
    json_t *now = values_now(invocation, question, &errors);
    json_object_set_new(item, "now", now ? now : json_null());
    return item;
}

enum exit_code config_run_explain(const struct invocation *invocation)
{
    struct question question;
    enum exit_code code = EXIT_OK;
    if (!find(invocation->words[0], &question)) {
        code = unknown(invocation, &question);
    } else if (command_has(invocation, "--json")) {
        json_t *item = question_json(invocation, &question);
        json_dumpf(item, stdout, JSON_INDENT(2));
        putchar('\n');
        json_decref(item);
    } else if (!question.option) {
        print_group(&question);
    } else if (question.has_property || question.owned) {
        print_property(invocation, &question);
    } else {
        print_option(invocation, &question);
    }
    free(question.path);
    return code;
}
