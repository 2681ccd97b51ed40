/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Finds the socket of a flow. The local end's socket stands for the flow; with both ends on this
 * host, the source's does.
 *
 * The kernel finds a socket that is bound to an interface only for who names the interface.
 */
#include "daemon/tcp/flow_socket.h"

#include <errno.h>

#include "daemon/net/host.h"
#include "daemon/tcp/sock_diag.h"
#include "daemon/tcp/tcp_sample.h"

unsigned flowd_flow_socket_ends(const struct flowd_host *host, const struct flowd_flow_key *key)
{
    unsigned ends = 0;

    if (key->protocol != IPPROTO_TCP)
        return 0;
    if (flowd_host_is_local(host, key->family, &key->src))
        ends |= FLOWD_LOCAL_SRC;
    if (flowd_host_is_local(host, key->family, &key->dst))
        ends |= FLOWD_LOCAL_DST;
    return ends;
}

/* The answers to a question for each interface. */
struct search {
    int error; /* 0: found */
    struct flowd_tcp_socket *out;
};

/*
 * A listener is what the kernel finds where there is no connection. Of sockets with the same
 * addresses and ports on several interfaces, the one that lives most will do.
 */
static void take_answer(void *context, size_t index, int error,
                        const struct flowd_tcp_socket *socket)
{
    struct search *search = context;

    (void)index;
    if (error < 0) {
        if (error != -ENOENT && search->error != 0)
            search->error = error;
    } else if (search->error != 0 ||
               flowd_tcp_socket_life(socket) > flowd_tcp_socket_life(search->out)) {
        search->error = 0;
        *search->out = *socket;
    }
}

static int search_interfaces(struct flowd_sock_diag *diag, const struct flowd_host *host,
                             struct flowd_sock_diag_query query, struct flowd_tcp_socket *out)
{
    struct flowd_sock_diag_query queries[FLOWD_SOCK_DIAG_BATCH];
    const struct flowd_interface *interface = flowd_host_next(host, 0);
    struct search search = {.error = -ENOENT, .out = out};

    while (interface != NULL && search.error != 0) {
        size_t count = 0;

        for (; interface != NULL && count < FLOWD_SOCK_DIAG_BATCH;
             interface = flowd_host_next(host, interface->index)) {
            query.interface = (uint32_t)interface->index;
            queries[count++] = query;
        }
        flowd_sock_diag_ask(diag, queries, count, take_answer, &search);
    }
    return search.error;
}

int flowd_flow_socket_find(struct flowd_sock_diag *diag, const struct flowd_host *host,
                           const struct flowd_sock_diag_query *query, struct flowd_tcp_socket *out)
{
    struct flowd_sock_diag_query first = *query;
    struct search search = {.error = -ENOENT, .out = out};
    struct flowd_tcp_socket other;
    int result;

    if (query->interface == FLOWD_ANY_INTERFACE)
        first.interface = 0;
    flowd_sock_diag_ask(diag, &first, 1, take_answer, &search);
    if (query->interface != FLOWD_ANY_INTERFACE || (search.error < 0 && search.error != -ENOENT))
        return search.error;
    /* Without an error take_answer() has filled it. */
    /* cppcheck-suppress uninitvar */
    if (search.error == 0 && !flowd_tcp_is_over((int)flowd_tcp_socket_life(out)))
        return 0;
    result = search_interfaces(diag, host, *query, &other);
    if (result == -ENOENT || (result == 0 && search.error == 0 &&
                              flowd_tcp_socket_life(&other) <= flowd_tcp_socket_life(out)))
        return search.error;
    if (result == 0)
        *out = other;
    return result;
}

int flowd_flow_socket_sample(struct flowd_sock_diag *diag, const struct flowd_host *host,
                             const struct flowd_flow_key *key, uint32_t interface,
                             uint8_t extensions, struct flowd_tcp_sample *out)
{
    unsigned ends = flowd_flow_socket_ends(host, key);
    const struct flowd_sock_diag_query query = {.key = key,
                                                .local_is_src = (ends & FLOWD_LOCAL_SRC) != 0,
                                                .interface = interface,
                                                .extensions = extensions};
    struct flowd_tcp_socket socket;
    int result;

    if (ends == 0)
        return -ENOENT;
    result = flowd_flow_socket_find(diag, host, &query, &socket);
    if (result == 0 && flowd_tcp_socket_life(&socket) != FLOWD_TCP_CONNECTED)
        result = -ENOENT;
    if (result == 0)
        *out = socket.sample;
    return result;
}
