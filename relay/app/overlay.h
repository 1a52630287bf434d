/*
 * What the environment and the command line put over a document.
 *
 * Each option has a variable (option_environment) and its _FILE form, whose value is the path of a file with the
 * value. Empty variables count as not set. Thread: one at a time.
 */
#ifndef APP_OVERLAY_H
#define APP_OVERLAY_H

#include "document.h"
#include "problems.h"

/* `environment` is a NULL-terminated list of NAME=value. Variables of ours that are no option become warnings. */
void overlay_environment(struct document *document, const char *const *environment, struct problems *problems,
                         struct problems *warnings);

/* One "/http/listen=off" of --set. */
void overlay_assign(struct document *document, const char *assignment, struct problems *problems);

/* The pointer of the option that variable `name` (without _FILE) sets; NULL: none. To be freed. */
char *overlay_pointer(const char *name);

#endif
