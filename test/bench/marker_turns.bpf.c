/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
/*
 * Hands packets to the program that is measured: see marker_turns.h.
 */
#include "marker_turns_shared.h"

#include <linux/bpf.h>
#include <linux/if_ether.h>
#include <linux/pkt_cls.h>

#include <bpf/bpf_helpers.h>

/* Set before a run. */
struct marker_turns_headers turns_headers;
__u32 turns_length; /* of a packet as it comes from its sender */
__u32 turns_flows;
__u32 turns_step;  /* from one flow to the next; less than all of them */
__u32 turns_added; /* bytes that the program adds */
__u32 turns_flow;  /* whose turn is next */
__u64 turns_began_ns;
/* What came of it. */
__u64 turns_taken_ns;
__u64 turns_measured;
__u64 turns_disturbed;
__u64 turns_others; /* packets that the program did not lengthen as expected */

struct {
    __uint(type, BPF_MAP_TYPE_PROG_ARRAY);
    __uint(max_entries, 1);
    __uint(key_size, sizeof(__u32));
    __uint(value_size, sizeof(__u32));
} turns_measured_program SEC(".maps");

static __always_inline void finish_last(struct __sk_buff *skb, __u64 now)
{
    if (turns_began_ns == 0)
        return;
    if (now - turns_began_ns < MARKER_TURNS_DISTURBED_NS) {
        turns_taken_ns += now - turns_began_ns;
        turns_measured++;
    } else {
        turns_disturbed++;
    }
    if (skb->len != turns_length + turns_added)
        turns_others++;
    if (skb->len > turns_length)
        bpf_skb_adjust_room(skb, (__s32)(turns_length - skb->len), BPF_ADJ_ROOM_NET,
                            BPF_F_ADJ_ROOM_NO_CSUM_RESET);
}

SEC("tc")
int turns_next(struct __sk_buff *skb)
{
    struct marker_turns_headers headers = turns_headers;
    __u32 port = MARKER_TURNS_PORT_FIRST + turns_flow % MARKER_TURNS_PORTS;
    __u32 address = MARKER_TURNS_ADDRESS_FIRST + turns_flow / MARKER_TURNS_PORTS;

    finish_last(skb, bpf_ktime_get_ns());
    headers.address[0] = (__u8)(address >> 8);
    headers.address[1] = (__u8)address;
    headers.destination_port[0] = (__u8)(port >> 8);
    headers.destination_port[1] = (__u8)port;
    bpf_skb_store_bytes(skb, ETH_HLEN, &headers, sizeof(headers), 0);
    turns_flow += turns_step;
    if (turns_flow >= turns_flows)
        turns_flow -= turns_flows;
    turns_began_ns = bpf_ktime_get_ns();
    bpf_tail_call(skb, &turns_measured_program, 0);
    return TC_ACT_SHOT; /* there is no program */
}

char turns_license[] SEC("license") = "Dual BSD/GPL";
