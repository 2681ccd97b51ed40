/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The connections that the scanner knows: an array without gaps, and an index over it.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "daemon/flow/flow.h"
#include "daemon/flow/flow_index.h"

struct flowd_connection {
    struct flowd_flow_key key; /* first, for the index; src is this host's end */
    uint64_t cookie;           /* the socket's; 0: not known */
    uint64_t flow;             /* id of the flow that the scanner announced for it; 0: none */
    uint32_t scan;             /* number of the scan that saw it last */
    uint32_t interface;        /* its index, where the socket is bound to one; else 0 */
};

struct flowd_connections {
    struct flowd_connection *items; /* owned */
    size_t count;
    size_t capacity;
    struct flowd_flow_index index;
};

/* Returns 0 or -errno. */
int flowd_connections_init(struct flowd_connections *connections);
void flowd_connections_fini(struct flowd_connections *connections);

/* NULL: not known. Borrowed until one is added or removed. */
struct flowd_connection *flowd_connections_find(const struct flowd_connections *connections,
                                                const struct flowd_flow_key *key);
/* Adds a connection (copied) whose key is not there. Returns 0 or -ENOMEM. */
int flowd_connections_add(struct flowd_connections *connections,
                          const struct flowd_connection *connection);
/* Removes the connection at number; the last one takes its place. */
void flowd_connections_remove(struct flowd_connections *connections, size_t number);
