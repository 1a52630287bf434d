/* Which of several content types a client prefers, by its Accept header (RFC 9110, 12.5.1). Thread: any. */
#ifndef APP_ACCEPT_H
#define APP_ACCEPT_H

#include <stddef.h>

/*
 * The index of the type ("text/plain") with the highest q-value; of equals the one that is named more exactly, then
 * the first. NULL, or nothing that fits: 0.
 */
size_t accept_choose(const char *accept, const char *const *types, size_t count);

#endif
