/*
 * The metrics that every enricher has.
 */
#pragma once

#include "daemon/metrics.h"

/* Labels: enricher, result. */
extern const struct flowd_metric flowd_metric_samples;
/* Label: enricher. */
extern const struct flowd_metric flowd_metric_watched_flows;
