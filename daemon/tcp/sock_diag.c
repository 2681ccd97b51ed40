/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The socket for questions about TCP sockets. libnl opens it; sending and receiving are in batches,
 * which libnl has no calls for.
 *
 * The kernel handles requests within the sender's system call, so every answer is queued when
 * sendmsg() returns. Sequence numbers tell which answer belongs to which request.
 */
#include "daemon/tcp/sock_diag.h"

#include <arpa/inet.h>
#include <errno.h>
#include <linux/inet_diag.h>
#include <linux/netlink.h>
#include <linux/sock_diag.h>
#include <netinet/tcp.h>
#include <netlink/netlink.h>
#include <netlink/socket.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "daemon/base/timestamp.h"
#include "daemon/tcp/internal.h"

/* Room for an answer with every attribute; one that is cut is not understood. */
#define ANSWER_SIZE 2048
/* Of all answers of a batch as the kernel counts them (an answer takes up to 4 KiB there). */
#define RECEIVE_SIZE (1 << 20)
#define ERRNO_MAX 4095 /* the kernel's */

struct request {
    struct nlmsghdr header;
    struct inet_diag_req_v2 body;
};

struct flowd_sock_diag {
    struct nl_sock *socket; /* NULL: not open */
    uint32_t sequence;      /* of the next request */
    struct request requests[FLOWD_SOCK_DIAG_BATCH];
    struct mmsghdr messages[FLOWD_SOCK_DIAG_BATCH];
    struct iovec vectors[FLOWD_SOCK_DIAG_BATCH];
    _Alignas(8) char answers[FLOWD_SOCK_DIAG_BATCH][ANSWER_SIZE];
};

static void fill_request(struct flowd_sock_diag *diag, const struct flowd_sock_diag_query *query,
                         struct request *request)
{
    const struct flowd_flow_key *key = query->key;
    const struct in6_addr *local = query->local_is_src ? &key->src : &key->dst;
    const struct in6_addr *remote = query->local_is_src ? &key->dst : &key->src;
    uint16_t local_port = query->local_is_src ? key->src_port : key->dst_port;
    uint16_t remote_port = query->local_is_src ? key->dst_port : key->src_port;

    *request = (struct request){
        .header = {.nlmsg_len = sizeof(*request),
                   .nlmsg_type = SOCK_DIAG_BY_FAMILY,
                   .nlmsg_flags = NLM_F_REQUEST,
                   .nlmsg_seq = diag->sequence++},
        .body = {.sdiag_family = key->family,
                 .sdiag_protocol = IPPROTO_TCP,
                 .idiag_ext = query->extensions,
                 .idiag_states = UINT32_MAX,
                 .id = {.idiag_sport = htons(local_port),
                        .idiag_dport = htons(remote_port),
                        .idiag_if = query->interface,
                        .idiag_cookie = {INET_DIAG_NOCOOKIE, INET_DIAG_NOCOOKIE}}},
    };
    memcpy(request->body.id.idiag_src, local, sizeof(request->body.id.idiag_src));
    memcpy(request->body.id.idiag_dst, remote, sizeof(request->body.id.idiag_dst));
}

void flowd_sock_diag_take(struct flowd_sock_diag_batch *batch, const char *data, size_t length)
{
    struct flowd_sock_diag_outcome *outcome;
    struct nlmsgerr error;
    struct nlmsghdr header;
    uint32_t index;

    if (length < sizeof(header))
        return;
    memcpy(&header, data, sizeof(header));
    index = header.nlmsg_seq - batch->first;
    /* What is late belongs to an earlier batch. */
    if (index >= batch->count || !(batch->open >> index & 1))
        return;
    batch->open &= ~(1u << index);
    outcome = &batch->outcomes[index];
    if (header.nlmsg_type == NLMSG_ERROR && length >= NLMSG_HDRLEN + sizeof(error)) {
        memcpy(&error, data + NLMSG_HDRLEN, sizeof(error));
        outcome->error = error.error < 0 && error.error >= -ERRNO_MAX ? error.error : -EIO;
        return;
    }
    outcome->error = -EIO;
    if (flowd_tcp_socket_decode(data, length, batch->now_us, &outcome->socket) == 0) {
        outcome->error = 0;
        outcome->socket.sample.at_destination = !batch->queries[index].local_is_src;
    }
}

static void receive(struct flowd_sock_diag_batch *batch)
{
    struct flowd_sock_diag *diag = batch->diag;
    int fd = nl_socket_get_fd(diag->socket);

    while (batch->open != 0) {
        int count = recvmmsg(fd, diag->messages, (unsigned)batch->count, MSG_DONTWAIT, NULL);

        if (count < 0 && (errno == EINTR || errno == ENOBUFS))
            continue;
        if (count <= 0)
            return;
        for (int i = 0; i < count; i++)
            flowd_sock_diag_take(batch, diag->answers[i], diag->messages[i].msg_len);
    }
}

uint32_t flowd_sock_diag_asked(const struct flowd_sock_diag *diag)
{
    return diag->sequence;
}

/* Sends the batch's queries. Returns 0 or -errno. */
static int send_queries(const struct flowd_sock_diag_batch *batch)
{
    struct flowd_sock_diag *diag = batch->diag;
    struct sockaddr_nl kernel = {.nl_family = AF_NETLINK};

    for (size_t i = 0; i < batch->count; i++)
        fill_request(diag, &batch->queries[i], &diag->requests[i]);
    if (sendto(nl_socket_get_fd(diag->socket), diag->requests,
               batch->count * sizeof(struct request), 0, (struct sockaddr *)&kernel,
               sizeof(kernel)) < 0)
        return -errno;
    return 0;
}

void flowd_sock_diag_ask(struct flowd_sock_diag *diag, const struct flowd_sock_diag_query *queries,
                         size_t count, flowd_sock_diag_answer answer, void *context)
{
    struct flowd_sock_diag_batch batch;
    int error = diag->socket != NULL ? 0 : -EBADF;

    if (count == 0 || count > FLOWD_SOCK_DIAG_BATCH)
        return;
    batch.diag = diag;
    batch.queries = queries;
    batch.count = count;
    batch.first = diag->sequence;
    batch.open = (uint32_t)((1ull << count) - 1);
    batch.now_us = flowd_timestamp_now_us();
    if (error == 0)
        error = send_queries(&batch);
    if (error == 0)
        receive(&batch);
    /* All have been read: whoever is told of one may ask the next, with the same socket. */
    for (size_t i = 0; i < count; i++) {
        struct flowd_sock_diag_outcome *outcome = &batch.outcomes[i];

        if (batch.open >> i & 1)
            outcome->error = error != 0 ? error : -EAGAIN;
        answer(context, i, outcome->error, outcome->error == 0 ? &outcome->socket : NULL);
    }
}

static void note_listener(void *context, size_t index, int error,
                          const struct flowd_tcp_socket *socket)
{
    bool *found = context;

    (void)index;
    *found = error == 0 && socket->sample.state == TCP_LISTEN;
}

/*
 * Whether the kernel finds a socket that is surely there: one without tcp_diag says "not found" to
 * everything. Returns 0, -EOPNOTSUPP, or -errno: there is no socket to try it with.
 */
static int try_listener(struct flowd_sock_diag *diag)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    struct flowd_flow_key key = {.family = AF_INET, .protocol = IPPROTO_TCP, .dst_port = 1};
    const struct flowd_sock_diag_query query = {.key = &key, .local_is_src = true};
    socklen_t length = sizeof(address);
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    bool found = false;
    int result;

    if (fd >= 0 && bind(fd, (struct sockaddr *)&address, length) == 0 && listen(fd, 1) == 0 &&
        getsockname(fd, (struct sockaddr *)&address, &length) == 0) {
        memcpy(&key.src, &address.sin_addr, 4);
        memcpy(&key.dst, &address.sin_addr, 4);
        key.src_port = ntohs(address.sin_port);
        flowd_sock_diag_ask(diag, &query, 1, note_listener, &found);
        result = found ? 0 : -EOPNOTSUPP;
    } else {
        result = -errno;
    }
    if (fd >= 0)
        close(fd);
    return result;
}

struct flowd_sock_diag *flowd_sock_diag_new(void)
{
    struct flowd_sock_diag *diag = calloc(1, sizeof(*diag));

    for (size_t i = 0; diag != NULL && i < FLOWD_SOCK_DIAG_BATCH; i++) {
        diag->vectors[i] = (struct iovec){.iov_base = diag->answers[i], .iov_len = ANSWER_SIZE};
        diag->messages[i].msg_hdr = (struct msghdr){.msg_iov = &diag->vectors[i], .msg_iovlen = 1};
    }
    return diag;
}

static void close_socket(struct flowd_sock_diag *diag)
{
    nl_socket_free(diag->socket);
    diag->socket = NULL;
}

int flowd_sock_diag_open(struct flowd_sock_diag *diag, struct flowd_error *err)
{
    int result;

    if (diag->socket != NULL)
        return 0;
    diag->socket = nl_socket_alloc();
    result = diag->socket != NULL ? nl_connect(diag->socket, NETLINK_SOCK_DIAG) : -NLE_NOMEM;
    if (result < 0) {
        close_socket(diag);
        return flowd_fail(err, EIO, "sock_diag: %s", nl_geterror(result));
    }
    (void)nl_socket_set_buffer_size(diag->socket, RECEIVE_SIZE, 0);
    result = try_listener(diag);
    if (result < 0)
        close_socket(diag);
    if (result == -EOPNOTSUPP)
        return flowd_fail(err, EOPNOTSUPP, "sock_diag does not find TCP sockets (tcp_diag?)");
    if (result < 0)
        return flowd_fail_errno(err, -result, "a socket to try sock_diag with");
    return 0;
}

void flowd_sock_diag_free(struct flowd_sock_diag *diag)
{
    if (diag == NULL)
        return;
    nl_socket_free(diag->socket);
    free(diag);
}
