/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
/*
 * What the sk_ops programs and flowd share: the records of the ring buffer and the keys of the map
 * of watched connections.
 *
 * Both sides compile this file, so it uses the kernel's fixed-width types only and includes nothing
 * but <linux/types.h>. Nothing of it outlives the process, so a layout may change at any time.
 */
#pragma once

#include <linux/types.h>

/* The bytes of the ring buffer, some 4,000 short connections; resident memory counts them twice. */
#define FLOWD_SOCKOPS_RING_SIZE (1u << 21)

/*
 * A connection as one of its ends sees it; 40 bytes without holes, laid out as flowd's flow keys
 * are. IPv4 addresses stand in the first word, also where an IPv6 socket carries them.
 */
struct flowd_sockops_tuple {
    union {
        __u32 local_be[4];
        __u64 local_words[2];
    };
    union {
        __u32 remote_be[4];
        __u64 remote_words[2];
    };
    __u16 local_port; /* host byte order */
    __u16 remote_port;
    __u8 family;   /* AF_INET or AF_INET6 */
    __u8 protocol; /* IPPROTO_TCP */
    __u16 zero;
};
_Static_assert(sizeof(struct flowd_sockops_tuple) == 40, "no padding");
_Static_assert(__builtin_offsetof(struct flowd_sockops_tuple, local_port) == 32, "after addresses");
_Static_assert(__builtin_offsetof(struct flowd_sockops_tuple, family) == 36, "after the ports");

/*
 * A connection is watched as a whole: its two ends have one key, the tuple of the end that comes
 * first. Which one that is matters to nobody.
 */
static inline __attribute__((always_inline)) int
flowd_sockops_is_first(const struct flowd_sockops_tuple *tuple)
{
    if (tuple->local_words[0] != tuple->remote_words[0])
        return tuple->local_words[0] < tuple->remote_words[0];
    if (tuple->local_words[1] != tuple->remote_words[1])
        return tuple->local_words[1] < tuple->remote_words[1];
    return tuple->local_port <= tuple->remote_port;
}

/* What the other end sees. */
static inline __attribute__((always_inline)) struct flowd_sockops_tuple
flowd_sockops_reverse(const struct flowd_sockops_tuple *tuple)
{
    struct flowd_sockops_tuple reverse = {
        .local_words = {tuple->remote_words[0], tuple->remote_words[1]},
        .remote_words = {tuple->local_words[0], tuple->local_words[1]},
        .local_port = tuple->remote_port,
        .remote_port = tuple->local_port,
        .family = tuple->family,
        .protocol = tuple->protocol,
    };

    return reverse;
}

/* What a record tells of its connection. */
enum flowd_sockops_kind {
    FLOWD_SOCKOPS_ESTABLISHED, /* it is there; the record is a struct flowd_sockops_head */
    FLOWD_SOCKOPS_SAMPLE,
    FLOWD_SOCKOPS_CLOSED, /* its socket is closing for good; what it was like at last */
};

/* The beginning of every record. */
struct flowd_sockops_head {
    struct flowd_sockops_tuple tuple;
    __u64 cookie;      /* the socket's (SO_COOKIE); 0: not known */
    __u64 taken_ns;    /* CLOCK_MONOTONIC */
    __u16 info_length; /* bytes of info that this kernel knows; 0: no more than the head is there */
    __u8 kind;         /* enum flowd_sockops_kind */
    __u8 state;        /* TCP_ESTABLISHED, ...: the one that the socket goes into */
    __u32 interface; /* its index, where the socket is bound to one; else, or in a head alone, 0 */
};
_Static_assert(sizeof(struct flowd_sockops_head) == 64, "no padding");

/* struct tcp_info as Linux 6.18 has it: struct flowd_tcp_info (daemon/tcp/tcp_sample.h) says more.
 */
struct flowd_sockops_info {
    __u8 state, ca_state, retransmits, probes, backoff, options, wscale, flags;
    __u32 rto, ato, snd_mss, rcv_mss;
    __u32 unacked, sacked, lost, retrans, fackets;
    __u32 last_data_sent, last_ack_sent, last_data_recv, last_ack_recv;
    __u32 pmtu, rcv_ssthresh, rtt, rttvar, snd_ssthresh, snd_cwnd, advmss, reordering;
    __u32 rcv_rtt, rcv_space, total_retrans;
    __u64 pacing_rate, max_pacing_rate, bytes_acked, bytes_received;
    __u32 segs_out, segs_in, notsent_bytes, min_rtt, data_segs_in, data_segs_out;
    __u64 delivery_rate, busy_time, rwnd_limited, sndbuf_limited;
    __u32 delivered, delivered_ce;
    __u64 bytes_sent, bytes_retrans;
    __u32 dsack_dups, reord_seen, rcv_ooopack, snd_wnd;
    __u32 rcv_wnd, rehash; /* Linux 6.2 */
    __u16 total_rto, total_rto_recoveries;
    __u32 total_rto_time; /* these three: Linux 6.7 */
    __u32 received_ce;    /* this and what follows: Linux 6.18 */
    __u32 delivered_e1_bytes, delivered_e0_bytes, delivered_ce_bytes;
    __u32 received_e1_bytes, received_e0_bytes, received_ce_bytes;
    __u16 accecn_fail_mode, accecn_opt_seen;
};
_Static_assert(__builtin_offsetof(struct flowd_sockops_info, pacing_rate) == 104,
               "as the kernel's");
_Static_assert(__builtin_offsetof(struct flowd_sockops_info, bytes_sent) == 200, "as the kernel's");
_Static_assert(__builtin_offsetof(struct flowd_sockops_info, received_ce) == 248,
               "as the kernel's");
_Static_assert(sizeof(struct flowd_sockops_info) == 280, "no padding");

#define FLOWD_SOCKOPS_CONGESTION_SIZE 16
#define FLOWD_SOCKOPS_MEMORY_FIELDS 9

struct flowd_sockops_record {
    struct flowd_sockops_head head;
    struct flowd_sockops_info info;
    char congestion[FLOWD_SOCKOPS_CONGESTION_SIZE];
    __u32 memory[FLOWD_SOCKOPS_MEMORY_FIELDS]; /* in the order of INET_DIAG_SKMEMINFO */
    __u32 zero;
};
_Static_assert(sizeof(struct flowd_sockops_record) == 400, "no padding");

/* What the programs count, one number for each processor. */
enum flowd_sockops_count {
    FLOWD_SOCKOPS_RECORDS,     /* handed to flowd */
    FLOWD_SOCKOPS_LOST,        /* records that the ring buffer had no room for */
    FLOWD_SOCKOPS_LOST_CLOSED, /* those of them that told of a close */
    FLOWD_SOCKOPS_ELSEWHERE,   /* calls for sockets of other network namespaces */
    FLOWD_SOCKOPS_UNWANTED,    /* calls for connections that are out of range or not watched */
    FLOWD_SOCKOPS_UNREADABLE,  /* calls for sockets that could not be read or noted */
    FLOWD_SOCKOPS_COUNTS,
};
