#include "commands.h"

#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#include "database.h"
#include "pg/catalog.h"

static void print_done(const struct invocation *invocation, const char *stream, const char *what, const char *note)
{
    if (!command_has(invocation, "--json")) {
        printf("%s: %s%s\n", stream, what, note);
        return;
    }
    json_t *done = json_object();
    json_object_set_new(done, "stream", json_string(stream));
    json_object_set_new(done, "done", json_string(what));
    json_dumpf(done, stdout, 0);
    putchar('\n');
    json_decref(done);
}

enum exit_code pause_run(const struct invocation *invocation)
{
    static const char doing[] = "cannot pause the stream";
    const char *reason = command_flag(invocation, "--reason"), *stream = invocation->words[0];
    struct database database;
    struct error error;
    if (!reason || !*reason)
        return command_usage(invocation, "needs --reason TEXT: the next person wants to know why nothing moves");
    enum exit_code code = database_open(invocation, doing, &database);
    if (code != EXIT_OK)
        return code;
    if (catalog_pause(database.session, stream, reason, &error) != ERROR_NONE)
        code = say_error(&error, doing);
    else
        print_done(invocation, stream, "paused",
                   strncmp(stream, "inbox/", strlen("inbox/")) == 0 ? "; records wait in Kafka until boxrelay resume"
                                                                    : "; rows wait in the table until boxrelay resume");
    database_close(&database);
    return code;
}

/* relay.resume takes no reason: one that was given is kept in the audit. */
static enum error_class resume(const struct invocation *invocation, struct session *session, struct error *error)
{
    const char *reason = command_flag(invocation, "--reason"), *stream = invocation->words[0];
    if (catalog_resume(session, stream, error) != ERROR_NONE)
        return error->class;
    if (!reason)
        return ERROR_NONE;
    json_t *detail = json_pack("{s:s}", "reason", reason);
    char *text = detail ? json_dumps(detail, JSON_COMPACT) : NULL;
    enum error_class class = catalog_audit(session, "command line", "resume", stream, text ? text : "{}", error);
    free(text);
    json_decref(detail);
    return class;
}

enum exit_code pause_run_resume(const struct invocation *invocation)
{
    static const char doing[] = "cannot resume the stream";
    struct database database;
    struct error error;
    enum exit_code code = database_open(invocation, doing, &database);
    if (code != EXIT_OK)
        return code;
    if (resume(invocation, database.session, &error) != ERROR_NONE)
        code = say_error(&error, doing);
    else
        print_done(invocation, invocation->words[0], "resumed", "");
    database_close(&database);
    return code;
}
