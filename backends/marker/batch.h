/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Updates and deletions of map entries in batches, with single calls where the kernel has no
 * batches for hash maps (before Linux 5.6).
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "ebpf/marker.h"

#define MARKER_BATCH_SIZE 1024u

struct marker_batch {
    int map_fd;
    size_t key_size;
    bool single; /* the kernel has no batches */
    uint32_t count;
    void *context[MARKER_BATCH_SIZE];
    uint8_t keys[MARKER_BATCH_SIZE * FLOWD_MARKER_KEY_SOURCE_SIZE];
    flowd_marker_word words[MARKER_BATCH_SIZE];
};

/* Told of each element that could not be written or deleted, with what was given to add. */
typedef void (*marker_batch_failed)(void *owner, void *context, int error);

/* The batch must not be full. Where the key is to be deleted, word has no meaning. */
void marker_batch_add(struct marker_batch *batch, const struct flowd_marker_key *key,
                      flowd_marker_word word, void *context);
static inline bool marker_batch_full(const struct marker_batch *batch)
{
    return batch->count == MARKER_BATCH_SIZE;
}

/* Write or delete what was added and empty the batch. Deleting what is not there is no failure. */
void marker_batch_update(struct marker_batch *batch, marker_batch_failed failed, void *owner);
void marker_batch_delete(struct marker_batch *batch, marker_batch_failed failed, void *owner);
