/*
 * The local end's socket stands for the flow; with both ends on this host, the source's does, and
 * the flow lives while either of them is there.
 */
#include "daemon/flow_socket.h"

#include <errno.h>

#include "daemon/host.h"
#include "daemon/sock_diag.h"

unsigned flowd_flow_socket_ends(const struct flowd_host *host, const struct flowd_flow_key *key)
{
    unsigned ends = 0;

    if (key->protocol != IPPROTO_TCP)
        return 0;
    if (key->family == AF_INET6 &&
        (IN6_IS_ADDR_LINKLOCAL(&key->src) || IN6_IS_ADDR_LINKLOCAL(&key->dst)))
        return 0;
    if (flowd_host_is_local(host, key->family, &key->src))
        ends |= FLOWD_LOCAL_SRC;
    if (flowd_host_is_local(host, key->family, &key->dst))
        ends |= FLOWD_LOCAL_DST;
    return ends;
}

static int end_exists(struct flowd_sock_diag *diag, const struct flowd_flow_key *key,
                      bool local_is_src)
{
    struct flowd_tcp_socket socket;
    int result = flowd_sock_diag_ask_one(diag, key, local_is_src, &socket);

    if (result == -ENOENT)
        return 0;
    return result < 0 ? result : flowd_sock_diag_is_connection(socket.sample.state);
}

int flowd_flow_socket_exists(struct flowd_sock_diag *diag, const struct flowd_host *host,
                             const struct flowd_flow_key *key)
{
    unsigned ends = flowd_flow_socket_ends(host, key);
    int result = 0;

    if (ends == 0)
        return -EADDRNOTAVAIL;
    if (ends & FLOWD_LOCAL_SRC)
        result = end_exists(diag, key, true);
    if (result == 0 && ends & FLOWD_LOCAL_DST)
        result = end_exists(diag, key, false);
    return result;
}
