/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Flows whose socket is closed, but whose last packet may not have left.
 *
 * Where this end closed first, nobody has the socket any more, and the kernel does not tell when it
 * goes, but it still acknowledges the other end's last segment. Until then its flow goes on: the
 * other end is mostly milliseconds late, at most net.ipv4.tcp_fin_timeout. The kernel calls a
 * connection closed before it sends that acknowledgement, which a queue on the way to the marked
 * interface may delay further: the flow of one that is seen closed goes on until the next look, and
 * ends with the time at which it was seen.
 */
#pragma once

#include <ev.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "daemon/flow/flow.h"

struct flowd_liveness;
struct flowd_source;

/* A flow is looked at again after 0.1 s, then after twice as long each time, at most after 12.8 s.
 */
#define FLOWD_LINGERING_LEVELS 8

struct flowd_lingering_entry;

/* Embedded in the judge. */
struct flowd_lingering {
    struct flowd_liveness *liveness; /* borrowed */
    struct ev_timer timer;
    /* Queues, one for each delay: those in front have waited the longest. Entries are owned. */
    struct flowd_lingering_entry *levels[FLOWD_LINGERING_LEVELS];
    struct flowd_lingering_entry *entries; /* of all queues, by the flow's id */
};

void flowd_lingering_init(struct flowd_lingering *lingering, struct flowd_liveness *liveness);
void flowd_lingering_fini(struct flowd_lingering *lingering);
/*
 * The end will be of source (borrowed); interface as flowd_liveness_judge() takes it. A flow that
 * waits already goes on waiting; without memory it ends at once.
 */
void flowd_lingering_add(struct flowd_lingering *lingering, struct flowd_source *source,
                         struct flowd_flow *flow, uint32_t interface);
/*
 * The same for a flow whose connection is seen closed (FLOWD_TCP_CLOSED): its end comes after one
 * more look. Returns false if that was known already.
 */
bool flowd_lingering_add_closed(struct flowd_lingering *lingering, struct flowd_source *source,
                                struct flowd_flow *flow, uint32_t interface);
/* Ends the flow at once if it waits. */
void flowd_lingering_end(struct flowd_lingering *lingering, struct flowd_flow *flow);
/*
 * Flows whose end would be of this source do not wait any more, and go on; those of another one
 * that follows sockets wait for that one.
 */
void flowd_lingering_forget(struct flowd_lingering *lingering, const struct flowd_source *source);
/* Whether this flow waits, and no former one with its key. */
bool flowd_lingering_has(const struct flowd_lingering *lingering, const struct flowd_flow *flow);
/* Flows that wait. */
size_t flowd_lingering_count(const struct flowd_lingering *lingering);
