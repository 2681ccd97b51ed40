/*
 * Exact sock_diag requests: the kernel finds the socket by its hash, so the cost does not depend on
 * how many sockets the host has.
 *
 * A look-up that finds no connection falls back to a listener on the same port, and a connection
 * that is over may linger in TIME_WAIT: neither is the flow's socket.
 */
#include "daemon/socket_probe.h"

#include <arpa/inet.h>
#include <errno.h>
#include <linux/inet_diag.h>
#include <linux/sock_diag.h>
#include <netinet/tcp.h>
#include <netlink/msg.h>
#include <netlink/netlink.h>
#include <netlink/socket.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

struct flowd_socket_probe {
    struct nl_sock *socket;
    int state; /* of the last answer; 0: none */
};

static int on_answer(struct nl_msg *message, void *context)
{
    struct flowd_socket_probe *probe = context;
    struct nlmsghdr *header = nlmsg_hdr(message);

    if (nlmsg_valid_hdr(header, sizeof(struct inet_diag_msg)))
        probe->state = ((const struct inet_diag_msg *)nlmsg_data(header))->idiag_state;
    return NL_STOP;
}

/* Asks for one socket. Returns its TCP state, 0 if there is none, or -EIO. */
static int ask(struct flowd_socket_probe *probe, const struct flowd_flow_key *key,
               bool local_is_src)
{
    struct inet_diag_req_v2 request = {
        .sdiag_family = key->family, .sdiag_protocol = IPPROTO_TCP, .idiag_states = UINT32_MAX};
    const struct in6_addr *local = local_is_src ? &key->src : &key->dst;
    const struct in6_addr *remote = local_is_src ? &key->dst : &key->src;
    int result;

    request.id.idiag_sport = htons(local_is_src ? key->src_port : key->dst_port);
    request.id.idiag_dport = htons(local_is_src ? key->dst_port : key->src_port);
    memcpy(request.id.idiag_src, local, sizeof(request.id.idiag_src));
    memcpy(request.id.idiag_dst, remote, sizeof(request.id.idiag_dst));
    request.id.idiag_cookie[0] = request.id.idiag_cookie[1] = INET_DIAG_NOCOOKIE;
    probe->state = 0;
    result = nl_send_simple(probe->socket, SOCK_DIAG_BY_FAMILY, 0, &request, sizeof(request));
    if (result >= 0)
        result = nl_recvmsgs_default(probe->socket);
    if (result == -NLE_OBJ_NOTFOUND || result == -NLE_NOADDR)
        return 0;
    return result < 0 ? -EIO : probe->state;
}

/*
 * Whether the kernel finds a socket that is surely there: one without tcp_diag says "not found" to
 * everything.
 */
static bool is_trustworthy(struct flowd_socket_probe *probe)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    struct flowd_flow_key key = {.family = AF_INET, .protocol = IPPROTO_TCP, .dst_port = 1};
    socklen_t length = sizeof(address);
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    bool found = false;

    if (fd >= 0 && bind(fd, (struct sockaddr *)&address, length) == 0 && listen(fd, 1) == 0 &&
        getsockname(fd, (struct sockaddr *)&address, &length) == 0) {
        memcpy(&key.src, &address.sin_addr, 4);
        memcpy(&key.dst, &address.sin_addr, 4);
        key.src_port = ntohs(address.sin_port);
        found = ask(probe, &key, true) == TCP_LISTEN;
    }
    if (fd >= 0)
        close(fd);
    return found;
}

int flowd_socket_probe_new(struct flowd_socket_probe **out, struct flowd_error *err)
{
    struct flowd_socket_probe *probe = calloc(1, sizeof(*probe));
    int result;

    if (probe == NULL)
        return flowd_fail(err, ENOMEM, "sock_diag");
    probe->socket = nl_socket_alloc();
    result = probe->socket != NULL ? nl_connect(probe->socket, NETLINK_SOCK_DIAG) : -NLE_NOMEM;
    if (result < 0) {
        flowd_socket_probe_free(probe);
        return flowd_fail(err, -EIO, "sock_diag: %s", nl_geterror(result));
    }
    nl_socket_disable_auto_ack(probe->socket);
    nl_socket_modify_cb(probe->socket, NL_CB_VALID, NL_CB_CUSTOM, on_answer, probe);
    if (!is_trustworthy(probe)) {
        flowd_socket_probe_free(probe);
        return flowd_fail(err, -EOPNOTSUPP, "sock_diag does not find TCP sockets (tcp_diag?)");
    }
    *out = probe;
    return 0;
}

void flowd_socket_probe_free(struct flowd_socket_probe *probe)
{
    if (probe == NULL)
        return;
    nl_socket_free(probe->socket);
    free(probe);
}

int flowd_socket_probe_tcp(struct flowd_socket_probe *probe, const struct flowd_flow_key *key,
                           bool local_is_src)
{
    int state = ask(probe, key, local_is_src);

    if (state < 0)
        return state;
    return state != 0 && state != TCP_LISTEN && state != TCP_TIME_WAIT && state != TCP_CLOSE;
}
