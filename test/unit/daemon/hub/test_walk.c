/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The walk over live flows: it is done in parts of bounded work, and every flow is visited after
 * the last time that somebody asked for it.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <ev.h>

#include "daemon/flow/flow_table.h"
#include "daemon/hub/walk.h"
#include "lab/hub_fixture.h"

#define FLOWS (2 * FLOWD_WALK_PER_TURN + 100)

static struct hub_fixture fixture;
static struct flowd_walk walk;
static unsigned *visits; /* by record */
static uint32_t visited;
static uint32_t work; /* of each visit */
static unsigned parts;
static unsigned ends;

static uint32_t visit(struct flowd_walk *which, struct flowd_flow *flow)
{
    assert_ptr_equal(which, &walk);
    visits[flowd_flow_index(flow)]++;
    visited++;
    return work;
}

static void rest(struct flowd_walk *which, bool over)
{
    assert_ptr_equal(which, &walk);
    parts++;
    ends += over;
}

static int open_walk(void **state)
{
    (void)state;
    hub_fixture_open(&fixture, "", FLOWS);
    fixture.first.quiet = fixture.second.quiet = true;
    for (uint32_t number = 1; number <= FLOWS; number++)
        hub_fixture_submit(&fixture, FLOWD_EVENT_START, number, 2, NULL);
    assert_int_equal(flowd_hub_live(fixture.hub), FLOWS);
    hub_fixture_turn(&fixture);
    visits = calloc(FLOWS, sizeof(*visits));
    assert_non_null(visits);
    visited = work = parts = ends = 0;
    flowd_walk_init(&walk, fixture.loop, fixture.hub, visit, rest);
    return 0;
}

static int close_walk(void **state)
{
    (void)state;
    flowd_walk_stop(&walk);
    free(visits);
    hub_fixture_close(&fixture);
    return 0;
}

static void forget(void)
{
    memset(visits, 0, FLOWS * sizeof(*visits));
    visited = 0;
}

/* Turns until the walk is over. Returns how many turns it took. */
static unsigned finish(void)
{
    unsigned turns = 0;

    for (; flowd_walk_is_running(&walk); turns++) {
        uint32_t before = visited;

        hub_fixture_turn(&fixture);
        assert_true(visited - before <= FLOWD_WALK_PER_TURN / (work + 1) + 1);
        assert_true(turns < 10000);
    }
    return turns;
}

static void assert_visited_once(void)
{
    for (size_t i = 0; i < FLOWS; i++)
        assert_int_equal(visits[i], 1);
}

static void test_in_parts(void **state)
{
    (void)state;
    flowd_walk_start(&walk, 0);
    assert_int_equal(visited, 0);
    assert_true(finish() >= 3);
    assert_visited_once();
    assert_int_equal(ends, 1);
    assert_true(parts >= 3);
}

static void test_work_counts(void **state)
{
    (void)state;
    work = 63;
    flowd_walk_start(&walk, 0);
    assert_true(finish() >= FLOWS / (FLOWD_WALK_PER_TURN / 64));
    assert_visited_once();
}

static void test_enough_ends_the_turn(void **state)
{
    (void)state;
    work = FLOWD_WALK_PER_TURN;
    flowd_walk_start(&walk, 0);
    hub_fixture_turn(&fixture);
    hub_fixture_turn(&fixture);
    assert_true(visited >= 1 && visited <= 2);
}

/* Started again on its way, it visits what is ahead of it and then what lies behind. */
static void test_started_again(void **state)
{
    (void)state;
    flowd_walk_start(&walk, 0);
    while (visited == 0)
        hub_fixture_turn(&fixture);
    assert_true(visited < FLOWS);
    forget();
    flowd_walk_start(&walk, 0);
    finish();
    assert_visited_once();
    assert_int_equal(ends, 1);

    /* And again after it has turned round. */
    forget();
    flowd_walk_start(&walk, 0);
    while (visited == 0)
        hub_fixture_turn(&fixture);
    flowd_walk_start(&walk, 0);
    while (!walk.wrapped)
        hub_fixture_turn(&fixture);
    forget();
    flowd_walk_start(&walk, 0);
    finish();
    assert_visited_once();
    assert_int_equal(ends, 2);
}

/* Records of no flow are looked at too, and not all in one turn. */
static void test_free_records(void **state)
{
    unsigned turns;

    (void)state;
    for (uint32_t number = 1; number < FLOWS; number++)
        hub_fixture_submit(&fixture, FLOWD_EVENT_END, number, 2, NULL);
    hub_fixture_turn(&fixture);
    assert_int_equal(flowd_hub_live(fixture.hub), 1);
    flowd_walk_start(&walk, 0);
    turns = finish();
    assert_int_equal(visited, 1);
    assert_true(turns >= 3);
}

static void test_stopped(void **state)
{
    (void)state;
    flowd_walk_start(&walk, 0);
    flowd_walk_stop(&walk);
    assert_false(flowd_walk_is_running(&walk));
    hub_fixture_turn(&fixture);
    assert_int_equal(visited, 0);
    flowd_walk_start(&walk, 0);
    finish();
    assert_visited_once();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_in_parts, open_walk, close_walk),
        cmocka_unit_test_setup_teardown(test_work_counts, open_walk, close_walk),
        cmocka_unit_test_setup_teardown(test_enough_ends_the_turn, open_walk, close_walk),
        cmocka_unit_test_setup_teardown(test_started_again, open_walk, close_walk),
        cmocka_unit_test_setup_teardown(test_free_records, open_walk, close_walk),
        cmocka_unit_test_setup_teardown(test_stopped, open_walk, close_walk),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
