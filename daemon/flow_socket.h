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
 * Whether one of the flow's local ends has a connected socket in this network namespace. Returns 1
 * (there is one), 0 (there is none) or -errno (the kernel did not say, or can't be asked).
 */
int flowd_flow_socket_exists(struct flowd_sock_diag *diag, const struct flowd_host *host,
                             const struct flowd_flow_key *key);
