/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Which socket of this host a flow is about, and whether it is there.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "daemon/flow/flow.h"

struct flowd_host;
struct flowd_sock_diag;
struct flowd_sock_diag_query;
struct flowd_tcp_sample;
struct flowd_tcp_socket;

/* Which ends of a flow are addresses of this host. */
enum {
    FLOWD_LOCAL_SRC = 1,
    FLOWD_LOCAL_DST = 2,
};

/* 0: neither end, or the kernel can't be asked: no TCP. */
unsigned flowd_flow_socket_ends(const struct flowd_host *host, const struct flowd_flow_key *key);

/* Instead of an interface's index: sockets that are bound to any of them, or to none. */
#define FLOWD_ANY_INTERFACE UINT32_MAX

/*
 * Asks for the socket of one end. The query's interface may be FLOWD_ANY_INTERFACE: where there is
 * no socket this costs a question for each interface of the host. Returns 0 and *out, or -errno:
 * -ENOENT: there is none; another one: the kernel did not say.
 */
int flowd_flow_socket_find(struct flowd_sock_diag *diag, const struct flowd_host *host,
                           const struct flowd_sock_diag_query *query, struct flowd_tcp_socket *out);

/*
 * What the flow's connection is like at this moment; interface and extensions as in the query.
 * Returns 0 and *out, or -errno: -ENOENT: there
 * is none (any more), or neither end is this host's.
 */
int flowd_flow_socket_sample(struct flowd_sock_diag *diag, const struct flowd_host *host,
                             const struct flowd_flow_key *key, uint32_t interface,
                             uint8_t extensions, struct flowd_tcp_sample *out);
