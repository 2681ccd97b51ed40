/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The rounds that find out which flows wait for their connection.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <ev.h>

#include "daemon/liveness/attendance.h"
#include "daemon/liveness/internal.h"
#include "fake_kernel.h"
#include "lab/sample_flow.h"
#include "liveness_fixture.h"

static void on_check(struct ev_loop *loop, struct ev_check *watcher, int events)
{
    (void)loop;
    (void)watcher;
    (void)events;
    liveness->spent = FLOWD_LIVENESS_PER_TURN;
}

static void on_over(struct ev_loop *loop, struct ev_timer *watcher, int events)
{
    (void)watcher;
    (void)events;
    ev_break(loop, EVBREAK_ONE);
}

/* A round is made although somebody else asks, in each turn, as much as it has time for. */
static void test_full_turns(void **state)
{
    const struct flowd_flow_key key = sample_key(1);
    struct flowd_attendance attendance;
    const struct flowd_flow *flow;
    struct ev_check glutton;
    struct ev_timer over;

    (void)state;
    assert_int_equal(hub_fixture_submit(&fixture, FLOWD_EVENT_START, 1, 2, NULL), FLOWD_STARTED);
    flow = flowd_hub_find_key(fixture.hub, &key);
    assert_non_null(flow);
    flowd_attendance_start(&attendance, &context);
    ev_check_init(&glutton, on_check);
    ev_check_start(fixture.loop, &glutton);
    ev_timer_init(&over, on_over, 1.3, 0);
    ev_timer_start(fixture.loop, &over);
    ev_run(fixture.loop, 0);
    ev_check_stop(fixture.loop, &glutton);
    flowd_attendance_stop(&attendance);
    assert_true(flow->looked_for);
    assert_true(flow->waits);
    assert_int_equal(attendance.waiting, 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_full_turns, liveness_fixture_open,
                                        liveness_fixture_close),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
