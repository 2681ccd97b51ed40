/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The hub: validates flow events, keeps the table of live flows, and turns each loop turn's events
 * into one commit of every backend.
 *
 * Plugins submit while they read; nothing is promised yet. Just before the loop would block
 * (ev_prepare) the hub commits: each backend sends its batch, then those who wait for the commit
 * (flowd_hub_wait) are told, then the records of flows that ended are freed.
 *
 * Samples of the flows' sockets pass the hub too: it keeps the last one of each flow and shows it
 * to the backends.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "daemon/base/error.h"
#include "daemon/flow/flow.h"
#include "daemon/hub/module.h"
#include "daemon/hub/source.h"
#include "daemon/hub/waiters.h"

struct flowd_firefly_recent;
struct flowd_counter_sink;
struct flowd_flow_table;
struct flowd_tcp_sample;

struct flowd_hub_limits {
    size_t flows_max;
    int64_t timeout_s;        /* end a flow this long after its last event; 0: never */
    int64_t sample_period_ms; /* enrichers.period */
};

/* What became of flows since the start of the process. */
struct flowd_hub_totals {
    uint64_t started;
    uint64_t ended;
    uint64_t refused_full;     /* flows.max were live */
    uint64_t refused_unstored; /* the state file could not take another one */
};

/* Takes table. Returns owned, NULL: no memory. */
struct flowd_hub *flowd_hub_new(struct ev_loop *loop, struct flowd_flow_table *table,
                                const struct flowd_hub_limits *limits);
/* Frees the hub and closes the table; live flows stay in the state file. */
void flowd_hub_free(struct flowd_hub *hub);

void flowd_hub_set_limits(struct flowd_hub *hub, const struct flowd_hub_limits *limits);

/* The index of flow->backend that belongs to the backend which is being started. */
unsigned flowd_hub_next_slot(const struct flowd_hub *hub);
/*
 * Adds a started backend or enricher, which is told of flows from here on. Returns a backend's
 * slot, an enricher's number, or -ENOSPC.
 */
int flowd_hub_add(struct flowd_hub *hub, const struct flowd_module *module, void *instance);
/*
 * Tells every backend and enricher of the flows that the state file brought: of the first of them
 * at once, with a commit, and of some thousand more in each loop turn.
 */
void flowd_hub_restore(struct flowd_hub *hub);
/* Whether there are flows left that the backends do not know of. */
bool flowd_hub_is_restoring(const struct flowd_hub *hub);
/* Commits what is queued, outside of the loop: the last thing before the backends stop. */
void flowd_hub_flush(struct flowd_hub *hub);
/* Starts to commit on each loop turn. */
void flowd_hub_begin(struct flowd_hub *hub);

/* The source named name, made if it is not there. Borrowed from the hub; NULL: no memory. */
struct flowd_source *flowd_hub_source(struct flowd_hub *hub, const char *name);
const struct flowd_source *flowd_hub_sources(const struct flowd_hub *hub);
/* The source that announced the flow; NULL: an earlier process's, which is not there any more. */
struct flowd_source *flowd_hub_source_of(const struct flowd_hub *hub,
                                         const struct flowd_flow *flow);

/*
 * Submits one event. Returns an enum flowd_result (never FLOWD_REFUSED) and sets *flow (may be
 * NULL) to the flow it concerns, or to NULL for FLOWD_UNKNOWN; or refuses with a negative errno and
 * the reason in err:
 *   -EINVAL, -ERANGE  the event itself is wrong; the reason names the field
 *   -ENOSPC           flows.max flows are live
 *   other             a backend refused it, or the state file could not grow
 * The pointer is good until the commit of this loop turn.
 */
int flowd_hub_submit(struct flowd_hub *hub, struct flowd_source *source,
                     const struct flowd_event *event, struct flowd_flow **flow,
                     struct flowd_error *err);

/*
 * The event is submitted soon, after others: the look-up of its flow, which among many flows waits
 * for memory more than anything else does, begins meanwhile. Backends get a hint, unless it says
 * that the flow goes on, which hardly concerns them.
 */
void flowd_hub_prefetch(const struct flowd_hub *hub, const struct flowd_event *event);

/* Ends a live flow that somebody says is over (a DELETE, a time-out): its socket is asked for. */
void flowd_hub_end(struct flowd_hub *hub, struct flowd_source *source, struct flowd_flow *flow);

/* Where the counts come from that a flow's end shows. */
enum flowd_last {
    FLOWD_LAST_ASK,   /* its socket, where it is still there; else as FLOWD_LAST_KNOWN */
    FLOWD_LAST_KNOWN, /* the last sample, if there is one: its socket is gone */
    FLOWD_LAST_GIVEN, /* who ends it has the socket's final sample */
    FLOWD_LAST_NONE,  /* whatever was sampled is another socket's */
};

struct flowd_ending {
    enum flowd_last last;
    const struct flowd_tcp_sample *sample; /* FLOWD_LAST_GIVEN: borrowed */
    int64_t end_us;                        /* CLOCK_REALTIME; 0: now */
    bool timed_out;                        /* nothing was heard of it: it may go on all the same */
};

/* The same for who knows more of the end. */
void flowd_hub_end_as(struct flowd_hub *hub, struct flowd_source *source, struct flowd_flow *flow,
                      const struct flowd_ending *ending);

/*
 * Fills sample with what the flow's socket is like at this moment, at the flow's end. Returns 0, or
 * -errno: it can't be known (any more).
 */
typedef int flowd_hub_ask_last(void *context, const struct flowd_flow *flow,
                               struct flowd_tcp_sample *sample);
/* Who is asked (FLOWD_LAST_ASK); NULL: nobody. context is borrowed. */
void flowd_hub_set_ask_last(struct flowd_hub *hub, flowd_hub_ask_last *ask, void *context);

/*
 * Remembers each end there (borrowed), for who has to know late news of a flow from those of
 * another; NULL: nowhere. Whoever passes messages on notes them there, too.
 */
void flowd_hub_set_recent(struct flowd_hub *hub, struct flowd_firefly_recent *recent);
struct flowd_firefly_recent *flowd_hub_recent(const struct flowd_hub *hub);

/* Notes that a live flow is known to go on, so that it does not time out; nobody is told. */
void flowd_hub_touch(struct flowd_hub *hub, struct flowd_flow *flow);

/*
 * Takes a sample (copied) of a live flow's socket. Backends are told, unless they were less than
 * half a period (enrichers.period) ago.
 */
void flowd_hub_sample(struct flowd_hub *hub, struct flowd_flow *flow,
                      const struct flowd_tcp_sample *sample);
/* The same without telling anybody: the socket is gone, and the flow goes on for the time being. */
void flowd_hub_keep_sample(struct flowd_hub *hub, const struct flowd_flow *flow,
                           const struct flowd_tcp_sample *sample);
/* The flow has no sample: the last one was another connection's. */
void flowd_hub_forget_sample(struct flowd_hub *hub, const struct flowd_flow *flow);
/* The last sample of a flow that is live or ended in this turn; NULL: none. Borrowed. */
const struct flowd_tcp_sample *flowd_hub_sample_of(const struct flowd_hub *hub,
                                                   const struct flowd_flow *flow);

/* Tells waiter after this turn's commit. A waiter waits once; waiting again is an error. */
void flowd_hub_wait(struct flowd_hub *hub, struct flowd_waiter *waiter);
void flowd_hub_unwait(struct flowd_hub *hub, struct flowd_waiter *waiter);

/* Live flows. The pointers are good until the end of the loop turn. */
size_t flowd_hub_live(const struct flowd_hub *hub);
size_t flowd_hub_max(const struct flowd_hub *hub);
/* Records of the state file that were dropped at the start. */
size_t flowd_hub_damaged(const struct flowd_hub *hub);
/* Flows that have started and ended since this process did. */
struct flowd_hub_totals flowd_hub_totals(const struct flowd_hub *hub);
/* The flow with this id if it is live or ended in this turn, else NULL. */
struct flowd_flow *flowd_hub_find(struct flowd_hub *hub, uint64_t id);
/* The flow in record index (flowd_flow_index) if it is live or ended in this turn, else NULL. */
struct flowd_flow *flowd_hub_at(struct flowd_hub *hub, uint32_t index);
struct flowd_flow *flowd_hub_find_key(struct flowd_hub *hub, const struct flowd_flow_key *key);
/*
 * Walks live flows in the order of their records. Start with *cursor 0; returns NULL at the end.
 * A cursor may be kept between turns: flows that start or end meanwhile may or may not be seen, the
 * others are seen once.
 */
struct flowd_flow *flowd_hub_next(struct flowd_hub *hub, uint32_t *cursor);
/*
 * The same for who does not go through all of them in one turn: it looks at *budget records at
 * most, of live flows or not, and lowers it by one for each. NULL with a budget left: the end.
 */
struct flowd_flow *flowd_hub_next_within(struct flowd_hub *hub, uint32_t *cursor, uint32_t *budget);

/* What backend slot says of the flow; NULL: no such backend. *failed may be NULL. */
const char *flowd_hub_backend_status(const struct flowd_hub *hub, const struct flowd_flow *flow,
                                     unsigned slot, const char **backend_name, bool *failed);
/* Puts the counters of flows and events: "flows" and "events" of the status. */
void flowd_hub_count(const struct flowd_hub *hub, const struct flowd_counter_sink *sink);
