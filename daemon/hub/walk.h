/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A walk over the live flows, some of them in each turn of the loop: whatever concerns all flows
 * and can't be bounded otherwise is done by one.
 */
#pragma once

#include <ev.h>
#include <stdbool.h>
#include <stdint.h>

#include "daemon/flow/flow.h"

struct flowd_hub;
struct flowd_walk;

/*
 * What is done in one turn, in units of a look at a record. The first look at a record that is not
 * in any cache takes some 20 to 40 ns, and an event that comes meanwhile may wait for twice as much
 * as this: some tenths of a millisecond.
 */
#define FLOWD_WALK_PER_TURN 4096u

/*
 * Looks at one flow, which it may end. Returns how much work that was beyond the look itself;
 * FLOWD_WALK_PER_TURN: enough for this turn.
 */
typedef uint32_t flowd_walk_visit(struct flowd_walk *walk, struct flowd_flow *flow);
/* Told at the end of each turn's part; over: it was the last one. It may start the walk again. */
typedef void flowd_walk_rest(struct flowd_walk *walk, bool over);

/* Embedded in its owner. */
struct flowd_walk {
    struct ev_loop *loop;  /* borrowed */
    struct flowd_hub *hub; /* borrowed */
    flowd_walk_visit *visit;
    flowd_walk_rest *rest;
    struct ev_timer turn;
    uint32_t cursor;
    uint32_t stop; /* the walk is over where it comes to this record again; 0: at the end */
    bool wrapped;
    bool running;
};

void flowd_walk_init(struct flowd_walk *walk, struct ev_loop *loop, struct flowd_hub *hub,
                     flowd_walk_visit *visit, flowd_walk_rest *rest);
/*
 * Visits every flow that is live from now until the walk is over, beginning after after_s seconds.
 * A walk that is under way goes on from where it is and then over what it had visited before: each
 * flow is visited after the last call, whatever number of calls there were.
 */
void flowd_walk_start(struct flowd_walk *walk, double after_s);
bool flowd_walk_is_running(const struct flowd_walk *walk);
void flowd_walk_stop(struct flowd_walk *walk);
