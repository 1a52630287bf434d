#include "core/slots.h"

#include <assert.h>
#include <string.h>

static int64_t turn_of(int64_t seq) { return seq >> SLOT_BITS; }

static struct slot_range turns(int64_t first, int64_t last)
{
    struct slot_range range = {(int)(first & (SLOTS - 1)), (int)(last & (SLOTS - 1))};
    if (first > last || last - first >= SLOTS || range.first > range.last)
        return (struct slot_range){0, SLOTS - 1};
    return range;
}

struct slot_range slots_between(int64_t floor, int64_t ceiling) { return turns(turn_of(floor), turn_of(ceiling)); }

void slot_history_note(struct slot_history *history, struct xid8 xmax, int64_t floor)
{
    assert(history->count <= SLOTS);
    if (history->count > 0) {
        int64_t turn = history->since[history->count - 1].turn;
        if (turn_of(floor) <= turn || xmax.value <= history->since[history->count - 1].xmax.value)
            return;
    }
    if (history->count == SLOTS)
        memmove(history->since, history->since + 1, --history->count * sizeof history->since[0]);
    history->since[history->count].turn = turn_of(floor);
    history->since[history->count++].xmax = xmax;
}

struct slot_range slot_history_find(const struct slot_history *history, struct xid8 oldest, int64_t ceiling)
{
    for (uint32_t i = history->count; i > 0; i--)
        if (history->since[i - 1].xmax.value <= oldest.value)
            return turns(history->since[i - 1].turn, turn_of(ceiling));
    return (struct slot_range){0, SLOTS - 1};
}
