/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
/*
 * Marks in extension headers: a Hop-by-Hop Options header right behind the IPv6 header, a
 * Destination Options header right before the transport header (RFC 8200, section 4.1), or both.
 *
 * The packet is made writable up to its transport header before anything changes; what follows the
 * making of room can't fail then.
 */
#pragma once

#include "ebpf/marker_mtu.bpf.h"

/* Extension headers that a packet may have of its own before a Destination Options header. */
#define MARKER_MOVED_MAX 256u
#define MARKER_LENGTH_MAX 65535u
/* The kernel's own error for a packet that it can't lengthen: of one piece and over four pages. */
#define MARKER_ENOTSUPP 524

struct marker_extension {
    __u8 next;
    __u8 length; /* in units of 8 bytes, without the first */
    __u8 option[6];
};
_Static_assert(sizeof(struct marker_extension) == FLOWD_MARKER_HEADER_SIZE, "no padding");

/* The members of the IPv6 header that change. */
struct marker_ip6_change {
    __be16 payload_length;
    __u8 next;
} __attribute__((packed));

static __always_inline struct marker_extension marker_extension_make(flowd_marker_value value)
{
    struct marker_extension header = {0};

    if (marker_encoding == FLOWD_MARKER_2024) {
        header.option[0] = FLOWD_MARKER_OPTION_2024;
        header.option[1] = 4;
    } else {
        header.option[0] = FLOWD_MARKER_OPTION_SCITAGS;
        header.option[1] = 3;
    }
    header.option[2] = (__u8)(value >> 16);
    header.option[3] = (__u8)(value >> 8);
    header.option[4] = (__u8)value;
    return header;
}

/* Whether the header at offset is the one that would be added, whatever follows it. */
static __always_inline int marker_is_there(struct __sk_buff *skb, __u32 offset,
                                           const struct marker_extension *header)
{
    struct marker_extension found = {0};

    if (bpf_skb_load_bytes(skb, offset, &found, sizeof(found)) < 0 ||
        found.length != header->length)
        return 0;
    for (unsigned i = 0; i < sizeof(found.option); i++)
        if (found.option[i] != header->option[i])
            return 0;
    return 1;
}

/*
 * FLOWD_MARKER_NO_FLOW if the headers of the strategy can be added to the packet,
 * FLOWD_MARKER_MARKED if it came with them (it has left by another interface already), or why they
 * can't. Not inlined: where the compiler spills half a register over a pointer, the verifier
 * refuses the program to those who lack CAP_PERFMON.
 */
static __noinline enum flowd_marker_verdict
marker_options_allowed(struct __sk_buff *skb, const struct marker_place *place,
                       const struct marker_extension *header)
{
    int hop_by_hop = (marker_strategy & FLOWD_MARKER_HOP_BY_HOP) && place->has & HAS_HOP_BY_HOP;
    int destination = (marker_strategy & FLOWD_MARKER_DESTINATION) && place->destination != 0;

    if (hop_by_hop || destination) {
        if ((marker_strategy & FLOWD_MARKER_HOP_BY_HOP) &&
            (!hop_by_hop || !marker_is_there(skb, place->network + MARKER_IP6_SIZE, header)))
            return FLOWD_MARKER_OPTIONS;
        if ((marker_strategy & FLOWD_MARKER_DESTINATION) &&
            (!destination || !marker_is_there(skb, place->destination, header)))
            return FLOWD_MARKER_OPTIONS;
        return FLOWD_MARKER_MARKED;
    }
    /* The kernel makes room behind an IPv6 header only if no tag stands before it. */
    if (place->has & HAS_VLAN_TAG)
        return FLOWD_MARKER_VLAN;
    /* Its integrity value covers what would be changed. */
    if (place->has & HAS_AUTHENTICATION)
        return FLOWD_MARKER_OPTIONS;
    /* Its header would have to stand in the part that is cut into fragments. */
    if ((marker_strategy & FLOWD_MARKER_DESTINATION) && place->has & HAS_FRAGMENT)
        return FLOWD_MARKER_FRAGMENT;
    return FLOWD_MARKER_NO_FLOW;
}

/*
 * Whether nobody else has to be kept from what would be written before offset: the conditions of
 * skb_ensure_writable() in the kernel (linear, and not shared with a clone), without which
 * bpf_skb_store_bytes() copies. Making room keeps them: it copies a shared header itself, and moves
 * the packet's beginning by as much as it adds. TCP's packets are clones whose headers are their
 * own.
 */
static __always_inline int marker_is_writable(struct __sk_buff *skb, __u32 offset)
{
    struct sk_buff___flowd *kernel_skb;

    if (!marker_direct || !bpf_core_field_exists(struct sk_buff___flowd, cloned) ||
        !bpf_core_field_exists(struct sk_buff___flowd, hdr_len) ||
        (void *)(long)skb->data + offset > (void *)(long)skb->data_end)
        return 0;
    kernel_skb = marker_kernel_skb(skb, 1);
    if (!MARKER_KERNEL_READ_BITS(kernel_skb, cloned, 1))
        return 1;
    return (unsigned long)kernel_skb->data - (unsigned long)kernel_skb->head + offset <=
           kernel_skb->hdr_len;
}

/*
 * Makes everything before offset linear and writable: its last bytes are written as they are.
 */
static __always_inline int marker_make_writable(struct __sk_buff *skb, __u32 offset)
{
    __u64 last = 0;

    if (marker_is_writable(skb, offset))
        return 0;
    if (bpf_skb_load_bytes(skb, offset - sizeof(last), &last, sizeof(last)) < 0)
        return -1;
    return bpf_skb_store_bytes(skb, offset - sizeof(last), &last, sizeof(last), 0) < 0 ? -1 : 0;
}

/*
 * Moves the packet's own extension headers, size bytes (a multiple of 8) that stand from offset on,
 * 8 bytes towards the packet's beginning. Not static, and returns 0 for that: see marker_limit().
 */
int marker_move_headers(struct __sk_buff *skb, __u32 offset, __u32 size);
__noinline int marker_move_headers(struct __sk_buff *skb, __u32 offset, __u32 size)
{
    __u64 unit;

    for (__u32 at = 0; at < MARKER_MOVED_MAX; at += sizeof(unit)) {
        if (at >= size)
            break;
        bpf_skb_load_bytes(skb, offset + at, &unit, sizeof(unit));
        bpf_skb_store_bytes(skb, offset + at - sizeof(unit), &unit, sizeof(unit),
                            BPF_F_RECOMPUTE_CSUM);
    }
    return 0;
}

/* Writes headers that all stand right behind the IPv6 header: most packets have no others. */
static __always_inline void marker_fill_room_at_once(struct __sk_buff *skb,
                                                     const struct marker_place *place,
                                                     const struct marker_extension *header)
{
    const __u32 room = place->network + MARKER_IP6_SIZE;
    struct marker_extension headers[2] = {*header, *header};

    headers[0].next = headers[1].next = place->next;
    if (marker_strategy == FLOWD_MARKER_HOP_BY_HOP_DESTINATION) {
        headers[0].next = HEADER_DESTINATION;
        bpf_skb_store_bytes(skb, room, headers, sizeof(headers), BPF_F_RECOMPUTE_CSUM);
    } else {
        bpf_skb_store_bytes(skb, room, headers, sizeof(headers[0]), BPF_F_RECOMPUTE_CSUM);
    }
}

/*
 * Writes the headers into the room that was made behind the IPv6 header. own is the size of the
 * packet's own extension headers, which a Destination Options header stands behind.
 */
static __always_inline void marker_fill_room(struct __sk_buff *skb,
                                             const struct marker_place *place,
                                             struct marker_extension *header, __u64 own)
{
    const __u32 room = place->network + MARKER_IP6_SIZE;
    const __u64 flags = BPF_F_RECOMPUTE_CSUM;
    __u32 before =
        marker_strategy & FLOWD_MARKER_HOP_BY_HOP ? (__u32)sizeof(*header) : 0; /* destination's */
    /* A word whose first byte in memory is the number, on machines of either byte order. */
    __u64 destination = bpf_cpu_to_be64((__u64)HEADER_DESTINATION << 56);

    if (own == 0 || !(marker_strategy & FLOWD_MARKER_DESTINATION)) {
        marker_fill_room_at_once(skb, place, header);
        return;
    }
    marker_move_headers(skb, room + before + sizeof(*header), own);
    bpf_skb_store_bytes(skb, place->named + before, &destination, 1, flags);
    header->next = place->header;
    bpf_skb_store_bytes(skb, room + before + own, header, sizeof(*header), flags);
    if (marker_strategy & FLOWD_MARKER_HOP_BY_HOP) {
        header->next = place->next;
        bpf_skb_store_bytes(skb, room, header, sizeof(*header), flags);
    }
}

/* What the IPv6 header says of the headers that were added. */
static __always_inline void marker_change_ip6(struct __sk_buff *skb,
                                              const struct marker_place *place, __u64 own,
                                              __u32 payload_length)
{
    struct marker_ip6_change change = {
        .payload_length = bpf_htons(payload_length),
        .next = place->next,
    };

    if (marker_strategy & FLOWD_MARKER_HOP_BY_HOP)
        change.next = HEADER_HOP_BY_HOP;
    else if (own == 0)
        change.next = HEADER_DESTINATION;
    bpf_skb_store_bytes(skb, place->network + __builtin_offsetof(struct ipv6hdr, payload_len),
                        &change, sizeof(change), BPF_F_RECOMPUTE_CSUM);
}

static __always_inline void marker_trace_options(__u32 interface, flowd_marker_value value)
{
    if (!marker_debug)
        return;
    if (marker_encoding == FLOWD_MARKER_2024)
        bpf_printk("flowd: interface %d label %x", interface, value);
    else
        bpf_printk("flowd: interface %d experiment %d activity %d", interface, value >> 8,
                   value & 0xff);
}

/* Adds the headers of the strategy to the packet, or leaves it as it is. */
static __noinline int marker_add_options(struct __sk_buff *skb, const struct marker_place *place,
                                         flowd_marker_value value)
{
    struct marker_extension header = marker_extension_make(value);
    const __u32 added = marker_strategy == FLOWD_MARKER_HOP_BY_HOP_DESTINATION
                            ? 2 * FLOWD_MARKER_HEADER_SIZE
                            : FLOWD_MARKER_HEADER_SIZE;
    __u64 own = place->transport - place->network - MARKER_IP6_SIZE;
    __u32 headers = marker_headers_size(skb, place);
    __u64 flags = BPF_F_ADJ_ROOM_NO_CSUM_RESET;
    enum flowd_marker_verdict verdict;
    __u32 payload = place->payload_length;
    long result;

    /* Of all its bits: where the compiler keeps half of it in the place of a pointer, the verifier
     * refuses the program to those who lack CAP_PERFMON. */
    barrier_var(own);
    if (headers == 0)
        return marker_pass(skb, FLOWD_MARKER_TRUNCATED);
    /* A length of 0 stands for one that does not fit the field (RFC 2675; Linux' BIG TCP). */
    if (payload == 0)
        return marker_pass(skb, FLOWD_MARKER_MTU);
    if (own > 0 || place->has != 0) {
        verdict = marker_options_allowed(skb, place, &header);
        if (verdict != FLOWD_MARKER_NO_FLOW)
            return marker_pass(skb, verdict);
    }
    if ((marker_strategy & FLOWD_MARKER_DESTINATION) && own > MARKER_MOVED_MAX)
        return marker_pass(skb, FLOWD_MARKER_TOO_DEEP);
    if (payload + added > MARKER_LENGTH_MAX ||
        !marker_fits(skb, place, headers, MARKER_IP6_SIZE + payload, added, &flags))
        return marker_pass(skb, FLOWD_MARKER_MTU);
    if (marker_make_writable(skb, place->transport) < 0)
        return marker_pass(skb, FLOWD_MARKER_ERROR);
    result = bpf_skb_adjust_room(skb, (__s32)added, BPF_ADJ_ROOM_NET, flags);
    if (result < 0)
        return marker_pass(skb, result == -MARKER_ENOTSUPP ? FLOWD_MARKER_MTU : FLOWD_MARKER_ERROR);
    marker_fill_room(skb, place, &header, own);
    marker_change_ip6(skb, place, own, payload + added);
    marker_trace_options(skb->ifindex, value);
    return marker_pass(skb, FLOWD_MARKER_MARKED);
}
