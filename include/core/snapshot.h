/*
 * PostgreSQL snapshots and the windows between them.
 *
 * A snapshot says for each top-level transaction whether it was done (committed or aborted):
 *
 *        done            done unless in xip            not done
 *   ------------- xmin ----------------------- xmax ------------->   xid
 *
 * The window from P to S is the set of rows whose xid is done in S and was not done in P [W1]. Invariant of a
 * snapshot: xmin <= every xip < xmax, xip strictly rising, xmin <= xmax (PostgreSQL docs, "pg_snapshot").
 * Pure. Bounds: SNAPSHOT_XIP_MAX transactions in progress.
 */
#ifndef CORE_SNAPSHOT_H
#define CORE_SNAPSHOT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/attributes.h"

enum {
    SNAPSHOT_XIP_MAX = 4096, /* sessions and prepared transactions writing at once; beyond: refused, not cut */
    SNAPSHOT_TEXT_MAX = 21 * (SNAPSHOT_XIP_MAX + 2) + 1, /* 20 digits and a separator each, and a NUL */
};

struct xid8 {
    uint64_t value;
};

struct snapshot {
    struct xid8 xmin, xmax;
    uint32_t xip_count;
    struct xid8 xip[SNAPSHOT_XIP_MAX];
};

/* Parses pg_snapshot's text form "xmin:xmax:xip,xip,..."; false when malformed, out of order or too long. */
MUST_CHECK bool snapshot_parse(const char *text, size_t length, struct snapshot *out);

/* Writes the text form, NUL-terminated; returns its length. `size` must be >= SNAPSHOT_TEXT_MAX (asserted). */
size_t snapshot_format(const struct snapshot *snapshot, char *text, size_t size);

/* Before every transaction: '3:3:' (3 is PostgreSQL's first normal xid). The window from it is everything. */
void snapshot_first(struct snapshot *out);

/* Copies only the used part: a snapshot is large, and nearly always almost empty. */
void snapshot_copy(struct snapshot *to, const struct snapshot *from);

bool snapshot_equal(const struct snapshot *a, const struct snapshot *b);

/* Is the transaction done in this snapshot? */
bool snapshot_done(const struct snapshot *snapshot, struct xid8 xid);

/* No transaction done in `earlier` is undone in `later`: what every two snapshots of one timeline satisfy. */
bool snapshot_follows(const struct snapshot *earlier, const struct snapshot *later);

/*
 * A window as the reading statement wants it, split so that its cost follows the window [W1]:
 *   xid >= from AND xid < until AND xid NOT IN excluded      (excluded = S.xip)
 *   UNION xid IN late AND xid < until                        (late = P.xip minus S.xip, below P.xmax by nature)
 */
struct window {
    struct xid8 from, until;
    const struct xid8 *excluded; /* borrows from S */
    uint32_t excluded_count;
    uint32_t late_count;
    struct xid8 late[SNAPSHOT_XIP_MAX];
};

void window_between(const struct snapshot *p, const struct snapshot *s, struct window *out);

/* Whether a row with this xid is in the window; the statement's predicate, for tests and models. */
bool window_holds(const struct window *window, struct xid8 xid);

#endif
