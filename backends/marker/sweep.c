/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The sweep over maps that an earlier process left. The kernel hands out the entries bucket by
 * bucket, so that those which stay are seen once, whatever else comes and goes. That takes Linux
 * 5.6.
 */
#include "sweep.h"

#include <bpf/bpf.h>
#include <errno.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "batch.h"
#include "entries.h"

struct marker_sweep *marker_sweep_new(struct marker_entries *entries)
{
    struct marker_sweep *sweep = calloc(1, sizeof(*sweep));

    if (sweep != NULL)
        sweep->entries = entries;
    return sweep;
}

static void ignore_failure(void *owner, void *context, int error)
{
    uint64_t *failures = owner;

    (void)context;
    (void)error;
    (*failures)++;
}

/* Stores the wanted bits word by word: a bit that a live flow needs is set before and after. */
static int sweep_bitmap(struct marker_entries *entries)
{
    uint64_t *wanted = calloc(FLOWD_MARKER_BITMAP_WORDS, sizeof(*wanted));

    if (wanted == NULL)
        return -ENOMEM;
    marker_marks_fill(&entries->marks, wanted);
    for (size_t i = 0; i < FLOWD_MARKER_BITMAP_WORDS; i++)
        if (entries->shared->bitmap[i] != wanted[i])
            entries->shared->bitmap[i] = wanted[i];
    free(wanted);
    return 0;
}

/* Deletes those of the keys that no flow is behind. */
static void delete_stale(struct marker_sweep *sweep, uint32_t count)
{
    struct marker_entries *entries = sweep->entries;
    size_t key_size = entries->batch->key_size;

    for (uint32_t i = 0; i < count; i++) {
        struct flowd_marker_key key = {0};

        memcpy(&key, sweep->keys + i * key_size, key_size);
        if (marker_entries_wanted(entries, &key))
            continue;
        marker_batch_add(entries->batch, &key, 0, NULL);
        sweep->deleted++;
        if (marker_batch_full(entries->batch))
            marker_batch_delete(entries->batch, ignore_failure, &entries->delete_failures);
    }
    marker_batch_delete(entries->batch, ignore_failure, &entries->delete_failures);
}

/* Every entry has been looked at. */
static int sweep_conclude(struct marker_entries *entries)
{
    int result = sweep_bitmap(entries);

    /* What a program that an earlier process left remembers is void, after all of this is seen. */
    atomic_thread_fence(memory_order_seq_cst);
    for (size_t i = 0; i < FLOWD_MARKER_RECENT_SLOTS; i++)
        entries->shared->generations[i]++;
    return result;
}

int marker_sweep_some(struct marker_sweep *sweep)
{
    uint32_t place = sweep->place;
    uint32_t count = MARKER_SWEEP_ENTRIES;
    int result = bpf_map_lookup_batch(sweep->entries->flows_fd, sweep->begun ? &place : NULL,
                                      &sweep->place, sweep->keys, sweep->words, &count, NULL);

    if (result < 0 && result != -ENOENT)
        return result;
    sweep->begun = true;
    delete_stale(sweep, count);
    return result == -ENOENT ? sweep_conclude(sweep->entries) : 1;
}
