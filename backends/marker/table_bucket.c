/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The entries and lines of one bucket.
 *
 * An entry is copied before its former place is cleared, and in between the geometry's count of
 * changes is raised, so that a program which looked at the new place too early and at the former
 * one too late sees that it has to look again. A process that is killed in between leaves the entry
 * twice, with the same mark: whoever takes the maps over claims one, and the sweep removes the
 * other.
 */
#include "table_bucket.h"

#include <errno.h>
#include <string.h>

#include "table_store.h"

#define SLOTS FLOWD_MARKER_SLOTS

/* Free lines are chained by the number of the next one, in the first owner's hash. */
void marker_line_give(struct marker_table *table, uint32_t line)
{
    memset(&table->owners[(size_t)line * SLOTS], 0, SLOTS * sizeof(*table->owners));
    marker_owner_at(table, (struct marker_place){line, 0})->hash = table->free_line;
    table->free_line = line;
}

/* Takes a line that is in no bucket, empty; 0: there is none. */
static uint32_t take_line(struct marker_table *table)
{
    uint32_t line = table->free_line;

    if (line != 0) {
        table->free_line = marker_owner_at(table, (struct marker_place){line, 0})->hash;
        marker_owner_at(table, (struct marker_place){line, 0})->hash = 0;
    } else if (table->shared->lines < table->size.lines) {
        line = (uint32_t)table->shared->lines;
        if (marker_store_lines(table, line + 1) < 0)
            return 0;
    } else {
        return 0;
    }
    if (marker_store_empty_line(table, line) == 0)
        return line;
    marker_line_give(table, line);
    return 0;
}

uint64_t marker_bucket_bits(const struct marker_table *table, uint32_t bucket)
{
    uint64_t bits = 0;
    uint32_t line = bucket;

    do {
        for (uint32_t i = 0; i < SLOTS; i++)
            if (table->lines[line].words[i] != 0)
                bits |= UINT64_C(1) << (table->lines[line].words[i] >> 58);
        line = table->lines[line].next;
    } while (line != 0);
    return bits;
}

/* Finds a free slot in the bucket, which may get another line. */
static int find_room(struct marker_table *table, uint32_t bucket, struct marker_place *place)
{
    uint32_t length = 1;
    uint32_t line = bucket;
    uint32_t fresh;
    int result;

    for (;; length++) {
        for (uint32_t i = 0; i < SLOTS; i++) {
            *place = (struct marker_place){line, i};
            if (table->lines[line].words[i] == 0)
                return 0;
        }
        if (table->lines[line].next == 0)
            break;
        line = table->lines[line].next;
    }
    if (length >= FLOWD_MARKER_CHAIN_MAX)
        return -E2BIG;
    fresh = take_line(table);
    if (fresh == 0)
        return -E2BIG;
    *place = (struct marker_place){fresh, 0};
    result = marker_store_next(table, line, fresh);
    if (result < 0)
        marker_line_give(table, fresh);
    return result;
}

static int raise_changes(struct marker_table *table)
{
    return marker_store_geometry(table, table->shared->geometry +
                                            (UINT64_C(1) << FLOWD_MARKER_CHANGES_SHIFT));
}

/* Takes the last line from a bucket if nothing is in it; false: it stays. */
static bool drop_empty_line(struct marker_table *table, uint32_t bucket)
{
    uint32_t before = bucket;
    uint32_t line = table->lines[bucket].next;

    if (line == 0)
        return false;
    while (table->lines[line].next != 0) {
        before = line;
        line = table->lines[line].next;
    }
    for (uint32_t i = 0; i < SLOTS; i++)
        if (table->lines[line].words[i] != 0)
            return false;
    /* A program that is on its way through this line would miss what another bucket's go on with:
     * nothing of its own. */
    if (marker_store_next(table, before, 0) < 0)
        return false;
    marker_line_give(table, line);
    return true;
}

/* Finds the bucket's first free slot and, behind it, its last entry; false: there is none. */
static bool find_gap(const struct marker_table *table, uint32_t bucket, struct marker_place *hole,
                     struct marker_place *last)
{
    bool has_hole = false;
    bool found = false;
    uint32_t line = bucket;

    do {
        for (uint32_t i = 0; i < SLOTS; i++) {
            const struct marker_place place = {line, i};
            bool is_free = marker_word_at(table, place) == 0;

            if (is_free && !has_hole) {
                *hole = place;
                has_hole = true;
            } else if (!is_free && has_hole) {
                *last = place;
                found = true;
            }
        }
        line = table->lines[line].next;
    } while (line != 0);
    return found;
}

int marker_bucket_erase(struct marker_table *table, struct marker_place place)
{
    int result = marker_store_entry(table, place.line, place.slot, 0, 0);

    if (result == 0)
        *marker_owner_at(table, place) = (struct marker_owner){0};
    return result;
}

static int move(struct marker_table *table, struct marker_place from, struct marker_place to)
{
    const struct flowd_marker_bucket *line = &table->lines[from.line];
    int result = marker_store_entry(table, to.line, to.slot, line->words[from.slot],
                                    line->checks[from.slot]);

    if (result < 0)
        return result;
    *marker_owner_at(table, to) = *marker_owner_at(table, from);
    result = raise_changes(table);
    return result < 0 ? result : marker_bucket_erase(table, from);
}

int marker_bucket_tidy(struct marker_table *table, uint32_t bucket)
{
    struct marker_place hole = {0};
    struct marker_place last = {0};
    int result = 0;

    if (table->lines[bucket].next == 0)
        return 0;
    while (result == 0 && find_gap(table, bucket, &hole, &last))
        result = move(table, last, hole);
    while (result == 0 && drop_empty_line(table, bucket))
        ;
    return result;
}

int marker_bucket_clear(struct marker_table *table, uint32_t bucket, struct marker_place place)
{
    int result = marker_bucket_erase(table, place);

    return result < 0 || table->adopted ? result : marker_bucket_tidy(table, bucket);
}

int marker_bucket_put(struct marker_table *table, uint32_t bucket, uint64_t word, uint32_t check,
                      struct marker_owner owner)
{
    struct marker_place place;
    int result = find_room(table, bucket, &place);

    if (result == 0)
        result =
            marker_store_bits(table, bucket, table->bitmap[bucket] | UINT64_C(1) << (word >> 58));
    if (result == 0)
        result = marker_store_entry(table, place.line, place.slot, word, check);
    if (result == 0)
        *marker_owner_at(table, place) = owner;
    return result;
}

bool marker_bucket_next(const struct marker_table *table, struct marker_place *place)
{
    for (;; place->slot++) {
        if (place->slot == SLOTS) {
            *place = (struct marker_place){.line = table->lines[place->line].next};
            if (place->line == 0)
                return false;
        }
        if (marker_word_at(table, *place) != 0)
            return true;
    }
}

int marker_bucket_empty(struct marker_table *table, uint32_t bucket)
{
    uint32_t line = table->lines[bucket].next;
    int result = marker_store_bits(table, bucket, 0);
    int emptied = marker_store_empty_line(table, bucket);

    /* A refused store changes nothing for the lines: the bucket is emptied again before its use. */
    memset(&table->owners[(size_t)bucket * SLOTS], 0, SLOTS * sizeof(*table->owners));
    while (line != 0) {
        uint32_t next = table->lines[line].next;

        marker_line_give(table, line);
        line = next;
    }
    return result < 0 ? result : emptied;
}
