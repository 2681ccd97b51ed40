/* SPDX-License-Identifier: Apache-2.0 */
/*
 * From live flows to entries of the flow map: which keys must be there, and bringing the map into
 * that state once per loop turn.
 *
 * Flow callbacks only change the index of marks and note the key as dirty. A commit looks each
 * dirty key up in the index: if a flow stands behind it the entry is written, else it is deleted.
 * So a key that ended and began again in one turn is never absent from the map, and the order of
 * the callbacks does not matter.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "daemon/flow/flow.h"
#include "ebpf/marker.h"
#include "marks.h"

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

struct marker_dirty {
    struct flowd_marker_key key;
    uint32_t hash;
    marker_ref winner; /* the commit's: who stands behind the key, 0: nobody */
    bool retried;      /* its last update failed */
};

/* A growing list of keys. */
struct marker_dirty_list {
    struct marker_dirty *items; /* owned */
    size_t count;
    size_t capacity;
};

struct marker_batch;

struct marker_entries {
    struct flowd_hub *hub;
    const struct flowd_host *host;
    unsigned slot;                      /* of flow->backend */
    int flows_fd;                       /* borrowed */
    struct flowd_marker_shared *shared; /* borrowed: the mapping that the programs read */
    bool match_source;
    unsigned experiment_max; /* the largest that a mark can say */
    bool attached;           /* the program is on an interface */
    bool seeing;             /* and on one of them nothing keeps packets from it */
    /*
     * The map has an earlier process's entries, and flows are untold: entries that are as they
     * should be are not written again, and none is deleted.
     */
    bool adopted;
    struct flowd_probe marks; /* see marks.h */
    size_t keys;              /* different map keys behind the marks */
    size_t forwarded;         /* live flows of which neither end is this host's */
    struct marker_dirty_list dirty;
    struct marker_dirty_list failed; /* updates to be tried again */
    int refusal;                     /* why they failed: -errno; 0: none has */
    bool refused_again;              /* a second try of some failed too */
    struct marker_batch *batch;      /* owned */
    uint64_t update_failures;
    uint64_t delete_failures;
};

/*
 * The file descriptor and the mapping are borrowed until marker_entries_fini(). Returns 0 or
 * -ENOMEM.
 */
int marker_entries_init(struct marker_entries *entries, struct flowd_hub *hub,
                        const struct flowd_host *host, int flows_fd,
                        struct flowd_marker_shared *shared, bool match_source,
                        unsigned experiment_max);
void marker_entries_fini(struct marker_entries *entries);

/* Notes a flow that begins or ends, and sets its status as it will be after the commit. */
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

/*
 * Brings the map and what is shared with the programs up to date. Flows whose entry could not be
 * written get MARKER_STATUS_FAILED and their keys are kept in `failed`.
 */
void marker_entries_commit(struct marker_entries *entries);
/* Tries the failed ones again: a commit. */
void marker_entries_retry(struct marker_entries *entries);

/* 0, or -EAGAIN with the reason why entries can't be written, for longer than a moment. */
int marker_entries_ready(const struct marker_entries *entries, struct flowd_error *err);

/* How many entries the map has of live flows. */
size_t marker_entries_written(const struct marker_entries *entries);
/* Whether a live flow stands behind the key. */
bool marker_entries_wanted(struct marker_entries *entries, const struct flowd_marker_key *key);
