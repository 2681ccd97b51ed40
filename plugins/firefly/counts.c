/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The counters of fireflies that come in, in the order in which they are looked at. What became of
 * those that are events the hub counts.
 */
#include "daemon/metrics/counter.h"
#include "firefly.h"

static const struct flowd_metric received = {
    "flowd_fireflies_received_total", FLOWD_METRIC_COUNTER,
    "Datagrams that came in at the firefly plugin, fireflies or not."};
static const struct flowd_metric dropped = {
    "flowd_fireflies_received_dropped_total", FLOWD_METRIC_COUNTER,
    "Datagrams that the kernel had no room for; they are not among those received."};
static const struct flowd_metric passed_over = {"flowd_fireflies_passed_over_total",
                                                FLOWD_METRIC_COUNTER,
                                                "Fireflies that are no news: flowd's own that came "
                                                "back, the same once more, late ones of flows "
                                                "that had ended; or whose sender sent too many."};
static const struct flowd_metric rejected = {
    "flowd_fireflies_rejected_total", FLOWD_METRIC_COUNTER,
    "Datagrams that are no fireflies, by what is wrong with them."};
static const struct flowd_metric senders = {
    "flowd_firefly_senders", FLOWD_METRIC_GAUGE,
    "Addresses that fireflies came from; at most 1024 are known."};

static const struct flowd_counter counters[] = {
    {.key = "received", .metric = &received, FLOWD_COUNTED(struct firefly_counts, received)},
    {.key = "droppedByKernel", .metric = &dropped, FLOWD_COUNTED(struct firefly_counts, dropped)},
    {.key = "own",
     .metric = &passed_over,
     .labels = {"reason", "own"},
     FLOWD_COUNTED(struct firefly_counts, own)},
    {.key = "again",
     .metric = &passed_over,
     .labels = {"reason", "again"},
     FLOWD_COUNTED(struct firefly_counts, again)},
    {.key = "late",
     .metric = &passed_over,
     .labels = {"reason", "late"},
     FLOWD_COUNTED(struct firefly_counts, late)},
    {.key = "limited",
     .metric = &passed_over,
     .labels = {"reason", "limited"},
     FLOWD_COUNTED(struct firefly_counts, limited)},
    {.key = "sendersKnown", .metric = &senders, FLOWD_COUNTED(struct firefly_counts, senders)},
    {.key = "rejected.header",
     .metric = &rejected,
     .labels = {"reason", "header"},
     FLOWD_COUNTED(struct firefly_counts, rejected[FLOWD_FIREFLY_HEADER])},
    {.key = "rejected.json",
     .metric = &rejected,
     .labels = {"reason", "json"},
     FLOWD_COUNTED(struct firefly_counts, rejected[FLOWD_FIREFLY_JSON])},
    {.key = "rejected.type",
     .metric = &rejected,
     .labels = {"reason", "type"},
     FLOWD_COUNTED(struct firefly_counts, rejected[FLOWD_FIREFLY_TYPE])},
    {.key = "rejected.repeated",
     .metric = &rejected,
     .labels = {"reason", "repeated"},
     FLOWD_COUNTED(struct firefly_counts, rejected[FLOWD_FIREFLY_REPEATED])},
    {.key = "rejected.missing",
     .metric = &rejected,
     .labels = {"reason", "missing"},
     FLOWD_COUNTED(struct firefly_counts, rejected[FLOWD_FIREFLY_MISSING])},
    {.key = "rejected.version",
     .metric = &rejected,
     .labels = {"reason", "version"},
     FLOWD_COUNTED(struct firefly_counts, rejected[FLOWD_FIREFLY_VERSION])},
    {.key = "rejected.state",
     .metric = &rejected,
     .labels = {"reason", "state"},
     FLOWD_COUNTED(struct firefly_counts, rejected[FLOWD_FIREFLY_STATE])},
    {.key = "rejected.time",
     .metric = &rejected,
     .labels = {"reason", "time"},
     FLOWD_COUNTED(struct firefly_counts, rejected[FLOWD_FIREFLY_TIME])},
    {.key = "rejected.protocol",
     .metric = &rejected,
     .labels = {"reason", "protocol"},
     FLOWD_COUNTED(struct firefly_counts, rejected[FLOWD_FIREFLY_PROTOCOL])},
    {.key = "rejected.address",
     .metric = &rejected,
     .labels = {"reason", "address"},
     FLOWD_COUNTED(struct firefly_counts, rejected[FLOWD_FIREFLY_ADDRESS])},
    {.key = "rejected.family",
     .metric = &rejected,
     .labels = {"reason", "family"},
     FLOWD_COUNTED(struct firefly_counts, rejected[FLOWD_FIREFLY_FAMILY])},
    {.key = "rejected.port",
     .metric = &rejected,
     .labels = {"reason", "port"},
     FLOWD_COUNTED(struct firefly_counts, rejected[FLOWD_FIREFLY_PORT])},
    {.key = "rejected.experiment",
     .metric = &rejected,
     .labels = {"reason", "experiment"},
     FLOWD_COUNTED(struct firefly_counts, rejected[FLOWD_FIREFLY_EXPERIMENT])},
    {.key = "rejected.activity",
     .metric = &rejected,
     .labels = {"reason", "activity"},
     FLOWD_COUNTED(struct firefly_counts, rejected[FLOWD_FIREFLY_ACTIVITY])},
    {.key = NULL},
};

void firefly_counts_put(const struct firefly_counts *counts, const struct flowd_counter_sink *sink)
{
    flowd_counters_put(sink, counters, counts, NULL);
}
