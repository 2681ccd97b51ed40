/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Where flow events come from, and what became of them: one source for each plugin, and for what
 * flowd finds itself (time-outs, sockets that are gone).
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "daemon/flow/flow.h"

struct flowd_counter_sink;

/* What became of an event. */
enum flowd_result {
    FLOWD_STARTED,   /* a new flow */
    FLOWD_KNOWN,     /* a live flow with the same tag: nothing changed */
    FLOWD_RESTARTED, /* it was live with another tag: that one ended, this one began */
    FLOWD_ENDED,
    FLOWD_UNKNOWN, /* an end for a flow that is not live: ignored */
    FLOWD_REFUSED, /* not valid, or a backend or a limit refused it */
};
#define FLOWD_RESULTS 6
extern const char *const flowd_result_names[FLOWD_RESULTS];

/* Where events come from, with its counters. One for each plugin; lives as long as the hub. */
struct flowd_source {
    char name[FLOWD_SOURCE_SIZE]; /* a longer name is cut */
    uint64_t events[FLOWD_EVENT_STATES][FLOWD_RESULTS];
    uint64_t malformed; /* input that was no event at all */
    /*
     * It announces connections of sockets of this host, each of them: such a flow is over with its
     * source's socket, whatever addresses the host has, and the next connection is another flow.
     * Else a flow lives while a socket of either end does. Set by who asks the hub for the source.
     */
    bool follows_sockets;
    struct flowd_source *next;
};

/* The source named name in the list, made if it is not there. Borrowed; NULL: no memory. */
struct flowd_source *flowd_source_find(struct flowd_source **list, const char *name);
void flowd_source_free_all(struct flowd_source **list);
/* Whether it announced the flow, in this process or an earlier one. */
bool flowd_source_announced(const struct flowd_source *source, const struct flowd_flow *flow);
/* Puts the counters of each; in the status they are the object "events". */
void flowd_sources_count(const struct flowd_source *list, const struct flowd_counter_sink *sink);
