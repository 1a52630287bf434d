#include "allow.h"

#include <regex.h>
#include <stdlib.h>
#include <string.h>

struct allow_list {
    size_t count;
    struct allowed {
        const char *name; /* NULL: the expression */
        regex_t expression;
    } items[];
};

enum error_class allow_list_new(const char *const *topics, size_t count, struct allow_list **out, struct error *error)
{
    *out = NULL;
    if (count == 0)
        return ERROR_NONE;
    struct allow_list *list = calloc(1, sizeof *list + count * sizeof list->items[0]);
    if (!list)
        return error_set(error, ERROR_RETRY, "NO_MEMORY", "no memory for the list of topics");
    for (; list->count < count; list->count++) {
        struct allowed *item = &list->items[list->count];
        const char *topic = topics[list->count];
        if (topic[0] != '^') {
            item->name = topic;
        } else if (regcomp(&item->expression, topic, REG_EXTENDED | REG_NOSUB) != 0) {
            allow_list_free(&list);
            return error_set(error, ERROR_CONFIG, "INVALID_REGEX", "\"%s\" is no regular expression", topic);
        }
    }
    *out = list;
    return ERROR_NONE;
}

void allow_list_free(struct allow_list **list)
{
    if (!*list)
        return;
    for (size_t i = 0; i < (*list)->count; i++)
        if (!(*list)->items[i].name)
            regfree(&(*list)->items[i].expression);
    free(*list);
    *list = NULL;
}

bool allow_list_has(const struct allow_list *list, const char *topic)
{
    if (!list)
        return true;
    for (size_t i = 0; i < list->count; i++) {
        const struct allowed *item = &list->items[i];
        if (item->name ? strcmp(item->name, topic) == 0 : regexec(&item->expression, topic, 0, NULL, 0) == 0)
            return true;
    }
    return false;
}
