/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A hash table of numbers: which numbers stand under a hash. It holds eight bytes for each and
 * knows no keys; whoever asks compares those that the numbers stand for.
 *
 * A slot's home is given by the high bits of its hash, so neighbouring hashes have one home or
 * neighbouring ones.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct flowd_probe_slot {
    uint32_t hash;
    uint32_t number; /* 0: the slot is free */
};

struct flowd_probe {
    struct flowd_probe_slot *slots; /* 1 << order of them; owned */
    unsigned order;
    size_t count;
};

/* Returns 0 or -ENOMEM. */
int flowd_probe_init(struct flowd_probe *probe);
void flowd_probe_fini(struct flowd_probe *probe);

/*
 * Makes room for count numbers in all, which a table that has none yet gets in no time. Returns 0
 * or -ENOMEM.
 */
int flowd_probe_expect(struct flowd_probe *probe, size_t count);
/* Adds a number that is not 0 and not there under this hash; there must be room for it. */
void flowd_probe_add(struct flowd_probe *probe, uint32_t hash, uint32_t number);
/* Returns whether it was there. */
bool flowd_probe_remove(struct flowd_probe *probe, uint32_t hash, uint32_t number);

/*
 * The next number under exactly this hash, 0 at the end; *cursor begins as FLOWD_PROBE_BEGIN. The
 * table must not change meanwhile.
 */
#define FLOWD_PROBE_BEGIN SIZE_MAX
uint32_t flowd_probe_next(const struct flowd_probe *probe, uint32_t hash, size_t *cursor);

/* For those who look at slots themselves: where a hash has its home, and which slot follows one. */
static inline size_t flowd_probe_home(const struct flowd_probe *probe, uint32_t hash)
{
    return hash >> (32 - probe->order);
}

static inline size_t flowd_probe_after(const struct flowd_probe *probe, size_t slot)
{
    return (slot + 1) & (((size_t)1 << probe->order) - 1);
}
