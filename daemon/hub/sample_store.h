/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The last sample of each flow, by the number of the flow's record. Flows that are never sampled
 * cost nothing.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "daemon/tcp/tcp_sample.h"

struct flowd_stored_sample {
    struct flowd_tcp_sample sample;
    int64_t shown_us; /* when backends were told of one; CLOCK_REALTIME, 0: never */
};

/* Zero-initialised is empty. */
struct flowd_sample_store {
    struct flowd_stored_sample **entries; /* owned */
    size_t capacity;
    size_t count;
};

void flowd_sample_store_fini(struct flowd_sample_store *store);
/* The entry at index, made if it is not there. Borrowed; NULL: no memory. */
struct flowd_stored_sample *flowd_sample_store_make(struct flowd_sample_store *store,
                                                    uint32_t index);
/* NULL: there is none. Borrowed until flowd_sample_store_drop(). */
const struct flowd_stored_sample *flowd_sample_store_at(const struct flowd_sample_store *store,
                                                        uint32_t index);
void flowd_sample_store_drop(struct flowd_sample_store *store, uint32_t index);
