/*
 * Passes what happens to flows on to every member that has a function for it, in the order in which
 * the members were added. Only accept() can refuse; the first refusal counts. A last sample is
 * taken from the first that has one.
 */
#include "daemon/hub/audience.h"

#include <errno.h>

int flowd_audience_add(struct flowd_audience *audience, const struct flowd_module *module,
                       void *instance)
{
    if (audience->count == FLOWD_BACKENDS_MAX)
        return -ENOSPC;
    audience->members[audience->count] =
        (struct flowd_audience_member){.module = module, .instance = instance};
    return (int)audience->count++;
}

int flowd_audience_accept(const struct flowd_audience *audience, const struct flowd_event *event,
                          struct flowd_error *err)
{
    int result = 0;

    for (unsigned i = 0; i < audience->count && result >= 0; i++)
        if (audience->members[i].module->accept != NULL)
            result = audience->members[i].module->accept(audience->members[i].instance, event, err);
    return result < 0 ? result : 0;
}

void flowd_audience_start(const struct flowd_audience *audience, struct flowd_flow *flow,
                          bool restored)
{
    for (unsigned i = 0; i < audience->count; i++)
        if (audience->members[i].module->flow_start != NULL)
            audience->members[i].module->flow_start(audience->members[i].instance, flow, restored);
}

bool flowd_audience_sample(const struct flowd_audience *audience, struct flowd_flow *flow,
                           const struct flowd_tcp_sample *sample)
{
    bool told = false;

    for (unsigned i = 0; i < audience->count; i++) {
        const struct flowd_audience_member *member = &audience->members[i];

        if (member->module->flow_sample == NULL)
            continue;
        member->module->flow_sample(member->instance, flow, sample);
        told = true;
    }
    return told;
}

void flowd_audience_end(const struct flowd_audience *audience, struct flowd_flow *flow)
{
    for (unsigned i = 0; i < audience->count; i++)
        if (audience->members[i].module->flow_end != NULL)
            audience->members[i].module->flow_end(audience->members[i].instance, flow);
}

bool flowd_audience_last_sample(const struct flowd_audience *audience,
                                const struct flowd_flow *flow, struct flowd_tcp_sample *sample)
{
    for (unsigned i = 0; i < audience->count; i++) {
        const struct flowd_audience_member *member = &audience->members[i];

        if (member->module->last_sample != NULL &&
            member->module->last_sample(member->instance, flow, sample) == 0)
            return true;
    }
    return false;
}

void flowd_audience_commit(const struct flowd_audience *audience)
{
    for (unsigned i = 0; i < audience->count; i++)
        if (audience->members[i].module->commit != NULL)
            audience->members[i].module->commit(audience->members[i].instance);
}
