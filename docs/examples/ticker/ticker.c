/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The ticker plugin: speaks of one flow again and again, which so lives for as long as flowd runs.
 * It is the manual's example of a plugin (docs/writing-modules.md) and not part of flowd.
 */
#include <errno.h>
#include <ev.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <sys/socket.h>

#include "daemon/base/log.h"
#include "daemon/hub/hub.h"
#include "daemon/hub/module.h"
#include "daemon/net/address.h"

extern const struct flowd_module flowd_plugin_ticker;

struct ticker_config {
    int64_t period_ms;
    int64_t experiment;
};

struct ticker {
    const struct flowd_context *context;
    const struct ticker_config *config;
    struct flowd_source *source;
    struct ev_timer timer;
    struct flowd_log_limit limit;
};

static void on_timer(struct ev_loop *loop, struct ev_timer *watcher, int events)
{
    struct ticker *ticker = watcher->data;
    struct flowd_address local;
    struct flowd_error err;
    struct flowd_event event = {.state = FLOWD_EVENT_ONGOING,
                                .experiment = (uint16_t)ticker->config->experiment,
                                .activity = 1};

    (void)loop;
    (void)events;
    flowd_address_parse("::1", 3, &local);
    event.key = (struct flowd_flow_key){.src = local.addr,
                                        .dst = local.addr,
                                        .src_port = 1,
                                        .dst_port = 2,
                                        .family = AF_INET6,
                                        .protocol = IPPROTO_UDP};
    if (flowd_hub_submit(ticker->context->hub, ticker->source, &event, NULL, &err) < 0)
        flowd_log_limited(&ticker->limit, FLOWD_LOG_WARNING, "ticker", "a tick was refused: %s",
                          err.message);
}

static int ticker_start(const struct flowd_context *context, const void *config, void **instance,
                        struct flowd_error *err)
{
    struct ticker *ticker = calloc(1, sizeof(*ticker));

    if (ticker == NULL)
        return flowd_fail_errno(err, ENOMEM, "ticker");
    ticker->context = context;
    ticker->config = config;
    ticker->source = flowd_hub_source(context->hub, "ticker");
    ev_timer_init(&ticker->timer, on_timer, 0, (double)ticker->config->period_ms / 1000);
    ticker->timer.data = ticker;
    ev_timer_start(context->loop, &ticker->timer);
    *instance = ticker;
    return 0;
}

static void ticker_stop(void *instance)
{
    struct ticker *ticker = instance;

    ev_timer_stop(ticker->context->loop, &ticker->timer);
    free(ticker);
}

static const struct flowd_option options[] = {
    {.key = "period",
     .type = FLOWD_OPTION_INTEGER,
     .offset = offsetof(struct ticker_config, period_ms),
     .default_json = "1000",
     .min = 10,
     .max = 100000,
     .unit = "ms",
     .doc = "Time between two ticks."},
    {.key = "experiment",
     .type = FLOWD_OPTION_INTEGER,
     .offset = offsetof(struct ticker_config, experiment),
     .default_json = "2",
     .min = 0,
     .max = FLOWD_EXPERIMENT_MAX,
     .doc = "Experiment of the flow."},
    {.key = NULL},
};

const struct flowd_module flowd_plugin_ticker = {
    .kind = FLOWD_PLUGIN,
    .name = "ticker",
    .summary = "speaks of one flow again and again",
    .options = options,
    .config_size = sizeof(struct ticker_config),
    .start = ticker_start,
    .stop = ticker_stop,
};
