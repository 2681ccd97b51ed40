/*
 * The marker: writes the flow label of live flows into IPv6 packets that leave an interface.
 *
 * It runs at the egress of Ethernet and loopback devices (TCX or a clsact filter) and lets every
 * packet pass to the next program, whatever happens. A packet of no flow is told by one bit of a
 * bitmap; only where the bit is set, the flow map is asked. Packets that are not plain "Ethernet,
 * IPv6, TCP or UDP" with linear headers take the slow way in marker_walk().
 *
 * Packets are read directly and written with a helper only: a program that writes directly would
 * make the kernel unclone every packet before the program runs.
 */
#include "ebpf/marker.h"

#include <linux/bpf.h>
#include <linux/if_ether.h>
#include <linux/in.h>
#include <linux/ipv6.h>
#include <linux/pkt_cls.h>

#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>

#define MARKER_VLAN_TAGS_MAX 2
#define MARKER_HEADERS_MAX 8
#define MARKER_FRAGMENT_OFFSET_MASK 0xfff8

/* Numbers of the next headers that are walked (RFC 8200, RFC 4302). */
enum {
    HEADER_HOP_BY_HOP = 0,
    HEADER_ROUTING = 43,
    HEADER_FRAGMENT = 44,
    HEADER_AUTHENTICATION = 51,
    HEADER_DESTINATION = 60,
};

struct marker_vlan_tag {
    __be16 control;
    __be16 protocol;
};

/* Set before the program is loaded. */
const volatile __u8 marker_match_source = 0;
const volatile __u8 marker_debug = 0;

/* Written by flowd only, through a mapping of this section's map. */
__u64 marker_bitmap[FLOWD_MARKER_BITMAP_WORDS];

/*
 * Preallocated: an update never fails for want of memory, and takes half the time. The price is
 * kernel memory for flows.max flows from the start.
 */
struct {
    __uint(type, BPF_MAP_TYPE_HASH);
    __uint(max_entries, 1024);                      /* set before loading */
    __uint(key_size, FLOWD_MARKER_KEY_SOURCE_SIZE); /* set before loading */
    __uint(value_size, sizeof(struct flowd_marker_mark));
} FLOWD_MARKER_FLOWS SEC(".maps");

struct {
    __uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
    __uint(max_entries, FLOWD_MARKER_COUNTER_SLOTS);
    __type(key, __u32);
    __type(value, struct flowd_marker_counters);
} flowd_counters SEC(".maps");

static __always_inline int marker_count(__u32 slot, enum flowd_marker_verdict verdict)
{
    struct flowd_marker_counters *counters = bpf_map_lookup_elem(&flowd_counters, &slot);

    if (counters)
        counters->packets[verdict]++;
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

static __always_inline int marker_hash_known(__u32 hash)
{
    __u32 bit = flowd_marker_bit(hash);

    return (marker_bitmap[bit / 64] >> (bit % 64)) & 1;
}

static __always_inline void marker_key_fill(struct flowd_marker_key *key, const struct ipv6hdr *ip6,
                                            __u8 protocol, __u32 ports)
{
    const __u64 *src = (const __u64 *)&ip6->saddr;
    const __u64 *dst = (const __u64 *)&ip6->daddr;

    key->dst[0] = dst[0];
    key->dst[1] = dst[1];
    key->ports = ports;
    key->protocol = protocol;
    key->zero[0] = key->zero[1] = key->zero[2] = 0;
    if (marker_match_source) {
        key->src[0] = src[0];
        key->src[1] = src[1];
    }
}

/* Looks the key up and writes the label; ip6 is what stands at offset. */
static __always_inline int marker_label(struct __sk_buff *skb, __u32 offset,
                                        const struct flowd_marker_key *key, __u8 traffic_class_low)
{
    const struct flowd_marker_mark *mark = bpf_map_lookup_elem(&FLOWD_MARKER_FLOWS, key);
    __u8 bytes[3];
    __u32 label;

    if (!mark)
        return marker_pass_no_flow();

    label = mark->label;
    bytes[0] = (traffic_class_low & 0xf0) | ((label >> 16) & 0x0f);
    bytes[1] = label >> 8;
    bytes[2] = label;
    if (bpf_skb_store_bytes(skb, offset + 1, bytes, sizeof(bytes), BPF_F_RECOMPUTE_CSUM) < 0)
        return marker_pass(skb, FLOWD_MARKER_ERROR);

    if (marker_debug)
        bpf_printk("flowd: interface %d label %x port %d", skb->ifindex, label,
                   bpf_ntohs(key->dport_be));
    return marker_pass(skb, FLOWD_MARKER_MARKED);
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

/*
 * Finds the transport header behind *offset, where the header of type *header begins. Returns
 * FLOWD_MARKER_NO_FLOW when *offset and *header are those of a TCP or UDP header, or the verdict.
 */
static __always_inline enum flowd_marker_verdict marker_skip_extensions(struct __sk_buff *skb,
                                                                        __u32 *offset, __u8 *header)
{
    for (int i = 0; i < MARKER_HEADERS_MAX; i++) {
        /* The fields that the walk needs stand in the first four bytes of every one of them. */
        __u8 start[4];

        if (*header == IPPROTO_TCP || *header == IPPROTO_UDP)
            return FLOWD_MARKER_NO_FLOW;
        if (!marker_is_extension(*header))
            return FLOWD_MARKER_OTHER_PROTOCOL;
        if (bpf_skb_load_bytes(skb, *offset, start, sizeof(start)) < 0)
            return FLOWD_MARKER_TRUNCATED;
        if (*header == HEADER_FRAGMENT) {
            if ((((__u32)start[2] << 8) | start[3]) & MARKER_FRAGMENT_OFFSET_MASK)
                return FLOWD_MARKER_FRAGMENT;
            *offset += 8;
        } else if (*header == HEADER_AUTHENTICATION) {
            *offset += ((__u32)start[1] + 2) * 4;
        } else {
            *offset += ((__u32)start[1] + 1) * 8;
        }
        *header = start[0];
    }
    if (*header == IPPROTO_TCP || *header == IPPROTO_UDP)
        return FLOWD_MARKER_NO_FLOW;
    return marker_is_extension(*header) ? FLOWD_MARKER_TOO_DEEP : FLOWD_MARKER_OTHER_PROTOCOL;
}

/* The slow way: in-band VLAN tags, extension headers, headers that are not linear. */
static __noinline int marker_walk(struct __sk_buff *skb)
{
    __u32 network = ETH_HLEN;
    __be16 protocol = skb->protocol;
    struct flowd_marker_key key;
    enum flowd_marker_verdict verdict;
    struct marker_vlan_tag tag;
    struct ipv6hdr ip6;
    __u32 offset;
    __u32 ports;
    __u8 header;

    for (int i = 0; i < MARKER_VLAN_TAGS_MAX && marker_is_vlan(protocol); i++) {
        if (bpf_skb_load_bytes(skb, network, &tag, sizeof(tag)) < 0)
            return marker_pass(skb, FLOWD_MARKER_TRUNCATED);
        protocol = tag.protocol;
        network += sizeof(tag);
    }
    if (marker_is_vlan(protocol))
        return marker_pass(skb, FLOWD_MARKER_TOO_DEEP);
    if (protocol != bpf_htons(ETH_P_IPV6))
        return marker_pass(skb, FLOWD_MARKER_NOT_IPV6);
    if (bpf_skb_load_bytes(skb, network, &ip6, sizeof(ip6)) < 0)
        return marker_pass(skb, FLOWD_MARKER_TRUNCATED);

    header = ip6.nexthdr;
    offset = network + sizeof(ip6);
    verdict = marker_skip_extensions(skb, &offset, &header);
    if (verdict == FLOWD_MARKER_OTHER_PROTOCOL)
        return marker_pass(skb, FLOWD_MARKER_OTHER_PROTOCOL);
    if (verdict == FLOWD_MARKER_FRAGMENT)
        return marker_pass(skb, FLOWD_MARKER_FRAGMENT);
    if (verdict == FLOWD_MARKER_TOO_DEEP)
        return marker_pass(skb, FLOWD_MARKER_TOO_DEEP);
    if (verdict == FLOWD_MARKER_TRUNCATED)
        return marker_pass(skb, FLOWD_MARKER_TRUNCATED);
    if (bpf_skb_load_bytes(skb, offset, &ports, sizeof(ports)) < 0)
        return marker_pass(skb, FLOWD_MARKER_TRUNCATED);

    marker_key_fill(&key, &ip6, header, ports);
    if (!marker_hash_known(flowd_marker_hash(key.dst[0], key.dst[1], ports, header)))
        return marker_pass_no_flow();
    return marker_label(skb, network, &key, ((__u8 *)&ip6)[1]);
}

SEC("tc")
int flowd_marker(struct __sk_buff *skb)
{
    void *data_end = (void *)(long)skb->data_end;
    const struct ipv6hdr *ip6 = (void *)(long)skb->data + ETH_HLEN;
    const __u32 *ports = (const void *)(ip6 + 1);
    const __u64 *dst = (const __u64 *)&ip6->daddr;
    __be16 protocol = skb->protocol;
    struct flowd_marker_key key;
    __u8 header;

    if (protocol != bpf_htons(ETH_P_IPV6))
        return marker_is_vlan(protocol) ? marker_walk(skb)
                                        : marker_pass(skb, FLOWD_MARKER_NOT_IPV6);
    if ((const void *)(ports + 1) > data_end)
        return marker_walk(skb);

    header = ip6->nexthdr;
    if (header != IPPROTO_TCP && header != IPPROTO_UDP)
        return marker_is_extension(header) ? marker_walk(skb)
                                           : marker_pass(skb, FLOWD_MARKER_OTHER_PROTOCOL);
    if (!marker_hash_known(flowd_marker_hash(dst[0], dst[1], *ports, header)))
        return marker_pass_no_flow();

    marker_key_fill(&key, ip6, header, *ports);
    return marker_label(skb, ETH_HLEN, &key, ((const __u8 *)ip6)[1]);
}

char marker_license[] SEC("license") = "Dual BSD/GPL";
