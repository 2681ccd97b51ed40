/*
 * The index of marks: which directions of which flows stand behind a hash.
 *
 * A mark is one direction of one live flow. The index holds eight bytes for each: the hash of its
 * map key and a reference to the flow's record. It answers what the maps in the kernel can't: which
 * other flows share a map key, and whether another key needs the same bit of the bitmap. It knows
 * nothing of flows; whoever asks compares keys.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

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

struct marker_slot {
    uint32_t hash;
    marker_ref ref; /* 0: the slot is free */
};

struct marker_marks {
    struct marker_slot *slots; /* 1 << order of them; owned */
    unsigned order;
    size_t count;
};

/* Returns 0 or -ENOMEM. */
int marker_marks_init(struct marker_marks *marks);
void marker_marks_fini(struct marker_marks *marks);

/*
 * Makes room for count marks at once, which an index that has none yet gets in no time. Returns 0
 * or -ENOMEM.
 */
int marker_marks_expect(struct marker_marks *marks, size_t count);

/* Adds a mark, which must not be there yet. Returns 0 or -ENOMEM. */
int marker_marks_add(struct marker_marks *marks, uint32_t hash, marker_ref ref);
/* Returns whether it was there. */
bool marker_marks_remove(struct marker_marks *marks, uint32_t hash, marker_ref ref);

/*
 * Walks the marks of exactly this hash: start with *cursor MARKER_MARKS_BEGIN; returns 0 at the
 * end. The index must not change meanwhile.
 */
#define MARKER_MARKS_BEGIN SIZE_MAX
marker_ref marker_marks_next(const struct marker_marks *marks, uint32_t hash, size_t *cursor);

/* Whether any mark needs the bit (flowd_marker_bit) of this hash. */
bool marker_marks_bit_used(const struct marker_marks *marks, uint32_t hash);
/* Sets in bitmap (FLOWD_MARKER_BITMAP_WORDS words) the bit of each mark. */
void marker_marks_fill(const struct marker_marks *marks, uint64_t *bitmap);
