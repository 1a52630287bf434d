#include "commands.h"

#include <jansson.h>
#include <string.h>
#include <unistd.h>

#include "text.h"

/* Who did it, for the audit: PostgreSQL's own actor is the relay's user, which says nothing of the person. */
static void name_actor(char *text, size_t size)
{
    char host[128] = "";
    const char *user = getenv("SUDO_USER");
    if (!user || !*user)
        user = getenv("USER");
    (void)gethostname(host, sizeof host - 1);
    snprintf(text, size, "%s@%s", user && *user ? user : "command line", host);
}

enum exit_code rebase_run(const struct invocation *invocation)
{
    const char *to = command_flag(invocation, "--to"), *stream = invocation->words[0];
    if (!to || (strcmp(to, "now") != 0 && strcmp(to, "start") != 0))
        return command_usage(invocation,
                             "needs --to now (skip what is there) or --to start (publish again what is kept)");
    struct settings *settings;
    enum exit_code code = command_settings(invocation, SETTINGS_NEED_ALL, &settings);
    if (code != EXIT_OK)
        return code;
    struct outbox_service_options options;
    settings_service(settings, &options);
    char actor[256], summary[256] = "";
    struct error error;
    name_actor(actor, sizeof actor);
    enum rebase_target target = strcmp(to, "now") == 0 ? REBASE_NOW : REBASE_START;
    if (outbox_rebase(&options, stream, target, actor, summary, &error) != ERROR_NONE) {
        code = say_error(&error, "cannot rebase the stream");
    } else if (command_has(invocation, "--json")) {
        json_t *done = json_pack("{s:s, s:s, s:s}", "stream", stream, "to", to, "summary", summary);
        json_dumpf(done, stdout, 0);
        putchar('\n');
        json_decref(done);
    } else {
        puts(summary);
    }
    settings_free(&settings);
    return code;
}
