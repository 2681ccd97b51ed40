/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
/*
 * The marker's settings, maps and counters.
 */
#pragma once

#include "ebpf/marker.h"

#include <linux/bpf.h>
#include <linux/pkt_cls.h>

#include <bpf/bpf_helpers.h>

/* Set before the program is loaded. */
const volatile __u8 marker_strategy = FLOWD_MARKER_LABEL;
const volatile __u8 marker_encoding = FLOWD_MARKER_SCITAGS;
const volatile __u8 marker_match_source = 0;
const volatile __u8 marker_match_all = 0;     /* packets of no flow bear marker_general */
const volatile __u8 marker_path_mtu = 0;      /* the MTU of a packet's route may be read */
const volatile __u8 marker_mss_reduction = 0; /* bytes that TCP's segments leave for marks */
const volatile __u8 marker_remember = 1;      /* marks may be remembered, see marker_recent.bpf.h */
const volatile __u8 marker_debug = 0;
const volatile struct flowd_marker_mark marker_general = {0}; /* label without entropy */

/* Written by flowd only, through a mapping of this section's map. */
struct flowd_marker_shared marker_shared;

/*
 * Preallocated: an update never fails for want of memory, and takes half the time. The price is
 * kernel memory for flows.max flows from the start.
 */
struct {
    __uint(type, BPF_MAP_TYPE_HASH);
    __uint(max_entries, 1024);                      /* set before loading */
    __uint(key_size, FLOWD_MARKER_KEY_SOURCE_SIZE); /* set before loading */
    __uint(value_size, sizeof(flowd_marker_word));
} FLOWD_MARKER_FLOWS SEC(".maps");

struct {
    __uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
    __uint(max_entries, FLOWD_MARKER_COUNTER_ENTRIES);
    __type(key, __u32);
    __type(value, __u64);
} flowd_counters SEC(".maps");

/* One datagram that leaves in fragments (RFC 8200, section 4.5). */
struct marker_datagram {
    __u64 src[2];
    __u64 dst[2];
    __u32 identification_be;
    __u32 zero;
};

/*
 * The marks of datagrams whose first fragment was of a flow, for the fragments that follow and have
 * no ports. An entry stays until newer ones push it out: the same fragments may leave by another
 * interface after this one.
 */
struct {
    __uint(type, BPF_MAP_TYPE_LRU_HASH);
    __uint(max_entries, 4096);
    __type(key, struct marker_datagram);
    __type(value, flowd_marker_word);
} flowd_fragments SEC(".maps");

/* What a map of marks says of the key with this check; 0: nothing. */
static __always_inline flowd_marker_word marker_look_up(void *map, const void *key, __u32 check)
{
    const volatile flowd_marker_word *found = bpf_map_lookup_elem(map, key);
    flowd_marker_word word = found ? *found : 0;

    return flowd_marker_word_check(word) == check ? word : 0;
}

/*
 * The mark in the flow map. Where the map replaces an entry, it puts the new one in front and then
 * takes the old one away: who is between the two sees neither, and sees the new one if he looks
 * again.
 */
static __always_inline flowd_marker_word marker_ask_map(const struct flowd_marker_key *key,
                                                        __u32 hash)
{
    __u32 check = flowd_marker_check(hash, key->src[0], key->src[1]);
    flowd_marker_word word = marker_look_up(&FLOWD_MARKER_FLOWS, key, check);

    return word ? word : marker_look_up(&FLOWD_MARKER_FLOWS, key, check);
}

static __always_inline int marker_count(__u32 slot, enum flowd_marker_verdict verdict)
{
    __u32 index = flowd_marker_counter(slot, verdict);
    __u64 *packets = bpf_map_lookup_elem(&flowd_counters, &index);

    if (packets)
        (*packets)++;
    return TC_ACT_UNSPEC;
}

/* Counts the packet for its interface and lets it pass. */
static __always_inline int marker_pass(struct __sk_buff *skb, enum flowd_marker_verdict verdict)
{
    return marker_count(skb->ifindex % FLOWD_MARKER_INTERFACE_SLOTS, verdict);
}

/* Packets of no flow share one counter: finding the interface would cost them 2 ns each. */
static __always_inline int marker_pass_no_flow(void)
{
    return marker_count(FLOWD_MARKER_SHARED_SLOT, FLOWD_MARKER_NO_FLOW);
}
