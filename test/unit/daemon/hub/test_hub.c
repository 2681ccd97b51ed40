/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the hub makes of events, what it tells its backends, and in which order.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <ev.h>
#include <stdio.h>
#include <string.h>

#include "daemon/base/timestamp.h"
#include "daemon/flow/flow_table.h"
#include "daemon/metrics/counter.h"
#include "lab/hub_fixture.h"
#include "lab/sample_flow.h"
#include "lab/scratch.h"

#define START FLOWD_EVENT_START
#define END FLOWD_EVENT_END
#define ONGOING FLOWD_EVENT_ONGOING

/*
 * Events of flow 1 that came as fireflies: each that is valid is told of once, where the flow is
 * live, whatever becomes of it.
 */
static void test_fireflies(void **state)
{
    static const struct {
        enum flowd_event_state state;
        uint32_t number; /* of the flow */
        uint16_t experiment;
        const char *calls; /* with the turn's commit */
    } rows[] = {
        {END, 1, 2, "firefly unknown; commit; "},
        {START, 1, 2, "start 1025; firefly started 1025; commit; "},
        {START, 1, 2, "firefly known 1025; commit; "},
        {ONGOING, 1, 2, "firefly known 1025; commit; "},
        {START, 1, 3, "end 1025; start 1025; firefly restarted 1025; commit; "},
        {START, 1, 1024, ""},
        {END, 1, 1024, ""},
        {START, 1, 500, "firefly refused; commit; "},
        {START, 3, 2, "firefly refused; commit; "},
        {END, 1, 9, "firefly ended 1025; end 1025; commit; "},
    };
    struct hub_fixture fixture;

    (void)state;
    hub_fixture_open(&fixture, "", 1);
    fixture.second.refuse_experiment = 500;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct flowd_event event = sample_event(rows[i].number);

        event.state = rows[i].state;
        event.experiment = rows[i].experiment;
        /* The hub only hands it on. */
        event.message = (const struct flowd_firefly_message *)&rows[i];
        (void)flowd_hub_submit(fixture.hub, fixture.source, &event, NULL, NULL);
        hub_fixture_turn(&fixture);
        fake_backend_expect(&fixture.first, rows[i].calls);
        fake_backend_expect(&fixture.second, rows[i].calls);
    }
    hub_fixture_close(&fixture);
}

/* One event after the other, all of flow 1 (port 1025). */
static void test_results(void **state)
{
    static const struct {
        enum flowd_event_state state;
        uint16_t experiment;
        int result;
        const char *calls; /* with the turn's commit */
    } rows[] = {
        {END, 2, FLOWD_UNKNOWN, ""},
        {START, 2, FLOWD_STARTED, "start 1025; commit; "},
        {START, 2, FLOWD_KNOWN, ""},
        {ONGOING, 2, FLOWD_KNOWN, ""},
        {START, 3, FLOWD_RESTARTED, "end 1025; start 1025; commit; "},
        {ONGOING, 4, FLOWD_RESTARTED, "end 1025; start 1025; commit; "},
        {START, 1024, -ERANGE, ""},
        {START, 500, -ERANGE, ""},
        {ONGOING, 500, -ERANGE, ""},
        {ONGOING, 4, FLOWD_KNOWN, ""},
        {END, 1024, -ERANGE, ""},
        {END, 9, FLOWD_ENDED, "end 1025; commit; "},
        {END, 9, FLOWD_UNKNOWN, ""},
        {ONGOING, 500, -ERANGE, ""},
        {ONGOING, 6, FLOWD_STARTED, "start 1025; commit; "},
        {END, 500, FLOWD_ENDED, "end 1025; commit; "},
    };
    struct hub_fixture fixture;

    (void)state;
    hub_fixture_open(&fixture, "", 10);
    fixture.second.refuse_experiment = 500;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct flowd_flow *flow = NULL;
        int result = hub_fixture_submit(&fixture, rows[i].state, 1, rows[i].experiment, &flow);

        if (result != rows[i].result)
            fail_msg("row %zu gave %d", i, result);
        assert_int_equal(flow != NULL, result >= 0 && result != FLOWD_UNKNOWN);
        hub_fixture_turn(&fixture);
        fake_backend_expect(&fixture.first, rows[i].calls);
        fake_backend_expect(&fixture.second, rows[i].calls);
    }
    assert_int_equal(fixture.source->events[START][FLOWD_STARTED], 1);
    assert_int_equal(fixture.source->events[START][FLOWD_KNOWN], 1);
    assert_int_equal(fixture.source->events[START][FLOWD_RESTARTED], 1);
    assert_int_equal(fixture.source->events[START][FLOWD_REFUSED], 2);
    assert_int_equal(fixture.source->events[END][FLOWD_UNKNOWN], 2);
    assert_int_equal(fixture.source->events[END][FLOWD_ENDED], 2);
    assert_int_equal(fixture.source->events[END][FLOWD_REFUSED], 1);
    assert_int_equal(fixture.source->events[ONGOING][FLOWD_KNOWN], 2);
    assert_int_equal(flowd_hub_live(fixture.hub), 0);
    hub_fixture_close(&fixture);
}

static void test_refusal_names_the_field(void **state)
{
    struct hub_fixture fixture;
    struct flowd_event event = sample_event(1);
    struct flowd_error err;

    (void)state;
    hub_fixture_open(&fixture, "", 10);
    fixture.first.refuse_experiment = 2;
    assert_int_equal(flowd_hub_submit(fixture.hub, fixture.source, &event, NULL, &err), -ERANGE);
    assert_string_equal(err.message, "experiment: 2 is refused");
    assert_int_equal(flowd_hub_live(fixture.hub), 0);
    hub_fixture_close(&fixture);
}

static void test_one_commit_for_many_events(void **state)
{
    struct hub_fixture fixture;

    (void)state;
    hub_fixture_open(&fixture, "", 20000);
    fixture.first.quiet = fixture.second.quiet = true;
    for (uint32_t number = 0; number < 10000; number++)
        assert_int_equal(hub_fixture_submit(&fixture, START, number, 2, NULL), FLOWD_STARTED);
    assert_int_equal(fixture.first.commits, 0);
    hub_fixture_turn(&fixture);
    assert_int_equal(fixture.first.commits, 1);
    assert_int_equal(fixture.second.commits, 1);
    hub_fixture_turn(&fixture);
    assert_int_equal(fixture.first.commits, 1);
    for (uint32_t number = 0; number < 10000; number++)
        assert_int_equal(hub_fixture_submit(&fixture, END, number, 2, NULL), FLOWD_ENDED);
    hub_fixture_turn(&fixture);
    assert_int_equal(fixture.first.commits, 2);
    assert_int_equal(flowd_hub_live(fixture.hub), 0);
    hub_fixture_close(&fixture);
}

static void test_flows_max(void **state)
{
    struct hub_fixture fixture;
    struct flowd_event event = sample_event(2);
    struct flowd_error err;

    (void)state;
    hub_fixture_open(&fixture, "", 2);
    assert_int_equal(hub_fixture_submit(&fixture, START, 0, 2, NULL), FLOWD_STARTED);
    assert_int_equal(hub_fixture_submit(&fixture, START, 1, 2, NULL), FLOWD_STARTED);
    assert_int_equal(flowd_hub_submit(fixture.hub, fixture.source, &event, NULL, &err), -ENOSPC);
    assert_string_equal(err.message, "2 flows are live, as many as flows.max allows");
    assert_int_equal(hub_fixture_submit(&fixture, START, 1, 3, NULL), FLOWD_RESTARTED);
    assert_int_equal(hub_fixture_submit(&fixture, START, 1, 3, NULL), FLOWD_KNOWN);
    assert_int_equal(hub_fixture_submit(&fixture, END, 0, 2, NULL), FLOWD_ENDED);
    assert_int_equal(hub_fixture_submit(&fixture, START, 2, 2, NULL), FLOWD_STARTED);
    flowd_hub_set_limits(fixture.hub, &(struct flowd_hub_limits){.flows_max = 1});
    assert_int_equal(hub_fixture_submit(&fixture, ONGOING, 2, 2, NULL), FLOWD_KNOWN);
    assert_int_equal(hub_fixture_submit(&fixture, END, 2, 2, NULL), FLOWD_ENDED);
    assert_int_equal(hub_fixture_submit(&fixture, START, 2, 2, NULL), -ENOSPC);
    hub_fixture_close(&fixture);
}

/* Experiment 0 and activity 0 have a label too: 0 would say that there is none. */
static void test_tag_of_zeroes(void **state)
{
    struct hub_fixture fixture;
    unsigned seen = 0;

    (void)state;
    hub_fixture_open(&fixture, "", 1000);
    fixture.first.quiet = fixture.second.quiet = true;
    for (uint16_t port = 1; port <= 1000; port++) {
        struct flowd_event event = sample_event(port);
        struct flowd_flow *flow;

        event.experiment = 0;
        event.activity = 0;
        assert_int_equal(flowd_hub_submit(fixture.hub, fixture.source, &event, &flow, NULL),
                         FLOWD_STARTED);
        assert_int_not_equal(flow->flow_label, 0);
        assert_int_equal(flow->flow_label & ~0xc0103u, 0);
        seen |= flow->flow_label;
    }
    assert_int_equal(seen, 0xc0103);
    hub_fixture_close(&fixture);
}

static void test_what_a_flow_remembers(void **state)
{
    struct hub_fixture fixture;
    struct flowd_event event = sample_event(1);
    struct flowd_flow *flow, *again;
    const char *backend = NULL;
    bool failed = true;
    uint32_t label;

    (void)state;
    hub_fixture_open(&fixture, "", 10);
    event.start_us = 1767225600000000;
    event.application = "ftsXXX";
    event.application_length = 3;
    assert_int_equal(flowd_hub_submit(fixture.hub, fixture.source, &event, &flow, NULL),
                     FLOWD_STARTED);
    assert_int_equal(flow->start_us, 1767225600000000);
    assert_string_equal(flow->application, "fts");
    assert_string_equal(flow->source, "test");
    label = flow->flow_label;
    assert_int_equal(label & ~0xc0103u, flowd_flow_label(2, 17, 0));
    assert_ptr_equal(flowd_hub_find(fixture.hub, flow->id), flow);
    assert_ptr_equal(flowd_hub_find_key(fixture.hub, &event.key), flow);
    assert_string_equal(flowd_hub_backend_status(fixture.hub, flow, 1, &backend, &failed), "on");
    assert_string_equal(backend, "fake");
    assert_false(failed);
    assert_null(flowd_hub_backend_status(fixture.hub, flow, 2, &backend, NULL));
    /* Announced again: neither its start nor its label changes. */
    event.start_us = 0;
    event.application = NULL;
    assert_int_equal(flowd_hub_submit(fixture.hub, fixture.source, &event, &again, NULL),
                     FLOWD_KNOWN);
    assert_ptr_equal(again, flow);
    assert_int_equal(flow->start_us, 1767225600000000);
    assert_int_equal(flow->flow_label, label);
    event.experiment = 600;
    assert_int_equal(flowd_hub_submit(fixture.hub, fixture.source, &event, &flow, NULL),
                     FLOWD_RESTARTED);
    assert_int_equal(flow->flow_label, 0);
    hub_fixture_close(&fixture);
}

static void test_ended_records_stay_until_the_commit(void **state)
{
    struct hub_fixture fixture;
    struct flowd_flow *flow, *next;
    uint64_t id;
    uint32_t index;
    bool failed = false;
    const char *name;

    (void)state;
    hub_fixture_open(&fixture, "", 10);
    hub_fixture_submit(&fixture, START, 1, 2, &flow);
    hub_fixture_turn(&fixture);
    id = flow->id;
    index = flowd_flow_index(flow);
    assert_int_equal(hub_fixture_submit(&fixture, END, 1, 2, &flow), FLOWD_ENDED);
    assert_int_equal(hub_fixture_submit(&fixture, START, 1, 3, &next), FLOWD_STARTED);
    assert_ptr_not_equal(flow, next);
    assert_ptr_equal(flowd_hub_find(fixture.hub, id), flow);
    assert_ptr_equal(flowd_hub_at(fixture.hub, index), flow);
    assert_string_equal(flowd_hub_backend_status(fixture.hub, flow, 0, &name, &failed), "gone");
    assert_true(failed);
    flowd_hub_end(fixture.hub, fixture.source, flow);
    assert_int_equal(flowd_hub_live(fixture.hub), 1);
    hub_fixture_turn(&fixture);
    assert_null(flowd_hub_find(fixture.hub, id));
    assert_null(flowd_hub_at(fixture.hub, index));
    assert_non_null(flowd_hub_find(fixture.hub, next->id));
    hub_fixture_close(&fixture);
}

static void test_walk(void **state)
{
    struct hub_fixture fixture;
    unsigned seen = 0;
    uint32_t cursor = 0;
    struct flowd_flow *flow;

    (void)state;
    hub_fixture_open(&fixture, "", 100);
    for (uint32_t number = 0; number < 50; number++)
        hub_fixture_submit(&fixture, START, number, 2, NULL);
    for (uint32_t number = 0; number < 50; number += 2)
        hub_fixture_submit(&fixture, END, number, 2, NULL);
    while ((flow = flowd_hub_next(fixture.hub, &cursor)) != NULL) {
        assert_int_equal(flow->state, FLOWD_FLOW_LIVE);
        assert_int_equal((flow->key.src_port - 1024) % 2, 1);
        /* Ending what the walk has just returned disturbs nothing. */
        flowd_hub_end(fixture.hub, fixture.source, flow);
        seen++;
    }
    assert_int_equal(seen, 25);
    hub_fixture_close(&fixture);
}

static void test_restore(void **state)
{
    struct hub_fixture fixture;
    struct scratch scratch;
    struct flowd_flow *flow;
    uint64_t id;

    (void)state;
    scratch_make(&scratch);
    hub_fixture_open(&fixture, scratch.path, 10);
    hub_fixture_submit(&fixture, START, 1, 2, &flow);
    hub_fixture_submit(&fixture, START, 3, 2, NULL);
    hub_fixture_submit(&fixture, END, 3, 2, NULL);
    hub_fixture_submit(&fixture, START, 4, 2, NULL);
    id = flow->id;
    hub_fixture_close(&fixture);
    hub_fixture_open(&fixture, scratch.path, 10);
    flowd_hub_restore(fixture.hub);
    fake_backend_expect(&fixture.first, "restored 1025; restored 1028; commit; ");
    assert_int_equal(flowd_hub_live(fixture.hub), 2);
    assert_non_null(flowd_hub_find(fixture.hub, id));
    assert_int_equal(hub_fixture_submit(&fixture, START, 1, 2, NULL), FLOWD_KNOWN);
    hub_fixture_close(&fixture);
    scratch_remove(&scratch);
}

static void count_turns(struct ev_loop *loop, struct ev_timer *timer, int events)
{
    (void)timer;
    (void)events;
    ev_break(loop, EVBREAK_ONE);
}

/* Flows that were last heard of two seconds ago end; those that are spoken of stay. */
static void test_timeout(void **state)
{
    struct hub_fixture fixture;
    struct ev_timer deadline;
    struct flowd_flow *flow;

    (void)state;
    hub_fixture_open(&fixture, "", 100);
    fixture.first.quiet = fixture.second.quiet = true;
    for (uint32_t number = 0; number < 20; number++)
        hub_fixture_submit(&fixture, START, number, 2, &flow);
    for (uint32_t cursor = 0; (flow = flowd_hub_next(fixture.hub, &cursor)) != NULL;)
        flow->last_event_us -= 3600 * (int64_t)1000000;
    for (uint32_t number = 0; number < 10; number++)
        hub_fixture_submit(&fixture, number % 2 ? START : ONGOING, number, 2, NULL);
    hub_fixture_turn(&fixture);
    assert_int_equal(flowd_hub_live(fixture.hub), 20);
    flowd_hub_set_limits(fixture.hub,
                         &(struct flowd_hub_limits){.flows_max = 100, .timeout_s = 1800});
    ev_timer_init(&deadline, count_turns, 10, 0);
    ev_timer_start(fixture.loop, &deadline);
    while (flowd_hub_live(fixture.hub) == 20 && ev_is_active(&deadline))
        ev_run(fixture.loop, EVRUN_ONCE);
    assert_int_equal(flowd_hub_live(fixture.hub), 10);
    assert_int_equal(flowd_hub_source(fixture.hub, "timeout")->events[END][FLOWD_ENDED], 10);
    for (uint32_t number = 0; number < 10; number++) {
        struct flowd_flow_key key = sample_key(number);

        assert_non_null(flowd_hub_find_key(fixture.hub, &key));
    }
    ev_timer_stop(fixture.loop, &deadline);
    hub_fixture_close(&fixture);
}

static void test_sources(void **state)
{
    struct hub_fixture fixture;
    struct flowd_source *source;
    struct flowd_counter_sink sink = {0};
    json_t *status;

    (void)state;
    hub_fixture_open(&fixture, "", 10);
    assert_ptr_equal(flowd_hub_source(fixture.hub, "test"), fixture.source);
    source = flowd_hub_source(fixture.hub, "a name that is too long");
    assert_string_equal(source->name, "a name that");
    assert_ptr_equal(flowd_hub_source(fixture.hub, "a name that is too long"), source);
    assert_ptr_not_equal(flowd_hub_source(fixture.hub, "a name"), source);
    hub_fixture_submit(&fixture, START, 1, 2, NULL);
    sink.status = status = json_object();
    flowd_hub_count(fixture.hub, &sink);
    assert_int_equal(json_integer_value(json_object_get(json_object_get(status, "flows"), "live")),
                     1);
    assert_non_null(json_object_get(json_object_get(status, "events"), "test"));
    json_decref(status);
    hub_fixture_close(&fixture);
}

static int mount_small_disk(void **state)
{
    static struct scratch scratch;

    scratch_make(&scratch);
    if (scratch_mount_small(&scratch))
        *state = &scratch;
    else
        scratch_remove(&scratch);
    return 0;
}

static int unmount_small_disk(void **state)
{
    struct scratch *scratch = *state;

    if (scratch != NULL) {
        scratch_unmount(scratch);
        scratch_remove(scratch);
    }
    return 0;
}

static struct scratch killed_from, killed_to;

/* What a kill at this moment leaves. */
static void copy_state(const struct flowd_flow *flow)
{
    (void)flow;
    static char bytes[1 << 20];
    FILE *file = fopen(scratch_path(&killed_from, "flows.state"), "rbe");
    size_t length;

    assert_non_null(file);
    length = fread(bytes, 1, sizeof(bytes), file);
    fclose(file);
    scratch_write(&killed_to, "flows.state", bytes, length);
}

/* Backends hear of the old flow's end first; the file has the new flow by then. */
static void test_kill_in_a_change_of_tag(void **state)
{
    struct flowd_flow_table_report report;
    struct flowd_flow_table *table;
    struct hub_fixture fixture;
    const struct flowd_flow *flow;
    struct flowd_flow_key key = sample_key(1);

    (void)state;
    scratch_make(&killed_from);
    scratch_make(&killed_to);
    hub_fixture_open(&fixture, killed_from.path, 1);
    assert_int_equal(hub_fixture_submit(&fixture, START, 1, 2, NULL), FLOWD_STARTED);
    fixture.first.at_end = copy_state;
    assert_int_equal(hub_fixture_submit(&fixture, START, 1, 3, NULL), FLOWD_RESTARTED);
    hub_fixture_turn(&fixture);
    fake_backend_expect(&fixture.first, "start 1025; end 1025; start 1025; commit; ");
    hub_fixture_close(&fixture);

    assert_int_equal(flowd_flow_table_open(killed_to.path, &table, &report, NULL), 0);
    assert_int_equal(report.restored, 1);
    assert_int_equal(report.damaged, 0);
    flow = flowd_flow_table_find(table, &key);
    assert_non_null(flow);
    assert_int_equal(flow->experiment, 3);
    flowd_flow_table_close(table);
    scratch_remove(&killed_from);
    scratch_remove(&killed_to);
}

/* A refused event is refused whole: another tag that finds no room leaves the old flow live. */
static void test_full_disk(void **state)
{
    struct scratch *scratch = *state;
    struct hub_fixture fixture;
    uint32_t number = 0;
    size_t live;

    if (scratch == NULL) {
        print_message("a tmpfs of 512 KiB can't be mounted for this process alone\n");
        skip();
    }
    hub_fixture_open(&fixture, scratch->path, 100000);
    fixture.first.quiet = fixture.second.quiet = true;
    while (number < 10000 && hub_fixture_submit(&fixture, START, number, 2, NULL) == FLOWD_STARTED)
        number++;
    assert_in_range(number, 1024, 9999);
    assert_int_equal(hub_fixture_submit(&fixture, START, number, 2, NULL), -ENOSPC);
    hub_fixture_turn(&fixture);
    live = flowd_hub_live(fixture.hub);
    if (hub_fixture_submit(&fixture, START, 1, 3, NULL) < 0) {
        struct flowd_flow_key key = sample_key(1);

        assert_non_null(flowd_hub_find_key(fixture.hub, &key));
    }
    assert_int_equal(flowd_hub_live(fixture.hub), live);
    hub_fixture_close(&fixture);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_results),
        cmocka_unit_test(test_fireflies),
        cmocka_unit_test(test_refusal_names_the_field),
        cmocka_unit_test(test_one_commit_for_many_events),
        cmocka_unit_test(test_flows_max),
        cmocka_unit_test(test_tag_of_zeroes),
        cmocka_unit_test(test_what_a_flow_remembers),
        cmocka_unit_test(test_ended_records_stay_until_the_commit),
        cmocka_unit_test(test_walk),
        cmocka_unit_test(test_restore),
        cmocka_unit_test(test_timeout),
        cmocka_unit_test(test_sources),
        cmocka_unit_test(test_kill_in_a_change_of_tag),
        cmocka_unit_test_setup_teardown(test_full_disk, mount_small_disk, unmount_small_disk),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
