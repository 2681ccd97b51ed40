/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What an sk_ops program tells: a connection that is established, a sample of it, or its end. Pure:
 * bytes in, struct out.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "daemon/flow/flow.h"
#include "daemon/tcp/tcp_sample.h"

enum flowd_sockops_happening {
    FLOWD_SOCKOPS_BEGINS,
    FLOWD_SOCKOPS_GOES_ON, /* sampled */
    FLOWD_SOCKOPS_ENDS,    /* with its last sample */
};

struct flowd_sockops_event {
    enum flowd_sockops_happening happening;
    struct flowd_flow_key key;      /* src is the local end */
    struct flowd_tcp_sample sample; /* FLOWD_SOCKOPS_BEGINS: without info */
};

/*
 * Decodes one record of the ring buffer. clock_us is what CLOCK_REALTIME is ahead of
 * CLOCK_MONOTONIC. Returns 0, or -EINVAL: it is no record of the program that this flowd loads.
 */
int flowd_sockops_event_decode(const void *record, size_t length, int64_t clock_us,
                               struct flowd_sockops_event *out);
