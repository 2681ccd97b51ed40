/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The metrics that every enricher has, with its name as the label "enricher".
 */
#pragma once

#include "daemon/metrics/metrics.h"

/* What became of samples, by the label "result": "taken", or why they were not. */
extern const struct flowd_metric flowd_samples_metric;
/* Flows that the enricher samples. */
extern const struct flowd_metric flowd_watched_metric;
