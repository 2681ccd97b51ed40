/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The hub's part of the status: how many flows there are and may be, and what became of the events
 * of each source.
 */
#include "daemon/hub/hub.h"
#include "daemon/metrics/counter.h"

struct hub_counts {
    uint64_t live, max, damaged;
    struct flowd_hub_totals totals;
};

static const struct flowd_metric live = {"flowd_flows", FLOWD_METRIC_GAUGE, "Live flows."};
static const struct flowd_metric max = {"flowd_flows_max", FLOWD_METRIC_GAUGE,
                                        "Flows that may be live at once."};
static const struct flowd_metric started = {"flowd_flows_started_total", FLOWD_METRIC_COUNTER,
                                            "Flows that have started."};
static const struct flowd_metric ended = {
    "flowd_flows_ended_total", FLOWD_METRIC_COUNTER,
    "Flows that have ended, by whatever: an event, their socket, a time-out, a request."};
static const struct flowd_metric refused = {
    "flowd_flows_refused_total", FLOWD_METRIC_COUNTER,
    "Flows that were refused because flows.max were live, or the state file could not take another "
    "one: its disk is full."};
static const struct flowd_metric damaged = {
    "flowd_state_damaged_records", FLOWD_METRIC_GAUGE,
    "Records of the state file that were damaged and dropped when flowd started."};

static const struct flowd_counter counters[] = {
    {.key = "flows.live", .metric = &live, FLOWD_COUNTED(struct hub_counts, live)},
    {.key = "flows.max", .metric = &max, FLOWD_COUNTED(struct hub_counts, max)},
    {.key = "flows.started", .metric = &started, FLOWD_COUNTED(struct hub_counts, totals.started)},
    {.key = "flows.ended", .metric = &ended, FLOWD_COUNTED(struct hub_counts, totals.ended)},
    {.key = "flows.refusedFull",
     .metric = &refused,
     .labels = {"reason", "flows-max"},
     FLOWD_COUNTED(struct hub_counts, totals.refused_full)},
    {.key = "flows.refusedUnstored",
     .metric = &refused,
     .labels = {"reason", "state-file"},
     FLOWD_COUNTED(struct hub_counts, totals.refused_unstored)},
    {.key = "flows.damaged", .metric = &damaged, FLOWD_COUNTED(struct hub_counts, damaged)},
    {.key = NULL},
};

void flowd_hub_count(const struct flowd_hub *hub, const struct flowd_counter_sink *sink)
{
    const struct hub_counts counts = {.live = flowd_hub_live(hub),
                                      .max = flowd_hub_max(hub),
                                      .damaged = flowd_hub_damaged(hub),
                                      .totals = flowd_hub_totals(hub)};

    flowd_counters_put(sink, counters, &counts, NULL);
    flowd_sources_count(flowd_hub_sources(hub), sink);
}
