#include "daemon/sample_metrics.h"

const struct flowd_metric flowd_metric_samples = {
    "flowd_samples_total", FLOWD_METRIC_COUNTER,
    "Samples of flows' sockets that were asked for, and what became of them."};

const struct flowd_metric flowd_metric_watched_flows = {"flowd_watched_flows", FLOWD_METRIC_GAUGE,
                                                        "Flows that are sampled."};
