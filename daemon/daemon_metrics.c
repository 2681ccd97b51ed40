/*
 * The metrics of the whole daemon: asks the core and each module for theirs, as status.c does for
 * the status, and adds what /proc says of the process.
 */
#include "daemon/daemon_metrics.h"

#include "daemon/base/log.h"
#include "daemon/hub/hub.h"
#include "daemon/liveness/closures.h"
#include "daemon/metrics/metrics.h"
#include "daemon/process.h"
#include "daemon/status.h"

static const struct flowd_metric build_info = {"flowd_build_info", FLOWD_METRIC_GAUGE,
                                               "Which flowd this is; always 1."};
static const struct flowd_metric is_ready = {
    "flowd_ready", FLOWD_METRIC_GAUGE, "Whether everything that is configured works (0 or 1)."};
static const struct flowd_metric flows = {"flowd_flows", FLOWD_METRIC_GAUGE, "Live flows."};
static const struct flowd_metric flows_max = {"flowd_flows_max", FLOWD_METRIC_GAUGE,
                                              "Flows that may be live at once."};
static const struct flowd_metric flows_started = {"flowd_flows_started_total", FLOWD_METRIC_COUNTER,
                                                  "Flows that have started."};
static const struct flowd_metric flows_ended = {
    "flowd_flows_ended_total", FLOWD_METRIC_COUNTER,
    "Flows that have ended, by whatever: an event, their socket, a time-out, a request."};
static const struct flowd_metric state_damaged = {
    "flowd_state_damaged_records", FLOWD_METRIC_GAUGE,
    "Records of the state file that were damaged and dropped when flowd started."};
static const struct flowd_metric module_up = {
    "flowd_module_up", FLOWD_METRIC_GAUGE,
    "Whether a module that is configured could be started (0 or 1)."};
static const struct flowd_metric lines_dropped = {
    "flowd_log_lines_dropped_total", FLOWD_METRIC_COUNTER,
    "Lines of the log that its reader did not take fast enough."};

static void add_modules(const struct flowd_running *running, struct flowd_metrics *metrics)
{
    static const char *const kinds[] = {
        [FLOWD_PLUGIN] = "plugin", [FLOWD_BACKEND] = "backend", [FLOWD_ENRICHER] = "enricher"};

    for (size_t i = 0; i < running->count; i++) {
        const struct flowd_running_module *entry = &running->modules[i];

        flowd_metrics_add(
            metrics, &module_up, entry->instance != NULL,
            FLOWD_LABELS("kind", kinds[entry->module->kind], "name", entry->module->name));
        if (entry->instance != NULL && entry->module->metrics != NULL)
            entry->module->metrics(entry->instance, metrics);
    }
}

void flowd_daemon_metrics(const struct flowd_context *context, const struct flowd_running *running,
                          const struct flowd_closures *closures, struct flowd_metrics *metrics)
{
    uint64_t started, ended;

    flowd_metrics_add(metrics, &build_info, 1, FLOWD_LABELS("version", FLOWD_VERSION));
    flowd_metrics_add(metrics, &is_ready, flowd_status_ready(running, NULL) == 0, NULL);
    flowd_metrics_add(metrics, &flows, flowd_hub_live(context->hub), NULL);
    flowd_metrics_add(metrics, &flows_max, flowd_hub_max(context->hub), NULL);
    flowd_hub_totals(context->hub, &started, &ended);
    flowd_metrics_add(metrics, &flows_started, started, NULL);
    flowd_metrics_add(metrics, &flows_ended, ended, NULL);
    flowd_metrics_add(metrics, &state_damaged, flowd_hub_damaged(context->hub), NULL);
    flowd_source_metrics(flowd_hub_sources(context->hub), metrics);
    if (closures != NULL)
        flowd_closures_metrics(closures, metrics);
    add_modules(running, metrics);
    flowd_metrics_add(metrics, &lines_dropped, flowd_log_dropped(), NULL);
    flowd_process_metrics(metrics, running->started_at_us);
}
