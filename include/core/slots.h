/*
 * Which slots of an outbox's ring can hold the rows of a window, so that a poll looks into no others.
 *
 * A number seq belongs to turn seq >> 32 and lies in slot turn & 7. Turns only rise:
 *
 *                       P's floor                the sequence when S was taken
 *   -------------------------|-----------------------------|-------------->  seq
 *   late ones only           | rows of transactions from P.xmax on
 *
 * Rows of transactions from a snapshot's xmax on stand beyond its floor (core/position.h). For P itself that bounds a
 * window's rows but for the late ones, whose transactions are older than P. For them the same is said by the positions
 * before P: of each turn, the lowest xmax that is known to have its floor there.
 *
 * Pure. Bounds: SLOTS turns; what began before the oldest of them may be in any slot.
 */
#ifndef CORE_SLOTS_H
#define CORE_SLOTS_H

#include <stdint.h>

#include "core/snapshot.h"

enum { SLOTS = 8, SLOT_BITS = 32 }; /* relay.make_outbox_table */

/* Slots first to last; 0 <= first <= last < SLOTS. */
struct slot_range {
    int first, last;
};

/* Invariant: turn and xmax both rise. Holds for one timeline of one database. */
struct slot_history {
    uint32_t count;
    struct {
        int64_t turn;
        struct xid8 xmax;
    } since[SLOTS];
};

/* The slots of numbers beyond `floor` up to `ceiling`: all of them, when the ring does not say less. */
struct slot_range slots_between(int64_t floor, int64_t ceiling);

/* A position with that xmax and floor is known. */
void slot_history_note(struct slot_history *history, struct xid8 xmax, int64_t floor);

/* Where rows up to `ceiling` of transactions from `oldest` on can be. */
struct slot_range slot_history_find(const struct slot_history *history, struct xid8 oldest, int64_t ceiling);

#endif
