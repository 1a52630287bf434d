#include "commands.h"

#include <jansson.h>
#include <pwd.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "inbox/service.h"
#include "outbox/service.h"
#include "text.h"
#include "units.h"

/* Who did it, for the audit: PostgreSQL's own actor is the relay's user, which says nothing of the person. */
static void name_actor(char *text, size_t size)
{
    char host[128] = "";
    const char *user = getenv("SUDO_USER");
    const struct passwd *entry = user && *user ? NULL : getpwuid(getuid());
    if (entry)
        user = entry->pw_name;
    (void)gethostname(host, sizeof host - 1);
    snprintf(text, size, "%s@%s", user && *user ? user : "command line", host);
}

static enum error_class rebase_outbox(const struct settings *settings, const struct inbox_rebase *rebase,
                                      char summary[256], struct error *error)
{
    struct outbox_service_options options;
    const struct outbox_rebase wanted = {.stream = rebase->stream,
                                         .to_now = rebase->target == INBOX_REBASE_NOW,
                                         .force = rebase->force,
                                         .actor = rebase->actor};
    settings_outbox_service(settings, &options);
    return outbox_rebase(&options, &wanted, summary, error);
}

static enum error_class rebase_inbox(const struct settings *settings, const struct inbox_rebase *rebase,
                                     char summary[256], struct error *error)
{
    struct inbox_service_options options;
    settings_inbox_service(settings, &options);
    return inbox_rebase(&options, rebase, summary, error);
}

static void say_done(const struct invocation *invocation, const char *to, const char *summary)
{
    if (!command_has(invocation, "--json")) {
        puts(summary);
        return;
    }
    json_t *done = json_pack("{s:s, s:s, s:s}", "stream", invocation->words[0], "to", to, "summary", summary);
    json_dumpf(done, stdout, 0);
    putchar('\n');
    json_decref(done);
}

/* --partition as a number; -1: not given; -2: it is none. */
static int32_t partition_of(const struct invocation *invocation)
{
    const char *text = command_flag(invocation, "--partition");
    char *end;
    if (!text)
        return -1;
    long number = strtol(text, &end, 10);
    return *text && !*end && number >= 0 && number <= INT32_MAX ? (int32_t)number : -2;
}

static bool target_of(const char *to, struct inbox_rebase *rebase)
{
    bool to_now = strcmp(to, "now") == 0;
    rebase->target = to_now ? INBOX_REBASE_NOW : INBOX_REBASE_START;
    if (to_now || strcmp(to, "start") == 0)
        return true;
    rebase->target = INBOX_REBASE_TIME;
    return units_time_parse(to, &rebase->time_ms);
}

enum exit_code rebase_run(const struct invocation *invocation)
{
    const char *to = command_flag(invocation, "--to"), *stream = invocation->words[0];
    bool is_inbox = strncmp(stream, "inbox/", strlen("inbox/")) == 0;
    struct inbox_rebase rebase = {
        .stream = stream,
        .topic = command_flag(invocation, "--topic"),
        .partition = partition_of(invocation),
        .force = command_has(invocation, "--force"),
    };
    if (!to || !target_of(to, &rebase))
        return command_usage(invocation, "needs --to now (skip what is there) or --to start (again all that is kept); "
                                         "of an inbox also a time with its zone, as 2030-01-31T12:00:00Z");
    if (rebase.partition == -2 || (rebase.partition >= 0 && !rebase.topic))
        return command_usage(invocation, "--partition is a number, and needs --topic");
    if (!is_inbox && (rebase.topic || rebase.target == INBOX_REBASE_TIME))
        return command_usage(invocation, "--topic, --partition and times are for streams named inbox/NAME");
    if (rebase.target == INBOX_REBASE_TIME && rebase.time_ms > clock_unix_ms())
        return command_usage(invocation, "--to takes no time to come: --to now leaves out what is there");
    struct settings *settings;
    enum exit_code code = command_settings(invocation, SETTINGS_NEED_ALL, &settings);
    if (code != EXIT_OK)
        return code;
    char actor[256], summary[256] = "";
    struct error error;
    name_actor(actor, sizeof actor);
    rebase.actor = actor;
    enum error_class class =
        is_inbox ? rebase_inbox(settings, &rebase, summary, &error) : rebase_outbox(settings, &rebase, summary, &error);
    if (class != ERROR_NONE)
        code = say_error(&error, "cannot rebase the stream");
    else
        say_done(invocation, to, summary);
    settings_free(&settings);
    return code;
}
