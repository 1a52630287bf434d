#include "commands.h"

#include <jansson.h>
#include <stdlib.h>

static void print_json(const struct problems *problems, const struct problems *warnings)
{
    json_t *all = json_object();
    json_object_set_new(all, "valid", json_boolean(problems->count == 0));
    json_object_set_new(all, "errors", problems_json(problems));
    json_object_set_new(all, "warnings", problems_json(warnings));
    json_dumpf(all, stdout, JSON_INDENT(2));
    putchar('\n');
    json_decref(all);
}

static void print_text(const struct settings *settings, const struct settings_source *source,
                       const struct problems *problems, const struct problems *warnings)
{
    problems_print(warnings, "warning: ", stderr);
    problems_print(problems, "", stderr);
    if (!settings) {
        fprintf(stderr, "%zu error%s\n", problems->count + problems->left_out, problems->count == 1 ? "" : "s");
        return;
    }
    printf("%s: ok: relay \"%s\", Kafka at %s, positions in %s, http %s, options for",
           source->file ? source->file : "environment", settings->name, settings_bootstrap(settings),
           settings->positions_topic, settings->http_listen);
    for (size_t i = 0; i < settings->outbox_count; i++)
        printf("%s outbox/%s", i ? "," : "", settings->outboxes[i].name);
    for (size_t i = 0; i < settings->inbox_count; i++)
        printf("%s inbox/%s", i || settings->outbox_count ? "," : "", settings->inboxes[i].name);
    putchar('\n');
}

enum exit_code check_run(const struct invocation *invocation)
{
    const char *assignments[COMMAND_FLAGS_MAX];
    struct settings_source source;
    struct settings *settings;
    struct problems problems = {0}, warnings = {0};
    command_source(invocation, SETTINGS_NEED_ALL, assignments, &source);
    bool good = settings_load(&source, &settings, &problems, &warnings);
    if (command_has(invocation, "--json"))
        print_json(&problems, &warnings);
    else
        print_text(settings, &source, &problems, &warnings);
    settings_free(&settings);
    problems_fini(&problems);
    problems_fini(&warnings);
    return good ? EXIT_OK : EXIT_USAGE;
}
