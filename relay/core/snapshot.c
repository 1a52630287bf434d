#include "core/snapshot.h"

#include <assert.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

enum { XID_DIGITS_MAX = 20 };

/* What is left of a text to parse. */
struct rest {
    const char *at, *end;
};

static bool take_char(struct rest *rest, char wanted)
{
    if (rest->at == rest->end || *rest->at != wanted)
        return false;
    rest->at++;
    return true;
}

/* Only as PostgreSQL writes it: no sign, no blank, no leading zero, so that equal snapshots have equal texts. */
static bool take_xid(struct rest *rest, struct xid8 *out)
{
    uint64_t value = 0;
    const char *first = rest->at;
    for (; rest->at < rest->end && *rest->at >= '0' && *rest->at <= '9'; rest->at++) {
        uint64_t digit = (uint64_t)(*rest->at - '0');
        if (value > (UINT64_MAX - digit) / 10)
            return false;
        value = value * 10 + digit;
    }
    out->value = value;
    return rest->at > first && *first != '0';
}

static bool take_xip(struct rest *rest, struct snapshot *out)
{
    out->xip_count = 0;
    while (rest->at < rest->end) {
        struct xid8 xid;
        if (out->xip_count > 0 && !take_char(rest, ','))
            return false;
        if (out->xip_count == SNAPSHOT_XIP_MAX || !take_xid(rest, &xid))
            return false;
        uint64_t least = out->xip_count > 0 ? out->xip[out->xip_count - 1].value + 1 : out->xmin.value;
        if (xid.value < least || xid.value >= out->xmax.value)
            return false;
        out->xip[out->xip_count++] = xid;
    }
    return true;
}

bool snapshot_parse(const char *text, size_t length, struct snapshot *out)
{
    struct rest rest = {text, text + length};
    return take_xid(&rest, &out->xmin) && take_char(&rest, ':') && take_xid(&rest, &out->xmax) &&
           take_char(&rest, ':') && out->xmin.value <= out->xmax.value && take_xip(&rest, out);
}

static char *put_xid(char *at, struct xid8 xid)
{
    char digits[XID_DIGITS_MAX];
    size_t count = 0;
    uint64_t value = xid.value;
    do
        digits[count++] = (char)('0' + value % 10);
    while ((value /= 10) > 0);
    while (count > 0)
        *at++ = digits[--count];
    return at;
}

size_t snapshot_format(const struct snapshot *snapshot, char *text, size_t size)
{
    assert(size >= SNAPSHOT_TEXT_MAX);
    assert(snapshot->xip_count <= SNAPSHOT_XIP_MAX);
    char *at = put_xid(text, snapshot->xmin);
    *at++ = ':';
    at = put_xid(at, snapshot->xmax);
    *at++ = ':';
    for (uint32_t i = 0; i < snapshot->xip_count; i++) {
        if (i > 0)
            *at++ = ',';
        at = put_xid(at, snapshot->xip[i]);
    }
    *at = '\0';
    return (size_t)(at - text);
}

void snapshot_first(struct snapshot *out)
{
    out->xmin.value = out->xmax.value = 3;
    out->xip_count = 0;
}

void snapshot_copy(struct snapshot *to, const struct snapshot *from)
{
    assert(from->xip_count <= SNAPSHOT_XIP_MAX);
    to->xmin = from->xmin;
    to->xmax = from->xmax;
    to->xip_count = from->xip_count;
    memmove(to->xip, from->xip, from->xip_count * sizeof from->xip[0]);
}

bool snapshot_equal(const struct snapshot *a, const struct snapshot *b)
{
    return a->xmin.value == b->xmin.value && a->xmax.value == b->xmax.value && a->xip_count == b->xip_count &&
           memcmp(a->xip, b->xip, a->xip_count * sizeof a->xip[0]) == 0;
}

/* How many of the rising `list` are below `xid`. */
static uint32_t count_below(const struct xid8 *list, uint32_t count, struct xid8 xid)
{
    uint32_t low = 0, high = count;
    while (low < high) {
        uint32_t middle = low + (high - low) / 2;
        if (list[middle].value < xid.value)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

static bool list_holds(const struct xid8 *list, uint32_t count, struct xid8 xid)
{
    uint32_t at = count_below(list, count, xid);
    return at < count && list[at].value == xid.value;
}

bool snapshot_done(const struct snapshot *snapshot, struct xid8 xid)
{
    return xid.value < snapshot->xmax.value && !list_holds(snapshot->xip, snapshot->xip_count, xid);
}

bool snapshot_follows(const struct snapshot *earlier, const struct snapshot *later)
{
    for (uint32_t i = 0; i < later->xip_count; i++)
        if (snapshot_done(earlier, later->xip[i]))
            return false;
    if (later->xmax.value >= earlier->xmax.value)
        return true;
    /* What lies between the two xmax is undone in `later`, so each of it has to be open in `earlier`. */
    uint32_t below = count_below(earlier->xip, earlier->xip_count, later->xmax);
    return earlier->xip_count - below == earlier->xmax.value - later->xmax.value;
}

void window_between(const struct snapshot *p, const struct snapshot *s, struct window *out)
{
    out->from = p->xmax;
    out->until = s->xmax;
    /* All of S.xip, though only those from P.xmax on can matter to the first branch: the count of pending rows uses
     * the same list for rows below it. */
    out->excluded = s->xip;
    out->excluded_count = s->xip_count;
    out->late_count = 0;
    for (uint32_t i = 0; i < p->xip_count; i++)
        if (!list_holds(s->xip, s->xip_count, p->xip[i]))
            out->late[out->late_count++] = p->xip[i];
}

bool window_holds(const struct window *window, struct xid8 xid)
{
    if (xid.value >= window->until.value)
        return false;
    if (xid.value >= window->from.value && !list_holds(window->excluded, window->excluded_count, xid))
        return true;
    return list_holds(window->late, window->late_count, xid);
}
