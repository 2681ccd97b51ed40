/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Passes what happens to flows on to every member that has a function for it, in the order in which
 * the members were added, so that a backend's number is its slot. Only accept() can refuse; the
 * first refusal counts. A last sample is taken from the first that has one.
 */
#include "daemon/hub/audience.h"

#include <errno.h>

int flowd_audience_add(struct flowd_audience *audience, const struct flowd_module *module,
                       void *instance)
{
    bool backend = module->kind == FLOWD_BACKEND;
    struct flowd_audience_member *members = backend ? audience->backends : audience->enrichers;
    unsigned *count = backend ? &audience->backend_count : &audience->enricher_count;

    if (*count == FLOWD_BACKENDS_MAX)
        return -ENOSPC;
    members[*count] = (struct flowd_audience_member){.module = module, .instance = instance};
    return (int)(*count)++;
}

int flowd_audience_accept(const struct flowd_audience *audience, const struct flowd_event *event,
                          struct flowd_error *err)
{
    int result = 0;

    for (unsigned i = 0; i < audience->backend_count && result >= 0; i++) {
        const struct flowd_audience_member *member = &audience->backends[i];

        if (member->module->backend->accept != NULL)
            result = member->module->backend->accept(member->instance, event, err);
    }
    return result < 0 ? result : 0;
}

void flowd_audience_start(const struct flowd_audience *audience, struct flowd_flow *flow,
                          bool restored)
{
    for (unsigned i = 0; i < audience->backend_count; i++) {
        const struct flowd_audience_member *member = &audience->backends[i];

        if (member->module->backend->flow_start != NULL)
            member->module->backend->flow_start(member->instance, flow, restored);
    }
    for (unsigned i = 0; i < audience->enricher_count; i++) {
        const struct flowd_audience_member *member = &audience->enrichers[i];

        if (member->module->enricher->flow_start != NULL)
            member->module->enricher->flow_start(member->instance, flow, restored);
    }
}

void flowd_audience_end(const struct flowd_audience *audience, struct flowd_flow *flow)
{
    for (unsigned i = 0; i < audience->backend_count; i++) {
        const struct flowd_audience_member *member = &audience->backends[i];

        if (member->module->backend->flow_end != NULL)
            member->module->backend->flow_end(member->instance, flow);
    }
    for (unsigned i = 0; i < audience->enricher_count; i++) {
        const struct flowd_audience_member *member = &audience->enrichers[i];

        if (member->module->enricher->flow_end != NULL)
            member->module->enricher->flow_end(member->instance, flow);
    }
}

bool flowd_audience_sample(const struct flowd_audience *audience, struct flowd_flow *flow,
                           const struct flowd_tcp_sample *sample)
{
    bool told = false;

    for (unsigned i = 0; i < audience->backend_count; i++) {
        const struct flowd_audience_member *member = &audience->backends[i];

        if (member->module->backend->flow_sample == NULL)
            continue;
        member->module->backend->flow_sample(member->instance, flow, sample);
        told = true;
    }
    return told;
}

void flowd_audience_commit(const struct flowd_audience *audience)
{
    for (unsigned i = 0; i < audience->backend_count; i++) {
        const struct flowd_audience_member *member = &audience->backends[i];

        if (member->module->backend->commit != NULL)
            member->module->backend->commit(member->instance);
    }
}
