/*
 * The last samples, in an array of pointers that grows with the highest record that is sampled; its
 * entries are allocated with a flow's first sample and freed with the flow.
 */
#include "daemon/hub/sample_store.h"

#include <stdlib.h>
#include <string.h>

#define CAPACITY_MIN 64

void flowd_sample_store_fini(struct flowd_sample_store *store)
{
    for (size_t i = 0; i < store->capacity; i++)
        free(store->entries[i]);
    free(store->entries);
    *store = (struct flowd_sample_store){0};
}

static bool grow(struct flowd_sample_store *store, uint32_t index)
{
    size_t capacity = store->capacity > 0 ? store->capacity : CAPACITY_MIN;
    struct flowd_stored_sample **entries;

    while (capacity <= index)
        capacity *= 2;
    entries = realloc(store->entries, capacity * sizeof(entries[0]));
    if (entries == NULL)
        return false;
    memset(entries + store->capacity, 0, (capacity - store->capacity) * sizeof(entries[0]));
    store->entries = entries;
    store->capacity = capacity;
    return true;
}

struct flowd_stored_sample *flowd_sample_store_make(struct flowd_sample_store *store,
                                                    uint32_t index)
{
    if (index >= store->capacity && !grow(store, index))
        return NULL;
    if (store->entries[index] == NULL) {
        store->entries[index] = calloc(1, sizeof(*store->entries[index]));
        store->count += store->entries[index] != NULL;
    }
    return store->entries[index];
}

const struct flowd_stored_sample *flowd_sample_store_at(const struct flowd_sample_store *store,
                                                        uint32_t index)
{
    return index < store->capacity ? store->entries[index] : NULL;
}

void flowd_sample_store_drop(struct flowd_sample_store *store, uint32_t index)
{
    if (index >= store->capacity || store->entries[index] == NULL)
        return;
    free(store->entries[index]);
    store->entries[index] = NULL;
    store->count--;
}
