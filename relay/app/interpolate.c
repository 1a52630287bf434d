#include "interpolate.h"

#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "text.h"

struct interpolation {
    const char *folder;
    int depth;
    char *why; /* 512 bytes */
};

char *interpolate_read_file(const char *path, size_t max, char why[256])
{
    FILE *in = fopen(path, "re");
    if (!in) {
        snprintf(why, 256, "%s", strerror(errno));
        return NULL;
    }
    char *bytes = text_memory(max + 2, 1);
    size_t length = fread(bytes, 1, max + 1, in);
    int failed = ferror(in) ? errno : 0;
    fclose(in);
    if (!failed && length <= max && !memchr(bytes, '\0', length)) {
        while (length > 0 && strchr("\r\n", bytes[length - 1]))
            bytes[--length] = '\0';
        return bytes;
    }
    free(bytes);
    if (failed)
        snprintf(why, 256, "%s", strerror(failed));
    else if (length > max)
        snprintf(why, 256, "it is larger than %zu bytes", max);
    else
        snprintf(why, 256, "it has NUL bytes, so it is no text");
    return NULL;
}

static char *expand(struct interpolation *interpolation, const char *from);

/* `path` has its own ${...} replaced already. */
static char *read_file(struct interpolation *interpolation, const char *path)
{
    char reason[256];
    bool relative = path[0] != '/' && interpolation->folder;
    char *whole = relative ? text_printf("%s/%s", interpolation->folder, path) : text_copy(path);
    char *bytes = interpolate_read_file(whole, INTERPOLATE_FILE_BYTES_MAX, reason);
    if (!bytes)
        snprintf(interpolation->why, 512, "${file:%.200s}: cannot read the file: %s", whole, reason);
    free(whole);
    return bytes;
}

/* "NAME" or "NAME:-default". What stands there is not repeated unless it is a name: it may be a piece of a password. */
static char *read_variable(struct interpolation *interpolation, const char *inner)
{
    size_t length = 0;
    while (isalnum((unsigned char)inner[length]) || inner[length] == '_')
        length++;
    const char *rest = inner + length;
    if (length == 0 || isdigit((unsigned char)inner[0]) || (*rest && !text_starts(rest, ":-"))) {
        snprintf(interpolation->why, 512,
                 "a \"${...}\" that is none of ${VAR}, ${VAR:-default}, ${file:PATH}; write $${ for a literal ${");
        return NULL;
    }
    char *name = text_copy_n(inner, length);
    const char *value = getenv(name);
    char *result = NULL;
    if (*rest && (!value || !*value))
        result = expand(interpolation, rest + 2);
    else if (value)
        result = text_copy(value);
    else
        snprintf(interpolation->why, 512, "environment variable %.128s is not set; set it, or write ${%.128s:-default}",
                 name, name);
    free(name);
    return result;
}

/* What stands between "${" and its "}". */
static char *expand_one(struct interpolation *interpolation, const char *inner)
{
    if (!text_starts(inner, "file:"))
        return read_variable(interpolation, inner);
    char *path = expand(interpolation, inner + 5);
    char *bytes = path ? read_file(interpolation, path) : NULL;
    free(path);
    return bytes;
}

/* The "}" that belongs to the "${" before `at`; NULL: there is none. */
static const char *closing(const char *at)
{
    for (size_t depth = 1; *at; at++) {
        if (text_starts(at, "$${"))
            at += 2;
        else if (text_starts(at, "${")) {
            depth++;
            at++;
        } else if (*at == '}' && --depth == 0)
            return at;
    }
    return NULL;
}

/* The ${...} at `mark` into `out`; behind it, or NULL and why. */
static const char *replace(struct interpolation *interpolation, const char *mark, struct text *out)
{
    const char *end = closing(mark + 2);
    if (!end) {
        snprintf(interpolation->why, 512, "\"${\" without \"}\"; write $${ for a literal ${");
        return NULL;
    }
    char *inner = text_copy_n(mark + 2, (size_t)(end - mark - 2));
    char *value = expand_one(interpolation, inner);
    if (value)
        text_add(out, value);
    bool good = value != NULL;
    free(inner);
    free(value);
    return good ? end + 1 : NULL;
}

static char *expand(struct interpolation *interpolation, const char *from)
{
    struct text out;
    text_init(&out, INTERPOLATE_BYTES_MAX);
    if (++interpolation->depth > INTERPOLATE_DEPTH_MAX) {
        snprintf(interpolation->why, 512, "more than %d \"${\" inside each other", INTERPOLATE_DEPTH_MAX);
        return NULL;
    }
    while (from && *from) {
        if (text_starts(from, "$${")) {
            text_add(&out, "${");
            from += 3;
        } else if (text_starts(from, "${")) {
            from = replace(interpolation, from, &out);
        } else {
            text_add_bytes(&out, from++, 1);
        }
    }
    interpolation->depth--;
    if (from)
        return text_take(&out);
    text_fini(&out);
    return NULL;
}

char *interpolate(const char *from, const char *folder, char why[512])
{
    struct interpolation interpolation = {.folder = folder, .why = why};
    return expand(&interpolation, from);
}
