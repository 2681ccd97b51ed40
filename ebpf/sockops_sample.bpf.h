/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
/*
 * Fills a record with what getsockopt(TCP_INFO) would say of the socket at this moment, in its
 * units.
 */
#pragma once

#include "ebpf/sockops.h"
#include "ebpf/sockops_kernel.bpf.h"

#include <linux/bpf.h>

#include <bpf/bpf_core_read.h>
#include <bpf/bpf_helpers.h>

#define US_PER_S 1000000ull
#define MS_PER_S 1000u
#define NS_PER_MS 1000000ull

/* Jiffies a second; set before loading. */
const volatile __u32 sockops_hz = 250;

/* Bits of tcp_info.options (include/uapi/linux/tcp.h). */
enum {
    OPTION_TIMESTAMPS = 1,
    OPTION_SACK = 2,
    OPTION_WSCALE = 4,
    OPTION_ECN = 8,
    OPTION_ECN_SEEN = 16,
    OPTION_SYN_DATA = 32,
    OPTION_USEC_TS = 64,
    OPTION_TFO_CHILD = 128,
};

/* Bits of tcp_sock.ecn_flags (include/net/tcp.h): ECN is on, in its classic or its accurate form.
 */
#define ECN_ON (1 | 16)
#define ECN_SEEN 8

/* Indices of the three counts of ECN bytes. */
enum { ECT1, ECT0, CE };

/* What is open in tcp_sock.chrono_stat, beginning with 1. */
enum { CHRONO_BUSY = 1, CHRONO_RWND_LIMITED, CHRONO_SNDBUF_LIMITED };

#define FLAG(tp, field, bit) (BPF_CORE_READ_BITFIELD(tp, field) ? (bit) : 0)

static __always_inline __u32 jiffies_to_us(__u32 jiffies)
{
    return (__u32)(jiffies * US_PER_S / sockops_hz);
}

static __always_inline __u32 jiffies_to_ms(__u32 jiffies)
{
    return (__u32)((__u64)jiffies * MS_PER_S / sockops_hz);
}

/* What struct bpf_tcp_sock has. */
static __always_inline void read_stable(const struct bpf_tcp_sock *tcp,
                                        struct flowd_sockops_info *info)
{
    info->retransmits = (__u8)tcp->icsk_retransmits;
    info->snd_mss = tcp->mss_cache;
    info->unacked = tcp->packets_out;
    info->sacked = tcp->sacked_out;
    info->lost = tcp->lost_out;
    info->retrans = tcp->retrans_out;
    info->rtt = tcp->srtt_us >> 3;
    info->snd_ssthresh = tcp->snd_ssthresh;
    info->snd_cwnd = tcp->snd_cwnd;
    info->total_retrans = tcp->total_retrans;
    info->bytes_acked = tcp->bytes_acked;
    info->bytes_received = tcp->bytes_received;
    info->segs_out = tcp->segs_out;
    info->segs_in = tcp->segs_in;
    info->min_rtt = tcp->rtt_min;
    info->data_segs_in = tcp->data_segs_in;
    info->data_segs_out = tcp->data_segs_out;
    info->delivered = tcp->delivered;
    info->delivered_ce = tcp->delivered_ce;
    info->dsack_dups = tcp->dsack_dups;
    if (tcp->rate_delivered != 0 && tcp->rate_interval_us != 0)
        info->delivery_rate =
            (__u64)tcp->rate_delivered * tcp->mss_cache * US_PER_S / tcp->rate_interval_us;
}

static __always_inline void read_options(const struct tcp_sock___flowd *tp,
                                         struct flowd_sockops_info *info)
{
    __u32 options = FLAG(tp, rx_opt.tstamp_ok, OPTION_TIMESTAMPS) |
                    FLAG(tp, rx_opt.sack_ok, OPTION_SACK) |
                    FLAG(tp, syn_data_acked, OPTION_SYN_DATA);

    if (BPF_CORE_READ_BITFIELD(tp, rx_opt.wscale_ok)) {
        options |= OPTION_WSCALE;
        info->wscale = (__u8)(BPF_CORE_READ_BITFIELD(tp, rx_opt.snd_wscale) |
                              BPF_CORE_READ_BITFIELD(tp, rx_opt.rcv_wscale) << 4);
    }
    if (tp->ecn_flags & ECN_ON)
        options |= OPTION_ECN;
    if (tp->ecn_flags & ECN_SEEN)
        options |= OPTION_ECN_SEEN;
    if (bpf_core_field_exists(tp->tcp_usec_ts))
        options |= FLAG(tp, tcp_usec_ts, OPTION_USEC_TS);
    if (bpf_core_field_exists(tp->syn_fastopen_child))
        options |= FLAG(tp, syn_fastopen_child, OPTION_TFO_CHILD);
    info->options = (__u8)options;
    info->flags = (__u8)(BPF_CORE_READ_BITFIELD(tp, rate_app_limited) |
                         BPF_CORE_READ_BITFIELD(tp, fastopen_client_fail) << 1);
}

static __always_inline void read_chrono(const struct tcp_sock___flowd *tp, __u32 now,
                                        struct flowd_sockops_info *info)
{
    __u32 open = (__u32)BPF_CORE_READ_BITFIELD(tp, chrono_type);
    __u32 since = now - tp->chrono_start;
    __u64 busy = tp->chrono_stat[CHRONO_BUSY - 1];
    __u64 rwnd = tp->chrono_stat[CHRONO_RWND_LIMITED - 1];
    __u64 sndbuf = tp->chrono_stat[CHRONO_SNDBUF_LIMITED - 1];

    if (open == CHRONO_BUSY)
        busy += since;
    if (open == CHRONO_RWND_LIMITED)
        rwnd += since;
    if (open == CHRONO_SNDBUF_LIMITED)
        sndbuf += since;
    info->rwnd_limited = rwnd * US_PER_S / sockops_hz;
    info->sndbuf_limited = sndbuf * US_PER_S / sockops_hz;
    info->busy_time = (busy + rwnd + sndbuf) * US_PER_S / sockops_hz;
}

static __always_inline void read_connection(const struct inet_connection_sock___flowd *icsk,
                                            __u32 now, struct flowd_sockops_info *info)
{
    __u32 ato = (__u32)BPF_CORE_READ_BITFIELD(icsk, icsk_ack.ato);

    /* Linux 6.7 began to count total_rto and to say what bounds the delay of acknowledgements. */
    if (bpf_core_field_exists(struct tcp_sock___flowd, total_rto)) {
        __u32 bound = icsk->icsk_rto_min > 2 ? icsk->icsk_rto_min - 1 : 1;

        bound = icsk->icsk_delack_max < bound ? icsk->icsk_delack_max : bound;
        ato = ato < bound ? ato : bound;
    }
    info->ca_state = (__u8)BPF_CORE_READ_BITFIELD(icsk, icsk_ca_state);
    info->probes = icsk->icsk_probes_out;
    info->backoff = icsk->icsk_backoff;
    info->rto = jiffies_to_us(icsk->icsk_rto);
    info->ato = jiffies_to_us(ato);
    info->rcv_mss = icsk->icsk_ack.rcv_mss;
    info->last_data_recv = jiffies_to_ms(now - icsk->icsk_ack.lrcvtime);
    info->pmtu = icsk->icsk_pmtu_cookie;
}

static __always_inline void read_tcp(const struct tcp_sock___flowd *tp, __u32 now,
                                     struct flowd_sockops_info *info)
{
    __s32 notsent = (__s32)(tp->write_seq - tp->snd_nxt);

    info->reordering = tp->reordering;
    info->last_data_sent = jiffies_to_ms(now - tp->lsndtime);
    info->last_ack_recv = jiffies_to_ms(now - tp->rcv_tstamp);
    info->rcv_ssthresh = tp->rcv_ssthresh;
    info->rttvar = tp->mdev_us >> 2;
    info->advmss = tp->advmss;
    info->rcv_rtt = tp->rcv_rtt_est.rtt_us >> 3;
    info->rcv_space = tp->rcvq_space.space;
    info->notsent_bytes = notsent > 0 ? (__u32)notsent : 0;
    info->bytes_sent = tp->bytes_sent;
    info->bytes_retrans = tp->bytes_retrans;
    info->reord_seen = tp->reord_seen;
    info->rcv_ooopack = tp->rcv_ooopack;
    info->snd_wnd = tp->snd_wnd;
}

/* What later kernels added. Returns how many bytes of info are known. */
static __always_inline __u16 read_additions(const struct tcp_sock___flowd *tp, __u64 now_ns,
                                            struct flowd_sockops_info *info)
{
    if (!bpf_core_field_exists(tp->plb_rehash))
        return __builtin_offsetof(struct flowd_sockops_info, rcv_wnd);
    info->rcv_wnd = tp->rcv_wnd;
    info->rehash = tp->plb_rehash + tp->timeout_rehash;
    if (!bpf_core_field_exists(tp->total_rto))
        return __builtin_offsetof(struct flowd_sockops_info, total_rto);
    info->total_rto = tp->total_rto;
    info->total_rto_recoveries = tp->total_rto_recoveries;
    info->total_rto_time = tp->total_rto_time;
    if (tp->rto_stamp != 0)
        info->total_rto_time += (__u32)(now_ns / NS_PER_MS) - tp->rto_stamp;
    if (!bpf_core_field_exists(tp->received_ce) || !bpf_core_field_exists(tp->saw_accecn_opt))
        return __builtin_offsetof(struct flowd_sockops_info, received_ce);
    info->received_ce = tp->received_ce;
    info->delivered_e1_bytes = tp->delivered_ecn_bytes[ECT1];
    info->delivered_e0_bytes = tp->delivered_ecn_bytes[ECT0];
    info->delivered_ce_bytes = tp->delivered_ecn_bytes[CE];
    info->received_e1_bytes = tp->received_ecn_bytes[ECT1];
    info->received_e0_bytes = tp->received_ecn_bytes[ECT0];
    info->received_ce_bytes = tp->received_ecn_bytes[CE];
    info->accecn_fail_mode = (__u16)BPF_CORE_READ_BITFIELD(tp, accecn_fail_mode);
    info->accecn_opt_seen = (__u16)BPF_CORE_READ_BITFIELD(tp, saw_accecn_opt);
    return sizeof(*info);
}

static __always_inline void read_memory(const struct sock___flowd *sk,
                                        __u32 memory[FLOWD_SOCKOPS_MEMORY_FIELDS])
{
    memory[0] = (__u32)sk->sk_backlog.rmem_alloc.counter;
    memory[1] = (__u32)sk->sk_rcvbuf;
    /* One reference is the socket's own. */
    memory[2] = (__u32)sk->sk_wmem_alloc.refs.counter - 1;
    memory[3] = (__u32)sk->sk_sndbuf;
    memory[4] = (__u32)sk->sk_forward_alloc;
    memory[5] = (__u32)sk->sk_wmem_queued;
    memory[6] = (__u32)sk->sk_omem_alloc.counter;
    memory[7] = (__u32)sk->sk_backlog.len;
    memory[8] = (__u32)sk->sk_drops.counter;
}

/*
 * The record's head is filled in before: its state and its time are taken over. Everything behind
 * it is zero.
 */
static __always_inline void read_sample(const struct bpf_tcp_sock *tcp, const void *tcp_sock,
                                        struct flowd_sockops_record *record)
{
    const struct inet_connection_sock___flowd *icsk = tcp_sock;
    const struct tcp_sock___flowd *tp = tcp_sock;
    const struct sock___flowd *sk = tcp_sock;
    struct flowd_sockops_info *info = &record->info;
    __u32 now = (__u32)bpf_jiffies64();

    info->state = record->head.state;
    info->pacing_rate = sk->sk_pacing_rate;
    info->max_pacing_rate = sk->sk_max_pacing_rate;
    read_stable(tcp, info);
    read_options(tp, info);
    read_connection(icsk, now, info);
    read_tcp(tp, now, info);
    read_chrono(tp, now, info);
    record->head.info_length = read_additions(tp, record->head.taken_ns, info);
    read_memory(sk, record->memory);
    bpf_probe_read_kernel_str(record->congestion, sizeof(record->congestion),
                              icsk->icsk_ca_ops->name);
}
