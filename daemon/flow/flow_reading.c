/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The turns in which the flow table is read from its file. They serve signals: nobody else is there
 * yet, for what has not been read can't be looked up. What an earlier process left in the kernel
 * goes on marking meanwhile.
 */
#include "daemon/flow/flow_reading.h"

#include <ev.h>

#include "daemon/base/log.h"
#include "daemon/flow/flow_table.h"

#define RECORDS_PER_TURN 8192

static void log_report(const struct flowd_flow_table_report *report, const char *directory)
{
    if (report->unsafe[0] != '\0')
        flowd_warning("state", "%s", report->unsafe);
    if (report->note[0] != '\0')
        flowd_warning("state", "%s", report->note);
    if (report->set_aside[0] != '\0')
        flowd_warning("state", "%s; starting without flows", report->set_aside);
    if (report->damaged > 0)
        flowd_warning("state", "%zu damaged records were dropped", report->damaged);
    if (report->restored > 0)
        flowd_info("state", "%zu live flows restored from %s", report->restored, directory);
}

int flowd_flow_reading_run(struct ev_loop *loop, struct flowd_flow_table *table,
                           const char *directory, const bool *stop,
                           struct flowd_flow_table_report *report, struct flowd_error *err)
{
    int result;

    do {
        result = flowd_flow_table_read(table, RECORDS_PER_TURN, report, err);
        if (result > 0)
            ev_run(loop, EVRUN_NOWAIT);
    } while (result > 0 && !*stop);
    if (result == 0)
        log_report(report, directory);
    return result < 0 ? result : 0;
}
