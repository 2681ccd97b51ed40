/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
/*
 * The sk_ops programs: what the kernel tells of TCP connections at a cgroup and below.
 *
 * flowd_connections serves plugins/iperf3: connections of certain ports, when they are established
 * and when they are closed. flowd_samples serves enrichers/skops: what watched connections are
 * like, sampled as they go on. One of the two is loaded, with settings in .rodata.
 *
 * Neither changes anything of a socket but which callbacks it has, and those of other programs stay
 * on. The verdict is always 1 and the reply is left alone, so other programs of the cgroup decide
 * what they decide. Sockets of other network namespaces than flowd's own are let be.
 */
#include "ebpf/sockops.h"
#include "ebpf/sockops_sample.bpf.h"

#include <linux/bpf.h>

#include <bpf/bpf_core_read.h>
#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>

#define AF_INET 2
#define AF_INET6 10
#define IPPROTO_TCP 6
#define SOL_TCP 6
/* In the kernel's headers since Linux 6.11. */
#define TCP_BPF_SOCK_OPS_CB_FLAGS 1008
#define NEVER 0xffffffffffffffffull

/* Set before loading. */
const volatile __u64 sockops_netns_cookie; /* of flowd's network namespace; 0: by the next */
const volatile __u32 sockops_netns_inum;
const volatile __u16 sockops_local_ports[2] = {0, 0xffff}; /* from, to */
const volatile __u16 sockops_remote_ports[2] = {0, 0xffff};
const volatile __u64 sockops_period;     /* jiffies between samples of a socket */
const volatile __u32 sockops_callbacks;  /* BPF_SOCK_OPS_..._CB_FLAG that sampling needs */
const volatile __u8 sockops_transitions; /* a sample at each change of state */
const volatile __u8 sockops_debug;

struct {
    __uint(type, BPF_MAP_TYPE_RINGBUF);
    __uint(max_entries, FLOWD_SOCKOPS_RING_SIZE); /* may be set before loading */
} flowd_records SEC(".maps");

struct {
    __uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
    __uint(max_entries, FLOWD_SOCKOPS_COUNTS);
    __type(key, __u32);
    __type(value, __u64);
} flowd_counts SEC(".maps");

/* Connections of live flows, by flowd_sockops_is_first(). */
struct {
    __uint(type, BPF_MAP_TYPE_HASH);
    __uint(map_flags, BPF_F_NO_PREALLOC);
    __uint(max_entries, 1); /* set before loading */
    __type(key, struct flowd_sockops_tuple);
    __type(value, __u8);
} flowd_watched SEC(".maps");

/* When a socket may be sampled again, in jiffies. */
struct {
    __uint(type, BPF_MAP_TYPE_SK_STORAGE);
    __uint(map_flags, BPF_F_NO_PREALLOC);
    __type(key, int);
    __type(value, __u64);
} flowd_due SEC(".maps");

static __always_inline void count(enum flowd_sockops_count which)
{
    __u32 index = which;
    __u64 *number = bpf_map_lookup_elem(&flowd_counts, &index);

    if (number)
        (*number)++;
}

/* Whether the socket is of flowd's network namespace. */
static __always_inline int is_own(struct bpf_sock_ops *skops, struct bpf_sock *sk)
{
    const struct sock___flowd *kernel_sk;
    int own = 0;

    if (sockops_netns_cookie != 0) {
        own = bpf_get_netns_cookie(skops) == sockops_netns_cookie;
    } else {
        kernel_sk = (const void *)bpf_skc_to_tcp_sock(sk);
        if (kernel_sk)
            own = kernel_sk->__sk_common.skc_net.net->ns.inum == sockops_netns_inum;
    }
    if (!own)
        count(FLOWD_SOCKOPS_ELSEWHERE);
    return own;
}

/*
 * Fields of the context are read one by one at fixed offsets: the verifier takes nothing else, and
 * the compiler would like to choose among addresses.
 */
#define FIELD(skops, field) (*(volatile __u32 *)&(skops)->field)

static __always_inline int is_mapped(__u32 first, __u32 second, __u32 third)
{
    return first == 0 && second == 0 && third == bpf_htonl(0xffff);
}

/* IPv4 stands in the first word, whatever the socket's family. */
static __always_inline void read_tuple(struct bpf_sock_ops *skops,
                                       struct flowd_sockops_tuple *tuple)
{
    __u32 local[4] = {FIELD(skops, local_ip6[0]), FIELD(skops, local_ip6[1]),
                      FIELD(skops, local_ip6[2]), FIELD(skops, local_ip6[3])};
    __u32 remote[4] = {FIELD(skops, remote_ip6[0]), FIELD(skops, remote_ip6[1]),
                       FIELD(skops, remote_ip6[2]), FIELD(skops, remote_ip6[3])};
    __u32 local4 = FIELD(skops, local_ip4);
    __u32 remote4 = FIELD(skops, remote_ip4);

    __builtin_memset(tuple, 0, sizeof(*tuple));
    tuple->local_port = (__u16)FIELD(skops, local_port);
    tuple->remote_port = (__u16)bpf_ntohl(FIELD(skops, remote_port));
    tuple->protocol = IPPROTO_TCP;
    if (FIELD(skops, family) == AF_INET6 && !is_mapped(remote[0], remote[1], remote[2])) {
        tuple->family = AF_INET6;
        __builtin_memcpy(tuple->local_be, local, sizeof(local));
        __builtin_memcpy(tuple->remote_be, remote, sizeof(remote));
    } else {
        tuple->family = AF_INET;
        tuple->local_be[0] = local4;
        tuple->remote_be[0] = remote4;
    }
}

static __always_inline void fill_head(const struct flowd_sockops_tuple *tuple, __u64 cookie,
                                      __u8 kind, __u8 state, struct flowd_sockops_head *head)
{
    head->tuple = *tuple;
    head->cookie = cookie;
    head->taken_ns = bpf_ktime_get_ns();
    head->info_length = 0;
    head->kind = kind;
    head->state = state;
    head->interface = 0;
}

static __always_inline void note_loss(__u8 kind)
{
    count(FLOWD_SOCKOPS_LOST);
    if (kind == FLOWD_SOCKOPS_CLOSED)
        count(FLOWD_SOCKOPS_LOST_CLOSED);
}

static __always_inline void send_head(const struct flowd_sockops_tuple *tuple, __u64 cookie)
{
    struct flowd_sockops_head *head = bpf_ringbuf_reserve(&flowd_records, sizeof(*head), 0);

    if (!head) {
        note_loss(FLOWD_SOCKOPS_ESTABLISHED);
        return;
    }
    fill_head(tuple, cookie, FLOWD_SOCKOPS_ESTABLISHED, BPF_TCP_ESTABLISHED, head);
    bpf_ringbuf_submit(head, 0);
    count(FLOWD_SOCKOPS_RECORDS);
}

static __always_inline void send_sample(struct bpf_sock_ops *skops, struct bpf_sock *sk,
                                        const struct flowd_sockops_tuple *tuple, __u8 kind,
                                        __u8 state)
{
    struct bpf_tcp_sock *tcp = bpf_tcp_sock(sk);
    const void *tcp_sock = bpf_skc_to_tcp_sock(sk);
    struct flowd_sockops_record *record;

    if (!tcp || !tcp_sock) {
        count(FLOWD_SOCKOPS_UNREADABLE);
        return;
    }
    record = bpf_ringbuf_reserve(&flowd_records, sizeof(*record), 0);
    if (!record) {
        note_loss(kind);
        return;
    }
    __builtin_memset(record, 0, sizeof(*record));
    fill_head(tuple, bpf_get_socket_cookie(skops), kind, state, &record->head);
    record->head.interface = sk->bound_dev_if;
    read_sample(tcp, tcp_sock, record);
    if (sockops_debug)
        bpf_printk("flowd: port %u to %u in state %u", tuple->local_port, tuple->remote_port,
                   state);
    bpf_ringbuf_submit(record, 0);
    count(FLOWD_SOCKOPS_RECORDS);
}

/* Switches callbacks of the socket on, beside those that are. */
static __always_inline void want_callbacks(struct bpf_sock_ops *skops, __u32 callbacks)
{
    __u32 flags = skops->bpf_sock_ops_cb_flags;

    if ((flags & callbacks) != callbacks)
        bpf_sock_ops_cb_flags_set(skops, (int)(flags | callbacks));
}

static __always_inline int in_range(__u16 port, const volatile __u16 range[2])
{
    return port >= range[0] && port <= range[1];
}

/* Reads the connection's tuple if it is one that flowd wants to know of. */
static __always_inline int is_wanted(struct bpf_sock_ops *skops, struct bpf_sock *sk,
                                     struct flowd_sockops_tuple *tuple)
{
    if (!in_range((__u16)skops->local_port, sockops_local_ports) ||
        !in_range((__u16)bpf_ntohl(skops->remote_port), sockops_remote_ports)) {
        count(FLOWD_SOCKOPS_UNWANTED);
        return 0;
    }
    if (!is_own(skops, sk))
        return 0;
    read_tuple(skops, tuple);
    return 1;
}

/* The same of the kernel's own structure. */
static __always_inline void read_kernel_tuple(const struct sock_common___flowd *sk,
                                              struct flowd_sockops_tuple *tuple)
{
    tuple->local_port = sk->skc_num;
    tuple->remote_port = bpf_ntohs(sk->skc_dport);
    tuple->family = AF_INET;
    tuple->protocol = IPPROTO_TCP;
    tuple->local_be[0] = sk->skc_rcv_saddr;
    tuple->remote_be[0] = sk->skc_daddr;
    if (sk->skc_family == AF_INET6 &&
        !is_mapped(sk->skc_v6_daddr.in6_u.u6_addr32[0], sk->skc_v6_daddr.in6_u.u6_addr32[1],
                   sk->skc_v6_daddr.in6_u.u6_addr32[2])) {
        tuple->family = AF_INET6;
        for (int i = 0; i < 4; i++) {
            tuple->local_be[i] = sk->skc_v6_rcv_saddr.in6_u.u6_addr32[i];
            tuple->remote_be[i] = sk->skc_v6_daddr.in6_u.u6_addr32[i];
        }
    }
}

SEC("sockops")
int flowd_connections(struct bpf_sock_ops *skops)
{
    struct flowd_sockops_tuple tuple;
    struct bpf_sock *sk = skops->sk;

    if (!sk)
        return 1;
    switch (skops->op) {
    case BPF_SOCK_OPS_ACTIVE_ESTABLISHED_CB:
    case BPF_SOCK_OPS_PASSIVE_ESTABLISHED_CB:
        if (is_wanted(skops, sk, &tuple)) {
            want_callbacks(skops, BPF_SOCK_OPS_STATE_CB_FLAG);
            send_head(&tuple, bpf_get_socket_cookie(skops));
        }
        break;
    case BPF_SOCK_OPS_STATE_CB:
        if (skops->args[1] == BPF_TCP_CLOSE && is_wanted(skops, sk, &tuple))
            send_sample(skops, sk, &tuple, FLOWD_SOCKOPS_CLOSED, BPF_TCP_CLOSE);
        break;
    default:
        break;
    }
    return 1;
}

static __always_inline int is_watched(const struct flowd_sockops_tuple *tuple)
{
    struct flowd_sockops_tuple key = *tuple;

    if (!flowd_sockops_is_first(tuple))
        key = flowd_sockops_reverse(tuple);
    return bpf_map_lookup_elem(&flowd_watched, &key) != 0;
}

static __always_inline void sample_if_watched(struct bpf_sock_ops *skops, struct bpf_sock *sk,
                                              __u8 kind, __u8 state)
{
    struct flowd_sockops_tuple tuple;

    read_tuple(skops, &tuple);
    if (is_watched(&tuple))
        send_sample(skops, sk, &tuple, kind, state);
    else
        count(FLOWD_SOCKOPS_UNWANTED);
}

/* A socket that was sampled, or was found not to be watched, within the last period costs no more.
 */
static __always_inline void sample_if_due(struct bpf_sock_ops *skops, struct bpf_sock *sk)
{
    __u64 *due = bpf_sk_storage_get(&flowd_due, sk, 0, 0);
    __u64 now = bpf_jiffies64();

    if (due && now < *due)
        return;
    if (!due) {
        due = bpf_sk_storage_get(&flowd_due, sk, 0, BPF_SK_STORAGE_GET_F_CREATE);
        if (!due) {
            count(FLOWD_SOCKOPS_UNREADABLE);
            return;
        }
        /* Its callbacks were wanted by somebody else. */
        if (!is_own(skops, sk)) {
            *due = NEVER;
            return;
        }
    }
    *due = now + sockops_period;
    sample_if_watched(skops, sk, FLOWD_SOCKOPS_SAMPLE, (__u8)skops->state);
}

static __always_inline void follow_state(struct bpf_sock_ops *skops, struct bpf_sock *sk,
                                         __u8 state)
{
    if (state != BPF_TCP_CLOSE && !sockops_transitions)
        return;
    if (is_own(skops, sk))
        sample_if_watched(
            skops, sk, state == BPF_TCP_CLOSE ? FLOWD_SOCKOPS_CLOSED : FLOWD_SOCKOPS_SAMPLE, state);
}

SEC("sockops")
int flowd_samples(struct bpf_sock_ops *skops)
{
    struct bpf_sock *sk = skops->sk;

    if (!sk)
        return 1;
    switch (skops->op) {
    case BPF_SOCK_OPS_ACTIVE_ESTABLISHED_CB:
    case BPF_SOCK_OPS_PASSIVE_ESTABLISHED_CB:
        if (is_own(skops, sk)) {
            want_callbacks(skops, sockops_callbacks);
            sample_if_watched(skops, sk, FLOWD_SOCKOPS_SAMPLE, BPF_TCP_ESTABLISHED);
        }
        break;
    case BPF_SOCK_OPS_RTT_CB:
    case BPF_SOCK_OPS_RTO_CB:
    case BPF_SOCK_OPS_RETRANS_CB:
        if (!sockops_transitions)
            sample_if_due(skops, sk);
        break;
    case BPF_SOCK_OPS_STATE_CB:
        follow_state(skops, sk, (__u8)skops->args[1]);
        break;
    default:
        break;
    }
    return 1;
}

/* A byte for each socket, so that whoever reads the iterator has a part of them visited. */
static __always_inline void note_visit(struct bpf_iter__tcp___flowd *context)
{
    const __u8 visited = 1;

    bpf_seq_write(context->meta->seq, &visited, sizeof(visited));
}

static __always_inline void tell_again(struct sock_common *sk)
{
    const struct sock_common___flowd *kernel_sk = (const void *)sk;
    const struct tcp_sock___flowd *tcp_sock;
    struct flowd_sockops_tuple tuple = {0};

    if (kernel_sk->skc_state != BPF_TCP_ESTABLISHED)
        return;
    tcp_sock = (const void *)bpf_skc_to_tcp_sock(sk);
    if (!tcp_sock || !(tcp_sock->bpf_sock_ops_cb_flags & BPF_SOCK_OPS_STATE_CB_FLAG))
        return;
    read_kernel_tuple(kernel_sk, &tuple);
    if (!in_range(tuple.local_port, sockops_local_ports) ||
        !in_range(tuple.remote_port, sockops_remote_ports))
        return;
    send_head(&tuple, 0);
}

/*
 * What flowd missed: run over the sockets of its network namespace, each connection of the ports is
 * told again, if its end will be told too.
 */
SEC("iter/tcp")
int flowd_established(struct bpf_iter__tcp___flowd *context)
{
    struct sock_common *sk = context->sk_common;

    if (!sk)
        return 0;
    tell_again(sk);
    note_visit(context);
    return 0;
}

/*
 * Run over the sockets of flowd's network namespace: connections that were there before flowd
 * get the callbacks that new ones get. Kernels before 6.11 refuse, and such connections are not
 * sampled.
 */
SEC("iter/tcp")
int flowd_existing(struct bpf_iter__tcp___flowd *context)
{
    struct sock_common *sk = context->sk_common;
    struct tcp_sock *tcp_sock;
    int flags;

    if (!sk)
        return 0;
    note_visit(context);
    tcp_sock = bpf_skc_to_tcp_sock(sk);
    if (!tcp_sock)
        return 0;
    flags = ((struct tcp_sock___flowd *)tcp_sock)->bpf_sock_ops_cb_flags | (int)sockops_callbacks;
    if (bpf_setsockopt(tcp_sock, SOL_TCP, TCP_BPF_SOCK_OPS_CB_FLAGS, &flags, sizeof(flags)) != 0)
        count(FLOWD_SOCKOPS_UNREADABLE);
    return 0;
}

char flowd_license[] SEC("license") = "Dual BSD/GPL";
