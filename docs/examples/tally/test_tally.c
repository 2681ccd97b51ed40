/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the tally backend counts of the flows that a hub tells it of, and what it says of them.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <string.h>

#include "daemon/hub/module.h"
#include "daemon/metrics/counter.h"
#include "lab/hub_fixture.h"

extern const struct flowd_module flowd_backend_tally;

struct fixture {
    struct hub_fixture hub;
    void *tally;
    int slot;
    void *config;
};

/* configuration: the module's section as JSON text. */
static void open_with(struct fixture *fixture, const char *configuration)
{
    const struct flowd_module *module = &flowd_backend_tally;
    json_t *object = json_loads(configuration, 0, NULL);
    struct flowd_options_report report = {0};
    struct flowd_error err;

    memset(fixture, 0, sizeof(*fixture));
    hub_fixture_open(&fixture->hub, "", 10);
    fixture->config = test_calloc(1, module->config_size);
    flowd_options_read(module->options, "backends.tally", object, NULL, fixture->config, &report);
    assert_int_equal(report.errors.count, 0);
    json_decref(object);

    struct flowd_context context = {.loop = fixture->hub.loop, .hub = fixture->hub.hub};

    assert_int_equal(module->start(&context, fixture->config, &fixture->tally, &err), 0);
    fixture->slot = flowd_hub_add(fixture->hub.hub, module, fixture->tally);
    assert_true(fixture->slot >= 0);
}

static void close_all(struct fixture *fixture)
{
    flowd_backend_tally.stop(fixture->tally);
    flowd_options_fini(flowd_backend_tally.options, fixture->config);
    test_free(fixture->config);
    hub_fixture_close(&fixture->hub);
}

static long long counted(const struct fixture *fixture, const char *key)
{
    json_t *status = json_object();
    const struct flowd_counter_sink sink = {.status = status};
    long long value;

    flowd_backend_tally.count(fixture->tally, &sink);
    value = json_integer_value(json_object_get(status, key));
    json_decref(status);
    return value;
}

static const char *status_of(const struct fixture *fixture, const struct flowd_flow *flow)
{
    return flowd_backend_tally.backend->statuses[flow->backend[fixture->slot]].name;
}

static void test_starts_and_ends(void **state)
{
    struct fixture fixture;
    struct flowd_flow *flow;

    (void)state;
    open_with(&fixture, "{}");
    hub_fixture_submit(&fixture.hub, FLOWD_EVENT_START, 1, 2, &flow);
    assert_string_equal(status_of(&fixture, flow), "counted");
    hub_fixture_submit(&fixture.hub, FLOWD_EVENT_START, 2, 3, NULL);
    hub_fixture_submit(&fixture.hub, FLOWD_EVENT_END, 1, 2, NULL);
    assert_int_equal(counted(&fixture, "starts"), 2);
    assert_int_equal(counted(&fixture, "ends"), 1);
    close_all(&fixture);
}

static void test_one_experiment(void **state)
{
    struct fixture fixture;
    struct flowd_flow *flow;

    (void)state;
    open_with(&fixture, "{\"experiment\": 3}");
    hub_fixture_submit(&fixture.hub, FLOWD_EVENT_START, 1, 2, &flow);
    assert_string_equal(status_of(&fixture, flow), "off");
    hub_fixture_submit(&fixture.hub, FLOWD_EVENT_START, 2, 3, NULL);
    hub_fixture_submit(&fixture.hub, FLOWD_EVENT_END, 1, 2, NULL);
    assert_int_equal(counted(&fixture, "starts"), 1);
    assert_int_equal(counted(&fixture, "ends"), 0);
    close_all(&fixture);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_starts_and_ends),
        cmocka_unit_test(test_one_experiment),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
