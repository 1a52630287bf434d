#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "commands.h"
#include "migrate_format.h"
#include "suggest.h"
#include "text.h"

/* What was asked for: all[first] to all[last]. */
struct order {
    const struct format *format;
    const struct migration *all;
    size_t first, last;
    bool grants;
    const char *dir; /* NULL: stdout */
};

struct file {
    char *path, *bytes;
    const char *head; /* a shared file: bytes is a line for it */
};

struct files {
    struct file *all;
    size_t count;
};

static void files_add(struct files *files, char *path, char *bytes, const char *head)
{
    files->all = text_memory_again(files->all, files->count + 1, sizeof *files->all);
    files->all[files->count++] = (struct file){.path = path, .bytes = bytes, .head = head};
}

static void files_fini(struct files *files)
{
    for (size_t i = 0; i < files->count; i++) {
        free(files->all[i].path);
        free(files->all[i].bytes);
    }
    free(files->all);
}

static char *fill(const struct order *order, const char *template, size_t index, const char *sql)
{
    struct text text;
    text_init(&text, FORMAT_TEXT_MAX);
    format_fill(order->format, template, order->all, index, sql, &text);
    return text_take(&text);
}

/* The files of one migration. The rights go behind the last one: a runner has no number for them. */
static void make_files(const struct order *order, size_t index, struct files *files)
{
    bool grants = order->grants && index == order->last;
    char *with_grants = text_printf("%s\n-- grants.sql\n%s", order->all[index].text, migration_grants());
    const char *sql = grants && !order->format->grants ? with_grants : order->all[index].text;
    const struct format_part *parts = order->format->parts;
    for (size_t i = 0; i < FORMAT_PARTS_MAX && parts[i].path; i++)
        files_add(files, fill(order, parts[i].path, index, ""), fill(order, parts[i].body, index, sql), parts[i].head);
    if (grants && order->format->grants)
        files_add(files, text_copy(order->format->grants), text_copy(migration_grants()), NULL);
    free(with_grants);
}

/* Plain text stays one script: its separators are comments. */
static void print_files(const struct order *order, const struct files *files)
{
    bool plain = order->format == &formats[0];
    for (size_t i = 0; i < files->count; i++) {
        const struct file *file = &files->all[i];
        if (plain)
            printf("%s-- %s\n%s", i ? "\n" : "", file->path, file->bytes);
        else
            printf("%s==> %s%s <==\n%s", i ? "\n" : "", file->path, file->head ? " (a line to add)" : "", file->bytes);
    }
}

/* The bytes of a file, to be freed; NULL with errno. */
static char *read_file(const char *path)
{
    char piece[4096];
    size_t length;
    struct text text;
    FILE *in = fopen(path, "re");
    if (!in)
        return NULL;
    text_init(&text, FORMAT_TEXT_MAX);
    while ((length = fread(piece, 1, sizeof piece, in)) > 0)
        text_add_bytes(&text, piece, length);
    fclose(in);
    return text_take(&text);
}

static bool make_folders(char *path)
{
    for (char *slash = strchr(path + 1, '/'); slash; slash = strchr(slash + 1, '/')) {
        *slash = '\0';
        bool made = mkdir(path, 0777) == 0 || errno == EEXIST;
        *slash = '/';
        if (!made)
            return false;
    }
    return true;
}

/* Writes a file that is not there, or adds its line to a shared one. False with errno. */
static bool write_file(char *path, const struct file *file, bool there)
{
    if (!make_folders(path))
        return false;
    FILE *out = fopen(path, there ? "ae" : "we");
    if (!out)
        return false;
    if (!there && file->head)
        fputs(file->head, out);
    fputs(file->bytes, out);
    bool bad = ferror(out) != 0;
    return fclose(out) == 0 && !bad;
}

enum there { ABSENT, SAME, DIFFERENT, UNREADABLE };

static enum there look(const char *path, const struct file *file)
{
    char *bytes = read_file(path);
    if (!bytes)
        return errno == ENOENT ? ABSENT : UNREADABLE;
    bool same = file->head ? strstr(bytes, file->bytes) != NULL : strcmp(bytes, file->bytes) == 0;
    free(bytes);
    return same ? SAME : DIFFERENT;
}

/* Before anything is written: a file in the way stops all of them. */
static enum exit_code look_at_all(const struct order *order, const struct files *files)
{
    enum exit_code code = EXIT_OK;
    for (size_t i = 0; i < files->count; i++) {
        char *path = text_printf("%s/%s", order->dir, files->all[i].path);
        enum there there = look(path, &files->all[i]);
        if (there == UNREADABLE) {
            say_message("cannot read %s: %s", path, strerror(errno));
            code = EXIT_FAILED;
        } else if (there == DIFFERENT && !files->all[i].head) {
            say_message("%s is there and differs", path);
            code = EXIT_FAILED;
        }
        free(path);
    }
    if (code != EXIT_OK)
        say_message("nothing was written\n  what to do: ask for newer ones only, with --from; or move what is there "
                    "away, if no database has it");
    return code;
}

static enum exit_code write_files(const struct order *order, const struct files *files)
{
    enum exit_code code = look_at_all(order, files);
    for (size_t i = 0; i < files->count && code == EXIT_OK; i++) {
        char *path = text_printf("%s/%s", order->dir, files->all[i].path);
        enum there there = look(path, &files->all[i]);
        if (there == SAME)
            printf("unchanged %s\n", path);
        else if (write_file(path, &files->all[i], there == DIFFERENT))
            printf("wrote %s\n", path);
        else {
            say_message("cannot write %s: %s", path, strerror(errno));
            code = EXIT_FAILED;
        }
        free(path);
    }
    if (code == EXIT_OK)
        say_message("apply them before a boxrelay that needs them starts\n  what to do next: %s", order->format->next);
    return code;
}

static enum exit_code unknown_format(const struct invocation *invocation, const char *name)
{
    struct suggest suggest = {.word = name};
    struct text names;
    text_init(&names, 512);
    for (const struct format *format = formats; format->name; format++) {
        suggest_offer(&suggest, format->name);
        text_addf(&names, "%s%s", format == formats ? "" : ", ", format->name);
    }
    char *list = text_take(&names);
    enum exit_code code =
        suggest.best
            ? command_usage(invocation, "there is no format \"%.32s\", did you mean \"%s\"?", name, suggest.best)
            : command_usage(invocation, "there is no format \"%.32s\"; there are %s", name, list);
    free(list);
    return code;
}

/* The version that a flag names; 0: it is no number. */
static long version_flag(const struct invocation *invocation, const char *flag, long otherwise)
{
    const char *value = command_flag(invocation, flag);
    if (!value)
        return otherwise;
    char *end;
    long version = strtol(value, &end, 10);
    return *value && !*end && version >= 1 && version <= INT32_MAX ? version : 0;
}

/* Which migrations; *none: there is nothing newer. */
static enum exit_code read_range(const struct invocation *invocation, struct order *order, bool *none)
{
    size_t count;
    order->all = migrations(&count);
    long newest = order->all[count - 1].version;
    long from = version_flag(invocation, "--from", 1), to = version_flag(invocation, "--to", newest);
    *none = from == newest + 1 && to == newest;
    if (*none)
        return EXIT_OK;
    if (from < 1 || to < 1 || from > to || to > newest)
        return command_usage(invocation, "--from and --to are versions from 1 to %ld, the first not after the last",
                             newest);
    order->last = count - 1;
    while (order->all[order->first].version < from)
        order->first++;
    while (order->all[order->last].version > to)
        order->last--;
    return EXIT_OK;
}

enum exit_code migrate_run_print(const struct invocation *invocation)
{
    bool none;
    struct files files = {0};
    const char *name = command_flag(invocation, "--format");
    struct order order = {
        .format = format_find(name ? name : "plain"),
        .grants = command_has(invocation, "--with-grants"),
        .dir = command_flag(invocation, "--dir"),
    };
    if (!order.format)
        return unknown_format(invocation, name);
    enum exit_code code = read_range(invocation, &order, &none);
    if (code != EXIT_OK)
        return code;
    if (none) {
        say_message("this boxrelay carries no newer migration");
        return EXIT_OK;
    }
    for (size_t i = order.first; i <= order.last; i++)
        make_files(&order, i, &files);
    if (order.dir)
        code = write_files(&order, &files);
    else
        print_files(&order, &files);
    files_fini(&files);
    return code;
}
