/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Who is told of flows: the running backends, and then the running enrichers. What a module has no
 * function for it is not told.
 */
#pragma once

#include <stdbool.h>

#include "daemon/base/error.h"
#include "daemon/flow/flow.h"
#include "daemon/hub/module.h"

struct flowd_tcp_sample;

struct flowd_subscribers_member {
    const struct flowd_module *module;
    void *instance;
};

/* Zero-initialised is empty. */
struct flowd_subscribers {
    struct flowd_subscribers_member backends[FLOWD_BACKENDS_MAX];
    struct flowd_subscribers_member enrichers[FLOWD_BACKENDS_MAX];
    unsigned backend_count;
    unsigned enricher_count;
};

/* Adds a backend or an enricher. Returns its number among its kind, or -ENOSPC. */
int flowd_subscribers_add(struct flowd_subscribers *subscribers, const struct flowd_module *module,
                          void *instance);
/* Asks the backends. Returns 0, or the -errno of the first that does not accept the event. */
int flowd_subscribers_accept(const struct flowd_subscribers *subscribers,
                             const struct flowd_event *event, struct flowd_error *err);
/* Hints to the backends that they may be told of such a flow after a few others. */
void flowd_subscribers_expect(const struct flowd_subscribers *subscribers,
                              const struct flowd_flow_key *key);
void flowd_subscribers_start(const struct flowd_subscribers *subscribers, struct flowd_flow *flow,
                             bool restored);
void flowd_subscribers_end(const struct flowd_subscribers *subscribers, struct flowd_flow *flow);
/* Both tell the backends and return whether anybody was told. */
bool flowd_subscribers_firefly(const struct flowd_subscribers *subscribers,
                               const struct flowd_event *event, struct flowd_flow *flow,
                               enum flowd_result result);
bool flowd_subscribers_sample(const struct flowd_subscribers *subscribers, struct flowd_flow *flow,
                              const struct flowd_tcp_sample *sample);
/* Has the backends send what they queued. */
void flowd_subscribers_commit(const struct flowd_subscribers *subscribers);
