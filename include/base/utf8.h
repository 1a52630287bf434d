/* Is it text? Thread: any. */
#ifndef BASE_UTF8_H
#define BASE_UTF8_H

#include <stdbool.h>
#include <stddef.h>

/* Well-formed UTF-8 (RFC 3629) without NUL: what PostgreSQL takes as text. */
bool utf8_is_text(const char *bytes, size_t size);

#endif
