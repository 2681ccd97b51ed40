/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The iperf3 plugin: a flow for each TCP connection of certain ports, from the moment when it is
 * established until it is closed. It is for tools that announce nothing, such as iperf3.
 *
 * An sk_ops program tells (ebpf/sockops/). The flow's source is the local end; of a connection
 * between two sockets of this host, the end that is established first, which is the client's. A
 * flow that somebody else announced is left alone.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/base/log.h"
#include "daemon/hub/hub.h"
#include "daemon/hub/module.h"
#include "daemon/hub/source.h"
#include "daemon/liveness/liveness.h"
#include "daemon/metrics/counter.h"
#include "daemon/tcp/tcp_sample.h"
#include "ebpf/sockops/sockops.h"
#include "tags.h"

extern const struct flowd_module flowd_plugin_iperf3;

struct iperf3_config {
    int64_t source_ports[2]; /* from, to; 0: unbounded */
    int64_t destination_ports[2];
    char *cgroup_path;
    bool random_ids;
    struct flowd_integers experiments;
    struct flowd_integers activities;
};

struct iperf3 {
    const struct flowd_context *context;
    struct flowd_source *source;
    struct flowd_sockops *sockops;
    struct iperf3_tags tags;
    struct flowd_doubt doubt; /* of ends that were not heard of */
};

static struct flowd_flow *live_flow(struct iperf3 *iperf3, const struct flowd_flow_key *key)
{
    struct flowd_flow *flow = flowd_hub_find_key(iperf3->context->hub, key);

    return flow != NULL && flow->state == FLOWD_FLOW_LIVE ? flow : NULL;
}

/* The same if this plugin announced it. */
static struct flowd_flow *own_flow(struct iperf3 *iperf3, const struct flowd_flow_key *key)
{
    struct flowd_flow *flow = live_flow(iperf3, key);

    return flow != NULL && flowd_source_announced(iperf3->source, flow) ? flow : NULL;
}

static void iperf3_begin(struct iperf3 *iperf3, const struct flowd_sockops_event *told)
{
    static struct flowd_log_limit limit;
    struct flowd_flow_key reverse = flowd_flow_key_reverse(&told->key);
    struct flowd_flow *own = own_flow(iperf3, &told->key);
    struct flowd_event event = {.state = FLOWD_EVENT_START, .key = told->key};
    struct flowd_error err;
    struct flowd_tag tag;

    /* The ports are used again before the former connection's flow has ended. */
    if (own != NULL)
        flowd_liveness_end_lingering(iperf3->context->liveness, own);
    if (live_flow(iperf3, &told->key) != NULL || live_flow(iperf3, &reverse) != NULL)
        return;
    tag = iperf3_tags_next(&iperf3->tags);
    event.experiment = tag.experiment;
    event.activity = tag.activity;
    event.start_us = told->sample.taken_us;
    if (flowd_hub_submit(iperf3->context->hub, iperf3->source, &event, NULL, &err) < 0)
        flowd_log_limited(&limit, FLOWD_LOG_WARNING, "iperf3", "a connection gets no flow: %s",
                          err.message);
}

static void end(struct iperf3 *iperf3, const struct flowd_sockops_event *told)
{
    flowd_liveness_closed(iperf3->context->liveness, iperf3->source, &told->key, &told->sample);
}

static void on_told(void *context, const struct flowd_sockops_event *told)
{
    if (told->happening == FLOWD_SOCKOPS_BEGINS)
        iperf3_begin(context, told);
    else if (told->happening == FLOWD_SOCKOPS_ENDS)
        end(context, told);
}

/* Looks for those of the plugin's flows, also of an earlier process, whose sockets are gone. */
static void find_missed_ends(struct iperf3 *iperf3)
{
    flowd_liveness_doubt(iperf3->context->liveness, &iperf3->doubt);
}

static void on_lost(void *context, uint64_t records, uint64_t closes)
{
    static struct flowd_log_limit limit;
    struct iperf3 *iperf3 = context;

    flowd_log_limited(&limit, FLOWD_LOG_WARNING, "iperf3",
                      "%llu connections began or ended faster than flowd could hear of it: all are "
                      "looked at",
                      (unsigned long long)records);
    if (closes > 0)
        find_missed_ends(iperf3);
    if (records > closes)
        flowd_sockops_visit_existing(iperf3->sockops);
}

static void set_ports(const int64_t configured[2], uint16_t ports[2])
{
    ports[0] = (uint16_t)configured[0];
    ports[1] = configured[1] != 0 ? (uint16_t)configured[1] : UINT16_MAX;
}

static int listen_to_kernel(struct iperf3 *iperf3, const struct iperf3_config *config,
                            struct flowd_error *err)
{
    struct flowd_sockops_settings settings = {.name = FLOWD_LOG_PATH("iperf3"),
                                              .duty = FLOWD_SOCKOPS_CONNECTIONS,
                                              .cgroup_path = config->cgroup_path};
    const struct flowd_sockops_listener listener = {
        .told = on_told, .lost = on_lost, .context = iperf3};

    set_ports(config->source_ports, settings.local_ports);
    set_ports(config->destination_ports, settings.remote_ports);
    return flowd_sockops_new(iperf3->context->loop, &settings, &listener, &iperf3->sockops, err);
}

static int iperf3_start(const struct flowd_context *context, const void *values, void **instance,
                        struct flowd_error *err)
{
    const struct iperf3_config *config = values;
    struct iperf3 *iperf3 = calloc(1, sizeof(*iperf3));
    int result;

    if (iperf3 == NULL)
        return flowd_fail_errno(err, ENOMEM, "plugin");
    iperf3->context = context;
    iperf3->source = flowd_hub_source(context->hub, flowd_plugin_iperf3.name);
    iperf3_tags_init(&iperf3->tags, &config->experiments, &config->activities, config->random_ids);
    result = iperf3->source != NULL ? flowd_liveness_open(context->liveness, err)
                                    : flowd_fail_errno(err, ENOMEM, "plugin");
    if (result == 0)
        result = listen_to_kernel(iperf3, config, err);
    if (result < 0) {
        free(iperf3);
        return result;
    }
    iperf3->source->follows_sockets = true;
    iperf3->doubt = (struct flowd_doubt){
        .before_us = INT64_MAX, .source = iperf3->source, .later = iperf3->source};
    find_missed_ends(iperf3);
    *instance = iperf3;
    return 0;
}

static void iperf3_stop(void *instance)
{
    struct iperf3 *iperf3 = instance;

    flowd_sockops_free(iperf3->sockops);
    flowd_liveness_forget_doubt(iperf3->context->liveness, &iperf3->doubt);
    free(iperf3);
}

static const struct flowd_metric iperf3_found = {
    "flowd_iperf3_ends_found_later_total", FLOWD_METRIC_COUNTER,
    "Flows whose end the sk_ops program did not tell of and a look at the sockets found."};

static const struct flowd_counter counters[] = {
    {.key = "endsFoundLater", .metric = &iperf3_found, FLOWD_COUNTED(struct iperf3, doubt.found)},
    {.key = NULL},
};

static void iperf3_count(const void *instance, const struct flowd_counter_sink *sink)
{
    const struct iperf3 *iperf3 = instance;

    flowd_sockops_count(iperf3->sockops, flowd_plugin_iperf3.name, sink);
    flowd_counters_put(sink, counters, iperf3, NULL);
}

static void check_ports(const int64_t ports[2], const char *path, const char *which,
                        struct flowd_messages *errors)
{
    if (ports[1] != 0 && ports[0] > ports[1])
        flowd_messages_add(errors, "%s.min%s: found %lld, wants at most max%s (%lld)", path, which,
                           (long long)ports[0], which, (long long)ports[1]);
}

static void check_ids(const struct flowd_integers *ids, const char *path, const char *key,
                      struct flowd_messages *errors)
{
    if (ids->count == 0)
        flowd_messages_add(errors, "%s.%s: found [], wants at least one id", path, key);
}

static void iperf3_check(const void *values, const char *path, struct flowd_messages *errors)
{
    const struct iperf3_config *config = values;

    check_ports(config->source_ports, path, "SourcePort", errors);
    check_ports(config->destination_ports, path, "DestinationPort", errors);
    check_ids(&config->experiments, path, "experimentIDs", errors);
    check_ids(&config->activities, path, "activityIDs", errors);
}

#define AT(member) offsetof(struct iperf3_config, member)
/* clang-format off */
#define PORT(name, member, text)                                                                   \
    {                                                                                              \
        .key = (name), .type = FLOWD_OPTION_INTEGER, .offset = AT(member), .default_json = "0",    \
        .min = 0, .max = UINT16_MAX, .doc = (text)                                                 \
    }
/* clang-format on */

static const struct flowd_option options[] = {
    PORT("minSourcePort", source_ports[0], "Lowest local port of connections that become flows."),
    PORT("maxSourcePort", source_ports[1], "Highest local port; 0: unbounded."),
    PORT("minDestinationPort", destination_ports[0], "Lowest remote port."),
    PORT("maxDestinationPort", destination_ports[1], "Highest remote port; 0: unbounded."),
    {.key = "cgroupPath",
     .type = FLOWD_OPTION_STRING,
     .offset = AT(cgroup_path),
     .default_json = "\"\"",
     .doc =
         "Directory of the cgroup2 file system: processes in it and below it are heard of; \"\": "
         "where it is mounted."},
    {.key = "randomIDs",
     .type = FLOWD_OPTION_BOOL,
     .offset = AT(random_ids),
     .default_json = "false",
     .doc = "Choose the ids of each connection at random, not in turn."},
    {.key = "experimentIDs",
     .type = FLOWD_OPTION_INTEGERS,
     .offset = AT(experiments),
     .default_json = "[0, 1, 2]",
     .min = 0,
     .max = FLOWD_EXPERIMENT_MAX,
     .doc = "Experiments that connections get."},
    {.key = "activityIDs",
     .type = FLOWD_OPTION_INTEGERS,
     .offset = AT(activities),
     .default_json = "[0, 1, 2]",
     .min = 0,
     .max = FLOWD_ACTIVITY_MAX,
     .doc = "Activities that connections get."},
    {.key = "programPath",
     .type = FLOWD_OPTION_EMPTY,
     .instead = "flowd's BPF program is part of it, and it loads no other",
     .doc = "Accepted from flowd-go where it is empty, no effect."},
    {.key = "debugMode", .type = FLOWD_OPTION_IGNORED, .doc = "Accepted from flowd-go, no effect."},
    {.key = NULL},
};

const struct flowd_module flowd_plugin_iperf3 = {
    .kind = FLOWD_PLUGIN,
    .name = "iperf3",
    .summary = "makes a flow of each TCP connection of certain ports, with sk_ops",
    .options = options,
    .config_size = sizeof(struct iperf3_config),
    .can_be_left_out = true,
    .check = iperf3_check,
    .start = iperf3_start,
    .stop = iperf3_stop,
    .count = iperf3_count,
};
