/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The metrics of the whole daemon: asks the core and each module for theirs, as status.c does for
 * the status, and adds what /proc says of the process.
 */
#include "daemon/daemon_metrics.h"

#include "daemon/base/log.h"
#include "daemon/hub/hub.h"
#include "daemon/liveness/destroy_listener.h"
#include "daemon/metrics/counter.h"
#include "daemon/process.h"
#include "daemon/registry_updates.h"
#include "daemon/status.h"

static const struct flowd_metric build_info = {"flowd_build_info", FLOWD_METRIC_GAUGE,
                                               "Which flowd this is; always 1."};
static const struct flowd_metric is_ready = {
    "flowd_ready", FLOWD_METRIC_GAUGE, "Whether everything that is configured works (0 or 1)."};
static const struct flowd_metric module_up = {
    "flowd_module_up", FLOWD_METRIC_GAUGE,
    "Whether a module that is configured could be started (0 or 1)."};
static const struct flowd_metric lines_dropped = {
    "flowd_log_lines_dropped_total", FLOWD_METRIC_COUNTER,
    "Lines of the log that its reader did not take fast enough."};

static const struct flowd_metric reloads = {
    "flowd_reloads_total", FLOWD_METRIC_COUNTER,
    "Reloads: all of the configuration was taken, some of what was changed waits for a restart, or "
    "all of it was refused."};
static const struct flowd_metric outdated = {
    "flowd_configuration_outdated", FLOWD_METRIC_GAUGE,
    "Whether the last reload left something of the configuration out (0 or 1)."};

struct daemon_counts {
    uint64_t log_lines_dropped;
    struct flowd_reloads reloads;
};

static const struct flowd_counter counters[] = {
    {.key = "logLinesDropped",
     .metric = &lines_dropped,
     FLOWD_COUNTED(struct daemon_counts, log_lines_dropped)},
    {.key = "reloads.done",
     .metric = &reloads,
     .labels = {"result", "done"},
     FLOWD_COUNTED(struct daemon_counts, reloads.done)},
    {.key = "reloads.partly",
     .metric = &reloads,
     .labels = {"result", "partly"},
     FLOWD_COUNTED(struct daemon_counts, reloads.partly)},
    {.key = "reloads.refused",
     .metric = &reloads,
     .labels = {"result", "refused"},
     FLOWD_COUNTED(struct daemon_counts, reloads.refused)},
    {.key = "reloads.outdated",
     .metric = &outdated,
     FLOWD_COUNTED(struct daemon_counts, reloads.outdated)},
    {.key = NULL},
};

static void add_modules(const struct flowd_running *running, struct flowd_metrics *metrics)
{
    static const char *const kinds[] = {
        [FLOWD_PLUGIN] = "plugin", [FLOWD_BACKEND] = "backend", [FLOWD_ENRICHER] = "enricher"};
    const struct flowd_counter_sink sink = {.metrics = metrics};

    for (size_t i = 0; i < running->count; i++) {
        const struct flowd_running_module *entry = &running->modules[i];

        flowd_metrics_add(
            metrics, &module_up, entry->instance != NULL,
            FLOWD_LABELS("kind", kinds[entry->module->kind], "name", entry->module->name));
        if (entry->instance != NULL && entry->module->count != NULL)
            entry->module->count(entry->instance, &sink);
    }
}

void flowd_daemon_count(const struct flowd_context *context, const struct flowd_running *running,
                        const struct flowd_destroy_listener *destroy_listener,
                        const struct flowd_counter_sink *sink)
{
    const struct daemon_counts counts = {.log_lines_dropped = flowd_log_dropped(),
                                         .reloads = running->reloads};

    flowd_hub_count(context->hub, sink);
    if (destroy_listener != NULL)
        flowd_destroy_listener_count(destroy_listener, sink);
    flowd_registry_updates_count(running->registry, sink);
    flowd_counters_put(sink, counters, &counts, NULL);
}

void flowd_daemon_metrics(const struct flowd_context *context, const struct flowd_running *running,
                          const struct flowd_destroy_listener *destroy_listener,
                          struct flowd_metrics *metrics)
{
    const struct flowd_counter_sink sink = {.metrics = metrics};

    flowd_metrics_add(metrics, &build_info, 1, FLOWD_LABELS("version", FLOWD_VERSION));
    flowd_metrics_add(metrics, &is_ready, flowd_status_ready(running, NULL) == 0, NULL);
    flowd_daemon_count(context, running, destroy_listener, &sink);
    add_modules(running, metrics);
    flowd_process_metrics(metrics, running->started_at_us);
}
