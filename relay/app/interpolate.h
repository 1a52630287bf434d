/*
 * ${VAR}, ${VAR:-default} and ${file:PATH} in a text.
 *
 * A default and a path may have some of their own: ${HOST:-${OTHER:-localhost}}. "$${" stands for "${"; any other "$"
 * is itself. What a variable or a file holds is taken as it is. Thread: main (reads the environment).
 */
#ifndef APP_INTERPOLATE_H
#define APP_INTERPOLATE_H

#include <stddef.h>

enum { INTERPOLATE_BYTES_MAX = 1 << 20, INTERPOLATE_FILE_BYTES_MAX = 1 << 16, INTERPOLATE_DEPTH_MAX = 8 };

/* To be freed; NULL and *why when one of them has no value. Relative paths begin at `folder` (NULL: where we run). */
char *interpolate(const char *from, const char *folder, char why[512]);

/* A file's bytes without the line ends at its end; NULL and *why when it cannot be read, is larger than `max` or has
 * NUL bytes. */
char *interpolate_read_file(const char *path, size_t max, char why[256]);

#endif
