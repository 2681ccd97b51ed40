/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the files of this room know of each other.
 */
#pragma once

#include <ev.h>

#include "daemon/hub/walk.h"
#include "daemon/liveness/lingering.h"
#include "daemon/liveness/liveness.h"

/* The walk over live flows: for all doubts that are open at once. */
struct flowd_recovery {
    struct flowd_walk walk;
    struct flowd_doubt *doubts; /* borrowed */
    bool waits;                 /* for its next try */
    bool early;                 /* it did not: somebody else's doubt came, or another walk of his */
    uint64_t looked_at;
};

struct flowd_liveness {
    const struct flowd_context *context;
    struct flowd_sock_diag *diag;
    struct flowd_lingering lingering;
    struct flowd_recovery recovery;
    struct ev_prepare turn;
    uint32_t spent; /* of the turn's budget, in questions */
    uint64_t reused;
    unsigned last_wanted; /* how many want the counts at an announced end */
    uint8_t extensions;   /* of the questions for them */
};

/* Of a turn. A flow may take hundreds, one for each interface. */
#define FLOWD_LIVENESS_PER_TURN 512u

/* A socket that is known to be gone. */
struct flowd_hint {
    bool local_is_src; /* which end of the flow it was */
    unsigned ends;     /* which ends are here, this one among them */
    const struct flowd_tcp_sample *sample;
    bool reused; /* found: another socket has its addresses and ports */
};

/*
 * How the flow fares as its source has it judged, asking for each end once at most: an enum
 * flowd_tcp_life, or -errno: the kernel did not say, or neither end is here (-EADDRNOTAVAIL).
 * Where it goes on with another connection than its last sample's, that sample is forgotten.
 * interface as in a query, or FLOWD_ANY_INTERFACE. hint may be NULL.
 */
int flowd_liveness_judge(struct flowd_liveness *liveness, const struct flowd_flow *flow,
                         uint32_t interface, struct flowd_hint *hint);

void flowd_recovery_init(struct flowd_liveness *liveness);
void flowd_recovery_stop(struct flowd_liveness *liveness);
