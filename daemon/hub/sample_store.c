/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The last samples, in an array of pointers that grows with the highest record that is sampled; its
 * entries are allocated with a flow's first sample and freed with the flow.
 */
#include "daemon/hub/sample_store.h"

#include <stdlib.h>
#include <string.h>

#include "daemon/base/vector.h"

void flowd_sample_store_fini(struct flowd_sample_store *store)
{
    for (size_t i = 0; i < store->capacity; i++)
        free(store->entries[i]);
    free(store->entries);
    *store = (struct flowd_sample_store){0};
}

static bool sample_store_grow(struct flowd_sample_store *store, uint32_t index)
{
    size_t before = store->capacity;

    if (flowd_vector_reserve(&store->entries, &store->capacity, (size_t)index + 1) < 0)
        return false;
    memset(store->entries + before, 0, (store->capacity - before) * sizeof(store->entries[0]));
    return true;
}

struct flowd_stored_sample *flowd_sample_store_make(struct flowd_sample_store *store,
                                                    uint32_t index)
{
    if (index >= store->capacity && !sample_store_grow(store, index))
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
