/*
 * The metrics that every enricher has, declared once, so that they have one name and one help
 * whoever counts: samples asked for, by what became of them.
 */
#include "daemon/metrics/sample_metrics.h"

#include "daemon/metrics/metrics.h"

void flowd_sample_metrics_add(struct flowd_metrics *metrics, const char *enricher,
                              const char *result, uint64_t count)
{
    static const struct flowd_metric samples = {
        "flowd_samples_total", FLOWD_METRIC_COUNTER,
        "Samples of flows' sockets that were asked for, and what became of them."};

    flowd_metrics_add(metrics, &samples, count,
                      FLOWD_LABELS("enricher", enricher, "result", result));
}

void flowd_sample_metrics_watched(struct flowd_metrics *metrics, const char *enricher,
                                  uint64_t count)
{
    static const struct flowd_metric watched = {"flowd_watched_flows", FLOWD_METRIC_GAUGE,
                                                "Flows that are sampled."};

    flowd_metrics_add(metrics, &watched, count, FLOWD_LABELS("enricher", enricher));
}
