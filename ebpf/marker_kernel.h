/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
/*
 * What the loader tells the marker program of the running kernel, so that the program can read the
 * kernel's structures directly (Linux 6.2). Both sides compile this file.
 */
#pragma once

#include <linux/types.h>

/*
 * Helpers that no kernel has. The loader puts calls of bpf_cast_to_kern_ctx() and bpf_rdonly_cast()
 * in their place, or leaves them in code that is never reached: libbpf would parse all of the
 * kernel's type information to find the two.
 */
#define FLOWD_MARKER_CAST_CONTEXT 0x666c6f01
#define FLOWD_MARKER_CAST_POINTER 0x666c6f02

/* The numbers of structures in the kernel's type information. */
struct flowd_marker_kernel_types {
    __u32 sk_buff;
    __u32 dst_entry;
    __u32 dst_metrics;
    __u32 net_device;
    __u32 inet6_dev;
    __u32 inet_sock;
    __u32 ipv6_pinfo;
    __u32 inet_connection_sock;
};
