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

#include "ebpf/marker_kernel.bpf.h"
#include "ebpf/marker_place.bpf.h"

#include <linux/rtnetlink.h>
#include <linux/tcp.h>
#include <linux/udp.h>

#define MARKER_DST_NOREF 1ul
#define MARKER_METRICS_FLAGS 3ul
#define MARKER_MTU_UNKNOWN 0xffffffffu
/* How Linux begins the options of a segment with a timestamp (RFC 7323), and how long that is. */
#define MARKER_TCP_TIMESTAMP 0x0101080au
#define MARKER_TCP_TIMESTAMP_SIZE 12u
#define MARKER_AF_INET6 10u
#define MARKER_CHECKSUM_PARTIAL 3u /* skb->ip_summed: a device computes the rest */

static __always_inline int marker_knows_routes(void)
{
    return marker_path_mtu && bpf_core_field_exists(struct sk_buff___flowd, _skb_refdst) &&
           bpf_core_field_exists(struct dst_entry___flowd, _metrics) &&
           bpf_core_field_exists(struct net_device___flowd, ip6_ptr) &&
           bpf_core_field_exists(struct inet6_dev___flowd, cnf) &&
           bpf_core_field_exists(struct ipv6_devconf___flowd, mtu6);
}

/* The MTU of the packet's route, as ip6_mtu() in the kernel finds it. */
static __always_inline __u32 marker_route_mtu_read(struct __sk_buff *skb, int direct)
{
    struct sk_buff___flowd *kernel_skb = marker_kernel_skb(skb, direct);
    unsigned long address = MARKER_KERNEL_READ(kernel_skb, _skb_refdst, direct) & ~MARKER_DST_NOREF;
    struct net_device___flowd *device;
    struct inet6_dev___flowd *inet6;
    struct dst_entry___flowd *dst;
    const __u32 *metrics;
    __u32 mtu = 0;
    __s32 device_mtu;

    if (!address)
        return MARKER_MTU_UNKNOWN;
    dst = MARKER_KERNEL_POINTER(dst_entry, address, direct);
    address = MARKER_KERNEL_READ(dst, _metrics, direct) & ~MARKER_METRICS_FLAGS;
    metrics = (const void *)MARKER_KERNEL_POINTER(dst_metrics, address, direct);
    if (direct)
        mtu = metrics[RTAX_MTU - 1];
    else
        bpf_probe_read_kernel(&mtu, sizeof(mtu), &metrics[RTAX_MTU - 1]);
    if (mtu > 0)
        return mtu;
    device = MARKER_KERNEL_POINTER(net_device, MARKER_KERNEL_READ(dst, dev, direct), direct);
    inet6 = MARKER_KERNEL_POINTER(inet6_dev, MARKER_KERNEL_READ(device, ip6_ptr, direct), direct);
    device_mtu = MARKER_KERNEL_READ(inet6, cnf.mtu6, direct);
    return device_mtu > 0 ? (__u32)device_mtu : MARKER_MTU_UNKNOWN;
}

static __always_inline __u32 marker_route_mtu(struct __sk_buff *skb)
{
    if (!marker_knows_routes())
        return MARKER_MTU_UNKNOWN;
    return marker_direct ? marker_route_mtu_read(skb, 1) : marker_route_mtu_read(skb, 0);
}

static __always_inline __u32 marker_frag_size(struct __sk_buff *skb, int direct)
{
    struct sk_buff___flowd *kernel_skb = marker_plain_skb(skb, direct);
    struct ipv6_pinfo___flowd *inet6;
    struct inet_sock___flowd *inet;

    inet = MARKER_KERNEL_POINTER(inet_sock, MARKER_KERNEL_READ(kernel_skb, sk, direct), direct);
    inet6 = MARKER_KERNEL_POINTER(ipv6_pinfo, MARKER_KERNEL_READ(inet, pinet6, direct), direct);
    return MARKER_KERNEL_READ(inet6, frag_size, direct);
}

/*
 * The longest packets that a program lets its socket send (IPV6_MTU; RFC 3542, IPV6_USE_MIN_MTU):
 * it may know more of the path than the route does.
 */
static __always_inline __u32 marker_socket_mtu(struct __sk_buff *skb)
{
    struct bpf_sock *socket = skb->sk;
    __u32 mtu;

    if (!marker_knows_routes() || !bpf_core_field_exists(struct sk_buff___flowd, sk) ||
        !bpf_core_field_exists(struct inet_sock___flowd, pinet6) ||
        !bpf_core_field_exists(struct ipv6_pinfo___flowd, frag_size))
        return MARKER_MTU_UNKNOWN;
    /* One that sends whole packets (packet(7)) has no such member, nor has what is left of one. */
    if (!socket || socket->family != MARKER_AF_INET6 || socket->state == BPF_TCP_TIME_WAIT ||
        socket->state >= BPF_TCP_NEW_SYN_RECV)
        return MARKER_MTU_UNKNOWN;
    mtu = marker_direct ? marker_frag_size(skb, 1) : marker_frag_size(skb, 0);
    return mtu > 0 ? mtu : MARKER_MTU_UNKNOWN;
}

static __always_inline int marker_mtup_enabled(struct __sk_buff *skb, int direct)
{
    struct sk_buff___flowd *kernel_skb = marker_plain_skb(skb, direct);
    struct inet_connection_sock___flowd *socket;

    socket = MARKER_KERNEL_POINTER(inet_connection_sock, MARKER_KERNEL_READ(kernel_skb, sk, direct),
                                   direct);
    return MARKER_KERNEL_READ_BITS(socket, icsk_mtup.enabled, direct) != 0;
}

/*
 * Whether a TCP socket finds out by itself how much its path takes (RFC 4821, tcp_mtu_probing), in
 * which case the route does not know.
 */
static __always_inline int marker_probes_path(struct __sk_buff *skb)
{
    if (!bpf_core_field_exists(struct sk_buff___flowd, sk) ||
        !bpf_core_field_exists(struct inet_connection_sock___flowd, icsk_mtup))
        return 1;
    return marker_direct ? marker_mtup_enabled(skb, 1) : marker_mtup_enabled(skb, 0);
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

/* The MTU of the interface; 0 if it can't be told. */
static __always_inline __u32 marker_device_mtu(struct __sk_buff *skb)
{
    __u32 mtu = 0;

    if (marker_direct && bpf_core_field_exists(struct sk_buff___flowd, dev) &&
        bpf_core_field_exists(struct net_device___flowd, mtu)) {
        struct sk_buff___flowd *kernel_skb = marker_plain_skb(skb, 1);

        return MARKER_KERNEL_POINTER(net_device, kernel_skb->dev, 1)->mtu;
    }
    return bpf_check_mtu(skb, 0, &mtu, 0, 0) < 0 ? 0 : mtu;
}

/*
 * The longest packet, counted from the IPv6 header, that gets to its end. The arguments behind the
 * packet are members of its place, and the size of its headers. Not static: the verifier takes such
 * a function by itself, once, and goes on with one result instead of one for each way through it.
 */
__u32 marker_limit(struct __sk_buff *skb, __u32 network, __u32 transport, __u32 header,
                   __u32 headers);
__noinline __u32 marker_limit(struct __sk_buff *skb, __u32 network, __u32 transport, __u32 header,
                              __u32 headers)
{
    const struct marker_place place = {
        .network = network, .transport = transport, .header = (__u8)header};
    __u32 limit = marker_route_mtu(skb);
    __u32 device_mtu = marker_device_mtu(skb);
    __u32 socket_mtu;

    if (limit > device_mtu)
        limit = device_mtu;
    if (place.header == IPPROTO_TCP)
        return marker_tcp_limit(skb, &place, headers, limit);
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

static __always_inline int marker_ip_summed(struct __sk_buff *skb, int direct)
{
    struct sk_buff___flowd *kernel_skb = marker_kernel_skb(skb, direct);

    return MARKER_KERNEL_READ_BITS(kernel_skb, ip_summed, direct);
}

/*
 * Whether the kernel can still cut a datagram into segments after it was moved in memory. Since
 * Linux 6.11 it also cuts those for devices that compute no checksum, but forgets to move where
 * their checksum starts, and drops them.
 */
static __always_inline int marker_can_be_cut(struct __sk_buff *skb,
                                             const struct marker_place *place)
{
    int summed;

    if (place->header != IPPROTO_UDP || !marker_knows_routes() ||
        !bpf_core_field_exists(struct sk_buff___flowd, ip_summed))
        return 1;
    summed = marker_direct ? marker_ip_summed(skb, 1) : marker_ip_summed(skb, 0);
    return summed == MARKER_CHECKSUM_PARTIAL;
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
    __u32 limit = marker_limit(skb, place->network, place->transport, place->header, headers);
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
