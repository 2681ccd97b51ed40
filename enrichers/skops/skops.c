/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The skops enricher: TCP statistics of live flows as the kernel comes by, with an sk_ops program.
 *
 * With the strategy "poll" the program samples a watched socket when its round-trip time is
 * measured, at most once a period; with "transition" where its state changes. In both it is sampled
 * when it is closed. The flow's connection is watched whichever end of it is here; where both are,
 * samples of the source's socket count.
 */
#include <errno.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/base/log.h"
#include "daemon/hub/hub.h"
#include "daemon/hub/module.h"
#include "daemon/metrics/counter.h"
#include "daemon/metrics/sample_metrics.h"
#include "daemon/net/host.h"
#include "daemon/tcp/flow_socket.h"
#include "daemon/tcp/tcp_sample.h"
#include "ebpf/sockops/cgroup.h"
#include "ebpf/sockops/sockops.h"

extern const struct flowd_module flowd_enricher_skops;

/* Bytes. A sample that finds no room is followed by another. */
#define RING_SIZE (1u << 20)

enum strategy { POLL, TRANSITION };

struct skops_config {
    char *cgroup_path;
    int strategy;
    bool debug;
};

struct skops {
    const struct flowd_context *context;
    struct flowd_sockops *sockops;
    uint64_t watched; /* connections; one may be announced in both directions */
    uint64_t sampled;
    uint64_t without_flow;
};

static struct flowd_flow *skops_find(struct skops *skops, const struct flowd_flow_key *key)
{
    struct flowd_flow *flow = flowd_hub_find_key(skops->context->hub, key);

    return flow != NULL && flow->state == FLOWD_FLOW_LIVE ? flow : NULL;
}

static void skops_show(struct skops *skops, struct flowd_flow *flow,
                       const struct flowd_sockops_event *told, bool at_destination)
{
    struct flowd_tcp_sample sample = told->sample;

    sample.at_destination = at_destination;
    skops->sampled++;
    /* A socket that is closed is not the flow's end: others may hold that it goes on. */
    if (told->happening == FLOWD_SOCKOPS_ENDS)
        flowd_hub_keep_sample(skops->context->hub, flow, &sample);
    else
        flowd_hub_sample(skops->context->hub, flow, &sample);
}

/* A connection may have been announced from either end, and even from both. */
static void on_told(void *context, const struct flowd_sockops_event *told)
{
    const struct flowd_flow_key reverse = flowd_flow_key_reverse(&told->key);
    struct skops *skops = context;
    struct flowd_flow *as_source = skops_find(skops, &told->key);
    struct flowd_flow *as_destination = skops_find(skops, &reverse);

    if (as_source == NULL && as_destination == NULL)
        skops->without_flow++;
    if (as_source != NULL)
        skops_show(skops, as_source, told, false);
    if (as_destination != NULL &&
        !(flowd_flow_socket_ends(skops->context->host, &as_destination->key) & FLOWD_LOCAL_SRC))
        skops_show(skops, as_destination, told, true);
}

static void on_lost(void *context, uint64_t records, uint64_t closes)
{
    static struct flowd_log_limit limit;

    (void)context;
    (void)closes;
    flowd_log_limited(&limit, FLOWD_LOG_WARNING, "skops",
                      "%llu samples came faster than flowd could take them",
                      (unsigned long long)records);
}

static int skops_start(const struct flowd_context *context, const void *values, void **instance,
                       struct flowd_error *err)
{
    const struct skops_config *config = values;
    struct skops *skops = calloc(1, sizeof(*skops));
    const struct flowd_sockops_settings settings = {
        .name = FLOWD_LOG_PATH("skops"),
        .duty = config->strategy == TRANSITION ? FLOWD_SOCKOPS_TRANSITIONS : FLOWD_SOCKOPS_POLLING,
        .cgroup_path = config->cgroup_path,
        .local_ports = {0, UINT16_MAX},
        .remote_ports = {0, UINT16_MAX},
        .period_ms = context->sample_period_ms,
        .watched_max = context->flows_max < UINT32_MAX ? (uint32_t)context->flows_max : UINT32_MAX,
        .ring_size = RING_SIZE,
        .debug = config->debug,
    };
    const struct flowd_sockops_listener listener = {
        .told = on_told, .lost = on_lost, .context = skops};
    int result;

    if (skops == NULL)
        return flowd_fail_errno(err, ENOMEM, "enricher");
    skops->context = context;
    result = flowd_sockops_new(context->loop, &settings, &listener, &skops->sockops, err);
    if (result < 0) {
        free(skops);
        return result;
    }
    if (flowd_sockops_visit_existing(skops->sockops) < 0)
        flowd_info("skops", "this kernel lets no program look at connections that are there: only "
                            "those that begin from now on are sampled");
    *instance = skops;
    return 0;
}

static void skops_stop(void *instance)
{
    struct skops *skops = instance;

    flowd_sockops_free(skops->sockops);
    free(skops);
}

static void skops_flow_start(void *instance, struct flowd_flow *flow, bool restored)
{
    static struct flowd_log_limit limit;
    struct skops *skops = instance;
    int result;

    (void)restored;
    if (flow->key.protocol != IPPROTO_TCP)
        return;
    result = flowd_sockops_watch(skops->sockops, &flow->key);
    if (result == 0)
        skops->watched++;
    else if (result != -EEXIST)
        flowd_log_limited(&limit, FLOWD_LOG_ERROR, "skops", "a flow is not sampled: %s",
                          strerror(-result));
}

static void skops_flow_end(void *instance, struct flowd_flow *flow)
{
    const struct flowd_flow_key reverse = flowd_flow_key_reverse(&flow->key);
    struct skops *skops = instance;

    if (flow->key.protocol != IPPROTO_TCP || skops_find(skops, &flow->key) != NULL ||
        skops_find(skops, &reverse) != NULL)
        return;
    if (flowd_sockops_unwatch(skops->sockops, &flow->key) == 0)
        skops->watched--;
}

static const struct flowd_counter counters[] = {
    {.key = "samples",
     .metric = &flowd_samples_metric,
     .labels = {"result", "taken"},
     FLOWD_COUNTED(struct skops, sampled)},
    {.key = "withoutFlow",
     .metric = &flowd_samples_metric,
     .labels = {"result", "without-flow"},
     FLOWD_COUNTED(struct skops, without_flow)},
    {.key = "watched", .metric = &flowd_watched_metric, FLOWD_COUNTED(struct skops, watched)},
    {.key = NULL},
};

static void skops_count(const void *instance, const struct flowd_counter_sink *sink)
{
    const struct skops *skops = instance;
    const char *name = flowd_enricher_skops.name;

    flowd_counters_put(sink, counters, skops, FLOWD_LABELS("enricher", name));
    flowd_sockops_count(skops->sockops, name, sink);
}

#define AT(member) offsetof(struct skops_config, member)

static const char *const strategies[] = {[POLL] = "poll", [TRANSITION] = "transition", NULL};
static const struct flowd_option options[] = {
    {.key = "cgroupPath",
     .type = FLOWD_OPTION_STRING,
     .offset = AT(cgroup_path),
     .default_json = "\"" FLOWD_CGROUP_DEFAULT "\"",
     .doc = "Directory of the cgroup2 file system: sockets of processes in it and below it are "
            "sampled; where the standard one is none, flowd looks for it."},
    {.key = "strategy",
     .type = FLOWD_OPTION_CHOICE,
     .offset = AT(strategy),
     .default_json = "\"poll\"",
     .choices = strategies,
     .doc = "When sockets are sampled: about once a period, or where their state changes."},
    {.key = "debugMode",
     .type = FLOWD_OPTION_BOOL,
     .offset = AT(debug),
     .default_json = "false",
     .doc = "Trace each sample to trace_pipe."},
    {.key = "programPath",
     .type = FLOWD_OPTION_EMPTY,
     .instead = "flowd's BPF program is part of it, and it loads no other",
     .doc = "Accepted from flowd-go where it is empty, no effect."},
    {.key = NULL},
};

static const struct flowd_enricher_ops ops = {
    .flow_start = skops_flow_start,
    .flow_end = skops_flow_end,
};

const struct flowd_module flowd_enricher_skops = {
    .kind = FLOWD_ENRICHER,
    .name = "skops",
    .summary = "samples the TCP statistics of live flows with sk_ops",
    .options = options,
    .config_size = sizeof(struct skops_config),
    .can_be_left_out = true,
    .start = skops_start,
    .stop = skops_stop,
    .count = skops_count,
    .enricher = &ops,
};
