/*
 * Who is told of flows: the running backends, or the running enrichers. What a module has no
 * function for it is not told.
 */
#pragma once

#include <stdbool.h>

#include "daemon/base/error.h"
#include "daemon/flow/flow.h"
#include "daemon/hub/module.h"

struct flowd_tcp_sample;

struct flowd_audience_member {
    const struct flowd_module *module;
    void *instance;
};

/* Zero-initialised is empty. */
struct flowd_audience {
    struct flowd_audience_member members[FLOWD_BACKENDS_MAX];
    unsigned count;
};

/* Returns the member's number, or -ENOSPC. */
int flowd_audience_add(struct flowd_audience *audience, const struct flowd_module *module,
                       void *instance);
/* Returns 0, or the -errno of the first that does not accept the event. */
int flowd_audience_accept(const struct flowd_audience *audience, const struct flowd_event *event,
                          struct flowd_error *err);
void flowd_audience_start(const struct flowd_audience *audience, struct flowd_flow *flow,
                          bool restored);
void flowd_audience_end(const struct flowd_audience *audience, struct flowd_flow *flow);
/* Returns whether anybody was told. */
bool flowd_audience_sample(const struct flowd_audience *audience, struct flowd_flow *flow,
                           const struct flowd_tcp_sample *sample);
/* The first that finds the flow's socket tells its counts. Returns whether there is one. */
bool flowd_audience_last_sample(const struct flowd_audience *audience,
                                const struct flowd_flow *flow, struct flowd_tcp_sample *sample);
void flowd_audience_commit(const struct flowd_audience *audience);
