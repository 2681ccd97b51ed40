/*
 * Which socket of this host a flow is about, and whether it is there.
 */
#pragma once

#include <stdbool.h>

#include "daemon/flow.h"

struct flowd_host;
struct flowd_sock_diag;

/* Which ends of a flow are addresses of this host. */
enum {
    FLOWD_LOCAL_SRC = 1,
    FLOWD_LOCAL_DST = 2,
};

/* 0: neither end, or the kernel can't be asked: no TCP, or link-local (the interface is missing).
 */
unsigned flowd_flow_socket_ends(const struct flowd_host *host, const struct flowd_flow_key *key);

/*
 * How the flow's connection fares in this network namespace: an enum flowd_tcp_life, the best of
 * its local ends', or -errno (the kernel did not say, or can't be asked).
 */
int flowd_flow_socket_life(struct flowd_sock_diag *diag, const struct flowd_host *host,
                           const struct flowd_flow_key *key);
