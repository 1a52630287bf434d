/* `boxrelay config show`: every value in force and where it comes from. */
#include <stdlib.h>
#include <string.h>

#include "commands.h"
#include "settings_values.h"
#include "text.h"

enum { VALUE_WIDTH_MAX = 40, VALUES_MAX = 8192 };

struct row {
    char *path, *text, *from;
};

struct rows {
    size_t count;
    struct row items[VALUES_MAX];
};

static void add_row(void *opaque, const struct settings_value *value)
{
    struct rows *rows = opaque;
    if (rows->count < VALUES_MAX)
        rows->items[rows->count++] = (struct row){text_copy(value->path), text_copy(value->text ? value->text : "-"),
                                                  settings_value_from(value)};
}

static int wider(const char *text, int width, int max)
{
    int length = (int)strlen(text);
    return length > width && length <= max ? length : width;
}

static void print_text(const struct settings *settings)
{
    struct rows *rows = text_memory(1, sizeof *rows);
    int path = 6, text = 5;
    settings_each(settings, add_row, rows);
    for (size_t i = 0; i < rows->count; i++) {
        path = wider(rows->items[i].path, path, 80);
        text = wider(rows->items[i].text, text, VALUE_WIDTH_MAX);
    }
    printf("%s%-*s  %-*s  %s%s\n", say_style(stdout, SAY_BOLD), path, "OPTION", text, "VALUE", "FROM",
           say_style(stdout, SAY_PLAIN));
    for (size_t i = 0; i < rows->count; i++) {
        struct row *row = &rows->items[i];
        printf("%-*s  %-*s  %s\n", path, row->path, text, row->text, row->from);
        free(row->path);
        free(row->text);
        free(row->from);
    }
    free(rows);
}

static void add_json(void *list, const struct settings_value *value)
{
    json_t *item = json_object();
    json_object_set_new(item, "path", json_string(value->path));
    json_object_set_new(item, "value", settings_value_json(value));
    if (value->masked)
        json_object_set_new(item, "masked", json_true());
    json_object_set_new(item, "origin", settings_value_origin_json(value));
    json_array_append_new(list, item);
}

enum exit_code config_run_show(const struct invocation *invocation)
{
    struct settings *settings;
    enum exit_code code = command_settings(invocation, SETTINGS_NEED_NOTHING, &settings);
    if (code != EXIT_OK)
        return code;
    if (command_has(invocation, "--json")) {
        json_t *list = json_array();
        settings_each(settings, add_json, list);
        json_dumpf(list, stdout, JSON_INDENT(2));
        putchar('\n');
        json_decref(list);
    } else {
        print_text(settings);
    }
    settings_free(&settings);
    return EXIT_OK;
}
