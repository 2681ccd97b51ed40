/*
 * Asks the kernel whether the sockets of flows still exist: after a restart, flows whose connection
 * has gone meanwhile have to end.
 */
#pragma once

#include <stdbool.h>

#include "daemon/error.h"
#include "daemon/flow.h"

struct flowd_socket_probe;

/* Opens a sock_diag(7) socket. Returns 0 and *out (owned), or -errno. */
int flowd_socket_probe_new(struct flowd_socket_probe **out, struct flowd_error *err);
void flowd_socket_probe_free(struct flowd_socket_probe *probe);

/*
 * Whether a TCP flow has a connected socket in this network namespace. local_is_src says which end
 * is this host's. Returns 1 (there is one), 0 (there is none) or -errno (the kernel did not say).
 */
int flowd_socket_probe_tcp(struct flowd_socket_probe *probe, const struct flowd_flow_key *key,
                           bool local_is_src);
