/*
 * The metrics that every enricher has.
 */
#pragma once

#include <stdint.h>

struct flowd_metrics;

/* What became of samples: "taken", or why they were not. */
void flowd_sample_metrics_add(struct flowd_metrics *metrics, const char *enricher,
                              const char *result, uint64_t count);
/* Flows that the enricher samples. */
void flowd_sample_metrics_watched(struct flowd_metrics *metrics, const char *enricher,
                                  uint64_t count);
