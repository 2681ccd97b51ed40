/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The rows of what the scanner counts: scans, the connections that they met, and the networks whose
 * connections they pass over.
 */
#include "counts.h"

#include "daemon/metrics/counter.h"

static const struct flowd_metric scans = {"flowd_scans_total", FLOWD_METRIC_COUNTER,
                                          "Scans of the host's TCP connections."};
static const struct flowd_metric interrupted = {
    "flowd_scans_interrupted_total", FLOWD_METRIC_COUNTER,
    "Scans that the kernel said were not consistent, because connections changed meanwhile."};
static const struct flowd_metric late = {"flowd_scans_late_total", FLOWD_METRIC_COUNTER,
                                         "Scans that took longer than the period."};
static const struct flowd_metric known = {"flowd_scan_known_connections", FLOWD_METRIC_GAUGE,
                                          "Connections that the scanner knows."};
static const struct flowd_metric duration = {"flowd_scan_duration_seconds", FLOWD_METRIC_GAUGE,
                                             "How long the last scan took."};
static const struct flowd_metric seen = {"flowd_scan_seen_connections", FLOWD_METRIC_GAUGE,
                                         "Connections in the last scan."};
static const struct flowd_metric ignored = {
    "flowd_scan_ignored_connections", FLOWD_METRIC_GAUGE,
    "Connections in the last scan that are not to be announced."};
static const struct flowd_metric announced = {
    "flowd_scan_flows_total", FLOWD_METRIC_COUNTER,
    "Flows that the scanner started and ended, and those that were refused."};
static const struct flowd_metric reused = {
    "flowd_scan_reused_connections_total", FLOWD_METRIC_COUNTER,
    "Known connections in whose place a scan found another one with the same addresses and ports."};
static const struct flowd_metric missed = {
    "flowd_scan_missed_connections_total", FLOWD_METRIC_COUNTER,
    "Connections that a scan did not have although they were there."};
static const struct flowd_metric networks = {"flowd_scan_ignored_networks", FLOWD_METRIC_GAUGE,
                                             "Networks whose connections are not announced."};
static const struct flowd_metric networks_in_kernel = {
    "flowd_scan_ignored_networks_in_kernel", FLOWD_METRIC_GAUGE,
    "Those of them that the kernel passes over by itself."};

static const struct flowd_counter counters[] = {
    {.key = "known", .metric = &known, FLOWD_COUNTED(struct flowd_netlink_counts, known)},
    {.key = "seen", .metric = &seen, FLOWD_COUNTED(struct flowd_netlink_counts, scans.seen)},
    {.key = "ignored",
     .metric = &ignored,
     FLOWD_COUNTED(struct flowd_netlink_counts, scans.ignored)},
    {.key = "started",
     .metric = &announced,
     .labels = {"result", "started"},
     FLOWD_COUNTED(struct flowd_netlink_counts, started)},
    {.key = "ended",
     .metric = &announced,
     .labels = {"result", "ended"},
     FLOWD_COUNTED(struct flowd_netlink_counts, ended)},
    {.key = "refused",
     .metric = &announced,
     .labels = {"result", "refused"},
     FLOWD_COUNTED(struct flowd_netlink_counts, refused)},
    {.key = "reused", .metric = &reused, FLOWD_COUNTED(struct flowd_netlink_counts, scans.reused)},
    {.key = "missed", .metric = &missed, FLOWD_COUNTED(struct flowd_netlink_counts, scans.missed)},
    {.key = "scans",
     .metric = &scans,
     .labels = {"result", "done"},
     FLOWD_COUNTED(struct flowd_netlink_counts, scans.scans)},
    {.key = "failed",
     .metric = &scans,
     .labels = {"result", "failed"},
     FLOWD_COUNTED(struct flowd_netlink_counts, scans.failed)},
    {.key = "interrupted",
     .metric = &interrupted,
     FLOWD_COUNTED(struct flowd_netlink_counts, scans.interrupted)},
    {.key = "late", .metric = &late, FLOWD_COUNTED(struct flowd_netlink_counts, scans.late)},
    {.key = "lastScanMs",
     .metric = &duration,
     FLOWD_COUNTED(struct flowd_netlink_counts, scans.last_us),
     .is_time = true},
    {.key = "networks", .metric = &networks, FLOWD_COUNTED(struct flowd_netlink_counts, networks)},
    {.key = "networksInKernel",
     .metric = &networks_in_kernel,
     FLOWD_COUNTED(struct flowd_netlink_counts, networks_in_kernel)},
    {.key = NULL},
};

void flowd_netlink_counts_put(const struct flowd_netlink_counts *counts,
                              const struct flowd_counter_sink *sink)
{
    flowd_counters_put(sink, counters, counts, NULL);
}
