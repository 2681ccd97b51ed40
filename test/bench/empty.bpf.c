/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
/*
 * Somebody else's program for a tc hook, which does nothing: what every program costs.
 */
#include <linux/bpf.h>
#include <linux/pkt_cls.h>

#include <bpf/bpf_helpers.h>

SEC("tc")
int empty(struct __sk_buff *skb)
{
    (void)skb;
    return TC_ACT_UNSPEC;
}

char empty_license[] SEC("license") = "Dual BSD/GPL";
