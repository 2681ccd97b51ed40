/*
 * The hub's part of the status: how many flows there are and may be, and what became of the events
 * of each source.
 */
#include "daemon/hub/hub.h"

json_t *flowd_hub_status(const struct flowd_hub *hub)
{
    uint64_t started, ended;

    flowd_hub_totals(hub, &started, &ended);
    return json_pack("{s:{s:I, s:I, s:I, s:I, s:I}, s:o}", "flows", "live",
                     (json_int_t)flowd_hub_live(hub), "max", (json_int_t)flowd_hub_max(hub),
                     "started", (json_int_t)started, "ended", (json_int_t)ended, "damaged",
                     (json_int_t)flowd_hub_damaged(hub), "events",
                     flowd_source_json(flowd_hub_sources(hub)));
}
