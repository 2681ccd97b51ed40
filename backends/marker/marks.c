/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The bitmap's bits, as the index of marks has them. The table puts a mark where the high bits of
 * its hash say, and they give the bit too: marks on one bit have one home or neighbouring ones, and
 * are found by one probe.
 */
#include "marks.h"

#include "ebpf/marker.h"

bool marker_marks_bit_used(const struct flowd_probe *marks, uint32_t hash)
{
    uint32_t bit = flowd_marker_bit(hash);
    size_t at;
    size_t homes = 1;

    /* In a table larger than the bitmap, one bit has several homes, with free slots among them. */
    if (marks->order > FLOWD_MARKER_BITMAP_ORDER)
        homes = (size_t)1 << (marks->order - FLOWD_MARKER_BITMAP_ORDER);
    at = flowd_probe_home(marks, bit << (32 - FLOWD_MARKER_BITMAP_ORDER));
    for (size_t probed = 0; probed < homes || marks->slots[at].number != 0; probed++) {
        if (marks->slots[at].number != 0 && flowd_marker_bit(marks->slots[at].hash) == bit)
            return true;
        at = flowd_probe_after(marks, at);
    }
    return false;
}

void marker_marks_fill(const struct flowd_probe *marks, uint64_t *bitmap)
{
    for (size_t at = 0; at < (size_t)1 << marks->order; at++) {
        uint32_t bit = flowd_marker_bit(marks->slots[at].hash);

        if (marks->slots[at].number != 0)
            bitmap[bit / 64] |= UINT64_C(1) << (bit % 64);
    }
}
