/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How a flow begins.
 */
#pragma once

#include "daemon/hub/source.h"

/* Fills flow from a checked event. now_us: CLOCK_REALTIME. */
void flowd_flow_begin(struct flowd_flow *flow, const struct flowd_source *source,
                      const struct flowd_event *event, int64_t now_us);
