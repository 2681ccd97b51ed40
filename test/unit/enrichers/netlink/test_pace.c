/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How many flows the enricher asks for at once when the loop was held up for longer than a period.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <ev.h>
#include <jansson.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "daemon/flow/flow_table.h"
#include "daemon/hub/hub.h"
#include "daemon/hub/module.h"
#include "daemon/liveness/liveness.h"
#include "daemon/metrics/counter.h"
#include "daemon/net/host.h"

#define FLOWS 20000u
#define MOST_AT_ONCE 4096
#define PERIOD_MS 20
#define HELD_UP_US 100000

extern const struct flowd_module flowd_enricher_netlink;

static struct flowd_context context = {.flows_max = FLOWS, .sample_period_ms = PERIOD_MS};
static struct flowd_options_report report;
static void *config;
static void *enricher;

static int open_enricher(void **state)
{
    const struct flowd_module *module = &flowd_enricher_netlink;
    const struct flowd_hub_limits limits = {.flows_max = FLOWS, .sample_period_ms = PERIOD_MS};
    struct flowd_flow_table_report table_report;
    struct flowd_flow_table *table;
    json_t *empty = json_object();

    (void)state;
    context.loop = ev_loop_new(0);
    assert_non_null(context.loop);
    assert_int_equal(flowd_flow_table_open("", &table, &table_report, NULL), 0);
    context.hub = flowd_hub_new(context.loop, table, &limits);
    assert_non_null(context.hub);
    assert_int_equal(flowd_host_new(context.loop, &context.host, NULL), 0);
    context.liveness = flowd_liveness_new(&context);
    assert_non_null(context.liveness);
    config = calloc(1, module->config_size);
    assert_non_null(config);
    flowd_options_read(module->options, "", empty, NULL, config, &report);
    json_decref(empty);
    assert_false(flowd_messages_any(&report.errors));
    assert_int_equal(module->start(&context, config, &enricher, NULL), 0);
    assert_int_equal(flowd_hub_add(context.hub, module, enricher), 0);
    flowd_hub_begin(context.hub);
    return 0;
}

static int close_enricher(void **state)
{
    (void)state;
    flowd_enricher_netlink.stop(enricher);
    flowd_liveness_free(context.liveness);
    flowd_hub_free(context.hub);
    flowd_host_free(context.host);
    flowd_options_fini(flowd_enricher_netlink.options, config);
    free(config);
    ev_loop_destroy(context.loop);
    return 0;
}

/* Of this host, without a socket. */
static void announce(uint32_t number)
{
    const uint8_t loopback[4] = {127, 0, 0, (uint8_t)(1 + number / 10000)};
    struct flowd_event event = {.state = FLOWD_EVENT_START,
                                .key = {.family = AF_INET,
                                        .protocol = IPPROTO_TCP,
                                        .src_port = (uint16_t)(1 + number % 10000),
                                        .dst_port = 1},
                                .experiment = 2};

    memcpy(&event.key.src, loopback, sizeof(loopback));
    memcpy(&event.key.dst, loopback, sizeof(loopback));
    assert_int_equal(
        flowd_hub_submit(context.hub, flowd_hub_source(context.hub, "test"), &event, NULL, NULL),
        FLOWD_STARTED);
}

static json_int_t asked(void)
{
    json_t *status = json_object();
    const struct flowd_counter_sink sink = {.status = status};
    json_int_t count;

    flowd_enricher_netlink.count(enricher, &sink);
    count = json_integer_value(json_object_get(status, "withoutSocket")) +
            json_integer_value(json_object_get(status, "unanswered"));
    json_decref(status);
    return count;
}

static void test_what_is_late_takes_several_turns(void **state)
{
    json_int_t before = 0;

    (void)state;
    for (uint32_t number = 0; number < FLOWS; number++)
        announce(number);
    usleep(HELD_UP_US);
    while (before < FLOWS) {
        json_int_t after;

        ev_run(context.loop, EVRUN_ONCE);
        after = asked();
        assert_in_range(after - before, 0, MOST_AT_ONCE);
        before = after;
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_what_is_late_takes_several_turns, open_enricher,
                                        close_enricher),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
