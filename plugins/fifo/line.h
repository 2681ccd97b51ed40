/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One line of the fifo as a flow event. Pure.
 */
#pragma once

#include <stddef.h>

#include "daemon/base/error.h"
#include "daemon/flow/flow.h"
#include "daemon/flow/registry.h"

/* Longer lines are bad. */
#define FLOWD_FIFO_LINE_MAX 4096

/*
 * Parses the len bytes of a line, without its line feed:
 *
 *     STATE PROTO SRC SRCPORT DST DSTPORT EXPERIMENT ACTIVITY
 *
 * Returns 1 and fills *event (its strings are static), 0 for an empty line, or -errno with the
 * reason; *event is unchanged then. registry gives names their numbers.
 */
int flowd_fifo_line_parse(const char *line, size_t len, const struct flowd_registry *registry,
                          struct flowd_event *event, struct flowd_error *err);
