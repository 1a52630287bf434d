#include "pg/status.h"

#include <inttypes.h>
#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#include "commands.h"
#include "database.h"
#include "pg/migrate.h"
#include "status_text.h"
#include "status_watch.h"
#include "units.h"

enum exit_code status_run(const struct invocation *invocation)
{
    static const char doing[] = "cannot read the status";
    const char *every = command_flag(invocation, "--watch");
    int64_t interval_ms = STATUS_WATCH_MS;
    if (every && *every && (!units_duration_parse(every, &interval_ms) || interval_ms < STATUS_WATCH_MS_MIN))
        return command_usage(invocation, "--watch takes a duration of 100ms or more, as --watch=5s, not \"%.32s\"",
                             every);
    if (every)
        return status_watch(invocation, interval_ms);
    struct database database;
    struct status_stream *streams = NULL;
    struct error error;
    size_t count = 0;
    enum exit_code code = database_open(invocation, doing, &database);
    if (code != EXIT_OK)
        return code;
    if (migrate_check(database.session, &error) != ERROR_NONE ||
        status_read(database.session, &streams, &count, &error) != ERROR_NONE) {
        code = say_error(&error, doing);
    } else {
        status_text_mark_unused(streams, count, database.settings);
        (command_has(invocation, "--json") ? status_text_json : status_text_print)(streams, count, stdout);
        code = status_text_code(streams, count);
    }
    free(streams);
    database_close(&database);
    return code;
}
