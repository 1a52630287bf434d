#include "accept.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>

/* How exactly a range names a type. */
enum exactness { NOT_NAMED, ANY, ANY_OF_KIND, NAMED };

struct wish {
    double quality;
    enum exactness exactness;
};

/* "application/json" against one range, without its parameters and the spaces around it. */
static enum exactness match(const char *range, size_t length, const char *type)
{
    size_t kind = strcspn(type, "/") + 1;
    while (length > 0 && (range[length - 1] == ' ' || range[length - 1] == '\t'))
        length--;
    if (length == 3 && strncmp(range, "*/*", 3) == 0)
        return ANY;
    if (length == kind + 1 && range[kind] == '*' && strncasecmp(range, type, kind) == 0)
        return ANY_OF_KIND;
    return length == strlen(type) && strncasecmp(range, type, length) == 0 ? NAMED : NOT_NAMED;
}

/* The q parameter of a range; 1 where there is none, 0 where it cannot be read. */
static double quality_of(const char *range, size_t length)
{
    const char *end = range + length;
    for (const char *at = memchr(range, ';', length); at; at = memchr(at, ';', (size_t)(end - at))) {
        at++;
        at += strspn(at, " \t");
        if (at + 2 > end || strncasecmp(at, "q=", 2) != 0)
            continue;
        double quality = strtod(at + 2, NULL);
        return quality >= 0 && quality <= 1 ? quality : 0;
    }
    return 1;
}

/* The most exact range decides, and of equally exact ones (versions of a format) the best. */
static struct wish wish_for(const char *accept, const char *type)
{
    struct wish wish = {0};
    for (const char *range = accept; *range; range += *range == ',') {
        range += strspn(range, " \t");
        size_t length = strcspn(range, ",");
        enum exactness exactness = match(range, strcspn(range, ",;"), type);
        double quality = quality_of(range, length);
        if (exactness > wish.exactness || (exactness && exactness == wish.exactness && quality > wish.quality))
            wish = (struct wish){quality, exactness};
        range += length;
    }
    return wish;
}

size_t accept_choose(const char *accept, const char *const *types, size_t count)
{
    size_t chosen = 0;
    struct wish best = {0};
    for (size_t i = 0; accept && i < count; i++) {
        struct wish wish = wish_for(accept, types[i]);
        if (wish.quality > best.quality || (wish.quality == best.quality && wish.exactness > best.exactness)) {
            best = wish;
            chosen = i;
        }
    }
    return best.quality > 0 ? chosen : 0;
}
