/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What this process uses, under the names that Prometheus' client libraries gave it (process_...).
 */
#pragma once

#include <stdint.h>

struct flowd_metrics;

/* start_us: when the process started, CLOCK_REALTIME. What the system does not tell is left out. */
void flowd_process_metrics(struct flowd_metrics *metrics, int64_t start_us);
