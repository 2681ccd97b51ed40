/*
 * Reconciles maps that an earlier process left with the live flows: the second half of adopting
 * them, after every live flow has been written.
 */
#include <bpf/bpf.h>
#include <errno.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "batch.h"
#include "entries.h"

static void ignore_failure(void *owner, void *context, int error)
{
    uint64_t *failures = owner;

    (void)context;
    (void)error;
    (*failures)++;
}

/* Copies every key of the map into *keys (owned by the caller). Returns their number or -errno. */
static int64_t read_keys(const struct marker_entries *entries, uint8_t **keys)
{
    size_t key_size = entries->batch->key_size;
    size_t count = 0;
    size_t capacity = 1024;
    uint8_t *found = malloc(capacity * key_size);
    const uint8_t *previous = NULL;

    if (found == NULL)
        return -ENOMEM;
    for (;;) {
        int result;

        if (count == capacity) {
            uint8_t *larger = realloc(found, 2 * capacity * key_size);

            if (larger == NULL) {
                free(found);
                return -ENOMEM;
            }
            found = larger;
            capacity *= 2;
        }
        previous = count > 0 ? found + (count - 1) * key_size : NULL;
        result = bpf_map_get_next_key(entries->flows_fd, previous, found + count * key_size);
        if (result == -ENOENT)
            break;
        if (result < 0) {
            free(found);
            return result;
        }
        count++;
    }
    *keys = found;
    return (int64_t)count;
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

/* Deletes the entries without a flow. Returns how many there were, or -errno. */
static int64_t sweep_entries(struct marker_entries *entries)
{
    size_t key_size = entries->batch->key_size;
    uint8_t *keys = NULL;
    int64_t count = read_keys(entries, &keys);
    int64_t deleted = 0;

    for (int64_t i = 0; i < count; i++) {
        struct flowd_marker_key key = {0};

        memcpy(&key, keys + (size_t)i * key_size, key_size);
        if (marker_entries_wanted(entries, &key))
            continue;
        marker_batch_add(entries->batch, &key, 0, NULL);
        deleted++;
        if (marker_batch_full(entries->batch))
            marker_batch_delete(entries->batch, ignore_failure, &entries->delete_failures);
    }
    marker_batch_delete(entries->batch, ignore_failure, &entries->delete_failures);
    free(keys);
    return count < 0 ? count : deleted;
}

int64_t marker_entries_sweep(struct marker_entries *entries)
{
    int64_t deleted = sweep_entries(entries);
    int result = sweep_bitmap(entries);

    /* What a program that an earlier process left remembers is void, after all of this is seen. */
    atomic_thread_fence(memory_order_seq_cst);
    for (size_t i = 0; i < FLOWD_MARKER_RECENT_SLOTS; i++)
        entries->shared->generations[i]++;
    return result < 0 ? result : deleted;
}
