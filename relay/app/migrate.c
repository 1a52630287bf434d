#include "pg/migrate.h"

#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#include "commands.h"
#include "database.h"
#include "text.h"

static void applied_line(void *opaque, const struct migration *migration)
{
    json_t *list = opaque;
    if (list)
        json_array_append_new(list, json_string(migration->file));
    else
        printf("applied %s\n", migration->file);
    fflush(stdout);
}

static void print_up(json_t *list, int32_t version)
{
    if (!list) {
        printf("schema version %d\n", version);
        return;
    }
    json_t *all = json_object();
    json_object_set(all, "applied", list);
    json_object_set_new(all, "version", json_integer(version));
    json_dumpf(all, stdout, 0);
    putchar('\n');
    json_decref(all);
}

enum exit_code migrate_run_up(const struct invocation *invocation)
{
    static const char doing[] = "cannot migrate the database";
    struct database database;
    struct error error;
    int32_t version;
    enum exit_code code = database_open(invocation, doing, &database);
    if (code != EXIT_OK)
        return code;
    json_t *list = command_has(invocation, "--json") ? json_array() : NULL;
    if (migrate_up(database.session, applied_line, list, &error) != ERROR_NONE ||
        migrate_version(database.session, &version, &error) != ERROR_NONE)
        code = say_error(&error, doing);
    else
        print_up(list, version);
    json_decref(list);
    database_close(&database);
    return code;
}

static void print_status(const struct migration *all, const struct migration_applied *applied, size_t count)
{
    struct say_table table;
    say_table_init(&table, 3, 1);
    say_table_cell(&table, "VERSION");
    say_table_cell(&table, "MIGRATION");
    say_table_cell(&table, "APPLIED");
    for (size_t i = 0; i < count; i++) {
        say_table_cell(&table, "%d", all[i].version);
        say_table_cell(&table, "%s", all[i].file);
        say_table_cell(&table, "%s", applied[i].version ? applied[i].applied_at : "no");
    }
    say_table_print(&table, stdout);
    say_table_fini(&table);
}

static void print_status_json(const struct migration *all, const struct migration_applied *applied, size_t count)
{
    json_t *list = json_array();
    for (size_t i = 0; i < count; i++) {
        json_t *item = json_object();
        json_object_set_new(item, "version", json_integer(all[i].version));
        json_object_set_new(item, "file", json_string(all[i].file));
        json_object_set_new(item, "applied_at", applied[i].version ? json_string(applied[i].applied_at) : json_null());
        json_array_append_new(list, item);
    }
    json_dumpf(list, stdout, JSON_INDENT(2));
    putchar('\n');
    json_decref(list);
}

enum exit_code migrate_run_status(const struct invocation *invocation)
{
    static const char doing[] = "cannot read which migrations are applied";
    struct database database;
    struct error error;
    size_t count;
    const struct migration *all = migrations(&count);
    enum exit_code code = database_open(invocation, doing, &database);
    if (code != EXIT_OK)
        return code;
    struct migration_applied *applied = text_memory(count, sizeof *applied);
    if (migrate_status(database.session, applied, &error) != ERROR_NONE) {
        code = say_error(&error, doing);
        goto out;
    }
    (command_has(invocation, "--json") ? print_status_json : print_status)(all, applied, count);
    for (size_t i = 0; i < count; i++)
        if (!applied[i].version)
            code = EXIT_DEGRADED;
    if (code == EXIT_DEGRADED)
        say_message("migrations are missing\n  what to do: boxrelay migrate up");
out:
    free(applied);
    database_close(&database);
    return code;
}
