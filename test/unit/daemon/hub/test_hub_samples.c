/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What becomes of samples: which backends hear of, and which one is a flow's last.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <ev.h>

#include "daemon/flow/flow_table.h"
#include "daemon/tcp/tcp_sample.h"
#include "lab/hub_fixture.h"
#include "lab/sample_flow.h"

#define PERIOD_MS 1000

static struct hub_fixture fixture;
static struct flowd_flow *flow;

/* What is answered at a flow's end; 0: no socket is found. */
static uint64_t socket_bytes;
static uint64_t socket_cookie;

static int ask_last(void *asked, const struct flowd_flow *ended, struct flowd_tcp_sample *sample)
{
    assert_ptr_equal(asked, &socket_bytes);
    assert_ptr_equal(ended, flow);
    if (socket_bytes == 0)
        return -ENOENT;
    *sample = (struct flowd_tcp_sample){.info.bytes_sent = socket_bytes, .cookie = socket_cookie};
    return 0;
}
static int open_hub(void **state)
{
    const struct flowd_hub_limits limits = {.flows_max = 10, .sample_period_ms = PERIOD_MS};

    (void)state;
    hub_fixture_open(&fixture, "", 10);
    flowd_hub_set_limits(fixture.hub, &limits);
    flowd_hub_set_ask_last(fixture.hub, ask_last, &socket_bytes);
    socket_bytes = socket_cookie = 0;
    fixture.second.quiet = true;
    assert_int_equal(hub_fixture_submit(&fixture, FLOWD_EVENT_START, 1, 2, &flow), FLOWD_STARTED);
    hub_fixture_turn(&fixture);
    fake_backend_expect(&fixture.first, "start 1025; commit; ");
    return 0;
}

static int close_hub(void **state)
{
    (void)state;
    hub_fixture_close(&fixture);
    return 0;
}

static void take(int64_t taken_ms, uint64_t bytes)
{
    const struct flowd_tcp_sample sample = {.taken_us = taken_ms * 1000, .info.bytes_sent = bytes};

    flowd_hub_sample(fixture.hub, flow, &sample);
}

static uint64_t last_bytes(void)
{
    const struct flowd_tcp_sample *sample = flowd_hub_sample_of(fixture.hub, flow);

    assert_non_null(sample);
    return sample->info.bytes_sent;
}

/* Two enrichers may sample the same flow: backends hear of one in half a period, all are kept. */
static void test_backends_hear_once_in_half_a_period(void **state)
{
    static const struct {
        int64_t taken_ms;
        const char *calls;
    } rows[] = {
        {1000000, "sample 1025; commit; "},
        {1000000, ""},
        {1000499, ""},
        {1000500, "sample 1025; commit; "},
        {1000999, ""},
        {1001500, "sample 1025; commit; "},
        {500000, "sample 1025; commit; "}, /* the clock was set back */
        {500100, ""},
        {500500, "sample 1025; commit; "},
    };

    (void)state;
    assert_null(flowd_hub_sample_of(fixture.hub, flow));
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        take(rows[i].taken_ms, i);
        hub_fixture_turn(&fixture);
        fake_backend_expect(&fixture.first, rows[i].calls);
        assert_int_equal(last_bytes(), i);
    }
}

static void test_who_ends_a_flow_may_bring_the_final_counts(void **state)
{
    const struct flowd_tcp_sample final = {.info.bytes_sent = 30};

    (void)state;
    take(1000, 10);
    socket_bytes = 20;
    flowd_hub_end_as(fixture.hub, fixture.source, flow,
                     &(struct flowd_ending){.last = FLOWD_LAST_GIVEN, .sample = &final});
    assert_int_equal(last_bytes(), 30);
}

static void test_else_its_socket_is_asked_for(void **state)
{
    (void)state;
    take(1000, 10);
    socket_bytes = 20;
    assert_int_equal(hub_fixture_submit(&fixture, FLOWD_EVENT_END, 1, 2, NULL), FLOWD_ENDED);
    assert_int_equal(last_bytes(), 20);
}

static void test_else_the_last_one_stays(void **state)
{
    (void)state;
    take(1000, 10);
    assert_int_equal(hub_fixture_submit(&fixture, FLOWD_EVENT_END, 1, 2, NULL), FLOWD_ENDED);
    assert_int_equal(last_bytes(), 10);
}

static void test_who_ends_a_flow_may_know_that_its_socket_is_gone(void **state)
{
    const struct flowd_ending ending = {.last = FLOWD_LAST_KNOWN, .end_us = INT64_MAX};

    (void)state;
    take(1000, 10);
    socket_bytes = 20;
    flowd_hub_end_as(fixture.hub, fixture.source, flow, &ending);
    assert_int_equal(last_bytes(), 10);
    assert_true(flow->end_us == INT64_MAX);
}

/* The counts of another socket, by its cookie, are not the flow's. */
static void test_another_socket_is_found(void **state)
{
    const struct flowd_tcp_sample former = {.info.bytes_sent = 10, .cookie = 1};

    (void)state;
    flowd_hub_sample(fixture.hub, flow, &former);
    socket_bytes = 20;
    socket_cookie = 2;
    flowd_hub_end(fixture.hub, fixture.source, flow);
    assert_int_equal(last_bytes(), 10);
}

/* Another socket has taken over the addresses and ports of the flow's. */
static void test_who_ends_a_flow_may_know_that_nothing_is_known(void **state)
{
    (void)state;
    take(1000, 10);
    socket_bytes = 20;
    flowd_hub_end_as(fixture.hub, fixture.source, flow,
                     &(struct flowd_ending){.last = FLOWD_LAST_NONE});
    assert_null(flowd_hub_sample_of(fixture.hub, flow));
}

static void test_of_a_socket_whose_flow_goes_on(void **state)
{
    const struct flowd_tcp_sample former = {.info.bytes_sent = 7};

    (void)state;
    flowd_hub_keep_sample(fixture.hub, flow, &former);
    hub_fixture_turn(&fixture);
    fake_backend_expect(&fixture.first, "");
    assert_int_equal(last_bytes(), 7);
}

/* The next flow takes the same record and must not show what the former one did. */
static void test_a_new_flow_has_none(void **state)
{
    uint32_t record = flowd_flow_index(flow);

    (void)state;
    take(1000, 10);
    assert_int_equal(hub_fixture_submit(&fixture, FLOWD_EVENT_END, 1, 2, NULL), FLOWD_ENDED);
    hub_fixture_turn(&fixture);
    assert_int_equal(hub_fixture_submit(&fixture, FLOWD_EVENT_START, 2, 2, &flow), FLOWD_STARTED);
    assert_int_equal(flowd_flow_index(flow), record);
    assert_null(flowd_hub_sample_of(fixture.hub, flow));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_backends_hear_once_in_half_a_period, open_hub,
                                        close_hub),
        cmocka_unit_test_setup_teardown(test_who_ends_a_flow_may_bring_the_final_counts, open_hub,
                                        close_hub),
        cmocka_unit_test_setup_teardown(test_else_its_socket_is_asked_for, open_hub, close_hub),
        cmocka_unit_test_setup_teardown(test_else_the_last_one_stays, open_hub, close_hub),
        cmocka_unit_test_setup_teardown(test_who_ends_a_flow_may_know_that_its_socket_is_gone,
                                        open_hub, close_hub),
        cmocka_unit_test_setup_teardown(test_another_socket_is_found, open_hub, close_hub),
        cmocka_unit_test_setup_teardown(test_who_ends_a_flow_may_know_that_nothing_is_known,
                                        open_hub, close_hub),
        cmocka_unit_test_setup_teardown(test_of_a_socket_whose_flow_goes_on, open_hub, close_hub),
        cmocka_unit_test_setup_teardown(test_a_new_flow_has_none, open_hub, close_hub),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
