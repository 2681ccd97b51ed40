/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
/*
 * The parts of the kernel's structures that the sk_ops programs read and that struct bpf_tcp_sock
 * lacks. The loader finds each field where the running kernel has it (CO-RE).
 *
 * A field that was a plain number and is a bit field elsewhere (ato), or the other way round, is
 * read by BPF_CORE_READ_BITFIELD(), which takes both.
 */
#pragma once

#include <linux/types.h>

#pragma clang attribute push(__attribute__((preserve_access_index)), apply_to = record)

struct ns_common___flowd {
    unsigned int inum;
};

struct net___flowd {
    struct ns_common___flowd ns;
};

struct in6_addr___flowd {
    union {
        __u32 u6_addr32[4];
    } in6_u;
};

struct sock_common___flowd {
    __u32 skc_daddr; /* network byte order, as the next and the two IPv6 addresses */
    __u32 skc_rcv_saddr;
    __u16 skc_dport; /* network byte order */
    __u16 skc_num;
    unsigned short skc_family;
    volatile unsigned char skc_state;
    struct {
        struct net___flowd *net;
    } skc_net;
    struct in6_addr___flowd skc_v6_daddr;
    struct in6_addr___flowd skc_v6_rcv_saddr;
};

struct counter___flowd {
    int counter;
};

struct sock___flowd {
    struct sock_common___flowd __sk_common;
    struct {
        struct counter___flowd rmem_alloc;
        int len;
    } sk_backlog;
    struct counter___flowd sk_drops;
    struct counter___flowd sk_omem_alloc;
    struct {
        struct counter___flowd refs;
    } sk_wmem_alloc;
    int sk_forward_alloc;
    int sk_rcvbuf;
    int sk_sndbuf;
    int sk_wmem_queued;
    unsigned long sk_pacing_rate;
    unsigned long sk_max_pacing_rate;
};

struct tcp_congestion_ops___flowd {
    char name[16];
};

struct inet_connection_sock___flowd {
    __u32 icsk_rto;
    __u32 icsk_rto_min;
    __u32 icsk_delack_max;
    __u32 icsk_pmtu_cookie;
    const struct tcp_congestion_ops___flowd *icsk_ca_ops;
    __u8 icsk_ca_state : 5;
    __u8 icsk_backoff;
    __u8 icsk_probes_out;
    struct {
        __u32 ato : 8;
        __u32 lrcvtime;
        __u16 rcv_mss;
    } icsk_ack;
};

struct tcp_sock___flowd {
    __u32 reordering;
    __u32 rcv_ssthresh;
    __u32 mdev_us;
    __u16 advmss;
    __u32 lsndtime;
    __u32 rcv_tstamp;
    __u32 write_seq;
    __u32 snd_nxt;
    __u32 snd_wnd;
    __u32 rcv_wnd;
    __u8 chrono_type : 2;
    __u32 chrono_start;
    __u32 chrono_stat[3];
    __u8 rate_app_limited : 1;
    __u8 tcp_usec_ts : 1; /* Linux 6.7 */
    __u8 syn_data_acked : 1;
    __u8 syn_fastopen_child : 1; /* Linux 6.16 */
    __u8 fastopen_client_fail : 2;
    __u8 ecn_flags;
    struct {
        __u16 tstamp_ok : 1;
        __u16 wscale_ok : 1;
        __u16 sack_ok : 3;
        __u16 snd_wscale : 4;
        __u16 rcv_wscale : 4;
    } rx_opt;
    struct {
        __u32 rtt_us;
    } rcv_rtt_est;
    struct {
        __u32 space;
    } rcvq_space;
    __u64 bytes_sent;
    __u64 bytes_retrans;
    __u32 reord_seen;
    __u32 rcv_ooopack;
    __u16 timeout_rehash;
    __u32 plb_rehash; /* Linux 6.2 */
    __u16 total_rto;  /* this and the next three: Linux 6.7 */
    __u16 total_rto_recoveries;
    __u32 total_rto_time;
    __u32 rto_stamp;
    __u32 received_ce; /* this and what follows: Linux 6.18 */
    __u32 received_ecn_bytes[3];
    __u32 delivered_ecn_bytes[3];
    __u8 accecn_fail_mode : 4;
    __u8 saw_accecn_opt : 2;
    __u8 bpf_sock_ops_cb_flags;
};

struct bpf_iter_meta___flowd {
    struct seq_file *seq;
};

struct bpf_iter__tcp___flowd {
    struct bpf_iter_meta___flowd *meta;
    struct sock_common *sk_common;
};

#pragma clang attribute pop
