/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The hash table of numbers: open addressing with linear probing and deletion that closes the gap.
 * There are no tombstones, so a probe ends at the first free slot, and the cost of a look-up does
 * not grow with what has come and gone.
 */
#include "daemon/base/probe.h"

#include <errno.h>
#include <stdlib.h>

#define ORDER_FIRST 10
#define ORDER_MAX 27

static size_t slot_count(unsigned order)
{
    return (size_t)1 << order;
}

/* A free slot is zero, so a large table takes memory as it fills. */
static struct flowd_probe_slot *slots_new(unsigned order)
{
    return calloc(slot_count(order), sizeof(struct flowd_probe_slot));
}

int flowd_probe_init(struct flowd_probe *probe)
{
    struct flowd_probe_slot *slots = slots_new(ORDER_FIRST);

    if (slots == NULL)
        return -ENOMEM;
    *probe = (struct flowd_probe){.slots = slots, .order = ORDER_FIRST};
    return 0;
}

void flowd_probe_fini(struct flowd_probe *probe)
{
    free(probe->slots);
    *probe = (struct flowd_probe){0};
}

static void place(struct flowd_probe *probe, struct flowd_probe_slot slot)
{
    size_t at = flowd_probe_home(probe, slot.hash);

    while (probe->slots[at].number != 0)
        at = flowd_probe_after(probe, at);
    probe->slots[at] = slot;
}

/* Two thirds full is where runs of linear probing start to grow. */
static bool has_room(unsigned order, size_t count)
{
    return count <= slot_count(order) / 3 * 2;
}

static int grow_to(struct flowd_probe *probe, unsigned order)
{
    struct flowd_probe larger = {.order = order, .count = probe->count};

    if (order > ORDER_MAX)
        return -ENOMEM;
    larger.slots = slots_new(order);
    if (larger.slots == NULL)
        return -ENOMEM;
    for (size_t at = 0; probe->count > 0 && at < slot_count(probe->order); at++)
        if (probe->slots[at].number != 0)
            place(&larger, probe->slots[at]);
    free(probe->slots);
    *probe = larger;
    return 0;
}

int flowd_probe_expect(struct flowd_probe *probe, size_t count)
{
    unsigned order = probe->order;

    while (order <= ORDER_MAX && !has_room(order, count))
        order++;
    return order > probe->order ? grow_to(probe, order) : 0;
}

void flowd_probe_add(struct flowd_probe *probe, uint32_t hash, uint32_t number)
{
    place(probe, (struct flowd_probe_slot){.hash = hash, .number = number});
    probe->count++;
}

/* Moves back what probed past the slot that becomes free. */
static void close_gap(struct flowd_probe *probe, size_t gap)
{
    size_t mask = slot_count(probe->order) - 1;

    for (size_t at = flowd_probe_after(probe, gap); probe->slots[at].number != 0;
         at = flowd_probe_after(probe, at)) {
        size_t home = flowd_probe_home(probe, probe->slots[at].hash);

        /* It may move only if its home is not behind the gap. */
        if (((at - home) & mask) < ((at - gap) & mask))
            continue;
        probe->slots[gap] = probe->slots[at];
        gap = at;
    }
    probe->slots[gap] = (struct flowd_probe_slot){0};
}

bool flowd_probe_remove(struct flowd_probe *probe, uint32_t hash, uint32_t number)
{
    size_t at = flowd_probe_home(probe, hash);

    while (probe->slots[at].number != number || probe->slots[at].hash != hash) {
        if (probe->slots[at].number == 0)
            return false;
        at = flowd_probe_after(probe, at);
    }
    close_gap(probe, at);
    probe->count--;
    return true;
}

uint32_t flowd_probe_next(const struct flowd_probe *probe, uint32_t hash, size_t *cursor)
{
    size_t at = *cursor == FLOWD_PROBE_BEGIN ? flowd_probe_home(probe, hash)
                                             : flowd_probe_after(probe, *cursor);

    for (; probe->slots[at].number != 0; at = flowd_probe_after(probe, at)) {
        if (probe->slots[at].hash != hash)
            continue;
        *cursor = at;
        return probe->slots[at].number;
    }
    return 0;
}
