/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
/*
 * Reading the kernel's own structures, of a packet, its route and its socket. The loader finds each
 * member where the running kernel has it (CO-RE).
 *
 * Where the kernel lets programs turn a number into a pointer of a known type (Linux 6.2), a member
 * is read by one instruction; elsewhere each takes a call of bpf_probe_read_kernel(). Either way,
 * what can't be read is 0. The functions below are compiled for both ways: direct is a constant.
 */
#pragma once

#include "ebpf/marker_kernel.h"
#include "ebpf/marker_maps.bpf.h"

#include <bpf/bpf_core_read.h>

/* Set before the program is loaded. */
const volatile __u8 marker_direct = 0; /* structures can be read directly */
const volatile struct flowd_marker_kernel_types marker_types = {0};

/* The members of the kernel's structures that are read. */
struct ipv6_devconf___flowd {
    __s32 mtu6;
} __attribute__((preserve_access_index));

struct inet6_dev___flowd {
    struct ipv6_devconf___flowd cnf;
} __attribute__((preserve_access_index));

struct net_device___flowd {
    __u32 mtu;
    void *ip6_ptr;
} __attribute__((preserve_access_index));

struct dst_entry___flowd {
    void *dev;
    unsigned long _metrics;
} __attribute__((preserve_access_index));

/* Numbers in the order of RTAX_..., which is part of the kernel's interface. */
struct dst_metrics___flowd;

struct sk_buff___flowd {
    void *dev;
    void *sk;
    unsigned long _skb_refdst;
    unsigned char *head;
    unsigned char *data;
    __u16 hdr_len;
    __u8 cloned : 1;
    __u8 ip_summed : 2;
} __attribute__((preserve_access_index));

struct ipv6_pinfo___flowd {
    __u32 frag_size;
} __attribute__((preserve_access_index));

struct inet_sock___flowd {
    void *pinet6;
} __attribute__((preserve_access_index));

struct inet_connection_sock___flowd {
    struct {
        __u32 enabled : 1;
    } icsk_mtup;
} __attribute__((preserve_access_index));

static void *(*const marker_cast_context)(const void *context) = (void *)FLOWD_MARKER_CAST_CONTEXT;
static void *(*const marker_cast_pointer)(const void *address,
                                          __u32 type) = (void *)FLOWD_MARKER_CAST_POINTER;

static __always_inline struct sk_buff___flowd *marker_kernel_skb(struct __sk_buff *skb, int direct)
{
    return direct ? marker_cast_context(skb) : (void *)skb;
}

/* A pointer to a structure of a type in marker_types. */
#define MARKER_KERNEL_POINTER(type, address, direct)                                               \
    ({                                                                                             \
        void *address_read = (void *)(address);                                                    \
        (struct type##___flowd *)((direct) ? marker_cast_pointer(address_read, marker_types.type)  \
                                           : address_read);                                        \
    })

/*
 * The packet, to read pointers of it. Of one that is read through what the kernel vouches for, the
 * verifier looks up whether it vouches for that one too, by the names of all its types: this takes
 * milliseconds of the start.
 */
static __always_inline struct sk_buff___flowd *marker_plain_skb(struct __sk_buff *skb, int direct)
{
    return MARKER_KERNEL_POINTER(sk_buff, marker_kernel_skb(skb, direct), direct);
}

#define MARKER_KERNEL_READ(pointer, member, direct)                                                \
    ({                                                                                             \
        typeof((pointer)->member) value_read = 0;                                                  \
        if (direct)                                                                                \
            value_read = (pointer)->member;                                                        \
        else                                                                                       \
            bpf_core_read(&value_read, sizeof(value_read), &(pointer)->member);                    \
        value_read;                                                                                \
    })

#define MARKER_KERNEL_READ_BITS(pointer, member, direct)                                           \
    ((direct) ? BPF_CORE_READ_BITFIELD(pointer, member)                                            \
              : BPF_CORE_READ_BITFIELD_PROBED(pointer, member))
