/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Batches of updates and deletions, run to their end: the kernel stops at the first element that
 * fails and says how many it did, so the rest is sent again behind that element.
 */
#include "batch.h"

#include <bpf/bpf.h>
#include <errno.h>
#include <string.h>

/* The kernel's own number for "not supported", which has no name in user space. */
#define KERNEL_ENOTSUPP 524

void marker_batch_add(struct marker_batch *batch, const struct flowd_marker_key *key,
                      flowd_marker_word word, void *context)
{
    memcpy(batch->keys + batch->count * batch->key_size, key, batch->key_size);
    batch->words[batch->count] = word;
    batch->context[batch->count] = context;
    batch->count++;
}

static int do_one(const struct marker_batch *batch, uint32_t at, bool update)
{
    const uint8_t *key = batch->keys + at * batch->key_size;

    return update ? bpf_map_update_elem(batch->map_fd, key, &batch->words[at], BPF_ANY)
                  : bpf_map_delete_elem(batch->map_fd, key);
}

/* Does elements from at on; sets *done to how many were done before the one that failed. */
static int do_some(const struct marker_batch *batch, uint32_t at, bool update, uint32_t *done)
{
    const uint8_t *keys = batch->keys + at * batch->key_size;
    uint32_t count = batch->count - at;
    int result;

    if (batch->single) {
        *done = 0;
        result = do_one(batch, at, update);
        if (result == 0)
            *done = 1;
        return result;
    }
    result = update ? bpf_map_update_batch(batch->map_fd, keys, &batch->words[at], &count, NULL)
                    : bpf_map_delete_batch(batch->map_fd, keys, &count, NULL);
    /* A kernel that refuses the call itself leaves the count as it was given. */
    *done = result < 0 && count >= batch->count - at ? 0 : count;
    return result;
}

static void run(struct marker_batch *batch, bool update, marker_batch_failed failed, void *owner)
{
    uint32_t at = 0;

    while (at < batch->count) {
        uint32_t done = 0;
        int result = do_some(batch, at, update, &done);

        at += done;
        if (result == 0 || at >= batch->count)
            continue;
        if (!batch->single && done == 0 && (result == -EINVAL || result == -KERNEL_ENOTSUPP)) {
            result = do_one(batch, at, update);
            if (result == 0 || result == -ENOENT)
                batch->single = true;
        }
        if (result < 0 && (update || result != -ENOENT))
            failed(owner, batch->context[at], result);
        at++;
    }
    batch->count = 0;
}

void marker_batch_update(struct marker_batch *batch, marker_batch_failed failed, void *owner)
{
    run(batch, true, failed, owner);
}

void marker_batch_delete(struct marker_batch *batch, marker_batch_failed failed, void *owner)
{
    run(batch, false, failed, owner);
}
