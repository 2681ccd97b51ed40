/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How sock_diag.c finds out which answer belongs to which question, for its fuzz target too.
 */
#pragma once

#include <assert.h>

#include "daemon/tcp/sock_diag.h"

/* What became of one query. */
struct flowd_sock_diag_outcome {
    int error;
    struct flowd_tcp_socket socket; /* where that is 0 */
};

/* One call of flowd_sock_diag_ask(). */
struct flowd_sock_diag_batch {
    struct flowd_sock_diag *diag;                /* borrowed */
    const struct flowd_sock_diag_query *queries; /* borrowed */
    size_t count;
    uint32_t first; /* sequence number */
    uint32_t open;  /* a bit for each query that is not answered */
    int64_t now_us;
    struct flowd_sock_diag_outcome outcomes[FLOWD_SOCK_DIAG_BATCH]; /* of those that are */
};
static_assert(FLOWD_SOCK_DIAG_BATCH <= 32, "a bit for each query");

/* Takes what arrived: the answer to a query that is open, or something that is passed over. */
void flowd_sock_diag_take(struct flowd_sock_diag_batch *batch, const char *data, size_t length);
