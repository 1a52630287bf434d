#include "header_list.h"

#include <stdlib.h>
#include <string.h>

#include <jansson.h>
#include <openssl/evp.h>

#include "base/utf8.h"

enum { PLAIN_MAX = 16 }; /* headers that are looked at in pairs */

void header_list_read(const struct message *message, struct header_list *list)
{
    const void *value;
    size_t bytes = 0;
    list->count = 0;
    list->truncated = false;
    for (struct header header; message_header(message, list->count, &header.name, &value, &header.size);) {
        header.value = value;
        bytes += strlen(header.name) + header.size;
        list->truncated = list->count == INTAKE_HEADERS_MAX || bytes > INTAKE_HEADER_BYTES_MAX;
        if (list->truncated)
            return;
        list->headers[list->count++] = header;
    }
}

const struct header *header_find(const struct header_list *list, const char *name, size_t length)
{
    for (size_t i = list->count; i-- > 0;) {
        const struct header *header = &list->headers[i];
        if (strncmp(header->name, name, length) == 0 && header->name[length] == '\0')
            return header;
    }
    return NULL;
}

/* Adds the header to the object; false: something of it is lost there. */
static bool add_text(json_t *object, const struct header *header)
{
    bool name_is_text = utf8_is_text(header->name, strlen(header->name));
    if (!name_is_text || !header->value || !utf8_is_text(header->value, header->size))
        return false;
    bool first = json_object_get(object, header->name) == NULL;
    json_object_set_new(object, header->name, json_stringn(header->value, header->size));
    return first;
}

static json_t *base64(const char *bytes, size_t size)
{
    char *encoded = malloc((size + 2) / 3 * 4 + 1);
    if (!encoded)
        abort();
    int length = EVP_EncodeBlock((unsigned char *)encoded, (const unsigned char *)bytes, (int)size);
    json_t *string = json_stringn(encoded, (size_t)length);
    free(encoded);
    return string;
}

/* A name that is no text is given in base64 too, as {"base64": ...}. */
static json_t *exact_name(const char *name)
{
    if (utf8_is_text(name, strlen(name)))
        return json_string(name);
    return json_pack("{s:o}", "base64", base64(name, strlen(name)));
}

static char *render_exact(const struct header_list *list)
{
    json_t *array = json_array();
    for (size_t i = 0; i < list->count; i++) {
        const struct header *header = &list->headers[i];
        json_t *value = header->value ? base64(header->value, header->size) : json_null();
        json_array_append_new(array, json_pack("[o, o]", exact_name(header->name), value));
    }
    char *text = json_dumps(array, JSON_COMPACT);
    json_decref(array);
    return text;
}

/* Text without control characters. */
static bool is_plain(const char *bytes, size_t size)
{
    for (size_t i = 0; i < size; i++)
        if ((unsigned char)bytes[i] < 0x20)
            return false;
    return utf8_is_text(bytes, size);
}

/* Size of the object's text at most, if no header needs more than quotes and backslashes, and all names differ; else 0.
 */
static size_t plain_size(const struct header_list *list)
{
    size_t size = sizeof "{}";
    if (list->count > PLAIN_MAX)
        return 0;
    for (size_t i = 0; i < list->count; i++) {
        const struct header *header = &list->headers[i];
        size_t length = strlen(header->name);
        if (!header->value || !is_plain(header->name, length) || !is_plain(header->value, header->size) ||
            header_find(list, header->name, length) != header)
            return 0;
        size += 2 * (length + header->size) + strlen("\"\":\"\",");
    }
    return size;
}

static char *put_string(char *at, const char *bytes, size_t size)
{
    *at++ = '"';
    for (size_t i = 0; i < size; i++) {
        if (bytes[i] == '"' || bytes[i] == '\\')
            *at++ = '\\';
        *at++ = bytes[i];
    }
    *at++ = '"';
    return at;
}

/* What jansson would write, for a third of its time; NULL: it has to. */
static char *render_plain(const struct header_list *list)
{
    size_t size = plain_size(list);
    char *text = size ? malloc(size) : NULL, *at = text;
    if (!text)
        return NULL;
    *at++ = '{';
    for (size_t i = 0; i < list->count; i++) {
        const struct header *header = &list->headers[i];
        at = put_string(at, header->name, strlen(header->name));
        *at++ = ':';
        at = put_string(at, header->value, header->size);
        *at++ = ',';
    }
    at -= list->count > 0;
    *at++ = '}';
    *at = '\0';
    return text;
}

void header_list_render(const struct header_list *list, char **text, char **exact)
{
    *exact = NULL;
    *text = render_plain(list);
    if (*text)
        return;
    json_t *object = json_object();
    bool whole = true;
    for (size_t i = 0; i < list->count; i++)
        whole = add_text(object, &list->headers[i]) && whole;
    *text = json_dumps(object, JSON_COMPACT);
    json_decref(object);
    *exact = whole ? NULL : render_exact(list);
}
