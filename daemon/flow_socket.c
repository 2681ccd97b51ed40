/*
 * The local end's socket stands for the flow; with both ends on this host, the source's does, and
 * the flow lives while either of them is there.
 */
#include "daemon/flow_socket.h"

#include <errno.h>

#include "daemon/host.h"
#include "daemon/sock_diag.h"
#include "daemon/tcp_sample.h"

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

static int end_life(struct flowd_sock_diag *diag, const struct flowd_flow_key *key,
                    bool local_is_src)
{
    struct flowd_tcp_socket socket;
    int result = flowd_sock_diag_ask_one(diag, key, local_is_src, &socket);

    if (result == -ENOENT)
        return FLOWD_TCP_GONE;
    return result < 0 ? result : (int)flowd_tcp_socket_life(&socket);
}

int flowd_flow_socket_life(struct flowd_sock_diag *diag, const struct flowd_host *host,
                           const struct flowd_flow_key *key)
{
    unsigned ends = flowd_flow_socket_ends(host, key);
    int life = FLOWD_TCP_GONE;
    int other;

    if (ends == 0)
        return -EADDRNOTAVAIL;
    if (ends & FLOWD_LOCAL_SRC)
        life = end_life(diag, key, true);
    if (life < 0 || life == FLOWD_TCP_CONNECTED || !(ends & FLOWD_LOCAL_DST))
        return life;
    other = end_life(diag, key, false);
    return other < 0 || other > life ? other : life;
}
