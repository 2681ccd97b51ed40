/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Starts and ends the flows of the scanner's connections. A connection that another source has
 * announced is left to it, also where it does so later, and a flow of an earlier process that has
 * another tag begins anew.
 */
#include "announcer.h"

#include <errno.h>

#include "daemon/base/log.h"
#include "daemon/hub/hub.h"
#include "daemon/hub/source.h"
#include "daemon/tcp/tcp_sample.h"

/* Returns 0 and the flow's id, or 0 and id 0: it is refused for good; or -errno: try again. */
static int start_flow(struct flowd_netlink_announcer *announcer, const struct flowd_flow_key *key,
                      uint64_t *id)
{
    static struct flowd_log_limit limit;
    const struct flowd_event event = {.state = FLOWD_EVENT_START,
                                      .key = *key,
                                      .experiment = announcer->tag.experiment,
                                      .activity = announcer->tag.activity};
    struct flowd_flow *flow = NULL;
    struct flowd_error err;
    int result = flowd_hub_submit(announcer->context->hub, announcer->source, &event, &flow, &err);

    *id = 0;
    if (result >= 0) {
        announcer->started++;
        announcer->waits_told = 0;
        *id = flow->id;
        return 0;
    }
    announcer->refused++;
    if (result != -EINVAL && result != -ERANGE) {
        if (result != announcer->waits_told)
            flowd_log_limited(&limit, FLOWD_LOG_WARNING, "netlink",
                              "a connection waits for its flow: %s", err.message);
        announcer->waits_told = result;
        return result;
    }
    if (!announcer->refusal_told)
        flowd_err("netlink", "a connection is not marked: %s; others like it are counted only",
                  err.message);
    announcer->refusal_told = true;
    return 0;
}

int flowd_netlink_announce(struct flowd_netlink_announcer *announcer,
                           const struct flowd_flow_key *key, uint64_t *id)
{
    const struct flowd_flow_key reverse = flowd_flow_key_reverse(key);
    const struct flowd_flow *flow = flowd_hub_find_key(announcer->context->hub, key);

    if (flow == NULL)
        flow = flowd_hub_find_key(announcer->context->hub, &reverse);
    if (flow == NULL)
        return start_flow(announcer, key, id);
    *id = flowd_source_announced(announcer->source, flow) ? flow->id : 0;
    return 0;
}

/* The connection's live flow of ours; NULL: it has none (any more). */
static struct flowd_flow *flow_of(const struct flowd_netlink_announcer *announcer,
                                  const struct flowd_connection *connection)
{
    struct flowd_flow *flow;

    if (connection->flow == 0)
        return NULL;
    flow = flowd_hub_find(announcer->context->hub, connection->flow);
    return flow != NULL && flow->state == FLOWD_FLOW_LIVE ? flow : NULL;
}

bool flowd_netlink_announcer_has(const struct flowd_netlink_announcer *announcer,
                                 const struct flowd_connection *connection)
{
    return flow_of(announcer, connection) != NULL;
}

void flowd_netlink_announcer_end(struct flowd_netlink_announcer *announcer,
                                 struct flowd_connection *connection, enum flowd_last last)
{
    struct flowd_flow *flow = flow_of(announcer, connection);

    connection->flow = 0;
    if (flow == NULL)
        return;
    flowd_hub_end_as(announcer->context->hub, announcer->source, flow,
                     &(struct flowd_ending){.last = last});
    announcer->ended++;
}

void flowd_netlink_announcer_end_gone(struct flowd_netlink_announcer *announcer,
                                      struct flowd_connection *connection)
{
    const struct flowd_flow *flow = flow_of(announcer, connection);
    const struct flowd_tcp_sample *known =
        flow != NULL ? flowd_hub_sample_of(announcer->context->hub, flow) : NULL;
    /* A socket that has taken the ports over must not tell the counts of this one. */
    bool is_its_own = known != NULL && !flowd_tcp_cookies_differ(known->cookie, connection->cookie);

    flowd_netlink_announcer_end(announcer, connection,
                                is_its_own ? FLOWD_LAST_KNOWN : FLOWD_LAST_NONE);
}

/* A flow of an earlier process, whose configuration had another tag, begins anew. */
static void change_tag(struct flowd_netlink_announcer *announcer,
                       struct flowd_connection *connection)
{
    uint64_t id;

    if (start_flow(announcer, &connection->key, &id) < 0)
        return;
    if (id == 0)
        flowd_netlink_announcer_end(announcer, connection, FLOWD_LAST_ASK);
    else
        announcer->ended++;
    connection->flow = id;
}

void flowd_netlink_announcer_keep(struct flowd_netlink_announcer *announcer,
                                  struct flowd_connection *connection, bool retag)
{
    const struct flowd_flow_key reverse = flowd_flow_key_reverse(&connection->key);
    struct flowd_flow *flow = flow_of(announcer, connection);
    const struct flowd_flow *other;

    if (flow == NULL) {
        connection->flow = 0;
        return;
    }
    other = flowd_hub_find_key(announcer->context->hub, &reverse);
    if (other != NULL && other != flow && !flowd_source_announced(announcer->source, other))
        flowd_netlink_announcer_end(announcer, connection, FLOWD_LAST_ASK);
    else if (retag && (flow->experiment != announcer->tag.experiment ||
                       flow->activity != announcer->tag.activity))
        change_tag(announcer, connection);
    else
        flowd_hub_touch(announcer->context->hub, flow);
}
