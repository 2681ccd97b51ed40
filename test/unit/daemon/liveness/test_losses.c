/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What becomes of flows of whose end the kernel did not tell: a walk finds them, after two delays,
 * and leaves alone those that nobody can have missed.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <ev.h>

#include "daemon/hub/hub.h"
#include "daemon/liveness/losses.h"
#include "daemon/tcp/tcp_sample.h"
#include "fake_kernel.h"
#include "lab/sample_flow.h"
#include "liveness_fixture.h"

static struct flowd_losses losses;

static int open_losses(void **state)
{
    liveness_fixture_open(state);
    flowd_losses_start(&losses, &context, close_source, close_source);
    for (uint32_t number = 1; number <= 3; number++)
        announce(fixture.source, number);
    fake_kernel.life = FLOWD_TCP_GONE;
    return 0;
}

static int close_losses(void **state)
{
    flowd_losses_stop(&losses);
    assert_false(ev_is_active(&losses.timer));
    return liveness_fixture_close(state);
}

/* Nobody has spoken of the flow for long. */
static void age(uint32_t number)
{
    const struct flowd_flow_key key = sample_key(number);

    flowd_hub_find_key(fixture.hub, &key)->last_event_us = 0;
}

/* Lets the delay that is under way be over. */
static void pass_delay(void)
{
    assert_true(ev_is_active(&losses.timer));
    assert_true(ev_timer_remaining(fixture.loop, &losses.timer) > 1);
    ev_timer_stop(fixture.loop, &losses.timer);
    ev_timer_set(&losses.timer, 0, 0);
    ev_timer_start(fixture.loop, &losses.timer);
    for (int turns = 0; turns < 3; turns++)
        ev_run(fixture.loop, EVRUN_NOWAIT);
}

/* A flow that was announced a moment ago may wait for its socket. */
static void test_all(void **state)
{
    (void)state;
    age(1);
    age(2);
    flowd_losses_add_all(&losses);
    pass_delay();
    assert_true(is_live(1) && is_live(2));
    pass_delay();
    assert_false(is_live(1) || is_live(2));
    assert_true(is_live(3));
    assert_false(ev_is_active(&losses.timer));
}

static void test_port(void **state)
{
    const struct flowd_flow_key key = sample_key(2);

    (void)state;
    for (uint32_t number = 1; number <= 3; number++)
        age(number);
    flowd_losses_add_port(&losses, key.src_port, &key.dst);
    pass_delay();
    pass_delay();
    assert_false(is_live(2));
    assert_int_equal(flowd_hub_live(fixture.hub), 2);
}

/* What is lost while a delay is under way has a walk of its own. */
static void test_another_loss_meanwhile(void **state)
{
    const struct flowd_flow_key key = sample_key(2);

    (void)state;
    for (uint32_t number = 1; number <= 3; number++)
        age(number);
    flowd_losses_add_port(&losses, key.src_port, &key.dst);
    pass_delay();
    flowd_losses_add_all(&losses);
    pass_delay();
    assert_int_equal(flowd_hub_live(fixture.hub), 2);
    pass_delay();
    assert_int_equal(flowd_hub_live(fixture.hub), 0);
}

/* At the start nobody waits: what closed before is over. */
static void test_walk_at_once(void **state)
{
    (void)state;
    flowd_losses_walk(&losses, INT64_MAX, NULL, false);
    for (int turns = 0; turns < 3; turns++)
        ev_run(fixture.loop, EVRUN_NOWAIT);
    assert_int_equal(flowd_hub_live(fixture.hub), 0);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, open_losses, close_losses)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_all),
        TEST(test_port),
        TEST(test_another_loss_meanwhile),
        TEST(test_walk_at_once),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
