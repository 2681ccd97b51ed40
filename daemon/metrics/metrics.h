/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Metrics as Prometheus reads them: the text format 0.0.4 and OpenMetrics 1.0.
 *
 * Modules write into one collection, in any order, and several may write to one family: each family
 * comes out once, in one piece. Where there are too many samples for that (those of the flows), the
 * lines are written by the functions that stand at the end.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "daemon/base/text.h"
#include "daemon/tcp/tcp_field.h"

enum flowd_metrics_format { FLOWD_METRICS_TEXT, FLOWD_METRICS_OPENMETRICS };

enum flowd_metric_type { FLOWD_METRIC_GAUGE, FLOWD_METRIC_COUNTER };

/* Strings are borrowed, and constants as a rule. */
struct flowd_metric {
    const char *name; /* as its samples have it: a counter's ends in "_total" */
    enum flowd_metric_type type;
    const char *help; /* one line without quotes and backslashes */
};

/* The labels of a sample: names and values in turn, const char *. */
#define FLOWD_LABELS(...) ((const char *const[]){__VA_ARGS__, NULL})

#define FLOWD_METRICS_FAMILIES_MAX 128

struct flowd_metrics_family {
    const struct flowd_metric *metric; /* the first that was given under its name */
    struct flowd_text samples;
};

/* Zero-initialised, but for the format, is empty. */
struct flowd_metrics {
    enum flowd_metrics_format format;
    struct flowd_metrics_family families[FLOWD_METRICS_FAMILIES_MAX];
    size_t count;
    bool failed; /* no memory, or too many families */
};

/*
 * Which format an Accept header asks for (RFC 9110, 12.5.1). Without one, with one that neither
 * fits and with one that can't be read it is the text format.
 */
enum flowd_metrics_format flowd_metrics_negotiate(const char *accept, size_t length);
const char *flowd_metrics_content_type(enum flowd_metrics_format format);

void flowd_metrics_fini(struct flowd_metrics *metrics);
/*
 * Adds a sample with these labels (FLOWD_LABELS(), NULL: none). A value's bytes that are not UTF-8
 * become U+FFFD.
 */
void flowd_metrics_add(struct flowd_metrics *metrics, const struct flowd_metric *metric,
                       uint64_t value, const char *const *labels);
void flowd_metrics_add_number(struct flowd_metrics *metrics, const struct flowd_metric *metric,
                              struct flowd_tcp_number value, const char *const *labels);
/* Appends every family. A failed collection makes the text failed. */
void flowd_metrics_write(const struct flowd_metrics *metrics, struct flowd_text *text);

/* Line by line: what a family begins with, */
void flowd_metrics_head_write(struct flowd_text *text, enum flowd_metrics_format format,
                              const struct flowd_metric *metric);
/* name="value", without anything around it, */
void flowd_metrics_label_write(struct flowd_text *text, const char *name, const char *value);
/* and what stands behind all families. */
void flowd_metrics_end_write(struct flowd_text *text, enum flowd_metrics_format format);
