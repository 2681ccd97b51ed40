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
const volatile __u8 marker_match_all = 0;        /* packets of no flow bear marker_general */
const volatile __u8 marker_path_mtu = 0;         /* the MTU of a packet's route may be read */
const volatile __u8 marker_mss_reduction = 0;    /* bytes that TCP's segments leave for marks */
const volatile __u8 marker_written_by_calls = 0; /* the maps are written by system calls */
const volatile __u8 marker_debug = 0;
const volatile flowd_marker_value marker_general = 0; /* a label is without entropy */

/* Written by flowd only, through mappings: these and the two maps that follow. */
struct flowd_marker_shared marker_shared __attribute__((aligned(64)));

struct {
    __uint(type, BPF_MAP_TYPE_ARRAY);
    __uint(map_flags, BPF_F_MMAPABLE);
    __uint(max_entries, 1); /* set before loading */
    __type(key, __u32);
    __type(value, struct flowd_marker_bucket);
} FLOWD_MARKER_FLOWS SEC(".maps");

struct {
    __uint(type, BPF_MAP_TYPE_ARRAY);
    __uint(map_flags, BPF_F_MMAPABLE);
    __uint(max_entries, 1); /* set before loading */
    __type(key, __u32);
    __type(value, __u64);
} flowd_bitmap SEC(".maps");

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
 * interface after this one. The value is a mark, and bits of a sum of the key: the kernel uses the
 * memory of a deleted entry again at once, so a program that has found an entry may read what
 * another key's became.
 */
struct {
    __uint(type, BPF_MAP_TYPE_LRU_HASH);
    __uint(max_entries, 4096);
    __type(key, struct marker_datagram);
    __type(value, __u64);
} flowd_fragments SEC(".maps");

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
