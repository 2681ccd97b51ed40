/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The judge of connections: flows of which any may be gone, who goes with flows that linger for
 * him, and the budget that all who ask have in a turn.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <ev.h>

#include "daemon/hub/hub.h"
#include "daemon/liveness/internal.h"
#include "daemon/tcp/tcp_sample.h"
#include "fake_kernel.h"
#include "lab/sample_flow.h"
#include "liveness_fixture.h"

static struct flowd_doubt doubt_by(struct flowd_source *source)
{
    return (struct flowd_doubt){.before_us = INT64_MAX, .source = source, .later = source};
}

static void turn(void)
{
    ev_run(fixture.loop, EVRUN_NOWAIT);
}

/* After a restart everybody doubts: each flow is asked for once, and its own source's comes first.
 */
static void test_doubts_at_once(void **state)
{
    struct flowd_source *recovered = flowd_hub_source(fixture.hub, "recovery");
    struct flowd_doubt all = doubt_by(recovered);
    struct flowd_doubt own = doubt_by(follower);

    (void)state;
    announce(fixture.source, 1);
    announce(follower, 3);
    flowd_liveness_doubt(liveness, &all);
    flowd_liveness_doubt(liveness, &own);
    turn();
    assert_false(flowd_liveness_is_walking(liveness));
    assert_false(all.open || own.open);
    assert_int_equal(fake_kernel.asked, 2);
    assert_int_equal(flowd_hub_live(fixture.hub), 0);
    assert_int_equal(all.found, 1);
    assert_int_equal(own.found, 1);
    assert_int_equal(recovered->events[FLOWD_EVENT_END][FLOWD_ENDED], 1);
    assert_int_equal(follower->events[FLOWD_EVENT_END][FLOWD_ENDED], 1);
}

/* A doubt that comes while another one waits for answers does not wait with it. */
static void test_doubt_while_another_waits(void **state)
{
    struct flowd_doubt all = doubt_by(close_source);
    struct flowd_doubt own = doubt_by(follower);

    (void)state;
    announce(fixture.source, 1);
    announce(follower, 3);
    fake_kernel.life = -EAGAIN;
    flowd_liveness_doubt(liveness, &all);
    turn();
    assert_true(all.open);
    turn();
    assert_int_equal(fake_kernel.asked, 2);
    fake_kernel.life = FLOWD_TCP_GONE;
    flowd_liveness_doubt(liveness, &own);
    turn();
    assert_int_equal(flowd_hub_live(fixture.hub), 0);
    assert_false(all.open || own.open);
}

/* Who goes takes his doubt along. */
static void test_doubt_forgotten(void **state)
{
    struct flowd_doubt all = doubt_by(close_source);
    struct flowd_doubt own = doubt_by(follower);

    (void)state;
    announce(fixture.source, 1);
    announce(follower, 3);
    flowd_liveness_doubt(liveness, &all);
    flowd_liveness_doubt(liveness, &own);
    flowd_liveness_forget_doubt(liveness, &all);
    turn();
    assert_true(is_live(1));
    assert_false(is_live(3));
    flowd_liveness_doubt(liveness, &own);
    flowd_liveness_forget_doubt(liveness, &own);
    assert_false(flowd_liveness_is_walking(liveness));
}

/* What a walk finds lingering ends later, and with another source than what it finds gone. */
static void test_doubt_finds_lingering(void **state)
{
    for (int forgotten = 0; forgotten < 2; forgotten++) {
        struct flowd_source *recovered;
        struct flowd_doubt all;

        liveness_fixture_open(state);
        recovered = flowd_hub_source(fixture.hub, "recovery");
        all = doubt_by(recovered);
        all.later = close_source;
        announce(fixture.source, 1);
        fake_kernel.life = FLOWD_TCP_LINGERS;
        flowd_liveness_doubt(liveness, &all);
        turn();
        assert_int_equal(flowd_liveness_lingering(liveness), 1);
        if (forgotten)
            flowd_liveness_forget_doubt(liveness, &all);
        fake_kernel.life = FLOWD_TCP_GONE;
        while (flowd_liveness_lingering(liveness) > 0)
            ev_run(fixture.loop, EVRUN_ONCE);
        assert_int_equal(is_live(1), forgotten);
        assert_int_equal(close_source->events[FLOWD_EVENT_END][FLOWD_ENDED], !forgotten);
        assert_int_equal(recovered->events[FLOWD_EVENT_END][FLOWD_ENDED], 0);
        liveness_fixture_close(state);
    }
}

/* And with him the flows that linger for him: nobody is to end them. */
static void test_lingering_forgotten(void **state)
{
    struct flowd_doubt all = doubt_by(close_source);

    (void)state;
    announce(fixture.source, 1);
    announce(follower, 3);
    fake_kernel.life = FLOWD_TCP_LINGERS;
    tell(close_source, 1, false);
    tell(follower, 3, false);
    assert_int_equal(flowd_liveness_lingering(liveness), 2);
    flowd_liveness_forget_doubt(liveness, &all);
    assert_int_equal(flowd_liveness_lingering(liveness), 1);
    fake_kernel.life = FLOWD_TCP_GONE;
    while (flowd_liveness_lingering(liveness) > 0)
        ev_run(fixture.loop, EVRUN_ONCE);
    assert_true(is_live(1));
    assert_false(is_live(3));
}

/*
 * Except where its source has been told of the close itself, which nobody tells it again: the flow
 * lingers on for that one.
 */
static void test_lingering_handed_on(void **state)
{
    struct flowd_doubt all = doubt_by(close_source);
    struct flowd_doubt own = doubt_by(follower);

    (void)state;
    announce(follower, 1);
    announce(follower, 3);
    fake_kernel.life = FLOWD_TCP_LINGERS;
    tell(close_source, 1, false);
    tell(follower, 1, false);
    flowd_liveness_forget_doubt(liveness, &all);
    assert_int_equal(flowd_liveness_lingering(liveness), 1);
    fake_kernel.life = FLOWD_TCP_GONE;
    while (flowd_liveness_lingering(liveness) > 0)
        ev_run(fixture.loop, EVRUN_ONCE);
    assert_false(is_live(1));
    assert_int_equal(follower->events[FLOWD_EVENT_END][FLOWD_ENDED], 1);
    fake_kernel.life = FLOWD_TCP_LINGERS;
    tell(close_source, 3, false);
    flowd_liveness_forget_doubt(liveness, &all);
    flowd_liveness_forget_doubt(liveness, &own);
    assert_int_equal(flowd_liveness_lingering(liveness), 0);
    assert_true(is_live(3));
}

/* All that asks has one budget in a turn of the loop; samples, which have their own pace, none. */
static void test_budget(void **state)
{
    const struct flowd_flow_key key = sample_key(1);
    const struct flowd_sock_diag_query query = {.key = &key, .local_is_src = true};
    struct flowd_doubt all = doubt_by(close_source);
    struct flowd_tcp_socket socket;

    (void)state;
    announce(fixture.source, 1);
    announce(fixture.source, 3);
    fake_kernel.weight = FLOWD_LIVENESS_PER_TURN;
    assert_false(flowd_liveness_turn_over(liveness));
    assert_int_equal(flowd_liveness_find(liveness, &query, &socket), -ENOENT);
    assert_true(flowd_liveness_turn_over(liveness));
    turn();
    assert_false(flowd_liveness_turn_over(liveness));
    flowd_liveness_doubt(liveness, &all);
    turn();
    assert_int_equal(flowd_hub_live(fixture.hub), 1);
    turn();
    assert_int_equal(flowd_hub_live(fixture.hub), 0);
}

static void take_nothing(void *asked, size_t index, int error,
                         const struct flowd_tcp_socket *socket)
{
    (void)asked;
    (void)index;
    (void)error;
    (void)socket;
}

/* Samples of all flows, which have a pace of their own, leave the budget to the others. */
static void test_samples_are_not_in_the_budget(void **state)
{
    const struct flowd_flow_key key = sample_key(1);
    const struct flowd_sock_diag_query query = {.key = &key, .local_is_src = true};

    (void)state;
    for (unsigned i = 0; i <= FLOWD_LIVENESS_PER_TURN; i++)
        flowd_liveness_sample(liveness, &query, 1, take_nothing, NULL);
    assert_false(flowd_liveness_turn_over(liveness));
    for (unsigned i = 0; i < FLOWD_LIVENESS_PER_TURN; i++)
        flowd_liveness_ask(liveness, &query, 1, take_nothing, NULL);
    assert_true(flowd_liveness_turn_over(liveness));
}

static void spend(struct ev_loop *loop, struct ev_timer *watcher, int events)
{
    (void)loop;
    (void)watcher;
    (void)events;
    liveness->spent = FLOWD_LIVENESS_PER_TURN;
}

/* Walks and scans that use the budget up, turn by turn, do not keep flows that are due waiting. */
static void test_look_where_walks_take_all(void **state)
{
    struct ev_timer always;

    (void)state;
    announce(fixture.source, 1);
    fake_kernel.life = FLOWD_TCP_LINGERS;
    tell(close_source, 1, false);
    fake_kernel.life = FLOWD_TCP_GONE;
    ev_timer_init(&always, spend, 0, 0.001);
    ev_set_priority(&always, EV_MAXPRI);
    ev_timer_start(fixture.loop, &always);
    for (unsigned i = 0; i < 1000 && is_live(1); i++)
        ev_run(fixture.loop, EVRUN_ONCE);
    ev_timer_stop(fixture.loop, &always);
    assert_false(is_live(1));
}

#define TEST(name)                                                                                 \
    cmocka_unit_test_setup_teardown(name, liveness_fixture_open, liveness_fixture_close)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_doubts_at_once),
        TEST(test_doubt_while_another_waits),
        TEST(test_doubt_forgotten),
        cmocka_unit_test(test_doubt_finds_lingering),
        TEST(test_lingering_forgotten),
        TEST(test_lingering_handed_on),
        TEST(test_budget),
        TEST(test_samples_are_not_in_the_budget),
        TEST(test_look_where_walks_take_all),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
