/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Counters and gauges, each declared once: a row has its key in the status, its metric and where it
 * stands. Whoever counts has a table of rows and one function that puts them; the status and the
 * metrics are two sinks of it, so that a number can't be in one and not in the other. The manual's
 * table (docs/counters.md) is made from the rows too.
 */
#pragma once

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "daemon/metrics/metrics.h"

#define FLOWD_COUNTER_LABELS_MAX 2

struct flowd_counter {
    const char *key; /* in the status; "scrapes.served" is a member of the object "scrapes" */
    const struct flowd_metric *metric;
    const char *labels[2 * FLOWD_COUNTER_LABELS_MAX + 1]; /* names and values in turn, then NULL */
    size_t offset; /* of an unsigned integer (FLOWD_COUNTED) in the struct that is put */
    size_t size;   /* its bytes: 4 or 8 */
    bool is_time;  /* it is in us: the status has ms, the metric s */
};

/* Where a row's number stands. */
#define FLOWD_COUNTED(type, member)                                                                \
    .offset = offsetof(type, member), .size = sizeof(((type *)0)->member)

/* Where numbers go: one of the two is NULL. */
struct flowd_counter_sink {
    json_t *status; /* an object that gets a member for each row */
    struct flowd_metrics *metrics;
};

/*
 * Puts the number of each row (the last one has no key) that stands in values. labels (FLOWD_LABELS
 * or NULL) are those that all of the rows have before their own.
 */
void flowd_counters_put(const struct flowd_counter_sink *sink, const struct flowd_counter *rows,
                        const void *values, const char *const *labels);
