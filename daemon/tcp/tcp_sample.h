/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A sample: what the kernel says of one TCP socket at one moment.
 *
 * Samples come from sock_diag(7) and from sk_ops programs, and go through the hub to the backends.
 * What stands in one, and how it is written, tcp_field.h tells. The kernel's structures are
 * declared here as Linux 6.18 has them: a build host's headers may be older than the running
 * kernel.
 */
#pragma once

#include <assert.h>
#include <linux/inet_diag.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "daemon/flow/flow.h"

/* struct tcp_info of include/uapi/linux/tcp.h; host byte order. Older kernels give less of it. */
struct flowd_tcp_info {
    uint8_t state; /* TCP_ESTABLISHED, ... */
    uint8_t ca_state;
    uint8_t retransmits;
    uint8_t probes;
    uint8_t backoff;
    uint8_t options; /* TCPI_OPT_... */
    uint8_t wscale;  /* low four bits: of what is sent, high four: of what is received */
    uint8_t flags;   /* bit 0: delivery rate is limited by the application; bits 1-2: Fast Open */

    uint32_t rto; /* us, as rtt, rttvar, rcv_rtt, min_rtt and ato */
    uint32_t ato;
    uint32_t snd_mss; /* bytes */
    uint32_t rcv_mss;

    uint32_t unacked; /* segments */
    uint32_t sacked;
    uint32_t lost;
    uint32_t retrans;
    uint32_t fackets;

    uint32_t last_data_sent; /* ms ago */
    uint32_t last_ack_sent;
    uint32_t last_data_recv;
    uint32_t last_ack_recv;

    uint32_t pmtu;
    uint32_t rcv_ssthresh;
    uint32_t rtt;
    uint32_t rttvar;
    uint32_t snd_ssthresh; /* segments */
    uint32_t snd_cwnd;     /* segments */
    uint32_t advmss;
    uint32_t reordering;

    uint32_t rcv_rtt;
    uint32_t rcv_space;

    uint32_t total_retrans;

    uint64_t pacing_rate; /* bytes a second; all ones: not limited */
    uint64_t max_pacing_rate;
    uint64_t bytes_acked; /* counts the SYN and the FIN of this end, one each */
    uint64_t bytes_received;
    uint32_t segs_out;
    uint32_t segs_in;

    uint32_t notsent_bytes;
    uint32_t min_rtt;
    uint32_t data_segs_in;
    uint32_t data_segs_out;

    uint64_t delivery_rate; /* bytes a second */

    uint64_t busy_time; /* us */
    uint64_t rwnd_limited;
    uint64_t sndbuf_limited;

    uint32_t delivered; /* segments */
    uint32_t delivered_ce;

    uint64_t bytes_sent; /* with what was sent again */
    uint64_t bytes_retrans;
    uint32_t dsack_dups;
    uint32_t reord_seen;

    uint32_t rcv_ooopack;
    uint32_t snd_wnd;
    uint32_t rcv_wnd; /* Linux 6.2 */
    uint32_t rehash;

    uint16_t total_rto; /* Linux 6.7 */
    uint16_t total_rto_recoveries;
    uint32_t total_rto_time; /* ms */

    uint32_t received_ce; /* Linux 6.18 */
    uint32_t delivered_e1_bytes;
    uint32_t delivered_e0_bytes;
    uint32_t delivered_ce_bytes;
    uint32_t received_e1_bytes;
    uint32_t received_e0_bytes;
    uint32_t received_ce_bytes;
    uint16_t accecn_fail_mode;
    uint16_t accecn_opt_seen;
};
static_assert(offsetof(struct flowd_tcp_info, pacing_rate) == 104, "as in the kernel");
static_assert(offsetof(struct flowd_tcp_info, bytes_sent) == 200, "as in the kernel");
static_assert(sizeof(struct flowd_tcp_info) == 280, "as in the kernel");

/* The order of INET_DIAG_SKMEMINFO (include/uapi/linux/sock_diag.h); bytes, backlog too; drops. */
#define FLOWD_TCP_MEMORY_FIELDS 9

/* Parts of a sample that may be there. */
enum {
    FLOWD_TCP_HAS_MEMORY = 1,
    FLOWD_TCP_HAS_BBR = 2,
    FLOWD_TCP_HAS_VEGAS = 4,
    FLOWD_TCP_HAS_DCTCP = 8,
};

#define FLOWD_TCP_CONGESTION_SIZE 16 /* TCP_CA_NAME_MAX, with its NUL */
#define FLOWD_TCP_FIELDS_MAX 128

struct flowd_tcp_sample {
    int64_t taken_us;     /* CLOCK_REALTIME */
    uint64_t cookie;      /* of the socket (SO_COOKIE); 0: not known */
    uint32_t interface;   /* its index, where the socket is bound to one; else 0 */
    uint16_t info_length; /* bytes of info that are known; 0: none */
    uint8_t state;        /* of the socket when it was taken: TCP_ESTABLISHED, ... */
    uint8_t has;          /* FLOWD_TCP_HAS_... */
    bool at_destination;  /* the socket is that of the flow's destination, not of its source */
    char congestion[FLOWD_TCP_CONGESTION_SIZE]; /* the algorithm's name; "": not known */
    struct flowd_tcp_info info;
    uint32_t memory[FLOWD_TCP_MEMORY_FIELDS];
    union {
        struct tcp_bbr_info bbr;
        struct tcpvegas_info vegas;
        struct tcp_dctcp_info dctcp;
    };
};

/* One socket as a message of sock_diag(7) tells of it. */
struct flowd_tcp_socket {
    /* src is the local end. IPv4 as IPv4, also where an IPv6 socket carries it. */
    struct flowd_flow_key key;
    uint32_t sequence; /* of the request that it answers; of a notification: 0 */
    bool time_wait;    /* nobody has it any more: it only holds its addresses and ports */
    struct flowd_tcp_sample sample;
};

/* What a socket says of a connection's life. */
enum flowd_tcp_life {
    FLOWD_TCP_GONE,    /* there is none, or only a listener */
    FLOWD_TCP_CLOSED,  /* both ends have closed: TIME_WAIT; the last acknowledgement may be on its
                        * way  out */
    FLOWD_TCP_LINGERS, /* nobody has it, but the other end has not closed: it will acknowledge that
                        */
    FLOWD_TCP_CONNECTED,
};
enum flowd_tcp_life flowd_tcp_socket_life(const struct flowd_tcp_socket *socket);

/* What a notification tells, which the kernel sends of every socket that is closed. */
enum flowd_tcp_closure {
    FLOWD_TCP_CLOSURE_NONE,  /* it never had a connection */
    FLOWD_TCP_CLOSURE_ABORT, /* it had one, whose remote port the kernel has forgotten */
    FLOWD_TCP_CLOSURE,       /* of the connection that its key names */
};
enum flowd_tcp_closure flowd_tcp_socket_closure(const struct flowd_tcp_socket *socket);

/* Whether there is no connection (any more). An error, which is negative, is not over. */
static inline bool flowd_tcp_is_over(int life)
{
    return life == FLOWD_TCP_GONE || life == FLOWD_TCP_CLOSED;
}

/* Whether two cookies are of different sockets, as far as they are known (0: not). */
static inline bool flowd_tcp_cookies_differ(uint64_t one, uint64_t other)
{
    return one != 0 && other != 0 && one != other;
}

/*
 * Decodes a netlink message of type SOCK_DIAG_BY_FAMILY, an answer or a notification, of length
 * bytes from its header on. taken_us becomes sample.taken_us. Unknown attributes are passed over;
 * those of impossible length are taken for absent. Returns 0, or -EINVAL: it is no such message, or
 * too short.
 */
int flowd_tcp_socket_decode(const void *message, size_t length, int64_t taken_us,
                            struct flowd_tcp_socket *out);

/*
 * What a flow's source has sent, and what it has received, whichever end's socket was sampled.
 * Bytes that the socket has sent count when the other end has acknowledged them, each once however
 * often it was sent; of those received, the other end's FIN counts as one.
 */
struct flowd_tcp_usage {
    uint64_t sent;
    uint64_t received;
};

/* Returns false if the kernel did not give the byte counts (before Linux 4.1). */
bool flowd_tcp_sample_usage(const struct flowd_tcp_sample *sample, struct flowd_tcp_usage *out);
