/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The number of buckets, which follows the number of entries: one bucket is split, or two are made
 * one, a few at a time (linear hashing; Litwin, "Linear hashing: a new tool for file and table
 * addressing", VLDB 1980).
 *
 * What moves is in its new bucket before the geometry leads there, and leaves the former one after
 * that.
 */
#include "table_bucket.h"
#include "table_store.h"

uint64_t marker_geometry_with(const struct marker_table *table, uint32_t buckets)
{
    uint64_t changes = (table->shared->geometry >> FLOWD_MARKER_CHANGES_SHIFT) + 1;
    uint64_t order = buckets > 1 ? 32 - (unsigned)__builtin_clz(buckets - 1) : 0;

    return changes << FLOWD_MARKER_CHANGES_SHIFT | order << FLOWD_MARKER_ORDER_SHIFT | buckets;
}

/*
 * Copies to a bucket the entries of another one that the geometry puts there. What an earlier
 * process left and no flow has claimed stays behind: nobody knows where it belongs, and the sweep
 * may have been there.
 */
static int copy_entries(struct marker_table *table, uint32_t from, uint32_t to, uint64_t geometry)
{
    int result = 0;

    for (struct marker_place place = {.line = from};
         result == 0 && marker_bucket_next(table, &place); place.slot++) {
        const struct marker_owner *owner = marker_owner_at(table, place);

        if ((owner->ref != 0 || owner->hash != 0) &&
            flowd_marker_bucket_of(geometry, owner->hash) == to)
            result = marker_bucket_put(table, to, marker_word_at(table, place),
                                       table->lines[place.line].checks[place.slot], *owner);
    }
    return result;
}

/* Clears in a bucket what the geometry puts elsewhere. */
static int clear_moved(struct marker_table *table, uint32_t bucket)
{
    int result = 0;

    for (struct marker_place place = {.line = bucket};
         result == 0 && marker_bucket_next(table, &place); place.slot++)
        if (marker_bucket_of(table, marker_owner_at(table, place)->hash) != bucket)
            result = marker_bucket_erase(table, place);
    if (result == 0)
        result = marker_bucket_tidy(table, bucket);
    return result == 0 ? marker_store_bits(table, bucket, marker_bucket_bits(table, bucket))
                       : result;
}

/* One bucket more: it gets the part of another one's entries that now belongs to it. */
static int split(struct marker_table *table)
{
    uint32_t fresh = marker_bucket_count(table);
    uint64_t geometry = marker_geometry_with(table, fresh + 1);
    uint32_t order = (uint32_t)(geometry >> FLOWD_MARKER_ORDER_SHIFT) & 31;
    uint32_t former = fresh & ~(1u << (order - 1));
    int result = marker_store_empty_line(table, fresh);

    if (result == 0)
        result = marker_store_bits(table, fresh, 0);
    if (result == 0)
        result = copy_entries(table, former, fresh, geometry);
    if (result == 0)
        result = marker_store_geometry(table, geometry);
    if (result < 0) {
        marker_bucket_empty(table, fresh);
        return result;
    }
    return clear_moved(table, former);
}

/* One bucket less: the one that it was split from gets its entries. */
static int merge(struct marker_table *table)
{
    uint32_t last = marker_bucket_count(table) - 1;
    uint64_t geometry = marker_geometry_with(table, last);
    uint32_t order = (uint32_t)(table->shared->geometry >> FLOWD_MARKER_ORDER_SHIFT) & 31;
    uint32_t former = last & ~(1u << (order - 1));
    /* What a refused system call left in the bucket must not come back to life. */
    int result = table->maps.without_mmap ? clear_moved(table, former) : 0;

    if (result == 0)
        result = copy_entries(table, last, former, geometry);
    if (result == 0)
        result = marker_store_geometry(table, geometry);
    /* What was copied in vain is cleared as the entries that moved are. */
    if (result < 0) {
        clear_moved(table, former);
        return result;
    }
    return marker_bucket_empty(table, last);
}

/*
 * So many buckets as entries ask for: a power of two, because half-way between two of them some
 * buckets are twice as full as the others.
 */
static uint32_t wanted_for(const struct marker_table *table, size_t entries)
{
    uint32_t buckets = FLOWD_MARKER_BUCKETS_MIN;

    while (buckets < table->size.buckets && (size_t)buckets * FLOWD_MARKER_FILL < entries)
        buckets *= 2;
    return buckets;
}

static bool wants_more(const struct marker_table *table)
{
    return marker_bucket_count(table) < wanted_for(table, table->count);
}

/* Not before so many more entries than there are would do with less: they come and go. */
static bool wants_less(const struct marker_table *table)
{
    size_t entries = 2 * table->count > table->expected ? 2 * table->count : table->expected;

    return marker_bucket_count(table) > wanted_for(table, entries);
}

bool marker_table_settle(struct marker_table *table, uint32_t buckets)
{
    for (uint32_t i = 0; i < buckets; i++) {
        if (wants_more(table)) {
            if (split(table) < 0)
                return false;
        } else if (!wants_less(table) || merge(table) < 0) {
            return false;
        }
    }
    return wants_more(table) || wants_less(table);
}

int marker_table_expect(struct marker_table *table, size_t entries)
{
    uint32_t buckets = wanted_for(table, entries);

    table->expected = entries;
    if (table->adopted || table->count > 0 || buckets <= marker_bucket_count(table))
        return 0;
    return marker_store_geometry(table, marker_geometry_with(table, buckets));
}
