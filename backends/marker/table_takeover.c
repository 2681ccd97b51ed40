/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A table that an earlier process left: what is in it is marked as long as nobody says otherwise.
 * Flows claim their entries as they are told of, and what is nobody's then is swept away. That
 * process may have been killed at any point.
 */
#include <errno.h>
#include <stdlib.h>

#include "table_bucket.h"
#include "table_store.h"

/*
 * Removes what is in the bucket and nobody's. Nothing moves before that is done: there may be free
 * slots anywhere, and what moved to one of those that were looked at would be passed over.
 */
static int sweep_bucket(struct marker_table *table, uint32_t bucket, size_t *removed)
{
    int result = 0;

    for (struct marker_place place = {.line = bucket};
         result == 0 && marker_bucket_next(table, &place); place.slot++) {
        const struct marker_owner *owner = marker_owner_at(table, place);

        if (owner->ref != 0 && marker_bucket_of(table, owner->hash) == bucket)
            continue;
        result = marker_bucket_erase(table, place);
        (*removed)++;
    }
    if (result == 0)
        result = marker_bucket_tidy(table, bucket);
    return result == 0 ? marker_store_bits(table, bucket, marker_bucket_bits(table, bucket))
                       : result;
}

int marker_table_sweep(struct marker_table *table, uint32_t buckets, size_t *removed)
{
    table->adopted = false;
    for (uint32_t i = 0; i < buckets && table->sweep_at < marker_bucket_count(table); i++) {
        int result = sweep_bucket(table, table->sweep_at++, removed);

        if (result < 0)
            return result;
    }
    if (table->sweep_at < marker_bucket_count(table))
        return 1;
    return marker_table_settle(table, buckets) ? 1 : 0;
}

/*
 * What an earlier process left must not lead anywhere else. And as nothing moves before all flows
 * are told of, those that began without the marker have to find room in the buckets that are there:
 * twice as many entries a bucket, in the mean, would be as many as one can have.
 */
static bool is_sound(const struct marker_table *table)
{
    uint64_t geometry = table->shared->geometry;
    uint32_t buckets = (uint32_t)geometry;

    return buckets >= FLOWD_MARKER_BUCKETS_MIN && buckets <= table->size.buckets &&
           marker_geometry_with(table, buckets) << (64 - FLOWD_MARKER_CHANGES_SHIFT) ==
               geometry << (64 - FLOWD_MARKER_CHANGES_SHIFT) &&
           table->maps.expected / (FLOWD_MARKER_CHAIN_MAX * FLOWD_MARKER_SLOTS / 2) <= buckets &&
           table->shared->lines >= table->size.buckets && table->shared->lines <= table->size.lines;
}

/* Finds out which lines the buckets have. Each has some number of its own, below those in use. */
static int account_for_lines(const struct marker_table *table, uint64_t *in_use)
{
    uint32_t lines = (uint32_t)table->shared->lines;

    for (uint32_t bucket = 0; bucket < marker_bucket_count(table); bucket++) {
        for (uint32_t line = table->lines[bucket].next; line != 0; line = table->lines[line].next) {
            uint64_t bit = UINT64_C(1) << (line % 64);

            if (line < table->size.buckets || line >= lines || in_use[line / 64] & bit)
                return -EUCLEAN;
            in_use[line / 64] |= bit;
        }
    }
    return 0;
}

int marker_table_take_over(struct marker_table *table)
{
    uint64_t *in_use;
    int result;

    if (!is_sound(table))
        return -EUCLEAN;
    in_use = calloc(table->size.lines / 64 + 1, sizeof(*in_use));
    if (in_use == NULL)
        return -ENOMEM;
    result = account_for_lines(table, in_use);
    for (uint32_t line = table->size.buckets; result == 0 && line < table->shared->lines; line++)
        if (!(in_use[line / 64] >> (line % 64) & 1))
            marker_line_give(table, line);
    free(in_use);
    table->adopted = result == 0;
    return result;
}
