#include "trace.h"

#include <jansson.h>
#include <string.h>

enum { VERSION_SIZE = 2, ID_SIZE = 32, PARENT_SIZE = 16, FLAGS_SIZE = 2 };

/* `size` lower-case hex digits that are not all `but`; steps over them. */
static bool hex(const char **at, size_t size, char but)
{
    size_t span = strspn(*at, "0123456789abcdef");
    bool differs = false;
    for (size_t i = 0; i < size && i < span; i++)
        differs = differs || (*at)[i] != but;
    if (span != size || !differs)
        return false;
    *at += size;
    return true;
}

static bool dash(const char **at) { return *(*at)++ == '-'; }

/* version "-" trace-id "-" parent-id "-" flags: a later version may have more behind a further "-". */
static const char *find_id(const char *traceparent)
{
    const char *at = traceparent;
    if (!hex(&at, VERSION_SIZE, 'f') || !dash(&at))
        return NULL;
    const char *id = at;
    if (!hex(&at, ID_SIZE, '0') || !dash(&at) || !hex(&at, PARENT_SIZE, '0') || !dash(&at) ||
        !hex(&at, FLAGS_SIZE, 'x'))
        return NULL;
    return *at == '\0' || (*at == '-' && strncmp(traceparent, "00", VERSION_SIZE) != 0) ? id : NULL;
}

bool trace_id(const char *headers, char id[TRACE_ID_SIZE])
{
    id[0] = '\0';
    json_t *all = headers ? json_loads(headers, JSON_ALLOW_NUL, NULL) : NULL;
    const char *traceparent = json_string_value(json_object_get(all, "traceparent"));
    const char *found = traceparent ? find_id(traceparent) : NULL;
    if (found) {
        memcpy(id, found, ID_SIZE);
        id[ID_SIZE] = '\0';
    }
    json_decref(all);
    return found != NULL;
}
