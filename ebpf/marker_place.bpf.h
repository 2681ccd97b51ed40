/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
/*
 * Finding the headers of a packet: VLAN tags in band, the IPv6 header, its extension headers and
 * what stands behind them.
 */
#pragma once

#include "ebpf/marker_maps.bpf.h"

#include <linux/if_ether.h>
#include <linux/in.h>
#include <linux/ipv6.h>

#include <bpf/bpf_endian.h>

#define MARKER_VLAN_TAGS_MAX 2
#define MARKER_HEADERS_MAX 8
#define MARKER_IP6_SIZE 40u
#define MARKER_FRAGMENT_OFFSET_MASK 0xfff8
#define MARKER_FRAGMENT_MORE 1
/*
 * Of a copy of an IPv6 header, whose addresses are read as words: the verifier wants a word on the
 * stack aligned, and the compiler owes the kernel's structure 4 bytes only.
 */
#define MARKER_ALIGNED __attribute__((aligned(8)))

/* Numbers of the next headers that are walked (RFC 8200, RFC 4302). */
enum {
    HEADER_HOP_BY_HOP = 0,
    HEADER_ROUTING = 43,
    HEADER_FRAGMENT = 44,
    HEADER_AUTHENTICATION = 51,
    HEADER_DESTINATION = 60,
};

/* What a packet has, in marker_place.has. */
enum {
    HAS_VLAN_TAG = 1,
    HAS_HOP_BY_HOP = 2,
    HAS_FRAGMENT = 4,
    HAS_MORE_FRAGMENTS = 8,
    HAS_AUTHENTICATION = 16,
};

/* Where the headers are: offsets from the packet's first byte. */
struct marker_place {
    __u32 network;   /* the IPv6 header */
    __u32 transport; /* what the extension headers end with */
    __u32 named;     /* the next-header field that says what that is */
    /* A Destination Options header for the last destination; 0: none. */
    __u32 destination;
    __u32 identification_be; /* of a fragment */
    __u8 header;             /* the number of what stands at transport */
    __u8 has;                /* HAS_... */
    __u8 traffic_class_low;  /* byte 1 of the IPv6 header, which the label shares */
    __u8 next;               /* the number of what stands behind the IPv6 header */
    __u16 payload_length;    /* of the IPv6 header; host byte order */
    __u16 zero;
};

struct marker_vlan_tag {
    __be16 control;
    __be16 protocol;
};

/* The place in a packet without VLAN tags and extension headers. */
static __always_inline struct marker_place marker_plain_place(__u32 network,
                                                              const struct ipv6hdr *ip6)
{
    struct marker_place place = {
        .network = network,
        .transport = network + MARKER_IP6_SIZE,
        .named = network + __builtin_offsetof(struct ipv6hdr, nexthdr),
        .header = ip6->nexthdr,
        .traffic_class_low = ((const __u8 *)ip6)[1],
        .next = ip6->nexthdr,
        .payload_length = bpf_ntohs(ip6->payload_len),
    };

    return place;
}

static __always_inline int marker_has_ports(__u8 header)
{
    return header == IPPROTO_TCP || header == IPPROTO_UDP;
}

static __always_inline int marker_is_extension(__u8 header)
{
    return header == HEADER_HOP_BY_HOP || header == HEADER_ROUTING || header == HEADER_FRAGMENT ||
           header == HEADER_AUTHENTICATION || header == HEADER_DESTINATION;
}

static __always_inline int marker_is_vlan(__be16 protocol)
{
    return protocol == bpf_htons(ETH_P_8021Q) || protocol == bpf_htons(ETH_P_8021AD);
}

/* Reads the fragment header at place->transport. Returns whether a later fragment follows it. */
static __always_inline int marker_note_fragment(struct __sk_buff *skb, struct marker_place *place,
                                                const __u8 start[4])
{
    __u32 offset = ((__u32)start[2] << 8) | start[3];

    place->has |= HAS_FRAGMENT;
    if (offset & MARKER_FRAGMENT_MORE)
        place->has |= HAS_MORE_FRAGMENTS;
    bpf_skb_load_bytes(skb, place->transport + 4, &place->identification_be,
                       sizeof(place->identification_be));
    return (offset & MARKER_FRAGMENT_OFFSET_MASK) != 0;
}

/*
 * Goes from the header at place->transport to the one behind the extension headers. Returns
 * FLOWD_MARKER_NO_FLOW when that is TCP or UDP, else the verdict.
 */
static __always_inline enum flowd_marker_verdict marker_skip_extensions(struct __sk_buff *skb,
                                                                        struct marker_place *place)
{
    for (int i = 0; i < MARKER_HEADERS_MAX; i++) {
        /* The fields that the walk needs stand in the first four bytes of every one of them. */
        __u8 start[4];
        __u32 at = place->transport;

        if (marker_has_ports(place->header))
            return FLOWD_MARKER_NO_FLOW;
        if (!marker_is_extension(place->header))
            return FLOWD_MARKER_OTHER_PROTOCOL;
        if (bpf_skb_load_bytes(skb, at, start, sizeof(start)) < 0)
            return FLOWD_MARKER_TRUNCATED;
        if (place->header == HEADER_FRAGMENT) {
            if (marker_note_fragment(skb, place, start))
                return FLOWD_MARKER_FRAGMENT;
            place->transport += 8;
        } else if (place->header == HEADER_AUTHENTICATION) {
            place->has |= HAS_AUTHENTICATION;
            place->transport += ((__u32)start[1] + 2) * 4;
        } else {
            if (place->header == HEADER_HOP_BY_HOP)
                place->has |= HAS_HOP_BY_HOP;
            /* What stands before a Routing header is for the next hop. */
            if (place->header == HEADER_ROUTING)
                place->destination = 0;
            if (place->header == HEADER_DESTINATION)
                place->destination = at;
            place->transport += ((__u32)start[1] + 1) * 8;
        }
        place->named = at;
        place->header = start[0];
    }
    if (marker_has_ports(place->header))
        return FLOWD_MARKER_NO_FLOW;
    return marker_is_extension(place->header) ? FLOWD_MARKER_TOO_DEEP : FLOWD_MARKER_OTHER_PROTOCOL;
}

/*
 * Fills place and ip6 from a packet whose link header is link bytes long. Returns
 * FLOWD_MARKER_NO_FLOW when TCP or UDP stands at place->transport, else the verdict.
 */
static __always_inline enum flowd_marker_verdict marker_find_place(struct __sk_buff *skb,
                                                                   __u32 link,
                                                                   struct marker_place *place,
                                                                   struct ipv6hdr *ip6)
{
    __be16 protocol = skb->protocol;
    struct marker_vlan_tag tag;

    *place = (struct marker_place){.network = link};
    for (int i = 0; i < MARKER_VLAN_TAGS_MAX && marker_is_vlan(protocol); i++) {
        if (bpf_skb_load_bytes(skb, place->network, &tag, sizeof(tag)) < 0)
            return FLOWD_MARKER_TRUNCATED;
        protocol = tag.protocol;
        place->network += sizeof(tag);
        place->has |= HAS_VLAN_TAG;
    }
    if (marker_is_vlan(protocol))
        return FLOWD_MARKER_TOO_DEEP;
    if (protocol != bpf_htons(ETH_P_IPV6))
        return FLOWD_MARKER_NOT_IPV6;
    if (bpf_skb_load_bytes(skb, place->network, ip6, sizeof(*ip6)) < 0)
        return FLOWD_MARKER_TRUNCATED;
    place->transport = place->network + sizeof(*ip6);
    place->named = place->network + __builtin_offsetof(struct ipv6hdr, nexthdr);
    place->header = place->next = ip6->nexthdr;
    place->traffic_class_low = ((const __u8 *)ip6)[1];
    place->payload_length = bpf_ntohs(ip6->payload_len);
    return marker_skip_extensions(skb, place);
}
