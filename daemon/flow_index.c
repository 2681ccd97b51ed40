/*
 * Open addressing with linear probing and backward-shift deletion: no tombstones, so the cost of a
 * look-up does not grow with the number of flows that have come and gone.
 */
#include "daemon/flow_index.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#define SLOTS_FIRST 1024

static struct flowd_flow_index_slot *slots_new(size_t count)
{
    struct flowd_flow_index_slot *slots = malloc(count * sizeof(*slots));

    if (slots != NULL)
        memset(slots, 0xff, count * sizeof(*slots));
    return slots;
}

int flowd_flow_index_init(struct flowd_flow_index *index, size_t record_size)
{
    uint64_t seed;

    if (getrandom(&seed, sizeof(seed), 0) != sizeof(seed))
        return -EIO;
    *index = (struct flowd_flow_index){.slots = slots_new(SLOTS_FIRST),
                                       .mask = SLOTS_FIRST - 1,
                                       .seed = seed,
                                       .record_size = record_size};
    return index->slots != NULL ? 0 : -ENOMEM;
}

void flowd_flow_index_fini(struct flowd_flow_index *index)
{
    free(index->slots);
    index->slots = NULL;
}

static uint32_t hash_of(const struct flowd_flow_index *index, const struct flowd_flow_key *key)
{
    return (uint32_t)flowd_flow_key_hash(key, index->seed);
}

uint32_t flowd_flow_index_find(const struct flowd_flow_index *index, const void *records,
                               const struct flowd_flow_key *key)
{
    const char *first = records;
    uint32_t hash = hash_of(index, key);

    for (size_t at = hash & index->mask;; at = (at + 1) & index->mask) {
        const struct flowd_flow_index_slot *slot = &index->slots[at];

        if (slot->record == FLOWD_FLOW_INDEX_NONE)
            return FLOWD_FLOW_INDEX_NONE;
        if (slot->hash == hash &&
            memcmp(first + slot->record * index->record_size, key, sizeof(*key)) == 0)
            return slot->record;
    }
}

static void place(struct flowd_flow_index *index, struct flowd_flow_index_slot slot)
{
    size_t at = slot.hash & index->mask;

    while (index->slots[at].record != FLOWD_FLOW_INDEX_NONE)
        at = (at + 1) & index->mask;
    index->slots[at] = slot;
}

int flowd_flow_index_reserve(struct flowd_flow_index *index)
{
    struct flowd_flow_index_slot *old = index->slots;
    size_t old_count = index->mask + 1;
    struct flowd_flow_index_slot *slots;

    /* Two thirds full is where runs of linear probing start to grow. */
    if (index->used + 1 <= old_count / 3 * 2)
        return 0;
    slots = slots_new(old_count * 2);
    if (slots == NULL)
        return -ENOMEM;
    index->slots = slots;
    index->mask = old_count * 2 - 1;
    for (size_t i = 0; i < old_count; i++)
        if (old[i].record != FLOWD_FLOW_INDEX_NONE)
            place(index, old[i]);
    free(old);
    return 0;
}

void flowd_flow_index_add(struct flowd_flow_index *index, const struct flowd_flow_key *key,
                          uint32_t record)
{
    place(index, (struct flowd_flow_index_slot){.hash = hash_of(index, key), .record = record});
    index->used++;
}

void flowd_flow_index_remove(struct flowd_flow_index *index, const struct flowd_flow_key *key,
                             uint32_t record)
{
    size_t hole = hash_of(index, key) & index->mask;
    size_t at;

    while (index->slots[hole].record != record)
        hole = (hole + 1) & index->mask;
    at = hole;
    for (;;) {
        size_t home;

        at = (at + 1) & index->mask;
        if (index->slots[at].record == FLOWD_FLOW_INDEX_NONE)
            break;
        home = index->slots[at].hash & index->mask;
        /* The entry may fill the hole unless its home lies behind the hole. */
        if (((at - home) & index->mask) >= ((at - hole) & index->mask)) {
            index->slots[hole] = index->slots[at];
            hole = at;
        }
    }
    index->slots[hole].record = FLOWD_FLOW_INDEX_NONE;
    index->used--;
}
