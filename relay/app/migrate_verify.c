#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#include "commands.h"
#include "database.h"
#include "pg/migrate.h"
#include "pg/verify.h"
#include "text.h"

struct report {
    json_t *list; /* NULL: text */
    size_t objects, differences;
};

/* "index relay.stream_name_key of relay.stream" */
static char *object_title(const struct verify_object *object)
{
    return text_printf("%s %s%s%s", object->kind, object->name, object->place[0] ? " of " : "", object->place);
}

static void print_difference(const struct verify_object *object)
{
    char *title = object_title(object);
    enum say_style style = object->difference == VERIFY_UNEXPECTED ? SAY_WARN : SAY_BAD;
    printf("%s%s%s  %s\n", say_style(stdout, style), verify_difference_name(object->difference),
           say_style(stdout, SAY_PLAIN), title);
    if (object->wanted)
        printf("    should be: %s\n", object->wanted);
    if (object->found)
        printf("    is:        %s\n", object->found);
    printf("    to mend:   %s\n", object->mend);
    free(title);
}

static json_t *json_text(const char *text) { return text ? json_string(text) : json_null(); }

static void add_difference(json_t *list, const struct verify_object *object)
{
    json_t *item = json_object();
    json_object_set_new(item, "difference", json_string(verify_difference_name(object->difference)));
    json_object_set_new(item, "kind", json_string(object->kind));
    json_object_set_new(item, "name", json_string(object->name));
    json_object_set_new(item, "of", object->place[0] ? json_string(object->place) : json_null());
    json_object_set_new(item, "wanted", json_text(object->wanted));
    json_object_set_new(item, "found", json_text(object->found));
    json_object_set_new(item, "mend", json_string(object->mend));
    json_array_append_new(list, item);
}

static void visit(void *opaque, const struct verify_object *object)
{
    struct report *report = opaque;
    report->objects++;
    if (object->difference == VERIFY_SAME)
        return;
    report->differences++;
    if (report->list)
        add_difference(report->list, object);
    else
        print_difference(object);
}

static void print_end(const struct report *report, int32_t version)
{
    if (!report->list) {
        if (report->differences)
            printf("schema version %d: %zu of %zu objects differ\n", version, report->differences, report->objects);
        else
            printf("schema version %d: all %zu objects are as they should be\n", version, report->objects);
        return;
    }
    json_t *all = json_object();
    json_object_set_new(all, "version", json_integer(version));
    json_object_set_new(all, "objects", json_integer((json_int_t)report->objects));
    json_object_set(all, "differences", report->list);
    json_dumpf(all, stdout, JSON_INDENT(2));
    putchar('\n');
    json_decref(all);
}

/* What was compared is the schema's own version; that there is a newer one is another matter. */
static void say_newer(int32_t version)
{
    size_t count, next = 0;
    const struct migration *all = migrations(&count);
    while (next < count && all[next].version <= version)
        next++;
    if (next < count)
        say_message("%s was not applied yet\n  what to do: boxrelay migrate up, or your own runner", all[next].file);
}

enum exit_code migrate_run_verify(const struct invocation *invocation)
{
    static const char doing[] = "cannot compare the schema";
    struct database database;
    struct error error;
    int32_t version;
    struct report report = {0};
    enum exit_code code = database_open(invocation, doing, &database);
    if (code != EXIT_OK)
        return code;
    report.list = command_has(invocation, "--json") ? json_array() : NULL;
    if (verify_schema(database.session, &version, visit, &report, &error) != ERROR_NONE) {
        code = say_error(&error, doing);
        goto out;
    }
    print_end(&report, version);
    say_newer(version);
    if (report.differences) {
        say_message("the schema was changed by hand, or a migration was not applied as it is\n"
                    "  what to do: mend each difference as shown, as the owner of the schema, and look again");
        code = EXIT_DEGRADED;
    }
out:
    json_decref(report.list);
    database_close(&database);
    return code;
}
