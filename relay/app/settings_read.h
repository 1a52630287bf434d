/* From a document to settings: each value against its row of the table of options. Thread: one at a time. */
#ifndef APP_SETTINGS_READ_H
#define APP_SETTINGS_READ_H

#include "document.h"
#include "problems.h"
#include "settings.h"

/* Reads everything in the document; what is wrong goes to `problems`. Defaults are in `settings` already. */
void settings_read(const struct document *document, struct settings *settings, struct problems *problems);

/* Sets the defaults of the table's options below `prefix` ("/": of the relay; else of one outbox); `base` is the struct
 * they live in. */
void settings_read_defaults(const char *prefix, void *base);

#endif
