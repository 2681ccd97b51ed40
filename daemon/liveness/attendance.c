/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The rounds that find out which flows wait for their connection. A round goes on as long as there
 * are new flows or some that wait. What it asks the kernel is bounded for each second, whatever the
 * rate at which flows start is: of one that ends before its turn nobody needs to know, and one that
 * flowd is killed before is taken for a flow that had its socket.
 */
#include "daemon/liveness/attendance.h"

#include <netinet/in.h>

#include "daemon/hub/hub.h"
#include "daemon/hub/module.h"
#include "daemon/liveness/internal.h"
#include "daemon/tcp/tcp_sample.h"

#define ROUND_S 1.0
#define PART_S 0.1
/* Records that a part looks at. */
#define PART_RECORDS 16384u

static void look_at(struct flowd_attendance *attendance, struct flowd_flow *flow)
{
    int life;

    if (flow->key.protocol != IPPROTO_TCP || (flow->looked_for && !flow->waits))
        return;
    /* Its connection is closed, and the flow about to end: it does not wait for one. */
    if (flowd_lingering_has(&attendance->context->liveness->lingering, flow))
        return;
    life = flowd_liveness_of(attendance->context->liveness, flow);
    if (life >= 0) {
        flow->looked_for = true;
        flow->waits = flowd_tcp_is_over(life);
    }
    if (flow->waits)
        attendance->found++;
}

/* Some of a round. Returns whether it is over. */
static bool look_at_some(struct flowd_attendance *attendance)
{
    uint32_t budget = PART_RECORDS;
    struct flowd_flow *flow;

    /* At one at least, whatever others ask in each turn: without a cursor no round is under way. */
    do {
        flow = flowd_hub_next_within(attendance->context->hub, &attendance->cursor, &budget);
        if (flow == NULL)
            return budget > 0;
        look_at(attendance, flow);
    } while (!flowd_liveness_turn_over(attendance->context->liveness));
    return false;
}

static bool is_due(struct flowd_attendance *attendance)
{
    uint64_t started = flowd_hub_totals(attendance->context->hub).started;

    if (attendance->cursor != 0)
        return true;
    if (started == attendance->started && attendance->waiting == 0)
        return false;
    attendance->started = started;
    attendance->found = 0;
    return true;
}

static void attendance_go_on(struct flowd_attendance *attendance, double after_s)
{
    ev_timer_stop(attendance->context->loop, &attendance->tick);
    ev_timer_set(&attendance->tick, after_s, 0);
    ev_timer_start(attendance->context->loop, &attendance->tick);
}

static void on_tick(struct ev_loop *loop, struct ev_timer *watcher, int events)
{
    struct flowd_attendance *attendance = watcher->data;
    double after_s = ROUND_S;

    (void)loop;
    (void)events;
    if (!flowd_liveness_is_walking(attendance->context->liveness) && is_due(attendance)) {
        if (look_at_some(attendance)) {
            attendance->waiting = attendance->found;
            attendance->cursor = 0;
        } else {
            after_s = PART_S;
        }
    }
    attendance_go_on(attendance, after_s);
}

void flowd_attendance_start(struct flowd_attendance *attendance,
                            const struct flowd_context *context)
{
    /* Those that a former process left may wait, too. */
    *attendance = (struct flowd_attendance){.context = context, .started = UINT64_MAX};
    ev_timer_init(&attendance->tick, on_tick, ROUND_S, 0);
    attendance->tick.data = attendance;
    ev_timer_start(context->loop, &attendance->tick);
}

void flowd_attendance_stop(struct flowd_attendance *attendance)
{
    if (attendance->context != NULL)
        ev_timer_stop(attendance->context->loop, &attendance->tick);
}
