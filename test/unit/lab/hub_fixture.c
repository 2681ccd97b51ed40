/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Hubs for tests.
 */
#include "lab/hub_fixture.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <ev.h>

#include "daemon/flow/flow_table.h"
#include "lab/sample_flow.h"

void hub_fixture_open(struct hub_fixture *fixture, const char *directory, size_t flows_max)
{
    const struct flowd_hub_limits limits = {.flows_max = flows_max};
    struct flowd_flow_table_report report;
    struct flowd_flow_table *table;

    *fixture = (struct hub_fixture){.loop = ev_loop_new(0)};
    assert_non_null(fixture->loop);
    assert_int_equal(flowd_flow_table_open(directory, &table, &report, NULL), 0);
    fixture->hub = flowd_hub_new(fixture->loop, table, &limits);
    assert_non_null(fixture->hub);
    fake_backend_join(&fixture->first, fixture->hub);
    fake_backend_join(&fixture->second, fixture->hub);
    assert_int_equal(fixture->second.slot, 1);
    fixture->source = flowd_hub_source(fixture->hub, "test");
    assert_non_null(fixture->source);
    flowd_hub_begin(fixture->hub);
}

void hub_fixture_close(struct hub_fixture *fixture)
{
    flowd_hub_free(fixture->hub);
    ev_loop_destroy(fixture->loop);
}

void hub_fixture_turn(struct hub_fixture *fixture)
{
    ev_run(fixture->loop, EVRUN_NOWAIT);
}

int hub_fixture_submit(struct hub_fixture *fixture, enum flowd_event_state state, uint32_t number,
                       uint16_t experiment, struct flowd_flow **flow)
{
    struct flowd_event event = sample_event(number);

    event.state = state;
    event.experiment = experiment;
    return flowd_hub_submit(fixture->hub, fixture->source, &event, flow, NULL);
}
