/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
/*
 * Hands packets of flows and of none to the marker, in an order that nobody can foresee, and looks
 * at the label of each after that: see marker_stress.c.
 */
#include "marker_stress_shared.h"

#include <linux/bpf.h>
#include <linux/if_ether.h>
#include <linux/pkt_cls.h>

#include <bpf/bpf_helpers.h>

struct stress_headers stress_headers; /* set before a run */
__u64 stress_random = 88172645463325252ull;
__u32 stress_number; /* the flow of the packet that is on its way */
__u32 stress_before; /* what was known of it */
__u32 stress_begun;
/* What came of it. */
__u64 stress_packets;
__u64 stress_settled; /* of flows that change, but did not meanwhile */
__u64 stress_foreign;
__u64 stress_stale;
__u64 stress_missing;

struct {
    __uint(type, BPF_MAP_TYPE_ARRAY);
    __uint(map_flags, BPF_F_MMAPABLE);
    __uint(max_entries, STRESS_CHANGING);
    __type(key, __u32);
    __type(value, __u64); /* of 32 bits each would take 64 */
} stress_states SEC(".maps");

struct {
    __uint(type, BPF_MAP_TYPE_PROG_ARRAY);
    __uint(max_entries, 1);
    __uint(key_size, sizeof(__u32));
    __uint(value_size, sizeof(__u32));
} stress_marker SEC(".maps");

static __always_inline __u32 state_of(__u32 number)
{
    __u32 at = number - STRESS_STAYING;
    volatile __u64 *state;

    if (number < STRESS_STAYING)
        return (STRESS_LABEL_STAYING | number) << 1;
    state = bpf_map_lookup_elem(&stress_states, &at);
    return state ? (__u32)*state : 0;
}

static __always_inline void check_last(struct __sk_buff *skb)
{
    __u32 own = stress_number - STRESS_STAYING;
    __u32 after = state_of(stress_number);
    __u32 wanted = after >> 1;
    __u32 label;
    __u8 bytes[4] = {0};

    bpf_skb_load_bytes(skb, ETH_HLEN, bytes, sizeof(bytes));
    label = (__u32)(bytes[1] & 0x0f) << 16 | (__u32)bytes[2] << 8 | bytes[3];
    stress_packets++;
    if (stress_before != after || after & STRESS_UNDER_WAY) {
        if (label != STRESS_UNMARKED && label != (STRESS_LABEL_ONE | own) &&
            label != (STRESS_LABEL_ANOTHER | own))
            stress_foreign++;
        return;
    }
    stress_settled += stress_number >= STRESS_STAYING;
    if (label == (wanted ? wanted : STRESS_UNMARKED))
        return;
    if (label == STRESS_UNMARKED)
        stress_missing++;
    else if (stress_number >= STRESS_STAYING &&
             (label == (STRESS_LABEL_ONE | own) || label == (STRESS_LABEL_ANOTHER | own)))
        stress_stale++;
    else
        stress_foreign++;
}

SEC("tc")
int stress_next(struct __sk_buff *skb)
{
    struct stress_headers headers = stress_headers;

    if (stress_begun)
        check_last(skb);
    stress_random ^= stress_random << 13;
    stress_random ^= stress_random >> 7;
    stress_random ^= stress_random << 17;
    stress_number =
        (__u32)(stress_random >> 32) % (STRESS_STAYING + STRESS_CHANGING + STRESS_OTHERS);
    headers.address[1] = (__u8)(stress_number >> 16);
    headers.destination_port[0] = (__u8)(stress_number >> 8);
    headers.destination_port[1] = (__u8)stress_number;
    bpf_skb_store_bytes(skb, ETH_HLEN, &headers, sizeof(headers), 0);
    stress_begun = 1;
    stress_before = state_of(stress_number);
    bpf_tail_call(skb, &stress_marker, 0);
    return TC_ACT_SHOT; /* there is no program */
}

char stress_license[] SEC("license") = "Dual BSD/GPL";
