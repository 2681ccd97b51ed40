/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A kernel whose sockets are the test's word: it stands in the place of daemon/tcp/sock_diag.c and
 * of the host's addresses, and counts what it is asked.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "daemon/flow/flow.h"

#define FAKE_ENDS_MAX 16u

/* One end of a connection, and what is said of it. */
struct fake_end {
    struct flowd_flow_key key; /* its local end is src */
    int life;                  /* an enum flowd_tcp_life, or -errno: it is not answered */
    uint64_t cookie;           /* of the socket, where life is FLOWD_TCP_CONNECTED */
    unsigned asked;            /* how often */
    bool moved;                /* the host does not have its address any more */
};

extern struct fake_kernel {
    struct fake_end ends[FAKE_ENDS_MAX];
    unsigned end_count;
    int life;           /* of every other end; -EADDRNOTAVAIL: its address is not this host's */
    uint32_t asked;     /* questions */
    uint32_t weight;    /* how many one takes */
    uint8_t extensions; /* of the last question */
} fake_kernel;

/* No ends of its own; what it is asked for is gone. */
void fake_kernel_reset(void);
/* Makes the local end of key one that is here and as life says. Borrowed. */
struct fake_end *fake_kernel_set(const struct flowd_flow_key *key, int life, uint64_t cookie);
