/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
/*
 * Whether a packet that becomes longer still fits.
 *
 * Three limits count: the MTU of the interface, that of the packet's route, which is smaller where
 * an administrator set it or a router on the path asked for it (RFC 8201), and what the socket
 * knows better. A packet that is too long for its path would be lost without anybody telling the
 * sender anything that it does not know. The route's MTU is no part of the kernel's interface for
 * programs: it is read from the kernel's own structures where their layout is known (BTF) and that
 * is allowed.
 */
#pragma once

#include "ebpf/marker_place.bpf.h"

#include <linux/rtnetlink.h>
#include <linux/tcp.h>
#include <linux/udp.h>

#include <bpf/bpf_core_read.h>

#define MARKER_DST_NOREF 1ul
#define MARKER_METRICS_FLAGS 3ul
#define MARKER_MTU_UNKNOWN 0xffffffffu
/* How Linux begins the options of a segment with a timestamp (RFC 7323), and how long that is. */
#define MARKER_TCP_TIMESTAMP 0x0101080au
#define MARKER_TCP_TIMESTAMP_SIZE 12u
#define MARKER_CHECKSUM_PARTIAL 3u /* skb->ip_summed: a device computes the rest */

/* The members of the kernel's structures that are read; the loader finds their offsets. */
struct ipv6_devconf___flowd {
    __s32 mtu6;
} __attribute__((preserve_access_index));

struct inet6_dev___flowd {
    struct ipv6_devconf___flowd cnf;
} __attribute__((preserve_access_index));

struct net_device___flowd {
    struct inet6_dev___flowd *ip6_ptr;
} __attribute__((preserve_access_index));

struct dst_entry___flowd {
    struct net_device___flowd *dev;
    unsigned long _metrics;
} __attribute__((preserve_access_index));

struct sock___flowd;

struct sk_buff___flowd {
    struct sock___flowd *sk;
    unsigned long _skb_refdst;
    __u8 ip_summed : 2;
} __attribute__((preserve_access_index));

struct ipv6_pinfo___flowd {
    __u32 frag_size;
} __attribute__((preserve_access_index));

struct inet_sock___flowd {
    struct ipv6_pinfo___flowd *pinet6;
} __attribute__((preserve_access_index));

struct inet_connection_sock___flowd {
    struct {
        __u32 enabled : 1;
    } icsk_mtup;
} __attribute__((preserve_access_index));

static __always_inline int marker_knows_routes(void)
{
    return marker_path_mtu && bpf_core_field_exists(struct sk_buff___flowd, _skb_refdst) &&
           bpf_core_field_exists(struct dst_entry___flowd, _metrics) &&
           bpf_core_field_exists(struct net_device___flowd, ip6_ptr) &&
           bpf_core_field_exists(struct inet6_dev___flowd, cnf) &&
           bpf_core_field_exists(struct ipv6_devconf___flowd, mtu6);
}

/* The MTU of the packet's route, as ip6_mtu() in the kernel finds it. */
static __always_inline __u32 marker_route_mtu(struct __sk_buff *skb)
{
    const struct sk_buff___flowd *kernel_skb = (const void *)skb;
    const struct dst_entry___flowd *dst;
    const __u32 *metrics;
    __u32 mtu = 0;
    __s32 device_mtu = 0;

    if (!marker_knows_routes())
        return MARKER_MTU_UNKNOWN;
    dst = (const void *)(BPF_CORE_READ(kernel_skb, _skb_refdst) & ~MARKER_DST_NOREF);
    if (!dst)
        return MARKER_MTU_UNKNOWN;
    metrics = (const void *)(BPF_CORE_READ(dst, _metrics) & ~MARKER_METRICS_FLAGS);
    bpf_probe_read_kernel(&mtu, sizeof(mtu), &metrics[RTAX_MTU - 1]);
    if (mtu > 0)
        return mtu;
    device_mtu = BPF_CORE_READ(dst, dev, ip6_ptr, cnf.mtu6);
    return device_mtu > 0 ? (__u32)device_mtu : MARKER_MTU_UNKNOWN;
}

/*
 * The longest packets that a program lets its socket send (IPV6_MTU; RFC 3542, IPV6_USE_MIN_MTU):
 * it may know more of the path than the route does.
 */
static __always_inline __u32 marker_socket_mtu(struct __sk_buff *skb)
{
    const struct sk_buff___flowd *kernel_skb = (const void *)skb;
    const struct inet_sock___flowd *inet;
    struct bpf_sock *socket = skb->sk;
    __u32 mtu;

    if (!marker_knows_routes() || !bpf_core_field_exists(struct sk_buff___flowd, sk) ||
        !bpf_core_field_exists(struct inet_sock___flowd, pinet6) ||
        !bpf_core_field_exists(struct ipv6_pinfo___flowd, frag_size))
        return MARKER_MTU_UNKNOWN;
    if (!socket || !bpf_sk_fullsock(socket))
        return MARKER_MTU_UNKNOWN;
    inet = (const void *)BPF_CORE_READ(kernel_skb, sk);
    mtu = BPF_CORE_READ(inet, pinet6, frag_size);
    return mtu > 0 ? mtu : MARKER_MTU_UNKNOWN;
}

/*
 * Whether a TCP socket finds out by itself how much its path takes (RFC 4821, tcp_mtu_probing), in
 * which case the route does not know.
 */
static __always_inline int marker_probes_path(struct __sk_buff *skb)
{
    const struct sk_buff___flowd *kernel_skb = (const void *)skb;
    const struct inet_connection_sock___flowd *socket;

    if (!bpf_core_field_exists(struct sk_buff___flowd, sk) ||
        !bpf_core_field_exists(struct inet_connection_sock___flowd, icsk_mtup))
        return 1;
    socket = (const void *)BPF_CORE_READ(kernel_skb, sk);
    return BPF_CORE_READ_BITFIELD_PROBED(socket, icsk_mtup.enabled) != 0;
}

/* Bytes from the IPv6 header to the payload, 0 if they can't be told. */
static __always_inline __u32 marker_headers_size(struct __sk_buff *skb,
                                                 const struct marker_place *place)
{
    __u32 size = place->transport - place->network;
    __u8 offset;

    if (place->header == IPPROTO_UDP)
        return size + sizeof(struct udphdr);
    if (place->header != IPPROTO_TCP)
        return size;
    if (bpf_skb_load_bytes(skb, place->transport + 12, &offset, sizeof(offset)) < 0)
        return 0;
    return size + (offset >> 4) * 4;
}

/*
 * Bytes from the IPv6 header to the payload of the longest packets that a TCP socket sends: its
 * segments are shorter by the options that not all of them have (selective acknowledgements).
 */
static __always_inline __u32 marker_usual_headers(struct __sk_buff *skb,
                                                  const struct marker_place *place)
{
    __u32 size = place->transport - place->network + sizeof(struct tcphdr);
    __u32 option = 0;

    if (bpf_skb_load_bytes(skb, place->transport + sizeof(struct tcphdr), &option,
                           sizeof(option)) == 0 &&
        option == bpf_htonl(MARKER_TCP_TIMESTAMP))
        size += MARKER_TCP_TIMESTAMP_SIZE;
    return size;
}

/*
 * What limit, which the route and the interface gave, becomes by what TCP knows. The socket knows
 * more where it has probed its path, where the route can't be read, and where the other end asked
 * for segments shorter than the route allows, as it does if its link, or a tunnel before it, is
 * smaller than this host's. Somebody may have lowered the segment size to make room for marks
 * instead, which looks the same: marker_mss_reduction says by how much. Of a packet that is only
 * forwarded, its own segments are known to be right.
 */
static __always_inline __u32 marker_tcp_limit(struct __sk_buff *skb,
                                              const struct marker_place *place, __u32 headers,
                                              __u32 limit)
{
    struct bpf_sock *socket = skb->sk;
    struct bpf_tcp_sock *tcp = NULL;
    __u32 known = MARKER_MTU_UNKNOWN;

    if (socket)
        socket = bpf_sk_fullsock(socket);
    if (socket)
        tcp = bpf_tcp_sock(socket);
    if (tcp) {
        known = tcp->mss_cache + marker_usual_headers(skb, place);
        if (marker_mss_reduction && marker_knows_routes() && !marker_probes_path(skb))
            known += marker_mss_reduction;
    } else if (skb->gso_size > 0 && (!socket || !marker_knows_routes())) {
        known = headers + skb->gso_size;
    }
    return limit > known ? known : limit;
}

/* The longest packet, counted from the IPv6 header, that gets to its end. */
static __always_inline __u32 marker_limit(struct __sk_buff *skb, const struct marker_place *place,
                                          __u32 headers)
{
    __u32 limit = marker_route_mtu(skb);
    __u32 device_mtu = 0;
    __u32 socket_mtu;

    if (bpf_check_mtu(skb, 0, &device_mtu, 0, 0) < 0)
        return 0;
    if (limit > device_mtu)
        limit = device_mtu;
    if (place->header == IPPROTO_TCP)
        return marker_tcp_limit(skb, place, headers, limit);
    socket_mtu = marker_socket_mtu(skb);
    return limit > socket_mtu ? socket_mtu : limit;
}

/*
 * Whether the segments that are still to be cut have the packet's own headers. Those of a packet
 * in a tunnel have more, and gso_size is of what the innermost carries. The kernel has counted the
 * headers of all segments before (wire_len).
 */
static __always_inline int marker_cut_behind(struct __sk_buff *skb,
                                             const struct marker_place *place, __u32 headers)
{
    __u32 before = place->network + headers;
    __u32 payload = skb->len - before;
    __u32 size = skb->gso_size;

    if (!marker_has_ports(place->header) || size == 0 || skb->len <= before)
        return 0;
    return skb->wire_len == skb->len + (payload - 1) / size * before;
}

/*
 * Whether the kernel can still cut a datagram into segments after it was moved in memory. Since
 * Linux 6.11 it also cuts those for devices that compute no checksum, but forgets to move where
 * their checksum starts, and drops them.
 */
static __always_inline int marker_can_be_cut(struct __sk_buff *skb,
                                             const struct marker_place *place)
{
    const struct sk_buff___flowd *kernel_skb = (const void *)skb;

    if (place->header != IPPROTO_UDP || !marker_knows_routes() ||
        !bpf_core_field_exists(struct sk_buff___flowd, ip_summed))
        return 1;
    return BPF_CORE_READ_BITFIELD_PROBED(kernel_skb, ip_summed) == MARKER_CHECKSUM_PARTIAL;
}

/*
 * Whether a packet of length bytes from its IPv6 header on, headers of them before its payload, may
 * grow by added bytes. Bytes behind its end count too, they leave with it. *flags are those for
 * bpf_skb_adjust_room(): segments that are still to be cut keep their size where there is room, and
 * TCP's are cut shorter by what is added where there is none.
 */
static __always_inline int marker_fits(struct __sk_buff *skb, const struct marker_place *place,
                                       __u32 headers, __u32 length, __u32 added, __u64 *flags)
{
    __u32 limit = marker_limit(skb, place, headers);
    __u32 payload = skb->gso_size;
    __u32 whole = skb->len - place->network;

    if (payload == 0)
        return (length > whole ? length : whole) + added <= limit;
    if (!marker_cut_behind(skb, place, headers) || !marker_can_be_cut(skb, place))
        return 0;
    if (headers + payload + added <= limit) {
        *flags |= BPF_F_ADJ_ROOM_FIXED_GSO;
        return 1;
    }
    return place->header == IPPROTO_TCP && payload > added && headers + payload <= limit;
}
