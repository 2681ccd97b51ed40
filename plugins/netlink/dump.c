/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Dumps the established TCP connections: one request for each family, because the kernel takes no
 * request for both.
 *
 * The kernel fills the next part of a dump when a part has been read, in the reader's system call.
 * A socket on which anything went wrong is closed: what it still holds belongs to no dump.
 */
#include "dump.h"

#include <errno.h>
#include <ev.h>
#include <limits.h>
#include <linux/inet_diag.h>
#include <linux/netlink.h>
#include <linux/sock_diag.h>
#include <netinet/tcp.h>
#include <netlink/netlink.h>
#include <netlink/socket.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/uio.h>

#include "daemon/base/timestamp.h"
#include "filter.h"

/* The most that the kernel gives at once; some 300 connections. */
#define PART_SIZE 32768
#define PARTS_PER_TURN 4
/* For a request with the longest filter, as the kernel counts it. */
#define SEND_SIZE (4 * FLOWD_NETLINK_FILTER_SIZE)
/* After so long without an answer the dump is given up. */
#define PATIENCE_S 30.0

struct request {
    struct nlmsghdr header;
    struct inet_diag_req_v2 body;
};

struct flowd_netlink_dump {
    struct ev_loop *loop;
    struct flowd_netlink_dump_reader reader;
    const struct flowd_netlink_filter *filter;
    struct nl_sock *socket; /* NULL: to be opened */
    struct ev_io readable;
    struct ev_timer patience;
    uint8_t family; /* that is being read; 0: no dump goes on */
    bool interrupted;
    uint32_t sequence;
    int64_t now_us;
    _Alignas(8) char part[PART_SIZE];
};

static void close_socket(struct flowd_netlink_dump *dump)
{
    ev_io_stop(dump->loop, &dump->readable);
    nl_socket_free(dump->socket);
    dump->socket = NULL;
}

static int open_socket(struct flowd_netlink_dump *dump)
{
    int result;

    if (dump->socket != NULL)
        return 0;
    dump->socket = nl_socket_alloc();
    if (dump->socket == NULL)
        return -ENOMEM;
    result = nl_connect(dump->socket, NETLINK_SOCK_DIAG);
    if (result == 0)
        result = nl_socket_set_buffer_size(dump->socket, 0, SEND_SIZE);
    if (result == 0)
        result = nl_socket_set_nonblocking(dump->socket);
    if (result < 0) {
        close_socket(dump);
        return -EIO;
    }
    ev_io_set(&dump->readable, nl_socket_get_fd(dump->socket), EV_READ);
    return 0;
}

static int send_request(struct flowd_netlink_dump *dump, uint8_t family)
{
    const struct flowd_netlink_filter *filter = dump->filter;
    size_t length = filter != NULL ? filter->length : 0;
    struct sockaddr_nl kernel = {.nl_family = AF_NETLINK};
    struct nlattr attribute = {.nla_type = INET_DIAG_REQ_BYTECODE,
                               .nla_len = (uint16_t)(sizeof(attribute) + length)};
    struct request request = {
        .header = {.nlmsg_len = sizeof(request),
                   .nlmsg_type = SOCK_DIAG_BY_FAMILY,
                   .nlmsg_flags = NLM_F_REQUEST | NLM_F_DUMP,
                   .nlmsg_seq = ++dump->sequence},
        .body = {.sdiag_family = family,
                 .sdiag_protocol = IPPROTO_TCP,
                 .idiag_states = 1u << TCP_ESTABLISHED},
    };
    struct iovec parts[] = {
        {.iov_base = &request, .iov_len = sizeof(request)},
        {.iov_base = &attribute, .iov_len = sizeof(attribute)},
        {.iov_base = length > 0 ? (void *)filter->code : NULL, .iov_len = length},
    };
    struct msghdr message = {.msg_name = &kernel,
                             .msg_namelen = sizeof(kernel),
                             .msg_iov = parts,
                             .msg_iovlen = length > 0 ? 3 : 1};

    if (length > 0)
        request.header.nlmsg_len += attribute.nla_len;
    if (sendmsg(nl_socket_get_fd(dump->socket), &message, 0) < 0)
        return -errno;
    dump->family = family;
    return 0;
}

static void dump_finish(struct flowd_netlink_dump *dump, int error)
{
    if (error < 0)
        close_socket(dump);
    else
        ev_io_stop(dump->loop, &dump->readable);
    ev_timer_stop(dump->loop, &dump->patience);
    dump->family = 0;
    dump->reader.done(dump->reader.context, error, dump->interrupted);
}

/* The error that an NLMSG_ERROR or NLMSG_DONE message carries; missing: that is missing. */
static int error_of(const struct nlmsghdr *message, int missing)
{
    int error;

    if (message->nlmsg_len < NLMSG_LENGTH(sizeof(error)))
        return missing;
    memcpy(&error, NLMSG_DATA(message), sizeof(error));
    return error;
}

/* Returns 0: go on; 1: this was the last one of the family; or -errno. */
static int take_message(struct flowd_netlink_dump *dump, const struct nlmsghdr *message)
{
    struct flowd_tcp_socket found;
    int error;

    if (message->nlmsg_seq != dump->sequence)
        return 0;
    if (message->nlmsg_flags & NLM_F_DUMP_INTR)
        dump->interrupted = true;
    if (message->nlmsg_type == NLMSG_ERROR) {
        error = error_of(message, -EIO);
        return error < 0 ? error : -EIO;
    }
    if (message->nlmsg_type == NLMSG_DONE) {
        error = error_of(message, 0);
        return error < 0 ? error : 1;
    }
    if (flowd_tcp_socket_decode(message, message->nlmsg_len, dump->now_us, &found) == 0 &&
        found.sample.state == TCP_ESTABLISHED)
        dump->reader.found(dump->reader.context, &found);
    return 0;
}

/* Returns as take_message(), or -EAGAIN: there is nothing to read. */
static int take_part(struct flowd_netlink_dump *dump)
{
    const struct nlmsghdr *message = (const struct nlmsghdr *)dump->part;
    ssize_t length = recv(nl_socket_get_fd(dump->socket), dump->part, sizeof(dump->part),
                          MSG_DONTWAIT | MSG_TRUNC);
    size_t left = (size_t)length;
    int result = 0;

    if (length < 0)
        return errno == EINTR ? 0 : -errno;
    if (left > sizeof(dump->part))
        return -EMSGSIZE;
    while (result == 0 && left >= sizeof(*message) && message->nlmsg_len >= sizeof(*message) &&
           message->nlmsg_len <= left) {
        size_t step = NLMSG_ALIGN(message->nlmsg_len);

        result = take_message(dump, message);
        message = (const struct nlmsghdr *)((const char *)message + step);
        left -= step < left ? step : left;
    }
    return result;
}

/* Reads up to count parts. */
static void take_parts(struct flowd_netlink_dump *dump, unsigned count)
{
    dump->now_us = flowd_timestamp_now_us();
    for (unsigned i = 0; i < count && dump->family != 0; i++) {
        int result = take_part(dump);

        if (result == 1)
            result = dump->family == AF_INET ? send_request(dump, AF_INET6) : 1;
        if (result == -EAGAIN)
            return;
        if (result != 0)
            dump_finish(dump, result < 0 ? result : 0);
    }
}

static void dump_on_readable(struct ev_loop *loop, struct ev_io *watcher, int events)
{
    struct flowd_netlink_dump *dump = watcher->data;

    (void)events;
    ev_timer_again(loop, &dump->patience);
    take_parts(dump, PARTS_PER_TURN);
}

static void on_patience(struct ev_loop *loop, struct ev_timer *watcher, int events)
{
    (void)loop;
    (void)events;
    dump_finish(watcher->data, -ETIMEDOUT);
}

int flowd_netlink_dump_start(struct flowd_netlink_dump *dump,
                             const struct flowd_netlink_filter *filter)
{
    int result = open_socket(dump);

    dump->filter = filter;
    dump->interrupted = false;
    if (result == 0)
        result = send_request(dump, AF_INET);
    if (result < 0) {
        close_socket(dump);
        return result;
    }
    ev_io_start(dump->loop, &dump->readable);
    ev_timer_again(dump->loop, &dump->patience);
    return 0;
}

void flowd_netlink_dump_finish(struct flowd_netlink_dump *dump)
{
    take_parts(dump, UINT_MAX);
    if (dump->family != 0)
        dump_finish(dump, -ETIMEDOUT);
}

int flowd_netlink_dump_new(struct ev_loop *loop, const struct flowd_netlink_dump_reader *reader,
                           struct flowd_netlink_dump **out, struct flowd_error *err)
{
    struct flowd_netlink_dump *dump = calloc(1, sizeof(*dump));
    int result;

    if (dump == NULL)
        return flowd_fail_errno(err, ENOMEM, "dump");
    dump->loop = loop;
    dump->reader = *reader;
    ev_io_init(&dump->readable, dump_on_readable, -1, EV_READ);
    ev_timer_init(&dump->patience, on_patience, PATIENCE_S, PATIENCE_S);
    dump->readable.data = dump->patience.data = dump;
    result = open_socket(dump);
    if (result < 0) {
        free(dump);
        return flowd_fail_errno(err, -result, "open a sock_diag socket");
    }
    *out = dump;
    return 0;
}

void flowd_netlink_dump_free(struct flowd_netlink_dump *dump)
{
    if (dump == NULL)
        return;
    ev_timer_stop(dump->loop, &dump->patience);
    close_socket(dump);
    free(dump);
}
