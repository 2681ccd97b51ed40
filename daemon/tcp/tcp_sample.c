/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Reads the answers and notifications of sock_diag(7): a struct inet_diag_msg and attributes behind
 * it. Pure: bytes in, struct out. How long struct tcp_info is, its attribute says.
 */
#include "daemon/tcp/tcp_sample.h"

#include <arpa/inet.h>
#include <errno.h>
#include <linux/netlink.h>
#include <linux/sock_diag.h>
#include <netinet/tcp.h>
#include <string.h>

#include "daemon/net/address.h"

/* idiag_timer of a socket that is over and only holds its ports; see inet_twsk_diag_fill(). */
#define TIMER_TIME_WAIT 3

static void take_address(uint8_t family, const __be32 words[4], struct flowd_address *out)
{
    *out = (struct flowd_address){.family = family};
    memcpy(&out->addr, words, family == AF_INET ? 4 : 16);
    if (family == AF_INET6 && IN6_IS_ADDR_V4MAPPED(&out->addr)) {
        *out = (struct flowd_address){.family = AF_INET};
        memcpy(&out->addr, &words[3], 4);
    }
}

static int take_key(const struct inet_diag_msg *message, struct flowd_flow_key *key)
{
    struct flowd_address src, dst;

    if (message->idiag_family != AF_INET && message->idiag_family != AF_INET6)
        return -EINVAL;
    take_address(message->idiag_family, message->id.idiag_src, &src);
    take_address(message->idiag_family, message->id.idiag_dst, &dst);
    *key = (struct flowd_flow_key){.protocol = IPPROTO_TCP,
                                   .src_port = ntohs(message->id.idiag_sport),
                                   .dst_port = ntohs(message->id.idiag_dport)};
    /* A socket of both families that carried IPv4 and was aborted has forgotten its own address. */
    if (dst.family == AF_INET && src.family == AF_INET6 && key->dst_port == 0 &&
        IN6_IS_ADDR_UNSPECIFIED(&src.addr))
        src.family = AF_INET;
    /* A listener of both families has an IPv6 address at one end: it is no connection. */
    return flowd_flow_key_set_addresses(key, &src, &dst);
}

static void take_part(struct flowd_tcp_sample *sample, uint8_t part, void *to, size_t size,
                      const void *data, size_t length)
{
    if (length < size)
        return;
    memcpy(to, data, size);
    sample->has |= part;
}

static void take_info(struct flowd_tcp_sample *sample, const void *data, size_t length)
{
    size_t known = length < sizeof(sample->info) ? length : sizeof(sample->info);

    memcpy(&sample->info, data, known);
    sample->info_length = (uint16_t)known;
}

static void take_attribute(struct flowd_tcp_sample *sample, unsigned type, const void *data,
                           size_t length)
{
    switch (type) {
    case INET_DIAG_INFO:
        take_info(sample, data, length);
        break;
    case INET_DIAG_SKMEMINFO:
        take_part(sample, FLOWD_TCP_HAS_MEMORY, sample->memory, sizeof(sample->memory), data,
                  length);
        break;
    case INET_DIAG_BBRINFO:
        take_part(sample, FLOWD_TCP_HAS_BBR, &sample->bbr, sizeof(sample->bbr), data, length);
        break;
    case INET_DIAG_VEGASINFO:
        take_part(sample, FLOWD_TCP_HAS_VEGAS, &sample->vegas, sizeof(sample->vegas), data, length);
        break;
    case INET_DIAG_DCTCPINFO:
        take_part(sample, FLOWD_TCP_HAS_DCTCP, &sample->dctcp, sizeof(sample->dctcp), data, length);
        break;
    case INET_DIAG_CONG:
        if (length > 0 && length <= sizeof(sample->congestion)) {
            memcpy(sample->congestion, data, length);
            sample->congestion[sizeof(sample->congestion) - 1] = '\0';
        }
        break;
    default:
        break;
    }
}

static void take_attributes(struct flowd_tcp_sample *sample, const char *at, size_t left)
{
    struct nlattr attribute;

    while (left >= sizeof(attribute)) {
        size_t step;

        memcpy(&attribute, at, sizeof(attribute));
        if (attribute.nla_len < sizeof(attribute) || attribute.nla_len > left)
            return;
        take_attribute(sample, attribute.nla_type & (unsigned)NLA_TYPE_MASK, at + sizeof(attribute),
                       attribute.nla_len - sizeof(attribute));
        step = ((size_t)attribute.nla_len + NLA_ALIGNTO - 1) & ~(size_t)(NLA_ALIGNTO - 1);
        if (step >= left)
            return;
        at += step;
        left -= step;
    }
}

int flowd_tcp_socket_decode(const void *message, size_t length, int64_t taken_us,
                            struct flowd_tcp_socket *out)
{
    const size_t head = NLMSG_HDRLEN + NLMSG_ALIGN(sizeof(struct inet_diag_msg));
    struct flowd_tcp_socket socket = {.sample.taken_us = taken_us};
    struct inet_diag_msg diag;
    struct nlmsghdr header;

    if (length < head)
        return -EINVAL;
    memcpy(&header, message, sizeof(header));
    if (header.nlmsg_type != SOCK_DIAG_BY_FAMILY || header.nlmsg_len > length ||
        header.nlmsg_len < head)
        return -EINVAL;
    memcpy(&diag, (const char *)message + NLMSG_HDRLEN, sizeof(diag));
    if (take_key(&diag, &socket.key) < 0)
        return -EINVAL;
    socket.sequence = header.nlmsg_seq;
    socket.sample.interface = diag.id.idiag_if;
    socket.sample.state = diag.idiag_state;
    socket.time_wait = diag.idiag_timer == TIMER_TIME_WAIT;
    socket.sample.cookie =
        (uint64_t)diag.id.idiag_cookie[1] << 32 | (uint64_t)diag.id.idiag_cookie[0];
    take_attributes(&socket.sample, (const char *)message + head, header.nlmsg_len - head);
    *out = socket;
    return 0;
}

/* Listeners, and sockets that never had a connection, have no remote address. */
enum flowd_tcp_closure flowd_tcp_socket_closure(const struct flowd_tcp_socket *socket)
{
    static const struct in6_addr unspecified;

    if (socket->key.dst_port != 0)
        return FLOWD_TCP_CLOSURE;
    return memcmp(&socket->key.dst, &unspecified, sizeof(unspecified)) != 0
               ? FLOWD_TCP_CLOSURE_ABORT
               : FLOWD_TCP_CLOSURE_NONE;
}

enum flowd_tcp_life flowd_tcp_socket_life(const struct flowd_tcp_socket *socket)
{
    switch (socket->sample.state) {
    case 0:
    case TCP_CLOSE:
    case TCP_LISTEN:
        return FLOWD_TCP_GONE;
    case TCP_TIME_WAIT:
        return FLOWD_TCP_CLOSED;
    default:
        return socket->time_wait ? FLOWD_TCP_LINGERS : FLOWD_TCP_CONNECTED;
    }
}

static bool knows(const struct flowd_tcp_sample *sample, size_t offset)
{
    return sample->info_length >= offset + sizeof(uint64_t);
}

/*
 * A segment that the host's own queueing discipline drops is counted as sent, and not as sent again
 * when it is sent again; and of a connection that was aborted nobody knows how much of what was
 * under way arrived. So what was acknowledged is the bound, which is why the count never goes down.
 */
static uint64_t acknowledged(const struct flowd_tcp_sample *sample)
{
    const struct flowd_tcp_info *info = &sample->info;
    uint64_t sent;

    if (!knows(sample, offsetof(struct flowd_tcp_info, bytes_retrans)))
        return info->bytes_acked;
    sent = info->bytes_sent >= info->bytes_retrans ? info->bytes_sent - info->bytes_retrans : 0;
    return sent < info->bytes_acked ? sent : info->bytes_acked;
}

bool flowd_tcp_sample_usage(const struct flowd_tcp_sample *sample, struct flowd_tcp_usage *out)
{
    uint64_t sent;

    if (!(knows(sample, offsetof(struct flowd_tcp_info, bytes_received))))
        return false;
    sent = acknowledged(sample);
    if (sample->at_destination)
        *out = (struct flowd_tcp_usage){.sent = sample->info.bytes_received, .received = sent};
    else
        *out = (struct flowd_tcp_usage){.sent = sent, .received = sample->info.bytes_received};
    return true;
}
