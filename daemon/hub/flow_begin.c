/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A flow as the event that starts it describes it, before it has a place in the table. What follows
 * from the event alone, such as the label, is set here and stays for the flow's whole life.
 */
#include "daemon/hub/flow_begin.h"

#include <string.h>

#include "daemon/base/timestamp.h"

void flowd_flow_begin(struct flowd_flow *flow, const struct flowd_source *source,
                      const struct flowd_event *event, int64_t now_us)
{
    uint64_t hash = flowd_flow_key_hash(&event->key, 0);

    *flow = (struct flowd_flow){
        .key = event->key,
        .start_us = event->start_us != 0 ? event->start_us : now_us,
        .last_event_us = flowd_timestamp_boot_us(),
        .experiment = event->experiment,
        .activity = event->activity,
    };
    /*
     * The entropy follows from the addresses and ports, so that a transfer announced twice keeps
     * its path where routers hash the label. A label of 0 would say that there is none (RFC 6437).
     */
    if (event->experiment <= FLOWD_LABEL_EXPERIMENT_MAX) {
        uint8_t entropy = (uint8_t)(hash >> 59);

        if (event->experiment == 0 && event->activity == 0 && entropy == 0)
            entropy = 1;
        flow->flow_label = flowd_flow_label(event->experiment, event->activity, entropy);
    }
    memcpy(flow->source, source->name, FLOWD_SOURCE_SIZE);
    if (event->application != NULL)
        memcpy(flow->application, event->application, event->application_length);
}
