/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Telling backends and enrichers of the flows that were live before this process started: of some
 * thousand in each turn of the loop.
 *
 * A flow that something is said of meanwhile is told of first, so a module never hears of a flow
 * that it does not know. Until then the flow is untold: found by its key and its id, and marked as
 * an earlier process left it.
 */
#pragma once

#include <ev.h>
#include <stdbool.h>
#include <stdint.h>

#include "daemon/hub/subscribers.h"

struct flowd_flow;
struct flowd_flow_table;

/* Embedded in the hub. */
struct flowd_introduction {
    struct ev_loop *loop;
    const struct flowd_flow_table *table;
    const struct flowd_subscribers *subscribers;
    bool *dirty;   /* set when there is something to commit */
    uint32_t next; /* records before it hold no flow that is untold */
    bool running;
    struct ev_timer turn;
};

/* Everything is borrowed. */
void flowd_introduction_init(struct flowd_introduction *introduction, struct ev_loop *loop,
                             const struct flowd_flow_table *table,
                             const struct flowd_subscribers *subscribers, bool *dirty);
/* Tells of the first flows, and has the loop tell of the others. */
void flowd_introduction_begin(struct flowd_introduction *introduction);
void flowd_introduction_stop(struct flowd_introduction *introduction);

/* Tells of one flow that may be untold. */
void flowd_introduce(struct flowd_introduction *introduction, struct flowd_flow *flow);
