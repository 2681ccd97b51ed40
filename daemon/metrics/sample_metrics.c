/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One name and one text for what several enrichers count: a dashboard compares them, whichever a
 * host uses.
 */
#include "daemon/metrics/sample_metrics.h"

const struct flowd_metric flowd_samples_metric = {
    "flowd_samples_total", FLOWD_METRIC_COUNTER,
    "Samples of flows' sockets that were asked for, and what became of them."};
const struct flowd_metric flowd_watched_metric = {"flowd_watched_flows", FLOWD_METRIC_GAUGE,
                                                  "Flows that are sampled."};
