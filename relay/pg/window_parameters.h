/* A window as the text parameters of the reading statements: from, until, excluded, late. */
#ifndef PG_WINDOW_PARAMETERS_H
#define PG_WINDOW_PARAMETERS_H

#include "base/error.h"
#include "core/snapshot.h"

enum { WINDOW_PARAMETERS = 4 };

struct window_parameters {
    char *text[WINDOW_PARAMETERS];
    uint32_t late_count;
    struct xid8 late_oldest; /* if there is one */
};

MUST_CHECK enum error_class window_parameters_init(struct window_parameters *parameters, const struct snapshot *from,
                                                   const struct snapshot *until, struct error *error);
void window_parameters_fini(struct window_parameters *parameters);

#endif
