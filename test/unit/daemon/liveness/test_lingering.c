/* SPDX-License-Identifier: Apache-2.0 */
/*
 * When flows whose socket was closed at this end are looked at again.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <ev.h>

#include "daemon/liveness/internal.h"
#include "fake_kernel.h"
#include "liveness_fixture.h"

/* The first look comes after 0.1 s, and others that are due by then are taken along. */
#define FIRST_LOOK_S 0.12
#define LONG_S 10.0

static struct flowd_flow *linger(uint32_t number)
{
    struct flowd_flow *flow;

    assert_int_equal(hub_fixture_submit(&fixture, FLOWD_EVENT_START, number, 2, &flow),
                     FLOWD_STARTED);
    flowd_lingering_add(&liveness->lingering, fixture.source, flow, 0);
    assert_true(flowd_lingering_has(&liveness->lingering, flow));
    return flow;
}

static double remaining(void)
{
    assert_true(ev_is_active(&liveness->lingering.timer));
    return ev_timer_remaining(fixture.loop, &liveness->lingering.timer);
}

static void test_first_look(void **state)
{
    (void)state;
    linger(1);
    assert_true(remaining() < FIRST_LOOK_S);
    linger(2);
    assert_true(remaining() < FIRST_LOOK_S);
    assert_int_equal(flowd_liveness_lingering(liveness), 2);
}

/* The timer runs for a flow that has been looked at often. */
static void test_next_to_one_that_waits_long(void **state)
{
    (void)state;
    ev_timer_set(&liveness->lingering.timer, LONG_S, 0);
    ev_timer_start(fixture.loop, &liveness->lingering.timer);
    linger(1);
    assert_true(remaining() < FIRST_LOOK_S);
}

/* Told of the same flow again and again, it waits once. */
static void test_told_twice(void **state)
{
    struct flowd_flow *flow = linger(1);

    (void)state;
    flowd_lingering_add(&liveness->lingering, fixture.source, flow, 0);
    assert_int_equal(flowd_liveness_lingering(liveness), 1);
    linger(2);
    assert_int_equal(flowd_liveness_lingering(liveness), 2);
}

/* Its key waits, and nobody has the flow any more. */
static void test_flow_that_has_ended(void **state)
{
    struct flowd_flow *flow;

    (void)state;
    flow = linger(1);
    flowd_hub_end(fixture.hub, fixture.source, flow);
    while (flowd_liveness_lingering(liveness) > 0)
        ev_run(fixture.loop, EVRUN_ONCE);
    assert_int_equal(fixture.source->events[FLOWD_EVENT_END][FLOWD_ENDED], 1);
    assert_false(ev_is_active(&liveness->lingering.timer));
}

#define TEST(name)                                                                                 \
    cmocka_unit_test_setup_teardown(name, liveness_fixture_open, liveness_fixture_close)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_first_look),
        TEST(test_next_to_one_that_waits_long),
        TEST(test_told_twice),
        TEST(test_flow_that_has_ended),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
