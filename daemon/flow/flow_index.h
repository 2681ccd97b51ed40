/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A hash index over an array of records, such as those of the flow table: key to record number, in
 * memory only. Each record begins with its key.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "daemon/base/probe.h"
#include "daemon/flow/flow.h"

/* No record. */
#define FLOWD_FLOW_INDEX_NONE UINT32_MAX

struct flowd_flow_index {
    struct flowd_probe probe; /* record numbers + 1 */
    uint64_t seed;            /* random: who announces flows can't choose the order of slots */
    size_t record_size;       /* bytes from one record to the next */
};

int flowd_flow_index_init(struct flowd_flow_index *index, size_t record_size);
void flowd_flow_index_fini(struct flowd_flow_index *index);

/* The record whose key is key among records, or FLOWD_FLOW_INDEX_NONE. */
uint32_t flowd_flow_index_find(const struct flowd_flow_index *index, const void *records,
                               const struct flowd_flow_key *key);
/* Has the memory that a search for key looks at first fetched into the cache. */
void flowd_flow_index_prefetch(const struct flowd_flow_index *index,
                               const struct flowd_flow_key *key);
/* Makes sure that one more record fits. Returns 0 or -ENOMEM. */
int flowd_flow_index_reserve(struct flowd_flow_index *index);
/*
 * Makes room for that many records at once, which an index that has none yet gets in no time.
 * Returns 0 or -ENOMEM.
 */
int flowd_flow_index_expect(struct flowd_flow_index *index, size_t records);
/* Adds a record that is not there; there must be room for it. */
void flowd_flow_index_add(struct flowd_flow_index *index, const struct flowd_flow_key *key,
                          uint32_t record);
/* Removes a record that is there. */
void flowd_flow_index_remove(struct flowd_flow_index *index, const struct flowd_flow_key *key,
                             uint32_t record);
