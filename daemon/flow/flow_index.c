/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The hash index of the flow table: record numbers in a table by the hash of their keys, whose keys
 * are compared in the records themselves.
 */
#include "daemon/flow/flow_index.h"

#include <errno.h>
#include <string.h>
#include <sys/random.h>

int flowd_flow_index_init(struct flowd_flow_index *index, size_t record_size)
{
    uint64_t seed;

    if (getrandom(&seed, sizeof(seed), 0) != sizeof(seed))
        return -EIO;
    *index = (struct flowd_flow_index){.seed = seed, .record_size = record_size};
    return flowd_probe_init(&index->probe);
}

void flowd_flow_index_fini(struct flowd_flow_index *index)
{
    flowd_probe_fini(&index->probe);
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
    size_t cursor = FLOWD_PROBE_BEGIN;
    uint32_t number;

    while ((number = flowd_probe_next(&index->probe, hash, &cursor)) != 0)
        if (memcmp(first + (number - 1) * index->record_size, key, sizeof(*key)) == 0)
            return number - 1;
    return FLOWD_FLOW_INDEX_NONE;
}

void flowd_flow_index_prefetch(const struct flowd_flow_index *index,
                               const struct flowd_flow_key *key)
{
    __builtin_prefetch(&index->probe.slots[flowd_probe_home(&index->probe, hash_of(index, key))]);
}

int flowd_flow_index_reserve(struct flowd_flow_index *index)
{
    return flowd_probe_expect(&index->probe, index->probe.count + 1);
}

int flowd_flow_index_expect(struct flowd_flow_index *index, size_t records)
{
    return flowd_probe_expect(&index->probe, records);
}

void flowd_flow_index_add(struct flowd_flow_index *index, const struct flowd_flow_key *key,
                          uint32_t record)
{
    flowd_probe_add(&index->probe, hash_of(index, key), record + 1);
}

void flowd_flow_index_remove(struct flowd_flow_index *index, const struct flowd_flow_key *key,
                             uint32_t record)
{
    flowd_probe_remove(&index->probe, hash_of(index, key), record + 1);
}
