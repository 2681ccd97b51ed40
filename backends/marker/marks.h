/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The index of marks: which directions of which flows stand behind a hash.
 *
 * A mark is one direction of one live flow. The index is a hash table: under the hash of a mark's
 * map key, a reference to the flow's record. It answers what the maps in the kernel can't: which
 * other flows share a map key, and whether another key needs the same bit of the bitmap. It knows
 * nothing of flows; whoever asks compares keys.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "daemon/base/probe.h"

/* The record's number and the direction, as one number that is never 0. */
typedef uint32_t marker_ref;

enum marker_direction { MARKER_FORWARD = 0, MARKER_BACKWARD = 1 };
#define MARKER_DIRECTIONS 2

static inline marker_ref marker_ref_make(uint32_t record, enum marker_direction direction)
{
    return (record << 1 | (uint32_t)direction) + 1;
}

static inline uint32_t marker_ref_record(marker_ref ref)
{
    return (ref - 1) >> 1;
}

static inline enum marker_direction marker_ref_direction(marker_ref ref)
{
    return (ref - 1) & 1 ? MARKER_BACKWARD : MARKER_FORWARD;
}

/* Whether any mark needs the bit (flowd_marker_bit) of this hash. */
bool marker_marks_bit_used(const struct flowd_probe *marks, uint32_t hash);
/* Sets in bitmap (FLOWD_MARKER_BITMAP_WORDS words) the bit of each mark. */
void marker_marks_fill(const struct flowd_probe *marks, uint64_t *bitmap);
