/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Ends that the kernel did not tell of: all since it dropped notifications, or, after connections
 * were aborted, those of flows with their local ports and remote addresses.
 *
 * Any such flow may have missed its end. The walk over them waits a while: a flow may be announced
 * shortly before its socket exists, and must not be taken for a finished one.
 */
#pragma once

#include <ev.h>
#include <netinet/in.h>
#include <stdbool.h>
#include <stdint.h>

#include "daemon/liveness/liveness.h"

struct flowd_context;
struct flowd_source;

/* What was lost in one delay. */
struct flowd_loss {
    bool any;
    bool all;                 /* a notification was lost */
    struct flowd_ports ports; /* else: the local ports and remote ends of aborted connections */
};

/* Embedded in the listener; zero-initialised is not started. */
struct flowd_losses {
    const struct flowd_context *context; /* borrowed */
    struct ev_timer timer;
    struct flowd_doubt doubt;
    struct flowd_loss fresh;   /* of the delay that is under way */
    struct flowd_loss ripe;    /* of the one before: the next walk is for it */
    struct flowd_ports walked; /* the ports of the walk that is under way */
};

/* Ends that a walk finds are those of found, or, where flows linger first, of later; borrowed. */
void flowd_losses_start(struct flowd_losses *losses, const struct flowd_context *context,
                        struct flowd_source *found, struct flowd_source *later);
void flowd_losses_stop(struct flowd_losses *losses);

void flowd_losses_add_all(struct flowd_losses *losses);
void flowd_losses_add_port(struct flowd_losses *losses, uint16_t port,
                           const struct in6_addr *remote);
/* Looks at flows at once; the arguments are those of struct flowd_doubt. */
void flowd_losses_walk(struct flowd_losses *losses, int64_t before_us,
                       const struct flowd_ports *ports, bool spare_waiting);
