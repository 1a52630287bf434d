#include "window_parameters.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

static char *number_text(struct xid8 xid)
{
    char *text = NULL;
    return asprintf(&text, "%" PRIu64, xid.value) < 0 ? NULL : text;
}

static char *array_text(const struct xid8 *xids, uint32_t count)
{
    size_t size = (size_t)count * 21 + 3, length = 0;
    char *text = malloc(size);
    if (!text)
        return NULL;
    length += (size_t)snprintf(text, size, "{");
    for (uint32_t i = 0; i < count; i++)
        length += (size_t)snprintf(text + length, size - length, "%s%" PRIu64, i ? "," : "", xids[i].value);
    snprintf(text + length, size - length, "}");
    return text;
}

enum error_class window_parameters_init(struct window_parameters *parameters, const struct snapshot *from,
                                        const struct snapshot *until, struct error *error)
{
    *parameters = (struct window_parameters){0};
    struct window *window = malloc(sizeof *window);
    if (!window)
        return error_set(error, ERROR_RETRY, "NO_MEMORY", "no memory for a window");
    window_between(from, until, window);
    parameters->text[0] = number_text(window->from);
    parameters->text[1] = number_text(window->until);
    parameters->text[2] = array_text(window->excluded, window->excluded_count);
    parameters->text[3] = array_text(window->late, window->late_count);
    parameters->late_count = window->late_count;
    if (window->late_count > 0)
        parameters->late_oldest = window->late[0];
    free(window);
    for (int i = 0; i < WINDOW_PARAMETERS; i++)
        if (!parameters->text[i]) {
            window_parameters_fini(parameters);
            return error_set(error, ERROR_RETRY, "NO_MEMORY", "no memory for a window");
        }
    return ERROR_NONE;
}

void window_parameters_fini(struct window_parameters *parameters)
{
    for (int i = 0; i < WINDOW_PARAMETERS; i++)
        free(parameters->text[i]);
    *parameters = (struct window_parameters){0};
}
