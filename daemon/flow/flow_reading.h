/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Reading the flow table from its file at the start, in bounded turns of the loop.
 */
#pragma once

#include <stdbool.h>

#include "daemon/base/error.h"

struct ev_loop;
struct flowd_flow_table;
struct flowd_flow_table_report;

/*
 * Reads all of table, which is open and unread, with a turn of the loop after each some thousand
 * records, and logs what there is to say. Gives up as soon as *stop is set. Returns 0 or -errno.
 */
int flowd_flow_reading_run(struct ev_loop *loop, struct flowd_flow_table *table,
                           const char *directory, const bool *stop,
                           struct flowd_flow_table_report *report, struct flowd_error *err);
