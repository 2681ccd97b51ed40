/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Questions to the kernel about single TCP sockets, by sock_diag(7).
 *
 * The requests are exact: the kernel finds the socket by its hash, so an answer costs the same
 * however many sockets the host has. Many go in one system call, and the answers are there when it
 * returns. Only sockets of flowd's own network namespace are found.
 *
 * One object serves the whole program: the context lends it to whoever has a question.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "daemon/base/error.h"
#include "daemon/flow/flow.h"
#include "daemon/tcp/tcp_sample.h"

struct flowd_sock_diag;

/* Most questions in one call. */
#define FLOWD_SOCK_DIAG_BATCH 32

struct flowd_sock_diag_query {
    const struct flowd_flow_key *key; /* borrowed */
    bool local_is_src;                /* which end is this host's */
    /*
     * An index: a socket that is bound to this interface (or its VRF) is found too. 0: only those
     * that are bound to none.
     */
    uint32_t interface;
    uint8_t extensions; /* a bit (1 << (INET_DIAG_... - 1)) for each attribute that is wanted */
};

/*
 * What became of the query at index: error 0 with the socket (borrowed for the call), -ENOENT:
 * there is none, or another negative errno: the kernel did not say. A listener on the local port is
 * answered where there is no connection (state TCP_LISTEN).
 */
typedef void (*flowd_sock_diag_answer)(void *context, size_t index, int error,
                                       const struct flowd_tcp_socket *socket);

/* Returns owned, NULL: no memory. Until it is opened, no question is answered. */
struct flowd_sock_diag *flowd_sock_diag_new(void);
void flowd_sock_diag_free(struct flowd_sock_diag *diag);
/*
 * Opens it, unless somebody has; for everyone who is going to ask. Returns 0, or -errno:
 * -EOPNOTSUPP where the kernel does not find TCP sockets (no tcp_diag).
 */
int flowd_sock_diag_open(struct flowd_sock_diag *diag, struct flowd_error *err);

/* How many questions were asked so far, modulo 2^32. */
uint32_t flowd_sock_diag_asked(const struct flowd_sock_diag *diag);

/*
 * Asks count (at most FLOWD_SOCK_DIAG_BATCH) questions; answer is called once for each of them, in
 * their order, before this returns. It may ask in turn.
 */
void flowd_sock_diag_ask(struct flowd_sock_diag *diag, const struct flowd_sock_diag_query *queries,
                         size_t count, flowd_sock_diag_answer answer, void *context);
