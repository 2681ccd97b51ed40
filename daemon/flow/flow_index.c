/*
 * The hash index of the flow table. Open addressing with linear probing and backward-shift
 * deletion: no tombstones, so the cost of a look-up does not grow with the number of flows that
 * have come and gone.
 */
#include "daemon/flow/flow_index.h"

#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#define SLOTS_FIRST 1024

/* An empty slot is zero, so a large index takes memory as it fills. */
static struct flowd_flow_index_slot *slots_new(size_t count)
{
    return calloc(count, sizeof(struct flowd_flow_index_slot));
}

static bool is_empty(const struct flowd_flow_index_slot *slot)
{
    return slot->link == 0;
}

static uint32_t record_of(const struct flowd_flow_index_slot *slot)
{
    return slot->link - 1;
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

        if (is_empty(slot))
            return FLOWD_FLOW_INDEX_NONE;
        if (slot->hash == hash &&
            memcmp(first + record_of(slot) * index->record_size, key, sizeof(*key)) == 0)
            return record_of(slot);
    }
}

static void place(struct flowd_flow_index *index, struct flowd_flow_index_slot slot)
{
    size_t at = slot.hash & index->mask;

    while (!is_empty(&index->slots[at]))
        at = (at + 1) & index->mask;
    index->slots[at] = slot;
}

/* Two thirds full is where runs of linear probing start to grow. */
static bool has_room(size_t slots, size_t used)
{
    return used <= slots / 3 * 2;
}

static int grow(struct flowd_flow_index *index, size_t count)
{
    struct flowd_flow_index_slot *old = index->slots;
    size_t old_count = index->mask + 1;
    struct flowd_flow_index_slot *slots = slots_new(count);

    if (slots == NULL)
        return -ENOMEM;
    index->slots = slots;
    index->mask = count - 1;
    for (size_t i = 0; i < old_count && index->used > 0; i++)
        if (!is_empty(&old[i]))
            place(index, old[i]);
    free(old);
    return 0;
}

int flowd_flow_index_reserve(struct flowd_flow_index *index)
{
    size_t count = index->mask + 1;

    return has_room(count, index->used + 1) ? 0 : grow(index, count * 2);
}

int flowd_flow_index_expect(struct flowd_flow_index *index, size_t records)
{
    size_t count = index->mask + 1;

    while (!has_room(count, records))
        count *= 2;
    return count == index->mask + 1 ? 0 : grow(index, count);
}

void flowd_flow_index_add(struct flowd_flow_index *index, const struct flowd_flow_key *key,
                          uint32_t record)
{
    place(index, (struct flowd_flow_index_slot){.hash = hash_of(index, key), .link = record + 1});
    index->used++;
}

void flowd_flow_index_remove(struct flowd_flow_index *index, const struct flowd_flow_key *key,
                             uint32_t record)
{
    size_t hole = hash_of(index, key) & index->mask;
    size_t at;

    while (index->slots[hole].link != record + 1)
        hole = (hole + 1) & index->mask;
    at = hole;
    for (;;) {
        size_t home;

        at = (at + 1) & index->mask;
        if (is_empty(&index->slots[at]))
            break;
        home = index->slots[at].hash & index->mask;
        /* The entry may fill the hole unless its home lies behind the hole. */
        if (((at - home) & index->mask) >= ((at - hole) & index->mask)) {
            index->slots[hole] = index->slots[at];
            hole = at;
        }
    }
    index->slots[hole].link = 0;
    index->used--;
}
