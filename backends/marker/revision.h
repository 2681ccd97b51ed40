/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The revision of all flows' marks after what this host takes for its own changed: a walk over
 * them, with a commit after each turn's part.
 *
 * The changed addresses are not kept: to ask of a flow's two ends costs as much as to compare them
 * with a list, and is right whatever has changed meanwhile. Nor is there an index of flows by
 * address: it would cost each start and end something, for what a walk does in a fraction of a
 * second.
 */
#pragma once

#include <stdint.h>

#include "daemon/hub/walk.h"

struct marker_entries;

/* Embedded in its owner. */
struct marker_revision {
    struct flowd_walk walk;
    struct marker_entries *entries; /* borrowed */
    void (*committed)(struct marker_revision *revision);
    uint64_t looked_at; /* flows, in this revision */
    uint64_t changed;   /* marks that were made or taken away */
    uint64_t turns;
};

/* committed is told after each commit of the revision's. */
void marker_revision_init(struct marker_revision *revision, struct ev_loop *loop,
                          struct marker_entries *entries,
                          void (*committed)(struct marker_revision *revision));
/* Looks at every flow; one that is under way becomes a revision after this moment. */
void marker_revision_start(struct marker_revision *revision);
void marker_revision_stop(struct marker_revision *revision);
