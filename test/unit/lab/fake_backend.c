/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The recording backend. Flows are named by their source port, so that tests read well.
 */
#include "lab/fake_backend.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <stdio.h>

#include "daemon/flow/flow.h"
#include "daemon/hub/hub.h"

static void note(struct fake_backend *fake, const char *what, const struct flowd_flow *flow)
{
    int length;

    if (fake->quiet)
        return;
    length = flow != NULL ? snprintf(fake->calls + fake->length, FAKE_CALLS_SIZE - fake->length,
                                     "%s %u; ", what, flow->key.src_port)
                          : snprintf(fake->calls + fake->length, FAKE_CALLS_SIZE - fake->length,
                                     "%s; ", what);
    assert_in_range(length, 1, FAKE_CALLS_SIZE - 1 - fake->length);
    fake->length += (size_t)length;
}

void fake_backend_expect(struct fake_backend *fake, const char *calls)
{
    fake->calls[fake->length] = '\0';
    assert_string_equal(fake->calls, calls);
    fake->length = 0;
}

static int accept_event(void *instance, const struct flowd_event *event, struct flowd_error *err)
{
    const struct fake_backend *fake = instance;

    if (fake->refuse_experiment != 0 && event->experiment == fake->refuse_experiment)
        return flowd_fail_field(err, ERANGE, "experiment", "%u is refused", event->experiment);
    return 0;
}

static void flow_expected(void *instance, const struct flowd_flow_key *key)
{
    struct fake_backend *fake = instance;

    assert_int_not_equal(key->src_port, 0);
    fake->hints++;
}

static void flow_start(void *instance, struct flowd_flow *flow, bool restored)
{
    struct fake_backend *fake = instance;

    assert_int_equal(flow->state, FLOWD_FLOW_LIVE);
    flow->backend[fake->slot] = 1;
    note(fake, restored ? "restored" : "start", flow);
}

static void flow_end(void *instance, struct flowd_flow *flow)
{
    struct fake_backend *fake = instance;

    assert_int_equal(flow->state, FLOWD_FLOW_ENDED);
    assert_true(flow->end_us >= flow->start_us);
    flow->backend[fake->slot] = 2;
    note(fake, "end", flow);
    if (fake->at_end != NULL)
        fake->at_end(flow);
}

static void take_firefly(void *instance, const struct flowd_event *event, struct flowd_flow *flow,
                         enum flowd_result result)
{
    char what[64];

    assert_non_null(event->message);
    if (flow != NULL)
        assert_int_equal(flow->state, FLOWD_FLOW_LIVE);
    snprintf(what, sizeof(what), "firefly %s", flowd_result_names[result]);
    note(instance, what, flow);
}

static void flow_sample(void *instance, struct flowd_flow *flow,
                        const struct flowd_tcp_sample *sample)
{
    assert_non_null(sample);
    note(instance, "sample", flow);
}

static void commit(void *instance)
{
    struct fake_backend *fake = instance;

    fake->commits++;
    note(fake, "commit", NULL);
}

static const struct flowd_backend_status statuses[] = {
    {"off", false}, {"on", false}, {"gone", true}};

static const struct flowd_backend_ops ops = {
    .statuses = statuses,
    .accept = accept_event,
    .flow_expected = flow_expected,
    .flow_start = flow_start,
    .flow_end = flow_end,
    .firefly = take_firefly,
    .flow_sample = flow_sample,
    .commit = commit,
};

static const struct flowd_module module = {
    .kind = FLOWD_BACKEND,
    .name = "fake",
    .summary = "records what the hub tells it",
    .backend = &ops,
};

void fake_backend_join(struct fake_backend *fake, struct flowd_hub *hub)
{
    fake->slot = flowd_hub_next_slot(hub);
    assert_int_equal(flowd_hub_add(hub, &module, fake), fake->slot);
}
