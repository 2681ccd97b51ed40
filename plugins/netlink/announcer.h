/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Announces the scanner's connections as flows with one tag, and ends them. A connection that
 * somebody else has announced is left to him.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "connections.h"
#include "daemon/flow/flow.h"
#include "daemon/hub/hub.h"

struct flowd_context;
struct flowd_source;

/* Embedded in its owner. */
struct flowd_netlink_announcer {
    const struct flowd_context *context; /* borrowed, as source */
    struct flowd_source *source;         /* of the events */
    struct flowd_tag tag;
    bool refusal_told; /* a tag that is refused is refused for each connection */
    int waits_told;    /* why the last connection had to wait; 0: it had not to */
    uint64_t started;
    uint64_t ended;
    uint64_t refused;
};

/*
 * Announces the connection, unless somebody else has. Returns 0 and the flow's id, or 0 and id 0:
 * it gets none; or -errno: try again.
 */
int flowd_netlink_announce(struct flowd_netlink_announcer *announcer,
                           const struct flowd_flow_key *key, uint64_t *id);
/*
 * The connection is the same as before. Where somebody has announced it meanwhile, his word counts.
 * retag: a flow with another tag, of an earlier process, begins anew.
 */
void flowd_netlink_announcer_keep(struct flowd_netlink_announcer *announcer,
                                  struct flowd_connection *connection, bool retag);
/* Whether the connection has a live flow of the scanner's. */
bool flowd_netlink_announcer_has(const struct flowd_netlink_announcer *announcer,
                                 const struct flowd_connection *connection);
/* Ends the connection's flow, if it has one; last as for flowd_hub_end_as(). */
void flowd_netlink_announcer_end(struct flowd_netlink_announcer *announcer,
                                 struct flowd_connection *connection, enum flowd_last last);
/* The same for a connection that is gone, whose ports another one may have by now. */
void flowd_netlink_announcer_end_gone(struct flowd_netlink_announcer *announcer,
                                      struct flowd_connection *connection);
