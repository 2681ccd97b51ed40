/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The walk over live flows that ends those whose sockets have gone: what follows from what the
 * kernel says of them, which is the test's word here.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <ev.h>
#include <netinet/tcp.h>

#include "daemon/base/timestamp.h"
#include "daemon/hub/hub.h"
#include "daemon/liveness/internal.h"
#include "daemon/tcp/tcp_sample.h"
#include "fake_kernel.h"
#include "liveness_fixture.h"

#define FLOWS 3u
/* A flow that waits is looked at after 0.1 s; others that are due by then are taken along. */
#define FIRST_LOOK_S 0.12

static struct flowd_doubt doubt;

static int open_recovery(void **state)
{
    liveness_fixture_open(state);
    doubt = (struct flowd_doubt){
        .before_us = INT64_MAX, .source = fixture.source, .later = fixture.source};
    for (uint32_t number = 1; number <= FLOWS; number++)
        assert_int_equal(hub_fixture_submit(&fixture, FLOWD_EVENT_START, number, 2, NULL),
                         FLOWD_STARTED);
    return 0;
}

static void turn(void)
{
    ev_run(fixture.loop, EVRUN_NOWAIT);
}

/* Has a walk that waits for its time begin now. */
static void hasten(void)
{
    assert_true(ev_is_active(&liveness->recovery.walk.turn));
    assert_true(ev_timer_remaining(fixture.loop, &liveness->recovery.walk.turn) > 1);
    ev_timer_stop(fixture.loop, &liveness->recovery.walk.turn);
    ev_timer_set(&liveness->recovery.walk.turn, 0, 0);
    ev_timer_start(fixture.loop, &liveness->recovery.walk.turn);
}

static void start(void)
{
    flowd_liveness_doubt(liveness, &doubt);
    assert_true(flowd_liveness_is_walking(liveness));
}

static void test_what_is_said(void **state)
{
    (void)state;
    fake_kernel.life = FLOWD_TCP_CONNECTED;
    start();
    turn();
    assert_false(flowd_liveness_is_walking(liveness));
    assert_int_equal(flowd_hub_live(fixture.hub), FLOWS);
    assert_int_equal(doubt.found, 0);

    fake_kernel.life = -EADDRNOTAVAIL; /* between other hosts */
    start();
    turn();
    assert_false(flowd_liveness_is_walking(liveness));
    assert_int_equal(flowd_hub_live(fixture.hub), FLOWS);

    fake_kernel.life = FLOWD_TCP_LINGERS;
    start();
    turn();
    assert_int_equal(flowd_hub_live(fixture.hub), FLOWS);
    assert_int_equal(flowd_liveness_lingering(liveness), FLOWS);
    assert_int_equal(doubt.found, FLOWS);

    fake_kernel.life = FLOWD_TCP_GONE;
    start();
    turn();
    assert_int_equal(flowd_hub_live(fixture.hub), 0);
    assert_int_equal(doubt.found, 2 * FLOWS);
}

static struct flowd_flow *first_flow(void)
{
    uint32_t cursor = 0;

    return flowd_hub_next(fixture.hub, &cursor);
}

/* Lets the time pass that the flows which wait need. */
static void wait_for_looks(size_t live)
{
    for (unsigned i = 0; i < 100 && flowd_liveness_lingering(liveness) > 0; i++)
        ev_run(fixture.loop, EVRUN_ONCE);
    assert_int_equal(flowd_liveness_lingering(liveness), 0);
    assert_int_equal(flowd_hub_live(fixture.hub), live);
}

static void start_and_see(int what)
{
    fake_kernel.life = what;
    start();
    turn();
    assert_false(flowd_liveness_is_walking(liveness));
    assert_int_equal(flowd_hub_live(fixture.hub), FLOWS);
    assert_int_equal(flowd_liveness_lingering(liveness), FLOWS);
}

static int64_t ended_first_us, ended_last_us;

static void note_end(const struct flowd_flow *flow)
{
    ended_first_us = flow->end_us < ended_first_us ? flow->end_us : ended_first_us;
    ended_last_us = flow->end_us > ended_last_us ? flow->end_us : ended_last_us;
}

/*
 * The kernel calls a connection closed before its last acknowledgement has left: the flow ends with
 * the next look, as of the time when it was seen, however often that was.
 */
static void test_closed(void **state)
{
    int64_t before_us = flowd_timestamp_now_us();
    int64_t seen_us;

    (void)state;
    ended_first_us = INT64_MAX;
    ended_last_us = 0;
    fixture.first.at_end = note_end;
    start_and_see(FLOWD_TCP_CLOSED);
    seen_us = flowd_timestamp_now_us();
    assert_int_equal(doubt.found, FLOWS);
    start_and_see(FLOWD_TCP_CLOSED);
    assert_int_equal(doubt.found, FLOWS);
    fake_kernel.asked = 0;
    wait_for_looks(0);
    assert_int_equal(fake_kernel.asked, FLOWS);
    assert_true(ended_first_us >= before_us && ended_last_us <= seen_us);
    assert_int_equal(flowd_liveness_reused(liveness), 0);
}

/* Also one that waited for its other end, and whose next look is far away. */
static void test_closed_after_it_lingered(void **state)
{
    (void)state;
    start_and_see(FLOWD_TCP_LINGERS);
    while (fake_kernel.asked < 3 * FLOWS)
        ev_run(fixture.loop, EVRUN_ONCE);
    assert_true(ev_timer_remaining(fixture.loop, &liveness->lingering.timer) > FIRST_LOOK_S);
    start_and_see(FLOWD_TCP_CLOSED);
    assert_true(ev_timer_remaining(fixture.loop, &liveness->lingering.timer) < FIRST_LOOK_S);
    wait_for_looks(0);
    assert_int_equal(doubt.found, 2 * FLOWS);
}

/* A look that waited for the other end finds it closed: that is not the last look. */
static void test_found_closed_by_a_look(void **state)
{
    (void)state;
    start_and_see(FLOWD_TCP_LINGERS);
    fake_kernel.life = FLOWD_TCP_CLOSED;
    fake_kernel.asked = 0;
    wait_for_looks(0);
    assert_int_equal(fake_kernel.asked, 2 * FLOWS);
    assert_int_equal(fixture.source->events[FLOWD_EVENT_END][FLOWD_ENDED], FLOWS);
}

/* The ports are used again before the next look: the flow goes on. */
static void test_closed_and_used_again(void **state)
{
    (void)state;
    start_and_see(FLOWD_TCP_CLOSED);
    fake_kernel.life = FLOWD_TCP_CONNECTED;
    wait_for_looks(FLOWS);
    assert_int_equal(flowd_liveness_reused(liveness), FLOWS);
}

/* And another connection that this end has closed already waits for its own other end. */
static void test_closed_and_used_and_closed_here_again(void **state)
{
    (void)state;
    start_and_see(FLOWD_TCP_CLOSED);
    fake_kernel.life = FLOWD_TCP_LINGERS;
    while (fake_kernel.asked < 3 * FLOWS)
        ev_run(fixture.loop, EVRUN_ONCE);
    assert_int_equal(flowd_hub_live(fixture.hub), FLOWS);
    assert_int_equal(flowd_liveness_lingering(liveness), FLOWS);
    assert_int_equal(flowd_liveness_reused(liveness), FLOWS);
}

/* A kernel that does not say is asked again. */
static void test_closed_and_no_answer(void **state)
{
    (void)state;
    start_and_see(FLOWD_TCP_CLOSED);
    fake_kernel.life = -EAGAIN;
    fake_kernel.asked = 0;
    while (fake_kernel.asked < 2 * FLOWS)
        ev_run(fixture.loop, EVRUN_ONCE);
    assert_int_equal(flowd_hub_live(fixture.hub), FLOWS);
    fake_kernel.life = FLOWD_TCP_CLOSED;
    wait_for_looks(0);
    assert_int_equal(fake_kernel.asked, 3 * FLOWS);
}

/* Who announces a flow that is about to end means another connection, which may be yet to come. */
static void test_closed_and_announced_anew(void **state)
{
    (void)state;
    start_and_see(FLOWD_TCP_CLOSED);
    assert_int_equal(hub_fixture_submit(&fixture, FLOWD_EVENT_START, 1, 2, NULL), FLOWD_KNOWN);
    assert_int_equal(hub_fixture_submit(&fixture, FLOWD_EVENT_START, 2, 3, NULL), FLOWD_RESTARTED);
    wait_for_looks(2);
}

/* After a restart a flow that waits for its connection goes on waiting, until it has had it. */
static void test_flow_that_waits(void **state)
{
    uint64_t id = first_flow()->id;

    (void)state;
    first_flow()->looked_for = first_flow()->waits = true;
    doubt.spare_waiting = true;
    fake_kernel.life = FLOWD_TCP_GONE;
    start();
    turn();
    assert_int_equal(flowd_hub_live(fixture.hub), 1);
    assert_int_equal(first_flow()->id, id);
    assert_true(first_flow()->waits);

    fake_kernel.life = FLOWD_TCP_CONNECTED;
    start();
    turn();
    assert_false(first_flow()->waits);
    fake_kernel.life = FLOWD_TCP_GONE;
    start();
    turn();
    assert_int_equal(flowd_hub_live(fixture.hub), 0);
}

/* Where a notification may have been lost, a flow that waits may have had its connection. */
static void test_flow_that_waits_in_doubt(void **state)
{
    (void)state;
    first_flow()->looked_for = first_flow()->waits = true;
    fake_kernel.life = FLOWD_TCP_GONE;
    start();
    turn();
    assert_int_equal(flowd_hub_live(fixture.hub), 0);
}

/* A flow of which the kernel says nothing is asked for again, and not for good. */
static void test_no_answer(void **state)
{
    (void)state;
    fake_kernel.life = -EAGAIN;
    start();
    for (unsigned walk = 1; walk <= 3; walk++) {
        turn();
        assert_int_equal(fake_kernel.asked, walk * FLOWS);
        assert_int_equal(flowd_hub_live(fixture.hub), FLOWS);
        assert_int_equal(flowd_liveness_is_walking(liveness), walk < 3);
        if (walk < 3)
            hasten();
    }
    start();
    turn();
    fake_kernel.life = FLOWD_TCP_GONE;
    hasten();
    turn();
    assert_int_equal(flowd_hub_live(fixture.hub), 0);
    assert_false(flowd_liveness_is_walking(liveness));
}

/* Others whose doubts come meanwhile do not cost it the time between its tries. */
static void test_no_answer_and_others(void **state)
{
    struct flowd_doubt others = {.before_us = INT64_MAX, .source = follower, .later = follower};

    (void)state;
    fake_kernel.life = -EAGAIN;
    start();
    turn();
    for (unsigned i = 0; i < 5; i++) {
        flowd_liveness_doubt(liveness, &others);
        turn();
        assert_false(others.open);
        assert_true(doubt.open);
    }
    /* Nor does another walk that they want at once. */
    for (unsigned i = 0; i < 3; i++) {
        flowd_liveness_doubt(liveness, &others);
        flowd_liveness_doubt(liveness, &others);
        turn();
        assert_true(doubt.open);
        turn();
    }
    for (unsigned tries = 0; tries < 2; tries++) {
        assert_true(doubt.open);
        hasten();
        turn();
    }
    assert_false(doubt.open);
    assert_int_equal(flowd_hub_live(fixture.hub), FLOWS);
}

/* A turn ends after so many questions; the walk goes on in the next one, and another follows it. */
static void test_turns(void **state)
{
    (void)state;
    fake_kernel.life = FLOWD_TCP_CONNECTED;
    fake_kernel.weight = 1000;
    start();
    turn();
    assert_int_equal(fake_kernel.asked, fake_kernel.weight);
    start();
    for (unsigned i = 0; i < 2 * (FLOWS + 1) && flowd_liveness_is_walking(liveness); i++)
        turn();
    assert_false(flowd_liveness_is_walking(liveness));
    assert_int_equal(fake_kernel.asked, 2 * FLOWS * fake_kernel.weight);
}

static void stop_before_it_is_served(struct ev_loop *loop, struct ev_timer *watcher, int events)
{
    (void)loop;
    (void)watcher;
    (void)events;
    assert_true(ev_is_pending(&liveness->recovery.walk.turn));
    assert_false(ev_is_active(&liveness->recovery.walk.turn));
    assert_true(flowd_liveness_is_walking(liveness));
    flowd_liveness_forget_doubt(liveness, &doubt);
    assert_false(flowd_liveness_is_walking(liveness));
}

/* By what is served before it in the same turn, as signals are. */
static void test_stop(void **state)
{
    struct ev_timer earlier;

    (void)state;
    fake_kernel.life = FLOWD_TCP_GONE;
    start();
    ev_timer_init(&earlier, stop_before_it_is_served, 0, 0);
    ev_set_priority(&earlier, EV_MAXPRI);
    ev_timer_start(fixture.loop, &earlier);
    turn();
    assert_false(flowd_liveness_is_walking(liveness));
    turn();
    assert_int_equal(flowd_hub_live(fixture.hub), FLOWS);
    start();
    turn();
    assert_int_equal(flowd_hub_live(fixture.hub), 0);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, open_recovery, liveness_fixture_close)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_what_is_said),
        TEST(test_closed),
        TEST(test_closed_after_it_lingered),
        TEST(test_found_closed_by_a_look),
        TEST(test_closed_and_used_again),
        TEST(test_closed_and_used_and_closed_here_again),
        TEST(test_closed_and_no_answer),
        TEST(test_closed_and_announced_anew),
        TEST(test_flow_that_waits),
        TEST(test_flow_that_waits_in_doubt),
        TEST(test_no_answer),
        TEST(test_no_answer_and_others),
        TEST(test_turns),
        TEST(test_stop),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
