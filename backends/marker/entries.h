/* SPDX-License-Identifier: Apache-2.0 */
/*
 * From live flows to entries of the flow map: which keys must be there with which mark.
 *
 * An entry is written as soon as its flow begins. Where a flow ends, its entry is only given up,
 * and taken away once in each loop turn if nobody has claimed it by then: so a key that ended and
 * began again in one turn is never absent from the map.
 *
 * Flows may share a key (without matchSource). The most recently started one is marked; the others
 * stand in a list of their own, and the newest of them is marked when that one ends.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "daemon/base/probe.h"
#include "daemon/flow/flow.h"
#include "table.h"

struct flowd_hub;
struct flowd_host;

/* Indices into the backend's status table. */
enum marker_status {
    MARKER_STATUS_NONE, /* this backend has not seen the flow */
    MARKER_STATUS_MARKED,
    MARKER_STATUS_FORWARDED, /* marked, in both directions: neither end is this host's */
    /* Only shown: either of these, once the program is on an interface; ... */
    MARKER_STATUS_NO_INTERFACE,
    MARKER_STATUS_SHADOWED, /* ... once packets reach it on one, as far as is known */
    MARKER_STATUS_NOT_IPV6,
    MARKER_STATUS_NO_LABEL, /* its experiment does not fit the mark */
    MARKER_STATUS_FAILED,
    MARKER_STATUS_UNMARKED, /* ended */
    MARKER_STATUSES,
};

/* Keys whose flow ended, and which may have to go. */
struct marker_ended_list {
    struct marker_sums *items; /* owned */
    size_t count;
    size_t capacity;
};

/* Marks that could not be written. */
struct marker_failed_list {
    marker_ref *items; /* owned */
    size_t count;
    size_t capacity;
};

struct marker_entries {
    struct flowd_hub *hub;
    const struct flowd_host *host;
    unsigned slot;           /* of flow->backend */
    unsigned experiment_max; /* the largest that a mark can say */
    bool attached;           /* the program is on an interface */
    bool seeing;             /* and on one of them nothing keeps packets from it */
    struct marker_table table;
    struct flowd_probe outdone; /* marks whose key a newer flow has, under the key's hash */
    size_t forwarded;           /* live flows of which neither end is this host's */
    struct marker_ended_list ended;
    struct marker_failed_list failed; /* to be tried again */
    int refusal;                      /* why they failed: -errno; 0: none has */
    bool kept_told;                   /* that an ended flow's entry could not be deleted */
    bool refused_again;               /* a second try of some failed too */
};

/*
 * The maps' file descriptors are borrowed until marker_entries_fini(). Returns 0 or -errno, with
 * -EUCLEAN where what an earlier process left in the maps is no table, or too small a one.
 */
int marker_entries_init(struct marker_entries *entries, struct flowd_hub *hub,
                        const struct flowd_host *host, const struct marker_table_maps *maps,
                        unsigned experiment_max);
void marker_entries_fini(struct marker_entries *entries);

/* A flow with this key may begin or end soon: has what is looked at first fetched into the cache.
 */
void marker_entries_expect(const struct marker_entries *entries,
                           const struct flowd_flow_key *tuple);
/* A flow begins or ends. One that can't be written gets MARKER_STATUS_FAILED. */
void marker_entries_start(struct marker_entries *entries, struct flowd_flow *flow);
void marker_entries_end(struct marker_entries *entries, struct flowd_flow *flow);
/*
 * Looks again at a live flow, after what this host takes for its own changed. Returns how many
 * marks the flow got or lost.
 */
unsigned marker_entries_reconsider(struct marker_entries *entries, struct flowd_flow *flow);

/* What is said of the flow. */
enum marker_status marker_entries_status(const struct marker_entries *entries,
                                         const struct flowd_flow *flow);

/* Takes away the entries of flows that have ended. */
void marker_entries_commit(struct marker_entries *entries);
/* After a commit: whether the kernel refused something that marker_entries_retry() tries again. */
bool marker_entries_unfinished(const struct marker_entries *entries);
/* Tries the failed ones again: a commit. */
void marker_entries_retry(struct marker_entries *entries);

/* 0, or -EAGAIN with the reason why entries can't be written, for longer than a moment. */
int marker_entries_ready(const struct marker_entries *entries, struct flowd_error *err);

/* How many entries the map has of live flows. */
size_t marker_entries_written(const struct marker_entries *entries);
