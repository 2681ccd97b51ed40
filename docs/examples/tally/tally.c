/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The tally backend: counts the starts and ends of flows that it is told of, of one experiment or
 * of all. It is the manual's example of a module (docs/writing-modules.md) and not part of flowd.
 * Nothing of it outlives the process.
 */
#include <errno.h>
#include <stdlib.h>

#include "daemon/base/log.h"
#include "daemon/hub/hub.h"
#include "daemon/hub/module.h"
#include "daemon/metrics/counter.h"

extern const struct flowd_module flowd_backend_tally;

enum status { OFF, COUNTED };

struct tally_config {
    bool restored;
    int64_t experiment;
};

struct tally {
    const struct tally_config *config;
    unsigned slot;
    uint64_t starts, ends;
};

static int tally_start(const struct flowd_context *context, const void *config, void **instance,
                       struct flowd_error *err)
{
    struct tally *tally = calloc(1, sizeof(*tally));

    if (tally == NULL)
        return flowd_fail_errno(err, ENOMEM, "tally");
    tally->config = config;
    tally->slot = flowd_hub_next_slot(context->hub);
    *instance = tally;
    return 0;
}

static int tally_reload(void *instance, const void *config, struct flowd_error *err)
{
    struct tally *tally = instance;

    (void)err;
    tally->config = config;
    return 0;
}

static void tally_stop(void *instance)
{
    struct tally *tally = instance;

    flowd_info("tally", "%llu starts and %llu ends were counted", (unsigned long long)tally->starts,
               (unsigned long long)tally->ends);
    free(tally);
}

static void tally_flow_start(void *instance, struct flowd_flow *flow, bool restored)
{
    struct tally *tally = instance;
    int64_t wanted = tally->config->experiment;

    flow->backend[tally->slot] = OFF;
    if ((restored && !tally->config->restored) || (wanted >= 0 && wanted != flow->experiment))
        return;
    tally->starts++;
    flow->backend[tally->slot] = COUNTED;
}

static void tally_flow_end(void *instance, struct flowd_flow *flow)
{
    struct tally *tally = instance;

    if (flow->backend[tally->slot] == COUNTED)
        tally->ends++;
}

static const struct flowd_metric tally_events = {"flowd_tally_events_total", FLOWD_METRIC_COUNTER,
                                                 "Starts and ends of flows that were counted."};

static const struct flowd_counter counters[] = {
    {.key = "starts",
     .metric = &tally_events,
     .labels = {"state", "start"},
     FLOWD_COUNTED(struct tally, starts)},
    {.key = "ends",
     .metric = &tally_events,
     .labels = {"state", "end"},
     FLOWD_COUNTED(struct tally, ends)},
    {.key = NULL},
};

static void tally_count(const void *instance, const struct flowd_counter_sink *sink)
{
    flowd_counters_put(sink, counters, instance, NULL);
}

static const struct flowd_option options[] = {
    {.key = "restored",
     .type = FLOWD_OPTION_BOOL,
     .offset = offsetof(struct tally_config, restored),
     .default_json = "true",
     .doc = "Count those too that were live before flowd started."},
    {.key = "experiment",
     .type = FLOWD_OPTION_INTEGER,
     .offset = offsetof(struct tally_config, experiment),
     .default_json = "-1",
     .min = -1,
     .max = FLOWD_EXPERIMENT_MAX,
     .doc = "Count flows of this experiment only; -1: of all.",
     .reload = true},
    {.key = NULL},
};

static const struct flowd_backend_status statuses[] = {
    [OFF] = {"off", false},
    [COUNTED] = {"counted", false},
};

static const struct flowd_backend_ops ops = {
    .statuses = statuses,
    .flow_start = tally_flow_start,
    .flow_end = tally_flow_end,
};

const struct flowd_module flowd_backend_tally = {
    .kind = FLOWD_BACKEND,
    .name = "tally",
    .summary = "counts flows",
    .options = options,
    .config_size = sizeof(struct tally_config),
    .start = tally_start,
    .reload = tally_reload,
    .stop = tally_stop,
    .count = tally_count,
    .backend = &ops,
};
