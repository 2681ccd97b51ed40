/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
/*
 * The marker: writes the mark of live flows into IPv6 packets that leave an interface.
 *
 * It runs at the egress of a device (TCX or a clsact filter) and lets every packet pass to the next
 * program, whatever happens. A packet of no flow is told by one bit of a bitmap; only where the bit
 * is set, the flow map is looked at. Packets that are not plain "IPv6, TCP or UDP" with linear
 * headers take the slow way in marker_walk(). There is one program for devices with an Ethernet
 * header and one for those without any link header, in several kinds (enum marker_kind), and a
 * plain one.
 *
 * Packets are read directly and written with a helper only: a program that writes directly would
 * make the kernel unclone every packet before the program runs, and drop it where memory is short.
 */
#include "ebpf/marker.h"
#include "ebpf/marker_maps.bpf.h"
#include "ebpf/marker_options.bpf.h"
#include "ebpf/marker_place.bpf.h"
#include "ebpf/marker_table.bpf.h"

#define MARKER_NO_LINK_HEADER 0u

/*
 * What a program can do, fixed when it is compiled. Settings could leave out the rest as well, but
 * a verifier may look at what is never reached: each of them refuses instructions that its kernel
 * lacks, and before Linux 6.17, to those without CAP_PERFMON, helpers that need it.
 */
enum marker_kind {
    KIND_LABEL,       /* writes labels */
    KIND_LABEL_TRACE, /* writes labels and traces */
    KIND_FULL,        /* whatever is set */
};

/* ICMPv6 messages of the link itself: multicast listeners, routers, neighbours, redirects. */
#define MARKER_ICMPV6_LINK_FIRST 130
#define MARKER_ICMPV6_LINK_LAST 137
#define MARKER_ICMPV6_LISTENER_REPORT_V2 143

static __always_inline void marker_key_fill(struct flowd_marker_key *key, const struct ipv6hdr *ip6,
                                            __u8 protocol, __u32 ports)
{
    const __u64 *src = (const __u64 *)&ip6->saddr;
    const __u64 *dst = (const __u64 *)&ip6->daddr;

    key->dst[0] = dst[0];
    key->dst[1] = dst[1];
    /* One store: before Linux 6.17 nobody without CAP_PERFMON may write parts of a word. */
    key->transport = flowd_marker_transport(ports, protocol);
    key->src[0] = marker_match_source ? src[0] : 0;
    key->src[1] = marker_match_source ? src[1] : 0;
}

static __always_inline __u32 marker_hash(const struct flowd_marker_key *key)
{
    return flowd_marker_hash(marker_sum(FLOWD_MARKER_SUM_HASH, key, marker_match_source));
}

/* The word of the flow's entry, 0: it is no flow's. */
static __always_inline __u64 marker_look_up(const struct flowd_marker_key *key)
{
    __u64 geometry = marker_geometry();
    __u32 hash = marker_hash(key);
    __u32 at;

    return marker_may_be_known(hash, geometry, &at) ? marker_find(key, hash, geometry, at) : 0;
}

static __always_inline int marker_write_label(struct __sk_buff *skb, __u32 network,
                                              __u8 traffic_class_low, __u32 label,
                                              enum marker_kind kind)
{
    __u8 bytes[3];

    bytes[0] = (traffic_class_low & 0xf0) | ((label >> 16) & 0x0f);
    bytes[1] = label >> 8;
    bytes[2] = label;
    if (bpf_skb_store_bytes(skb, network + 1, bytes, sizeof(bytes), BPF_F_RECOMPUTE_CSUM) < 0)
        return marker_pass(skb, FLOWD_MARKER_ERROR);

    if ((kind == KIND_FULL || kind == KIND_LABEL_TRACE) && marker_debug)
        bpf_printk("flowd: interface %d label %x", skb->ifindex, label);
    return marker_pass(skb, FLOWD_MARKER_MARKED);
}

static __always_inline int marker_only_label(enum marker_kind kind)
{
    return kind != KIND_FULL || marker_strategy == FLOWD_MARKER_LABEL;
}

static __always_inline int marker_apply(struct __sk_buff *skb, const struct marker_place *place,
                                        flowd_marker_value value, enum marker_kind kind)
{
    if (marker_only_label(kind))
        return marker_write_label(skb, place->network, place->traffic_class_low, value, kind);
    return marker_add_options(skb, place, value);
}

/*
 * The general mark. A label is one flow's for its whole life, and never 0, which says that there is
 * none (RFC 6437).
 */
static __always_inline flowd_marker_value marker_general_value(__u32 entropy)
{
    flowd_marker_value label =
        marker_general | (entropy & 3) | (entropy & 4) << 6 | (entropy & 0x18) << 15;

    if (flowd_marker_writes_scitag(marker_strategy, marker_encoding))
        return marker_general;
    return label ? label : 1;
}

/* Whether the packet is one that the link's own working depends on. */
static __always_inline int marker_is_link_message(struct __sk_buff *skb,
                                                  const struct marker_place *place)
{
    __u8 type = 0;

    if (place->header != IPPROTO_ICMPV6)
        return 0;
    bpf_skb_load_bytes(skb, place->transport, &type, sizeof(type));
    return (type >= MARKER_ICMPV6_LINK_FIRST && type <= MARKER_ICMPV6_LINK_LAST) ||
           type == MARKER_ICMPV6_LISTENER_REPORT_V2;
}

static __always_inline void marker_datagram_fill(struct marker_datagram *datagram,
                                                 const struct ipv6hdr *ip6,
                                                 const struct marker_place *place)
{
    __builtin_memcpy(datagram->src, &ip6->saddr, sizeof(datagram->src));
    __builtin_memcpy(datagram->dst, &ip6->daddr, sizeof(datagram->dst));
    datagram->identification_be = place->identification_be;
    datagram->zero = 0;
}

/*
 * The bits of the value of a map entry that are not the mark. They have no seeds in them, so that
 * the map holds beside whatever flow map, and say what kind of mark it is.
 */
static __always_inline __u64 marker_datagram_tag(const struct marker_datagram *datagram)
{
    __u64 scitag = flowd_marker_writes_scitag(marker_strategy, marker_encoding);
    __u64 h = flowd_marker_spread(datagram->dst[0], datagram->dst[1]) ^
              flowd_marker_spread(datagram->src[1], datagram->src[0]);

    h ^= h >> 32;
    h = (h + (scitag << 32 | datagram->identification_be)) * 0xc2b2ae3d27d4eb4full;
    return h >> FLOWD_MARKER_VALUE_BITS << FLOWD_MARKER_VALUE_BITS;
}

/* The mark of the flow whose first fragment went before this later one. */
static __always_inline int marker_datagram_mark(const struct ipv6hdr *ip6,
                                                const struct marker_place *place,
                                                flowd_marker_value *value)
{
    struct marker_datagram datagram;
    const volatile __u64 *found;
    __u64 word;

    marker_datagram_fill(&datagram, ip6, place);
    found = bpf_map_lookup_elem(&flowd_fragments, &datagram);
    if (!found)
        return 0;
    word = *found;
    *value = flowd_marker_word_value(word);
    return (word ^ marker_datagram_tag(&datagram)) >> FLOWD_MARKER_VALUE_BITS == 0;
}

static __always_inline void marker_datagram_note(const struct ipv6hdr *ip6,
                                                 const struct marker_place *place,
                                                 flowd_marker_value value)
{
    struct marker_datagram datagram;
    __u64 word;

    if (!(place->has & HAS_MORE_FRAGMENTS))
        return;
    marker_datagram_fill(&datagram, ip6, place);
    word = marker_datagram_tag(&datagram) | value;
    bpf_map_update_elem(&flowd_fragments, &datagram, &word, BPF_ANY);
}

/*
 * The mark of a packet without ports: a later fragment, or of another protocol than TCP and UDP.
 * Returns FLOWD_MARKER_MARKED if it has one, else the verdict.
 */
static __always_inline enum flowd_marker_verdict
marker_find_without_ports(struct __sk_buff *skb, const struct marker_place *place,
                          const struct ipv6hdr *ip6, enum flowd_marker_verdict verdict,
                          flowd_marker_value *value, enum marker_kind kind)
{
    const __u64 *dst = (const __u64 *)&ip6->daddr;

    if (verdict == FLOWD_MARKER_FRAGMENT && marker_datagram_mark(ip6, place, value))
        return FLOWD_MARKER_MARKED;
    if (!marker_match_all)
        return verdict;
    if (!marker_only_label(kind) && marker_is_link_message(skb, place))
        return FLOWD_MARKER_OTHER_PROTOCOL;
    *value = marker_general_value(flowd_marker_entropy(dst[0], dst[1], 0, 0));
    return FLOWD_MARKER_MARKED;
}

/* The same for TCP and UDP. */
static __always_inline enum flowd_marker_verdict
marker_find_with_ports(struct __sk_buff *skb, const struct marker_place *place,
                       const struct ipv6hdr *ip6, flowd_marker_value *value)
{
    struct flowd_marker_key key;
    __u64 found;
    __u32 ports;

    if (bpf_skb_load_bytes(skb, place->transport, &ports, sizeof(ports)) < 0)
        return FLOWD_MARKER_TRUNCATED;
    marker_key_fill(&key, ip6, place->header, ports);
    found = marker_look_up(&key);
    if (found)
        *value = flowd_marker_word_value(found);
    else if (marker_match_all)
        *value = marker_general_value(
            flowd_marker_entropy(key.dst[0], key.dst[1], ports, place->header));
    else
        return FLOWD_MARKER_NO_FLOW;
    if (place->has & HAS_FRAGMENT)
        marker_datagram_note(ip6, place, *value);
    return FLOWD_MARKER_MARKED;
}

/* The slow way: in-band VLAN tags, extension headers, headers that are not linear. */
static __always_inline int marker_walk_as(struct __sk_buff *skb, __u32 link, enum marker_kind kind)
{
    flowd_marker_value value = 0;
    struct marker_place place;
    struct ipv6hdr ip6 MARKER_ALIGNED;
    enum flowd_marker_verdict verdict = marker_find_place(skb, link, &place, &ip6);

    if (verdict == FLOWD_MARKER_NO_FLOW)
        verdict = marker_find_with_ports(skb, &place, &ip6, &value);
    else if (verdict == FLOWD_MARKER_FRAGMENT || verdict == FLOWD_MARKER_OTHER_PROTOCOL)
        verdict = marker_find_without_ports(skb, &place, &ip6, verdict, &value, kind);
    if (verdict == FLOWD_MARKER_MARKED)
        return marker_apply(skb, &place, value, kind);
    return verdict == FLOWD_MARKER_NO_FLOW ? marker_pass_no_flow() : marker_pass(skb, verdict);
}

static __noinline int marker_walk_label(struct __sk_buff *skb, __u32 link)
{
    return marker_walk_as(skb, link, KIND_LABEL);
}

static __noinline int marker_walk_full(struct __sk_buff *skb, __u32 link)
{
    return marker_walk_as(skb, link, KIND_FULL);
}

static __noinline int marker_walk_trace(struct __sk_buff *skb, __u32 link)
{
    return marker_walk_as(skb, link, KIND_LABEL_TRACE);
}

static __always_inline int marker_walk(struct __sk_buff *skb, __u32 link, enum marker_kind kind)
{
    if (kind == KIND_LABEL_TRACE)
        return marker_walk_trace(skb, link);
    return kind == KIND_FULL ? marker_walk_full(skb, link) : marker_walk_label(skb, link);
}

/* A plain packet that bears the general mark. */
static __always_inline int marker_general_as(struct __sk_buff *skb, __u32 link,
                                             enum marker_kind kind)
{
    struct marker_place place;
    struct ipv6hdr ip6 MARKER_ALIGNED;
    const __u64 *dst = (const __u64 *)&ip6.daddr;
    __u32 ports;

    if (bpf_skb_load_bytes(skb, link, &ip6, sizeof(ip6)) < 0 ||
        bpf_skb_load_bytes(skb, link + sizeof(ip6), &ports, sizeof(ports)) < 0)
        return marker_pass(skb, FLOWD_MARKER_TRUNCATED);
    place = marker_plain_place(link, &ip6);
    return marker_apply(
        skb, &place,
        marker_general_value(flowd_marker_entropy(dst[0], dst[1], ports, place.header)), kind);
}

/*
 * Functions of their own that read the headers again: inlined, what they need would be kept for
 * every other packet too.
 */
static __noinline int marker_general_label(struct __sk_buff *skb, __u32 link)
{
    return marker_general_as(skb, link, KIND_LABEL);
}

static __noinline int marker_general_full(struct __sk_buff *skb, __u32 link)
{
    return marker_general_as(skb, link, KIND_FULL);
}

static __noinline int marker_general_trace(struct __sk_buff *skb, __u32 link)
{
    return marker_general_as(skb, link, KIND_LABEL_TRACE);
}

static __always_inline int marker_run_no_flow(struct __sk_buff *skb, __u32 link,
                                              enum marker_kind kind)
{
    if (!marker_match_all)
        return marker_pass_no_flow();
    if (kind == KIND_LABEL_TRACE)
        return marker_general_trace(skb, link);
    return kind == KIND_FULL ? marker_general_full(skb, link) : marker_general_label(skb, link);
}

static __always_inline int marker_run_flow(struct __sk_buff *skb, __u32 link,
                                           const struct ipv6hdr *ip6, __u64 found,
                                           enum marker_kind kind)
{
    flowd_marker_value value = flowd_marker_word_value(found);
    struct marker_place place;

    if (marker_only_label(kind))
        return marker_write_label(skb, link, ((const __u8 *)ip6)[1], value, kind);
    place = marker_plain_place(link, ip6);
    return marker_add_options(skb, &place, value);
}

/* The fast way. Without matchAll, a packet of no flow is done with at the first "no". */
static __always_inline int marker_run(struct __sk_buff *skb, __u32 link, enum marker_kind kind)
{
    void *data_end = (void *)(long)skb->data_end;
    const struct ipv6hdr *ip6 = (void *)(long)skb->data + link;
    const __u32 *ports = (const void *)(ip6 + 1);
    __be16 protocol = skb->protocol;
    struct flowd_marker_key key;
    __u64 found;
    __u8 header;

    if (protocol != bpf_htons(ETH_P_IPV6))
        return marker_is_vlan(protocol) ? marker_walk(skb, link, kind)
                                        : marker_pass(skb, FLOWD_MARKER_NOT_IPV6);
    if ((const void *)(ports + 1) > data_end)
        return marker_walk(skb, link, kind);

    header = ip6->nexthdr;
    if (!marker_has_ports(header))
        return marker_match_all || marker_is_extension(header)
                   ? marker_walk(skb, link, kind)
                   : marker_pass(skb, FLOWD_MARKER_OTHER_PROTOCOL);
    marker_key_fill(&key, ip6, header, *ports);
    found = marker_look_up(&key);
    return found ? marker_run_flow(skb, link, ip6, found, kind)
                 : marker_run_no_flow(skb, link, kind);
}

/*
 * For those without CAP_PERFMON where the verifier lets them neither compare the packet's pointers
 * nor write parts of a word (before Linux 6.17): everything is copied, and only packets without
 * extension headers and tags in band are marked.
 */
static __always_inline int marker_run_plain(struct __sk_buff *skb, __u32 link)
{
    struct {
        struct ipv6hdr ip6;
        __u32 ports;
    } packet MARKER_ALIGNED;
    struct flowd_marker_key key;
    __u64 found = 0;
    __u32 label;
    __u8 header;

    if (skb->protocol != bpf_htons(ETH_P_IPV6))
        return marker_pass(skb, marker_is_vlan(skb->protocol) ? FLOWD_MARKER_TOO_DEEP
                                                              : FLOWD_MARKER_NOT_IPV6);
    if (bpf_skb_load_bytes(skb, link, &packet, sizeof(packet)) < 0)
        return marker_pass(skb, FLOWD_MARKER_TRUNCATED);
    header = packet.ip6.nexthdr;
    if (marker_is_extension(header))
        return marker_pass(skb, FLOWD_MARKER_TOO_DEEP);
    if (!marker_has_ports(header) && !marker_match_all)
        return marker_pass(skb, FLOWD_MARKER_OTHER_PROTOCOL);
    marker_key_fill(&key, &packet.ip6, marker_has_ports(header) ? header : 0,
                    marker_has_ports(header) ? packet.ports : 0);
    if (marker_has_ports(header))
        found = marker_look_up(&key);
    if (!found && !marker_match_all)
        return marker_pass_no_flow();
    label = found ? flowd_marker_word_value(found)
                  : marker_general_value(
                        flowd_marker_entropy(key.dst[0], key.dst[1], key.ports, key.protocol));
    return marker_write_label(skb, link, ((const __u8 *)&packet.ip6)[1], label, KIND_LABEL);
}

SEC("tc")
int flowd_marker(struct __sk_buff *skb)
{
    return marker_run(skb, ETH_HLEN, KIND_LABEL);
}

SEC("tc")
int flowd_marker_l3(struct __sk_buff *skb)
{
    return marker_run(skb, MARKER_NO_LINK_HEADER, KIND_LABEL);
}

SEC("tc")
int flowd_marker_plain(struct __sk_buff *skb)
{
    return marker_run_plain(skb, ETH_HLEN);
}

SEC("tc")
int flowd_marker_plain_l3(struct __sk_buff *skb)
{
    return marker_run_plain(skb, MARKER_NO_LINK_HEADER);
}

SEC("tc")
int flowd_marker_trace(struct __sk_buff *skb)
{
    return marker_run(skb, ETH_HLEN, KIND_LABEL_TRACE);
}

SEC("tc")
int flowd_marker_trace_l3(struct __sk_buff *skb)
{
    return marker_run(skb, MARKER_NO_LINK_HEADER, KIND_LABEL_TRACE);
}

SEC("tc")
int flowd_marker_full(struct __sk_buff *skb)
{
    return marker_run(skb, ETH_HLEN, KIND_FULL);
}

SEC("tc")
int flowd_marker_full_l3(struct __sk_buff *skb)
{
    return marker_run(skb, MARKER_NO_LINK_HEADER, KIND_FULL);
}

char marker_license[] SEC("license") = "Dual BSD/GPL";
