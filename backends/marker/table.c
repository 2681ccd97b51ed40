/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The table's entries: finding, adding, changing and removing one. The lines in which they stand
 * are table_bucket.c's, and how many buckets there are is table_growth.c's.
 */
#include "table.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/random.h>

#include "table_bucket.h"
#include "table_store.h"

#define SLOTS FLOWD_MARKER_SLOTS
/* Buckets that one entry more or less may ask for: what was left undone is done in time. */
#define SETTLED_AT_ONCE 4

/*
 * Between four and eight entries for each of a power of two of buckets. Of keys that fall where
 * chance puts them, M a bucket in the mean, so many need M / 5 - 9 / 16 further lines a bucket (a
 * Poisson distribution; a little less), with a deviation of half the square root of the number of
 * buckets: the rest is for that.
 */
struct marker_table_size marker_table_size(uint32_t entries_max)
{
    uint32_t buckets = FLOWD_MARKER_BUCKETS_MIN;
    uint32_t further;

    while (buckets < entries_max / FLOWD_MARKER_FILL_MAX)
        buckets *= 2;
    further = entries_max / 5 > buckets / 16 * 9 ? entries_max / 5 - buckets / 16 * 9 : 0;
    return (struct marker_table_size){
        .buckets = buckets,
        .lines = buckets + further + buckets / 20 + 64,
    };
}

void marker_table_sums(const struct marker_table *table, const struct flowd_marker_key *key,
                       struct marker_sums *sums)
{
    const bool with_source = table->maps.format & FLOWD_MARKER_FORMAT_SOURCE;
    uint64_t all[FLOWD_MARKER_SUMS];

    for (unsigned i = 0; i < FLOWD_MARKER_SUMS; i++) {
        const __u64 *seeds = table->shared->seeds[i];

        all[i] = flowd_marker_sum(seeds, key->dst[0], key->dst[1], key->ports, key->protocol);
        if (with_source)
            all[i] += flowd_marker_sum_source(seeds, key->src[0], key->src[1]);
    }
    sums->hash = flowd_marker_hash(all[FLOWD_MARKER_SUM_HASH]);
    sums->tag = flowd_marker_word_tag(sums->hash, all[FLOWD_MARKER_SUM_WORD]);
    sums->check = flowd_marker_sum_upper(all[FLOWD_MARKER_SUM_CHECK]);
}

void marker_table_prefetch(const struct marker_table *table, const struct marker_sums *sums)
{
    uint32_t bucket = marker_bucket_of(table, sums->hash);

    __builtin_prefetch(&table->lines[bucket], 1);
    /* Entries that were taken over have their bits already. */
    if (!table->adopted)
        __builtin_prefetch(&table->bitmap[bucket], 1);
    __builtin_prefetch(marker_owner_at(table, (struct marker_place){.line = bucket}), 1);
}

static bool line_has(const struct flowd_marker_bucket *line, uint32_t slot,
                     const struct marker_sums *sums)
{
    return line->checks[slot] == sums->check && line->words[slot] != 0 &&
           (line->words[slot] ^ sums->tag) >> FLOWD_MARKER_VALUE_BITS == 0;
}

struct marker_owner *marker_table_find(struct marker_table *table, const struct marker_sums *sums)
{
    struct marker_place place = {.line = marker_bucket_of(table, sums->hash)};

    do {
        for (place.slot = 0; place.slot < SLOTS; place.slot++)
            if (line_has(&table->lines[place.line], place.slot, sums))
                return marker_owner_at(table, place);
        place.line = table->lines[place.line].next;
    } while (place.line != 0);
    return NULL;
}

int marker_table_add(struct marker_table *table, const struct marker_sums *sums,
                     flowd_marker_value value, marker_ref ref)
{
    int result;

    if (!table->adopted)
        marker_table_settle(table, SETTLED_AT_ONCE);
    result = marker_bucket_put(table, marker_bucket_of(table, sums->hash), sums->tag | value,
                               sums->check, (struct marker_owner){.ref = ref, .hash = sums->hash});
    if (result == 0)
        table->count++;
    return result;
}

/*
 * Of an entry that is there twice, all but the one at owner go: a process that was killed may leave
 * it so, or a refused system call.
 */
static int remove_doubles(struct marker_table *table, const struct marker_owner *owner,
                          const struct marker_sums *sums)
{
    struct marker_place place = {.line = marker_bucket_of(table, sums->hash)};
    int result = 0;

    do {
        for (place.slot = 0; place.slot < SLOTS && result == 0; place.slot++)
            if (marker_owner_at(table, place) != owner &&
                line_has(&table->lines[place.line], place.slot, sums))
                result = marker_bucket_erase(table, place);
        place.line = table->lines[place.line].next;
    } while (place.line != 0);
    return result;
}

int marker_table_change(struct marker_table *table, struct marker_owner *owner,
                        const struct marker_sums *sums, flowd_marker_value value, marker_ref ref)
{
    const struct marker_owner changed = {.ref = ref, .hash = sums->hash};
    struct marker_place place = marker_place_of(table, owner);
    uint64_t word = sums->tag | value;
    int result = 0;

    if (owner->ref == 0 || table->maps.without_mmap)
        result = remove_doubles(table, owner, sums);
    if (result < 0)
        return result;
    table->count += owner->ref == 0;
    *owner = changed;
    if (word == marker_word_at(table, place))
        return 0;
    if (!table->maps.without_mmap)
        return marker_store_entry(table, place.line, place.slot, word, sums->check);
    /* A system call would take the former mark away before the new one is there. */
    result =
        marker_bucket_put(table, marker_bucket_of(table, sums->hash), word, sums->check, changed);
    /* Whoever has passed the new place and finds nothing in the former one has to look again. */
    if (result == 0)
        result =
            marker_store_geometry(table, marker_geometry_with(table, marker_bucket_count(table)));
    return result == 0 ? marker_bucket_clear(table, marker_bucket_of(table, sums->hash), place)
                       : result;
}

void marker_table_abandon(struct marker_table *table, struct marker_owner *owner)
{
    table->count -= owner->ref != 0;
    owner->ref = 0;
}

int marker_table_remove(struct marker_table *table, struct marker_owner *owner,
                        const struct marker_sums *sums)
{
    uint32_t bucket = marker_bucket_of(table, sums->hash);
    int result = table->maps.without_mmap ? remove_doubles(table, owner, sums) : 0;

    marker_table_abandon(table, owner);
    if (result == 0)
        result = marker_bucket_clear(table, bucket, marker_place_of(table, owner));
    if (result == 0)
        result = marker_store_bits(table, bucket, marker_bucket_bits(table, bucket));
    if (!table->adopted)
        marker_table_settle(table, SETTLED_AT_ONCE);
    return result;
}

static int fill_randomly(void *bytes, size_t size)
{
    uint8_t *at = bytes;

    while (size > 0) {
        ssize_t got = getrandom(at, size, 0);

        if (got < 0 && errno != EINTR)
            return -errno;
        if (got > 0) {
            at += got;
            size -= (size_t)got;
        }
    }
    return 0;
}

static int begin(struct marker_table *table)
{
    struct flowd_marker_shared fresh = {
        .format = table->maps.format | FLOWD_MARKER_FORMAT_SET,
        .lines = table->size.buckets,
    };
    int result = fill_randomly(fresh.seeds, sizeof(fresh.seeds));

    if (result < 0)
        return result;
    fresh.geometry = marker_geometry_with(table, FLOWD_MARKER_BUCKETS_MIN);
    return marker_store_shared(table, &fresh);
}

int marker_table_open(struct marker_table *table, const struct marker_table_maps *maps)
{
    int result;

    *table = (struct marker_table){.maps = *maps, .size = marker_table_size(maps->entries_max)};
    table->owners = calloc((size_t)table->size.lines * SLOTS, sizeof(*table->owners));
    result = table->owners == NULL ? -ENOMEM : marker_store_open(table);
    if (result == 0)
        result = maps->adopted ? marker_table_take_over(table) : begin(table);
    if (result < 0)
        marker_table_close(table);
    return result;
}

void marker_table_close(struct marker_table *table)
{
    marker_store_close(table);
    free(table->owners);
    *table = (struct marker_table){0};
}
