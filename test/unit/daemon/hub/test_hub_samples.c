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

/* The enricher's answer at a flow's end; 0: it finds no socket. */
static uint64_t enricher_bytes;

static int last_sample(void *instance, const struct flowd_flow *ended,
                       struct flowd_tcp_sample *sample)
{
    (void)instance;
    (void)ended;
    if (enricher_bytes == 0)
        return -ENOENT;
    *sample = (struct flowd_tcp_sample){.info.bytes_sent = enricher_bytes};
    return 0;
}

static const struct flowd_enricher_ops ops = {.last_sample = last_sample};
static const struct flowd_module enricher = {
    .kind = FLOWD_ENRICHER,
    .name = "fake",
    .enricher = &ops,
};

static int open_hub(void **state)
{
    const struct flowd_hub_limits limits = {.flows_max = 10, .sample_period_ms = PERIOD_MS};

    (void)state;
    hub_fixture_open(&fixture, "", 10);
    flowd_hub_set_limits(fixture.hub, &limits);
    assert_int_equal(flowd_hub_add(fixture.hub, &enricher, &enricher_bytes), 0);
    enricher_bytes = 0;
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
    enricher_bytes = 20;
    flowd_hub_end(fixture.hub, fixture.source, flow, &final);
    assert_int_equal(last_bytes(), 30);
}

static void test_else_enrichers_are_asked(void **state)
{
    (void)state;
    take(1000, 10);
    enricher_bytes = 20;
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

/* Another socket has taken over the addresses and ports of the flow's. */
static void test_who_ends_a_flow_may_know_that_nothing_is_known(void **state)
{
    (void)state;
    take(1000, 10);
    enricher_bytes = 20;
    flowd_hub_end(fixture.hub, fixture.source, flow, &flowd_tcp_sample_unknown);
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
        cmocka_unit_test_setup_teardown(test_else_enrichers_are_asked, open_hub, close_hub),
        cmocka_unit_test_setup_teardown(test_else_the_last_one_stays, open_hub, close_hub),
        cmocka_unit_test_setup_teardown(test_who_ends_a_flow_may_know_that_nothing_is_known,
                                        open_hub, close_hub),
        cmocka_unit_test_setup_teardown(test_of_a_socket_whose_flow_goes_on, open_hub, close_hub),
        cmocka_unit_test_setup_teardown(test_a_new_flow_has_none, open_hub, close_hub),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
