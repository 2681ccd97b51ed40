/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
/*
 * The marks that a CPU remembers: the flow map's answers for the packets it sent last.
 *
 * Asking the flow map costs more than writing a label. A busy flow's next packet leaves by the same
 * CPU soon, so the answer is kept in a slot of this CPU's own, where the key's hash says; the last
 * flow that was asked for has it. An answer counts as long as its slot's generation is the one that
 * was read before the map was asked: flowd gives the slot another one after it changed an entry.
 *
 * No two programs write a CPU's slot at once, because the kernel sends packets with soft interrupts
 * off. Real-time kernels may interrupt one by another: there, flowd has nothing remembered.
 */
#pragma once

#include "ebpf/marker_maps.bpf.h"

#include <linux/ipv6.h>

struct marker_recent {
    struct flowd_marker_key key; /* protocol 0: nothing is remembered */
    flowd_marker_word word;
    __u32 generation;
    __u32 zero;
};

struct {
    __uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
    __uint(max_entries, FLOWD_MARKER_RECENT_SLOTS);
    __type(key, __u32);
    __type(value, struct marker_recent);
} flowd_recent SEC(".maps");

static __always_inline __u32 marker_generation(__u32 slot)
{
    return *(volatile __u32 *)&marker_shared.generations[slot];
}

/*
 * The same for what is to be remembered: nothing that follows is read before it. Where the
 * processor does not see to that, an atomic operation that returns a value does.
 */
static __always_inline __u32 marker_generation_first(__u32 slot)
{
#ifdef FLOWD_BPF_LOADS_IN_ORDER
    __u32 generation = marker_generation(slot);

    barrier();
    return generation;
#else
    return __sync_fetch_and_add(&marker_shared.generations[slot], 0);
#endif
}

static __always_inline int marker_recent_holds(const struct marker_recent *recent,
                                               const struct flowd_marker_key *key, __u32 generation)
{
    return recent->key.ports == key->ports && recent->key.protocol == key->protocol &&
           recent->key.dst[1] == key->dst[1] && recent->key.dst[0] == key->dst[0] &&
           recent->key.src[0] == key->src[0] && recent->key.src[1] == key->src[1] &&
           recent->generation == generation;
}

/* The mark of the flow with this key, by what this CPU remembers or the flow map; 0: none. */
static __always_inline flowd_marker_word marker_find_mark(const struct flowd_marker_key *key,
                                                          __u32 hash)
{
    __u32 remembered_in = flowd_marker_recent_slot(hash); /* a helper reads it from memory */
    struct marker_recent *recent;
    flowd_marker_word word;
    __u32 generation;
    __u32 slot;

    if (!marker_remember)
        return marker_ask_map(key, hash);
    recent = bpf_map_lookup_elem(&flowd_recent, &remembered_in);
    if (!recent)
        return 0;
    /*
     * Computed once more: before Linux 6.16 the verifier forgets the bounds of what was in memory,
     * and the compiler must not take the number from there.
     */
    barrier_var(hash);
    slot = flowd_marker_recent_slot(hash);
    if (marker_recent_holds(recent, key, marker_generation(slot)))
        return recent->word;
    generation = marker_generation_first(slot);
    word = marker_ask_map(key, hash);
    if (word) {
        recent->key = *key;
        recent->word = word;
        recent->generation = generation;
    }
    return word;
}
