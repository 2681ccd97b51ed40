/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Passes what happens to flows on to every member that has a function for it, in the order in which
 * the members were added, so that a backend's number is its slot. Only accept() can refuse; the
 * first refusal counts. A last sample is taken from the first that has one.
 */
#include "daemon/hub/subscribers.h"

#include <errno.h>

int flowd_subscribers_add(struct flowd_subscribers *subscribers, const struct flowd_module *module,
                          void *instance)
{
    bool backend = module->kind == FLOWD_BACKEND;
    struct flowd_subscribers_member *members =
        backend ? subscribers->backends : subscribers->enrichers;
    unsigned *count = backend ? &subscribers->backend_count : &subscribers->enricher_count;

    if (*count == FLOWD_BACKENDS_MAX)
        return -ENOSPC;
    members[*count] = (struct flowd_subscribers_member){.module = module, .instance = instance};
    return (int)(*count)++;
}

int flowd_subscribers_accept(const struct flowd_subscribers *subscribers,
                             const struct flowd_event *event, struct flowd_error *err)
{
    int result = 0;

    for (unsigned i = 0; i < subscribers->backend_count && result >= 0; i++) {
        const struct flowd_subscribers_member *member = &subscribers->backends[i];

        if (member->module->backend->accept != NULL)
            result = member->module->backend->accept(member->instance, event, err);
    }
    return result < 0 ? result : 0;
}

void flowd_subscribers_expect(const struct flowd_subscribers *subscribers,
                              const struct flowd_flow_key *key)
{
    for (unsigned i = 0; i < subscribers->backend_count; i++) {
        const struct flowd_subscribers_member *member = &subscribers->backends[i];

        if (member->module->backend->flow_expected != NULL)
            member->module->backend->flow_expected(member->instance, key);
    }
}

void flowd_subscribers_start(const struct flowd_subscribers *subscribers, struct flowd_flow *flow,
                             bool restored)
{
    for (unsigned i = 0; i < subscribers->backend_count; i++) {
        const struct flowd_subscribers_member *member = &subscribers->backends[i];

        if (member->module->backend->flow_start != NULL)
            member->module->backend->flow_start(member->instance, flow, restored);
    }
    for (unsigned i = 0; i < subscribers->enricher_count; i++) {
        const struct flowd_subscribers_member *member = &subscribers->enrichers[i];

        if (member->module->enricher->flow_start != NULL)
            member->module->enricher->flow_start(member->instance, flow, restored);
    }
}

void flowd_subscribers_end(const struct flowd_subscribers *subscribers, struct flowd_flow *flow)
{
    for (unsigned i = 0; i < subscribers->backend_count; i++) {
        const struct flowd_subscribers_member *member = &subscribers->backends[i];

        if (member->module->backend->flow_end != NULL)
            member->module->backend->flow_end(member->instance, flow);
    }
    for (unsigned i = 0; i < subscribers->enricher_count; i++) {
        const struct flowd_subscribers_member *member = &subscribers->enrichers[i];

        if (member->module->enricher->flow_end != NULL)
            member->module->enricher->flow_end(member->instance, flow);
    }
}

bool flowd_subscribers_firefly(const struct flowd_subscribers *subscribers,
                               const struct flowd_event *event, struct flowd_flow *flow,
                               enum flowd_result result)
{
    bool told = false;

    for (unsigned i = 0; i < subscribers->backend_count; i++) {
        const struct flowd_subscribers_member *member = &subscribers->backends[i];

        if (member->module->backend->firefly == NULL)
            continue;
        member->module->backend->firefly(member->instance, event, flow, result);
        told = true;
    }
    return told;
}

bool flowd_subscribers_sample(const struct flowd_subscribers *subscribers, struct flowd_flow *flow,
                              const struct flowd_tcp_sample *sample)
{
    bool told = false;

    for (unsigned i = 0; i < subscribers->backend_count; i++) {
        const struct flowd_subscribers_member *member = &subscribers->backends[i];

        if (member->module->backend->flow_sample == NULL)
            continue;
        member->module->backend->flow_sample(member->instance, flow, sample);
        told = true;
    }
    return told;
}

void flowd_subscribers_commit(const struct flowd_subscribers *subscribers)
{
    for (unsigned i = 0; i < subscribers->backend_count; i++) {
        const struct flowd_subscribers_member *member = &subscribers->backends[i];

        if (member->module->backend->commit != NULL)
            member->module->backend->commit(member->instance);
    }
}
