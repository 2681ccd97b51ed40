/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The turns of a walk over the live flows. Their work is counted and not timed: a clock would have
 * to be read at each flow, and a busy machine would make slices small that cost it nothing.
 *
 * Records of no flow count too: where most flows of a large table have ended, the walk passes many.
 */
#include "daemon/hub/walk.h"

#include "daemon/hub/hub.h"

static void walk_go_on(struct flowd_walk *walk, double after_s)
{
    ev_timer_set(&walk->turn, after_s, 0);
    ev_timer_start(walk->loop, &walk->turn);
}

/* The walk is at the end of the table. Returns whether that is its end. */
static bool turn_round(struct flowd_walk *walk)
{
    if (walk->wrapped || walk->stop == 0)
        return true;
    walk->cursor = 0;
    walk->wrapped = true;
    return false;
}

/* Visits some flows. Returns whether the walk is over. */
static bool visit_some(struct flowd_walk *walk)
{
    uint32_t budget = FLOWD_WALK_PER_TURN;

    while (budget > 0) {
        struct flowd_flow *flow = flowd_hub_next_within(walk->hub, &walk->cursor, &budget);
        uint32_t work;

        if (flow == NULL && budget > 0 && turn_round(walk))
            return true;
        if (walk->wrapped && walk->cursor > walk->stop)
            return true;
        if (flow == NULL)
            continue;
        work = walk->visit(walk, flow);
        budget -= work < budget ? work : budget;
    }
    return false;
}

static void on_turn(struct ev_loop *loop, struct ev_timer *watcher, int events)
{
    struct flowd_walk *walk = watcher->data;
    bool over;

    (void)loop;
    (void)events;
    over = visit_some(walk);
    walk->running = !over;
    walk->rest(walk, over);
    if (!over && walk->running)
        walk_go_on(walk, 0);
}

void flowd_walk_init(struct flowd_walk *walk, struct ev_loop *loop, struct flowd_hub *hub,
                     flowd_walk_visit *visit, flowd_walk_rest *rest)
{
    *walk = (struct flowd_walk){.loop = loop, .hub = hub, .visit = visit, .rest = rest};
    ev_timer_init(&walk->turn, on_turn, 0, 0);
    walk->turn.data = walk;
}

void flowd_walk_start(struct flowd_walk *walk, double after_s)
{
    walk->wrapped = false;
    if (walk->running) {
        walk->stop = walk->cursor;
        return;
    }
    walk->running = true;
    walk->cursor = walk->stop = 0;
    walk_go_on(walk, after_s);
}

bool flowd_walk_is_running(const struct flowd_walk *walk)
{
    return walk->running;
}

void flowd_walk_stop(struct flowd_walk *walk)
{
    /* Also where the timer is about to be served, and so no longer active. */
    if (walk->running)
        ev_timer_stop(walk->loop, &walk->turn);
    walk->running = false;
}
