/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The series of the flows: a metric for each quantity of a TCP sample that is one
 * (FLOWD_TCP_METRIC), and the socket's options as a label.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "daemon/metrics/metrics.h"
#include "daemon/tcp/tcp_sample.h"

struct flowd_flow;
struct flowd_registry;

/* A flow as it was when a scrape came to it. */
struct series_flow {
    size_t labels; /* where they begin in the text of all labels, */
    size_t labels_length;
    struct flowd_tcp_sample sample;
};

/* How many families there are. */
size_t series_families(void);
/* How many of them have a sample of this flow. */
uint32_t series_count(const struct flowd_tcp_sample *sample);
/* Appends the flow's labels, without braces: exp="2",act="17",src="2001:db8::1",... */
void series_labels_write(struct flowd_text *labels, const struct flowd_registry *registry,
                         const struct flowd_flow *flow);

/* Appends what family begins with. */
void series_head_write(struct flowd_text *text, enum flowd_metrics_format format, size_t family);
/* Appends the flow's sample of that family, where it has one. */
void series_sample_write(struct flowd_text *text, size_t family, const struct series_flow *flow,
                         const char *labels);
