/*
 * The index of marks, a hash table: open addressing with linear probing, at most 5/8 full, and
 * deletion that closes the gap, so there are no tombstones and a probe ends at the first free slot.
 *
 * A slot's home is given by the high bits of its hash. The bitmap's bit is given by the high bits
 * too, so marks on one bit have one home or neighbouring ones and are found by one probe.
 */
#include "marks.h"

#include <errno.h>
#include <stdlib.h>

#include "ebpf/marker.h"

#define ORDER_MIN 10
#define ORDER_MAX 27

static size_t slot_count(const struct marker_marks *marks)
{
    return (size_t)1 << marks->order;
}

static size_t home_of(const struct marker_marks *marks, uint32_t hash)
{
    return hash >> (32 - marks->order);
}

static size_t slot_after(const struct marker_marks *marks, size_t slot)
{
    return (slot + 1) & (slot_count(marks) - 1);
}

int marker_marks_init(struct marker_marks *marks)
{
    struct marker_slot *slots = calloc((size_t)1 << ORDER_MIN, sizeof(*slots));

    if (slots == NULL)
        return -ENOMEM;
    *marks = (struct marker_marks){.slots = slots, .order = ORDER_MIN};
    return 0;
}

void marker_marks_fini(struct marker_marks *marks)
{
    free(marks->slots);
    *marks = (struct marker_marks){0};
}

static void place(struct marker_marks *marks, struct marker_slot mark)
{
    size_t at = home_of(marks, mark.hash);

    while (marks->slots[at].ref != 0)
        at = slot_after(marks, at);
    marks->slots[at] = mark;
}

static int grow_to(struct marker_marks *marks, unsigned order)
{
    struct marker_marks larger = {.order = order, .count = marks->count};

    if (larger.order > ORDER_MAX)
        return -ENOMEM;
    larger.slots = calloc(slot_count(&larger), sizeof(*larger.slots));
    if (larger.slots == NULL)
        return -ENOMEM;
    for (size_t at = 0; marks->count > 0 && at < slot_count(marks); at++)
        if (marks->slots[at].ref != 0)
            place(&larger, marks->slots[at]);
    free(marks->slots);
    *marks = larger;
    return 0;
}

/* Up to 5/8. */
static bool has_room(unsigned order, size_t count)
{
    return count * 8 <= ((size_t)1 << order) * 5;
}

int marker_marks_expect(struct marker_marks *marks, size_t count)
{
    unsigned order = marks->order;

    while (order < ORDER_MAX && !has_room(order, count))
        order++;
    return order > marks->order ? grow_to(marks, order) : 0;
}

int marker_marks_add(struct marker_marks *marks, uint32_t hash, marker_ref ref)
{
    if (!has_room(marks->order, marks->count + 1)) {
        int result = grow_to(marks, marks->order + 1);

        if (result < 0)
            return result;
    }
    place(marks, (struct marker_slot){.hash = hash, .ref = ref});
    marks->count++;
    return 0;
}

/* Moves back what probed past the slot that becomes free. */
static void close_gap(struct marker_marks *marks, size_t gap)
{
    size_t mask = slot_count(marks) - 1;

    for (size_t at = slot_after(marks, gap); marks->slots[at].ref != 0;
         at = slot_after(marks, at)) {
        size_t home = home_of(marks, marks->slots[at].hash);

        /* It may move only if its home is not behind the gap. */
        if (((at - home) & mask) < ((at - gap) & mask))
            continue;
        marks->slots[gap] = marks->slots[at];
        gap = at;
    }
    marks->slots[gap] = (struct marker_slot){0};
}

bool marker_marks_remove(struct marker_marks *marks, uint32_t hash, marker_ref ref)
{
    for (size_t at = home_of(marks, hash); marks->slots[at].ref != 0; at = slot_after(marks, at)) {
        if (marks->slots[at].ref != ref || marks->slots[at].hash != hash)
            continue;
        close_gap(marks, at);
        marks->count--;
        return true;
    }
    return false;
}

marker_ref marker_marks_next(const struct marker_marks *marks, uint32_t hash, size_t *cursor)
{
    size_t at = *cursor == MARKER_MARKS_BEGIN ? home_of(marks, hash) : slot_after(marks, *cursor);

    for (; marks->slots[at].ref != 0; at = slot_after(marks, at)) {
        if (marks->slots[at].hash != hash)
            continue;
        *cursor = at;
        return marks->slots[at].ref;
    }
    return 0;
}

bool marker_marks_bit_used(const struct marker_marks *marks, uint32_t hash)
{
    uint32_t bit = flowd_marker_bit(hash);
    size_t at;
    size_t homes = 1;

    /* In a table larger than the bitmap, one bit has several homes, with free slots among them. */
    if (marks->order > FLOWD_MARKER_BITMAP_ORDER)
        homes = (size_t)1 << (marks->order - FLOWD_MARKER_BITMAP_ORDER);
    at = home_of(marks, bit << (32 - FLOWD_MARKER_BITMAP_ORDER));
    for (size_t probed = 0; probed < homes || marks->slots[at].ref != 0; probed++) {
        if (marks->slots[at].ref != 0 && flowd_marker_bit(marks->slots[at].hash) == bit)
            return true;
        at = slot_after(marks, at);
    }
    return false;
}

void marker_marks_fill(const struct marker_marks *marks, uint64_t *bitmap)
{
    for (size_t at = 0; at < slot_count(marks); at++) {
        uint32_t bit = flowd_marker_bit(marks->slots[at].hash);

        if (marks->slots[at].ref != 0)
            bitmap[bit / 64] |= UINT64_C(1) << (bit % 64);
    }
}
