/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Many flows are restored over several turns, and whatever is said of one of them meanwhile.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <string.h>

#include "lab/hub_fixture.h"
#include "lab/sample_flow.h"
#include "lab/scratch.h"

#define FLOWS 5000u
#define START FLOWD_EVENT_START
#define END FLOWD_EVENT_END

static struct scratch scratch;
static struct hub_fixture fixture;

/* A hub that has told of some of its flows, and not of the last ones. */
static int open_half_way(void **state)
{
    (void)state;
    scratch_make(&scratch);
    hub_fixture_open(&fixture, scratch.path, FLOWS + 10);
    fixture.first.quiet = fixture.second.quiet = true;
    for (uint32_t number = 0; number < FLOWS; number++)
        assert_int_equal(hub_fixture_submit(&fixture, START, number, 2, NULL), FLOWD_STARTED);
    hub_fixture_close(&fixture);
    hub_fixture_open(&fixture, scratch.path, FLOWS + 10);
    fixture.first.quiet = fixture.second.quiet = true;
    flowd_hub_restore(fixture.hub);
    assert_true(flowd_hub_is_restoring(fixture.hub));
    fixture.first.quiet = false;
    return 0;
}

static int close_all(void **state)
{
    (void)state;
    hub_fixture_close(&fixture);
    scratch_remove(&scratch);
    return 0;
}

static struct flowd_flow *flow_of(uint32_t number)
{
    struct flowd_flow_key key = sample_key(number);

    return flowd_hub_find_key(fixture.hub, &key);
}

/* Turns until everybody was told of everything. Returns the flows that the backends have seen. */
static unsigned go_on(void)
{
    unsigned turns = 0;
    unsigned seen = 0;
    uint32_t cursor = 0;
    const struct flowd_flow *flow;

    fixture.first.quiet = true;
    while (flowd_hub_is_restoring(fixture.hub)) {
        hub_fixture_turn(&fixture);
        assert_true(++turns < 100);
    }
    hub_fixture_turn(&fixture);
    while ((flow = flowd_hub_next(fixture.hub, &cursor)) != NULL) {
        assert_false(flow->untold);
        assert_int_equal(flow->backend[0], 1);
        seen++;
    }
    assert_int_equal(seen, flowd_hub_live(fixture.hub));
    return seen;
}

static void test_in_turns(void **state)
{
    const char *status, *backend;
    unsigned told = 0;

    (void)state;
    assert_int_equal(flowd_hub_live(fixture.hub), FLOWS);
    for (uint32_t number = 0; number < FLOWS; number++) {
        const struct flowd_flow *flow = flow_of(number);

        assert_non_null(flow);
        status = flowd_hub_backend_status(fixture.hub, flow, 0, &backend, NULL);
        assert_int_equal(flow->untold, flow->backend[0] == 0);
        assert_int_equal(flow->untold, strcmp(status, "restoring") == 0);
        told += !flow->untold;
    }
    assert_in_range(told, 1, FLOWS - 1);
    assert_int_equal(go_on(), FLOWS);
}

/* Whoever ends a flow that nobody was told of ends it, for the backends too. */
static void test_end_of_untold(void **state)
{
    (void)state;
    assert_true(flow_of(4900)->untold);
    assert_int_equal(hub_fixture_submit(&fixture, END, 4900, 2, NULL), FLOWD_ENDED);
    fake_backend_expect(&fixture.first, "restored 5924; end 5924; ");
    assert_null(flow_of(4900));
    flowd_hub_end(fixture.hub, fixture.source, flow_of(4901));
    fake_backend_expect(&fixture.first, "restored 5925; end 5925; ");
    assert_int_equal(go_on(), FLOWS - 2);
}

static void test_start_of_untold(void **state)
{
    int64_t start_us = flow_of(4950)->start_us;

    (void)state;
    assert_int_equal(hub_fixture_submit(&fixture, START, 4950, 2, NULL), FLOWD_KNOWN);
    fake_backend_expect(&fixture.first, "restored 5974; ");
    assert_true(flow_of(4950)->start_us == start_us);
    assert_int_equal(hub_fixture_submit(&fixture, START, 4951, 3, NULL), FLOWD_RESTARTED);
    fake_backend_expect(&fixture.first, "restored 5975; end 5975; start 5975; ");
    assert_int_equal(hub_fixture_submit(&fixture, START, FLOWS, 3, NULL), FLOWD_STARTED);
    fake_backend_expect(&fixture.first, "start 6024; ");
    assert_int_equal(go_on(), FLOWS + 1);
}

/* Of flows that a hint was given of, and of others, the same is told. */
static void test_hints(void **state)
{
    struct flowd_event event = sample_event(FLOWS);
    unsigned before = fixture.first.hints;

    (void)state;
    assert_in_range(before, 1, FLOWS - 1);
    assert_int_equal(hub_fixture_submit(&fixture, END, 4900, 2, NULL), FLOWD_ENDED);
    assert_int_equal(hub_fixture_submit(&fixture, START, FLOWS, 3, NULL), FLOWD_STARTED);
    fake_backend_expect(&fixture.first, "restored 5924; end 5924; start 6024; ");
    assert_int_equal(fixture.first.hints, before);
    flowd_hub_prefetch(fixture.hub, &event);
    assert_int_equal(fixture.first.hints, before + 1);
    event.state = FLOWD_EVENT_ONGOING;
    flowd_hub_prefetch(fixture.hub, &event);
    assert_int_equal(fixture.first.hints, before + 1);
    assert_int_equal(go_on(), FLOWS);
    fixture.first.hints--;
    fixture.second.hints--;
    /* The first few come too soon for one, and one of the others has ended. */
    assert_in_range(fixture.first.hints, FLOWS - 64, FLOWS - 2);
    assert_int_equal(fixture.second.hints, fixture.first.hints);
}

/* A process that ends half way has lost nothing. */
static void test_stop_half_way(void **state)
{
    (void)state;
    hub_fixture_close(&fixture);
    hub_fixture_open(&fixture, scratch.path, FLOWS + 10);
    fixture.second.quiet = fixture.first.quiet = true;
    flowd_hub_restore(fixture.hub);
    assert_int_equal(go_on(), FLOWS);
}

#define HALF_WAY(test) cmocka_unit_test_setup_teardown(test, open_half_way, close_all)

int main(void)
{
    const struct CMUnitTest tests[] = {
        HALF_WAY(test_in_turns), HALF_WAY(test_end_of_untold), HALF_WAY(test_start_of_untold),
        HALF_WAY(test_hints),    HALF_WAY(test_stop_half_way),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
