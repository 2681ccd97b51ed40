/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Waiters: told after every backend has committed, in order, and free to do anything meanwhile.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <ev.h>
#include <stdio.h>
#include <string.h>

#include "lab/hub_fixture.h"

static struct hub_fixture fixture;
static char told[256];

struct client {
    struct flowd_waiter waiter; /* first */
    char name;
    unsigned commits; /* of the backend when it was told */
    unsigned again;   /* so many times it submits and waits again */
    uint64_t id;      /* looked up when told; 0: nothing */
    bool found;
    bool stops_loop;           /* when it is told for the last time */
    struct flowd_waiter *drop; /* taken off the list when told; NULL: none */
};

static void on_committed(struct flowd_waiter *waiter)
{
    struct client *client = (struct client *)waiter;
    size_t length = strlen(told);

    assert_false(waiter->waiting);
    told[length] = client->name;
    told[length + 1] = '\0';
    assert_int_equal(fixture.first.commits, fixture.second.commits);
    client->commits = fixture.first.commits;
    if (client->id != 0)
        client->found = flowd_hub_find(fixture.hub, client->id) != NULL;
    if (client->drop != NULL)
        flowd_hub_unwait(fixture.hub, client->drop);
    if (client->again == 0 && client->stops_loop)
        ev_break(fixture.loop, EVBREAK_ONE);
    if (client->again > 0) {
        client->again--;
        hub_fixture_submit(&fixture, FLOWD_EVENT_START, 100 + client->again, 2, NULL);
        flowd_hub_wait(fixture.hub, waiter);
    }
}

static struct client make_client(char name)
{
    return (struct client){.waiter = {.committed = on_committed}, .name = name};
}

static int open_hub(void **state)
{
    (void)state;
    told[0] = '\0';
    hub_fixture_open(&fixture, "", 10000);
    fixture.first.quiet = fixture.second.quiet = true;
    return 0;
}

static int close_hub(void **state)
{
    (void)state;
    hub_fixture_close(&fixture);
    return 0;
}

static void test_order(void **state)
{
    struct client a = make_client('a'), b = make_client('b'), c = make_client('c');

    (void)state;
    hub_fixture_submit(&fixture, FLOWD_EVENT_START, 1, 2, NULL);
    flowd_hub_wait(fixture.hub, &a.waiter);
    flowd_hub_wait(fixture.hub, &b.waiter);
    flowd_hub_wait(fixture.hub, &c.waiter);
    assert_string_equal(told, "");
    hub_fixture_turn(&fixture);
    assert_string_equal(told, "abc");
    assert_int_equal(a.commits, 1);
    assert_int_equal(c.commits, 1);
    hub_fixture_turn(&fixture);
    assert_string_equal(told, "abc");
}

/* A waiter whose event changed nothing is told all the same, without a commit. */
static void test_nothing_to_commit(void **state)
{
    struct client a = make_client('a');

    (void)state;
    flowd_hub_wait(fixture.hub, &a.waiter);
    hub_fixture_turn(&fixture);
    assert_string_equal(told, "a");
    assert_int_equal(fixture.first.commits, 0);
}

static void test_unwait(void **state)
{
    struct client a = make_client('a'), b = make_client('b'), c = make_client('c');

    (void)state;
    flowd_hub_unwait(fixture.hub, &a.waiter);
    flowd_hub_wait(fixture.hub, &a.waiter);
    flowd_hub_wait(fixture.hub, &b.waiter);
    flowd_hub_unwait(fixture.hub, &b.waiter);
    flowd_hub_wait(fixture.hub, &c.waiter);
    flowd_hub_unwait(fixture.hub, &a.waiter);
    flowd_hub_wait(fixture.hub, &a.waiter);
    hub_fixture_turn(&fixture);
    assert_string_equal(told, "ca");
}

static void test_unwait_inside_a_callback(void **state)
{
    struct client a = make_client('a'), b = make_client('b'), c = make_client('c');

    (void)state;
    a.drop = &b.waiter;
    c.drop = &c.waiter;
    flowd_hub_wait(fixture.hub, &a.waiter);
    flowd_hub_wait(fixture.hub, &b.waiter);
    flowd_hub_wait(fixture.hub, &c.waiter);
    hub_fixture_turn(&fixture);
    assert_string_equal(told, "ac");
    flowd_hub_wait(fixture.hub, &b.waiter);
    hub_fixture_turn(&fixture);
    assert_string_equal(told, "acb");
}

/* The last one on the list goes while the first one is told; who waits next is not lost. */
static void test_unwait_the_last_inside_a_callback(void **state)
{
    struct client a = make_client('a'), b = make_client('b'), c = make_client('c');

    (void)state;
    a.drop = &b.waiter;
    a.again = 1;
    flowd_hub_wait(fixture.hub, &a.waiter);
    flowd_hub_wait(fixture.hub, &b.waiter);
    hub_fixture_turn(&fixture);
    assert_string_equal(told, "aa");
    flowd_hub_wait(fixture.hub, &c.waiter);
    hub_fixture_turn(&fixture);
    assert_string_equal(told, "aac");
}

/* Each answer brings the next request: each of them has a commit of its own before it is told. */
static void test_submits_again(void **state)
{
    struct client a = make_client('a');

    (void)state;
    a.again = 5;
    hub_fixture_submit(&fixture, FLOWD_EVENT_START, 1, 2, NULL);
    flowd_hub_wait(fixture.hub, &a.waiter);
    hub_fixture_turn(&fixture);
    assert_string_equal(told, "aaaaaa");
    assert_int_equal(a.commits, 6);
    assert_int_equal(fixture.first.commits, 6);
}

static void on_deadline(struct ev_loop *loop, struct ev_timer *timer, int events)
{
    (void)timer;
    (void)events;
    ev_break(loop, EVBREAK_ONE);
}

/* Somebody who never stops can't keep the loop from turning, and the loop does not block on him. */
static void test_submits_again_for_ever(void **state)
{
    struct client a = make_client('a');
    struct ev_timer deadline;

    (void)state;
    a.again = 100;
    hub_fixture_submit(&fixture, FLOWD_EVENT_START, 1, 2, NULL);
    flowd_hub_wait(fixture.hub, &a.waiter);
    hub_fixture_turn(&fixture);
    assert_true(a.again > 0);
    ev_timer_init(&deadline, on_deadline, 20, 0);
    ev_timer_start(fixture.loop, &deadline);
    a.stops_loop = true;
    ev_run(fixture.loop, 0);
    assert_true(ev_is_active(&deadline));
    ev_timer_stop(fixture.loop, &deadline);
    assert_int_equal(strlen(told), 101);
    assert_int_equal(fixture.first.commits, 101);
}

/* What ended in this turn can still be read by those who are told of the commit. */
static void test_ended_flow_is_readable(void **state)
{
    struct client a = make_client('a'), b = make_client('b');
    struct flowd_flow *flow;

    (void)state;
    hub_fixture_submit(&fixture, FLOWD_EVENT_START, 1, 2, &flow);
    hub_fixture_turn(&fixture);
    a.id = b.id = flow->id;
    hub_fixture_submit(&fixture, FLOWD_EVENT_END, 1, 2, NULL);
    flowd_hub_wait(fixture.hub, &a.waiter);
    hub_fixture_turn(&fixture);
    assert_true(a.found);
    flowd_hub_wait(fixture.hub, &b.waiter);
    hub_fixture_turn(&fixture);
    assert_false(b.found);
}

static void test_flush_tells_waiters(void **state)
{
    struct client a = make_client('a');

    (void)state;
    hub_fixture_submit(&fixture, FLOWD_EVENT_START, 1, 2, NULL);
    flowd_hub_wait(fixture.hub, &a.waiter);
    flowd_hub_flush(fixture.hub);
    assert_string_equal(told, "a");
    assert_int_equal(a.commits, 1);
}

#define WITH_HUB(test) cmocka_unit_test_setup_teardown(test, open_hub, close_hub)

int main(void)
{
    const struct CMUnitTest tests[] = {
        WITH_HUB(test_order),
        WITH_HUB(test_nothing_to_commit),
        WITH_HUB(test_unwait),
        WITH_HUB(test_unwait_inside_a_callback),
        WITH_HUB(test_unwait_the_last_inside_a_callback),
        WITH_HUB(test_submits_again),
        WITH_HUB(test_submits_again_for_ever),
        WITH_HUB(test_ended_flow_is_readable),
        WITH_HUB(test_flush_tells_waiters),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
