/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One bucket of the flow map: its entries, and the lines in which they stand. For the files of the
 * table only. Functions return 0 or -errno as those of table.h.
 */
#pragma once

#include "table.h"

/* A place in the table. */
struct marker_place {
    uint32_t line;
    uint32_t slot;
};

static inline struct marker_owner *marker_owner_at(const struct marker_table *table,
                                                   struct marker_place place)
{
    return &table->owners[(size_t)place.line * FLOWD_MARKER_SLOTS + place.slot];
}

static inline struct marker_place marker_place_of(const struct marker_table *table,
                                                  const struct marker_owner *owner)
{
    size_t at = (size_t)(owner - table->owners);

    return (struct marker_place){(uint32_t)(at / FLOWD_MARKER_SLOTS),
                                 (uint32_t)(at % FLOWD_MARKER_SLOTS)};
}

static inline uint64_t marker_word_at(const struct marker_table *table, struct marker_place place)
{
    return table->lines[place.line].words[place.slot];
}

static inline uint32_t marker_bucket_count(const struct marker_table *table)
{
    return (uint32_t)table->shared->geometry;
}

static inline uint32_t marker_bucket_of(const struct marker_table *table, uint32_t hash)
{
    return flowd_marker_bucket_of(table->shared->geometry, hash);
}

/* Gives a line that is in no bucket back to the free ones. */
void marker_line_give(struct marker_table *table, uint32_t line);

/* The bits of all entries in the bucket. */
uint64_t marker_bucket_bits(const struct marker_table *table, uint32_t bucket);
/* Goes to the first entry at *place or behind it; false: the bucket ends before one. */
bool marker_bucket_next(const struct marker_table *table, struct marker_place *place);
/* Puts an entry into the bucket, which may get another line, and its bit before it. */
int marker_bucket_put(struct marker_table *table, uint32_t bucket, uint64_t word, uint32_t check,
                      struct marker_owner owner);
/* Empties a slot; its bit stays, and no other entry moves. */
int marker_bucket_erase(struct marker_table *table, struct marker_place place);
/*
 * Empties a slot of the bucket; its bit stays. Where the bucket has several lines, its last entry
 * takes the place, so that no bucket has more lines than it needs.
 */
int marker_bucket_clear(struct marker_table *table, uint32_t bucket, struct marker_place place);
/* Fills free slots with the bucket's last entries, and gives back the lines that are empty then. */
int marker_bucket_tidy(struct marker_table *table, uint32_t bucket);
/* Empties a bucket that no program looks into any more, and gives its further lines back. */
int marker_bucket_empty(struct marker_table *table, uint32_t bucket);

/* A geometry with so many buckets and one change more. */
uint64_t marker_geometry_with(const struct marker_table *table, uint32_t buckets);
/* Finds out what an earlier process left; -EUCLEAN: no table with room for the flows. */
int marker_table_take_over(struct marker_table *table);
