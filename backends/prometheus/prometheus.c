/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The prometheus backend: /metrics over HTTP, for Prometheus and what reads as it does.
 *
 * Nothing is kept for it: what the daemon counts and the flows' last samples are read when somebody
 * asks (scrape.c). The server is daemon/http's.
 */
#include "prometheus.h"

#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/base/log.h"
#include "daemon/flow/flow.h"
#include "daemon/hub/hub.h"
#include "daemon/metrics/counter.h"
#include "daemon/net/address.h"
#include "daemon/net/listen_fds.h"
#include "daemon/options/warnings.h"

extern const struct flowd_module flowd_backend_prometheus;

/* flow->backend[slot]; the names stand in statuses below. */
enum status { OFF, EXPORTED, NOT_TCP };

/* Listens on what was handed over, else on what is configured. */
static int listen_somewhere(struct prometheus *prometheus, struct flowd_error *err)
{
    static const enum flowd_listen_kind kinds[] = {FLOWD_LISTEN_TCP, FLOWD_LISTEN_UNIX};
    const struct prometheus_config *config = prometheus->config;
    struct flowd_listen_wish wish = {.use = FLOWD_LISTEN_FOR_METRICS,
                                     .address = config->bind_address,
                                     .port = (uint16_t)config->port};
    const struct flowd_listen_fd *handed;
    int result;

    for (size_t i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++) {
        wish.kind = kinds[i];
        while ((handed = flowd_listen_fds_take(prometheus->context->listen_fds, &wish)) != NULL) {
            result = flowd_http_server_adopt(prometheus->server, handed->fd, handed->text,
                                             kinds[i] == FLOWD_LISTEN_UNIX, err);
            if (result < 0)
                return result;
            flowd_info("prometheus", "%s was handed over in place of what is configured",
                       handed->text);
        }
    }
    if (flowd_http_server_listener(prometheus->server, 0) != NULL)
        return 0;
    return flowd_http_server_listen(prometheus->server, config->bind_address, wish.port, err);
}

static int prometheus_start(const struct flowd_context *context, const void *config,
                            void **instance, struct flowd_error *err)
{
    const struct prometheus_config *settings = config;
    struct prometheus *prometheus = calloc(1, sizeof(*prometheus));
    int result;

    if (prometheus == NULL)
        return flowd_fail_errno(err, ENOMEM, "prometheus");
    prometheus->context = context;
    prometheus->config = settings;
    prometheus->slot = flowd_hub_next_slot(context->hub);
    prometheus->patience_us = PROMETHEUS_PATIENCE_US;
    result = flowd_http_server_new(context->loop, FLOWD_LOG_PATH("prometheus"),
                                   &prometheus_http_handler, prometheus, &prometheus->server, err);
    if (result == 0)
        result = listen_somewhere(prometheus, err);
    if (result < 0) {
        flowd_http_server_free(prometheus->server);
        free(prometheus);
        return result;
    }
    flowd_http_server_limit(prometheus->server, PROMETHEUS_CONNECTIONS_MAX);
    *instance = prometheus;
    return 0;
}

static int prometheus_reload(void *instance, const void *config, struct flowd_error *err)
{
    struct prometheus *prometheus = instance;

    (void)err;
    prometheus->config = config;
    return 0;
}

static void prometheus_stop(void *instance)
{
    struct prometheus *prometheus = instance;

    flowd_http_server_free(prometheus->server);
    free(prometheus);
}

static void prometheus_flow_start(void *instance, struct flowd_flow *flow, bool restored)
{
    const struct prometheus *prometheus = instance;

    (void)restored;
    flow->backend[prometheus->slot] = flow->key.protocol == IPPROTO_TCP ? EXPORTED : NOT_TCP;
}

static int prometheus_ready(const void *instance, struct flowd_error *err)
{
    const struct prometheus *prometheus = instance;

    return flowd_http_server_ready(prometheus->server, err);
}

static void prometheus_status(const void *instance, json_t *object)
{
    const struct prometheus *prometheus = instance;

    flowd_http_server_listeners(prometheus->server, object);
}

static const struct flowd_metric scrapes = {"flowd_prometheus_scrapes_total", FLOWD_METRIC_COUNTER,
                                            "Scrapes that were served, refused, or broken off."};
static const struct flowd_metric under_way = {"flowd_prometheus_scrapes_under_way",
                                              FLOWD_METRIC_GAUGE,
                                              "Scrapes that are being answered, this one too."};
static const struct flowd_metric series = {"flowd_prometheus_series", FLOWD_METRIC_GAUGE,
                                           "Series of flows in the latest scrape."};
static const struct flowd_metric left_out = {
    "flowd_prometheus_omitted_series", FLOWD_METRIC_GAUGE,
    "Series of flows that the latest scrape left out because of maxSeries."};
static const struct flowd_metric left_out_total = {
    "flowd_prometheus_series_omitted_total", FLOWD_METRIC_COUNTER,
    "Series of flows that scrapes left out because of maxSeries."};

#define COUNTED(member) FLOWD_COUNTED(struct prometheus, member)

static const struct flowd_counter counters[] = {
    {.key = "scrapes.underWay", .metric = &under_way, COUNTED(scrape_count)},
    {.key = "scrapes.served", .metric = &scrapes, .labels = {"result", "served"}, COUNTED(served)},
    {.key = "scrapes.refused",
     .metric = &scrapes,
     .labels = {"result", "refused"},
     COUNTED(refused)},
    {.key = "scrapes.broken", .metric = &scrapes, .labels = {"result", "broken"}, COUNTED(broken)},
    {.key = "series", .metric = &series, COUNTED(series)},
    {.key = "seriesLeftOut", .metric = &left_out, COUNTED(left_out)},
    {.key = "seriesLeftOutTotal", .metric = &left_out_total, COUNTED(left_out_total)},
    {.key = NULL},
};

static void prometheus_count(const void *instance, const struct flowd_counter_sink *sink)
{
    const struct prometheus *prometheus = instance;

    flowd_counters_put(sink, counters, prometheus, NULL);
    flowd_http_server_count(prometheus->server, sink);
}

static void prometheus_check(const void *config, const char *path, struct flowd_messages *errors)
{
    const struct prometheus_config *prometheus = config;
    struct flowd_address address;

    if (flowd_address_parse(prometheus->bind_address, strlen(prometheus->bind_address), &address) <
        0)
        flowd_messages_add(errors, "%s.bindAddress: found \"%s\", wants a numeric address", path,
                           prometheus->bind_address);
}

static void prometheus_warn(const void *config, const char *path,
                            const struct flowd_environment *environment,
                            struct flowd_messages *warnings)
{
    const struct prometheus_config *prometheus = config;
    char option[64];

    if (environment->host == NULL)
        return;
    snprintf(option, sizeof(option), "%s.bindAddress", path);
    flowd_warnings_address(prometheus->bind_address, option, environment->host, warnings);
}

#define AT(field) offsetof(struct prometheus_config, field)

static const struct flowd_option options[] = {
    {.key = "bindAddress",
     .type = FLOWD_OPTION_STRING,
     .offset = AT(bind_address),
     .default_json = "\"127.0.0.1\"",
     .doc = "Address that /metrics is served on; \"::\" is both families."},
    {.key = "port",
     .type = FLOWD_OPTION_INTEGER,
     .offset = AT(port),
     .default_json = "9000",
     .min = 1,
     .max = UINT16_MAX,
     .doc = "TCP port; netlinkPort and skopsPort are old spellings of it."},
    {.key = "maxSeries",
     .type = FLOWD_OPTION_INTEGER,
     .offset = AT(max_series),
     .default_json = "400000",
     .min = 0,
     .max = 20000000,
     .doc = "Most series of flows, some 40 for each; past it the flows that began last have none. "
            "0: none for any flow.",
     .reload = true},
    {.key = "log", .type = FLOWD_OPTION_IGNORED, .doc = "Accepted from flowd-go, no effect."},
    {.key = NULL},
};

static const struct flowd_backend_status statuses[] = {
    [OFF] = {"off", false}, [EXPORTED] = {"exported", false}, [NOT_TCP] = {"not-tcp", false}};

static const struct flowd_backend_ops ops = {
    .statuses = statuses,
    .flow_start = prometheus_flow_start,
};

const struct flowd_module flowd_backend_prometheus = {
    .kind = FLOWD_BACKEND,
    .name = "prometheus",
    .summary = "serves metrics of flowd and of its flows",
    .options = options,
    .config_size = sizeof(struct prometheus_config),
    .check = prometheus_check,
    .warn = prometheus_warn,
    .translate = prometheus_translate,
    .old_options = prometheus_old_options,
    .start = prometheus_start,
    .reload = prometheus_reload,
    .stop = prometheus_stop,
    .ready = prometheus_ready,
    .status = prometheus_status,
    .count = prometheus_count,
    .backend = &ops,
};
