#include "command.h"
#include "commands.h"

#include <string.h>

#include "kafka/client.h"
#include "metrics.h"
#include "option.h"
#include "pg/migrate.h"

const struct flag command_globals[] = {
    {"--config", "FILE", "the configuration (also BOXRELAY_CONFIG)"},
    {"--set", "PATH=VALUE", "one option over file and environment, as /log/level=debug"},
    {"--help", NULL, "this text"},
    {0},
};

#define FLAG_JSON                                                                                                      \
    {                                                                                                                  \
        "--json", NULL, "print JSON"                                                                                   \
    }

static enum exit_code run_version(const struct invocation *invocation)
{
    size_t count;
    const struct migration *all = migrations(&count);
    int schema = count ? all[count - 1].version : 0;
    if (command_has(invocation, "--json"))
        printf("{\"version\": \"%s\", \"librdkafka\": \"%s\", \"schema\": %d}\n", BOXRELAY_VERSION,
               kafka_library_version(), schema);
    else
        printf("boxrelay %s (librdkafka %s, schema %d)\n", BOXRELAY_VERSION, kafka_library_version(), schema);
    return EXIT_OK;
}

/* Two of its topics are no commands: the tables that documentation is made from. */
static enum exit_code run_help(const struct invocation *invocation)
{
    const char *topic = invocation->word_count == 1 ? invocation->words[0] : "";
    if (strcmp(topic, "options") == 0)
        option_help(stdout, command_has(invocation, "--markdown"));
    else if (strcmp(topic, "metrics") == 0)
        metrics_help(stdout, command_has(invocation, "--markdown"));
    else
        return command_help(invocation->words, invocation->word_count);
    return EXIT_OK;
}

static const struct flag run_flags[] = {
    {"--once", NULL, "publish and store what is there, then exit: for tests and jobs; opens no HTTP port"},
    {"--timeout", "DURATION", "with --once: give up after so long (default 60s), exit 75"},
    {0},
};
static const struct flag status_flags[] = {
    {"--watch", "DURATION", "again and again, each second or as said: --watch=5s; Ctrl-C ends it", .optional = true},
    FLAG_JSON,
    {0},
};
static const struct flag json_flags[] = {FLAG_JSON, {0}};
static const struct flag print_flags[] = {
    {"--with-grants", NULL, "also the roles and their rights (grants.sql), after the last one"},
    {"--format", "FORMAT", "the runner that gets them (default plain, for psql)"},
    {"--from", "VERSION", "the first one (default 1): a team that has version N asks for those from N+1"},
    {"--to", "VERSION", "the last one (default: the newest)"},
    {"--dir", "DIR", "write files below DIR instead of printing; one that is there and differs is left alone"},
    {0},
};
static const struct flag pause_flags[] = {
    {"--reason", "TEXT", "why, for everyone who looks at the status"}, FLAG_JSON, {0}};
static const struct flag rebase_flags[] = {
    {"--to", "now|start|TIME",
     "now: only what is written from now on; start: again all that is kept; of an inbox also a "
     "time, as 2030-01-31T12:00:00Z"},
    {"--topic", "TOPIC", "of an inbox: only this topic (default: all that it has read)"},
    {"--partition", "NUMBER", "of an inbox: only this partition of the topic"},
    {"--force", NULL,
     "of an outbox: also when it would go on by itself; of an inbox: also records whose ids are forgotten, which may "
     "be stored a second time"},
    FLAG_JSON,
    {0},
};
static const struct flag health_flags[] = {
    {"--live", NULL, "do the loops make progress?"},
    {"--ready", NULL, "is it ready for traffic?"},
    FLAG_JSON,
    {0},
};
static const struct flag help_flags[] = {{"--markdown", NULL, "options or metrics as a table for documentation"}, {0}};

static const struct command migrate_children[] = {
    {.name = "up",
     .summary = "apply the migrations that are missing",
     .run = migrate_run_up,
     .flags = json_flags,
     .detail = "Needs of the configuration only \"postgres\", with the rights of an owner of schema relay.\n"
               "Each migration runs in a transaction of its own; two runners do not collide."},
    {.name = "print",
     .summary = "the migrations as files of your own runner",
     .run = migrate_run_print,
     .flags = print_flags,
     .detail = "FORMAT: plain, flyway, liquibase, golang-migrate, dbmate, sqitch, alembic, django, rails, prisma, ef,\n"
               "knex or node-pg-migrate. Names and contents are the same in every release, so a runner's checksums\n"
               "stay good. None goes back: what is not published yet would be lost.\n"
               "Printed files begin with a line ==> NAME <==; plain is one script that may be run again."},
    {.name = "status",
     .summary = "which migrations are applied",
     .run = migrate_run_status,
     .flags = json_flags,
     .detail = "Exit code 3 when some are missing."},
    {.name = "verify",
     .summary = "compare the schema's objects with what its version should have",
     .run = migrate_run_verify,
     .flags = json_flags,
     .detail = "Tables, columns, constraints, indexes, triggers, partitions, functions with their text, views, owners\n"
               "and rights, of every outbox too. Reads catalogues only. Prints what differs and how to mend it; exit\n"
               "code 3 when something does."},
    {0},
};

static const struct command config_children[] = {
    {.name = "show",
     .summary = "every value in force and where it comes from; secrets are not shown",
     .run = config_run_show,
     .flags = json_flags,
     .detail =
         "Default, file with line and column, environment variable, or flag. What the configuration says, not what\n"
         "a running relay read: that may be older, until it gets a HUP."},
    {.name = "explain",
     .arguments = "PATH",
     .summary = "one option: meaning, values, default, environment, reload, and where it is set",
     .run = config_run_explain,
     .flags = json_flags,
     .words_min = 1,
     .words_max = 1,
     .detail = "PATH as /outbox/main/retention or outbox.main.retention; a group of options as outbox; a variable as\n"
               "BOXRELAY_LOG_LEVEL; a property of librdkafka as kafka.linger.ms."},
    {.name = "schema",
     .summary = "the JSON Schema (2020-12) of the file, for editors and pipelines",
     .run = config_run_schema,
     .detail = "Save it, and name it in the file as \"$schema\"."},
    {0},
};

static const struct command children[] = {
    {.name = "run",
     .summary = "the service: publish outboxes, feed inboxes, until a signal ends it",
     .run = run_run,
     .flags = run_flags,
     .detail =
         "Stays up while PostgreSQL or Kafka are away. Signals: TERM and INT finish the batches in flight and stop\n"
         "(10 s; a second one: at once), HUP reads the configuration again, USR1 pauses and USR2 resumes all streams."},
    {.name = "check",
     .summary = "read the configuration offline; all errors at once",
     .run = check_run,
     .flags = json_flags,
     .detail = "Every mistake with its line and column, the place in the line, and what may have been meant."},
    {.name = "config",
     .summary = "the configuration: values in force, one option, the schema",
     .children = config_children},
    {.name = "status",
     .summary = "the streams, one screen",
     .run = status_run,
     .flags = status_flags,
     .detail =
         "Read from PostgreSQL, so it also works elsewhere. Exit code 3 when a stream is degraded or no relay runs\n"
         "it, 4 when one waits for an operator's choice. With --watch --json: an object a line."},
    {.name = "migrate", .summary = "the schema in PostgreSQL", .children = migrate_children},
    {.name = "pause",
     .arguments = "STREAM",
     .summary = "stop a stream, until it is resumed",
     .run = pause_run,
     .flags = pause_flags,
     .words_min = 1,
     .words_max = 1,
     .detail = "Stored in the database, so it outlives restarts. STREAM as status shows it: outbox/main,\n"
               "inbox/billing."},
    {.name = "resume",
     .arguments = "STREAM",
     .summary = "let a paused stream go on",
     .run = pause_run_resume,
     .flags = pause_flags,
     .words_min = 1,
     .words_max = 1},
    {.name = "rebase",
     .arguments = "STREAM",
     .summary = "after a restore or a cluster change: choose where to go on",
     .run = rebase_run,
     .flags = rebase_flags,
     .words_min = 1,
     .words_max = 1,
     .detail = "For a stream that refuses to go on because its position and the database do not belong together.\n"
               "--to now skips every row that is there; --to start publishes every row that is kept, also those\n"
               "that were published before: consumers see them twice. One that would go on by itself is left alone.\n"
               "For an inbox, whose partition stopped because it is not what it was: --to start reads it anew from\n"
               "its first record, --to TIME from the first that is not older, --to now from behind its last. Ids that\n"
               "are known are still not stored again; what is older than the ids that are kept is refused."},
    {.name = "health",
     .summary = "ask the running relay; exit 0 or 1, for exec probes",
     .run = health_run,
     .flags = health_flags},
    {.name = "version",
     .summary = "versions of the program, its library and its schema",
     .run = run_version,
     .flags = json_flags},
    {.name = "completion",
     .arguments = "SHELL",
     .summary = "a script that completes commands, flags and options in bash, zsh or fish",
     .run = completion_run,
     .words_min = 1,
     .words_max = 1,
     .detail = "  bash: source <(boxrelay completion bash)\n"
               "  zsh:  boxrelay completion zsh > \"${fpath[1]}/_boxrelay\"\n"
               "  fish: boxrelay completion fish > ~/.config/fish/completions/boxrelay.fish"},
    {.name = "help",
     .arguments = "[COMMAND]",
     .summary = "help of a command; help options, help metrics: all of them",
     .run = run_help,
     .flags = help_flags,
     .words_max = 3},
    {0},
};

static const struct flag root_flags[] = {{"--version", NULL, "as the command version"}, {0}};

const struct command command_root = {
    .summary =
        "boxrelay publishes outbox tables of PostgreSQL to Kafka, exactly once and in order, and stores messages\n"
        "of Kafka in inbox tables, once for each id.",
    .children = children,
    .flags = root_flags,
};
