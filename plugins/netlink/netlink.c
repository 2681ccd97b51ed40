/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The netlink plugin: finds TCP connections by itself and gives all of them one tag, for tools that
 * announce nothing. This file has its options; the work is the scanner's.
 */
#include <errno.h>
#include <string.h>

#include "daemon/base/log.h"
#include "daemon/hub/module.h"
#include "daemon/net/network.h"
#include "scanner.h"

extern const struct flowd_module flowd_plugin_netlink;

static void netlink_check(const void *config, const char *path, struct flowd_messages *errors)
{
    const struct flowd_strings *texts =
        &((const struct flowd_netlink_config *)config)->internal_networks;
    struct flowd_network network;
    struct flowd_error err;

    for (size_t i = 0; i < texts->count; i++)
        if (flowd_network_parse(texts->items[i], strlen(texts->items[i]), &network, &err) < 0)
            flowd_messages_add(errors, "%s.internalNetworks[%zu]: \"%s\": %s", path, i,
                               texts->items[i], err.message);
}

static int netlink_start(const struct flowd_context *context, const void *config, void **instance,
                         struct flowd_error *err)
{
    const struct flowd_netlink_config *values = config;
    struct flowd_netlink_scanner *scanner;
    int result = flowd_netlink_scanner_new(context, values, &scanner, err);

    if (result < 0)
        return result;
    flowd_info(
        "netlink", "new TCP connections get experiment %lld, activity %lld; looking each %lld ms",
        (long long)values->experiment, (long long)values->activity, (long long)values->period_ms);
    *instance = scanner;
    return 0;
}

static int netlink_reload(void *instance, const void *config, struct flowd_error *err)
{
    (void)err;
    flowd_netlink_scanner_reload(instance, config);
    return 0;
}

static void netlink_stop(void *instance)
{
    flowd_netlink_scanner_free(instance);
}

static void netlink_count(const void *instance, const struct flowd_counter_sink *sink)
{
    flowd_netlink_scanner_count(instance, sink);
}

#define AT(member) offsetof(struct flowd_netlink_config, member)
static const struct flowd_option options[] = {
    {.key = "experiment",
     .type = FLOWD_OPTION_INTEGER,
     .offset = AT(experiment),
     .default_json = "0",
     .min = 0,
     .max = FLOWD_EXPERIMENT_MAX,
     .doc = "Experiment of every connection that is found."},
    {.key = "activity",
     .type = FLOWD_OPTION_INTEGER,
     .offset = AT(activity),
     .default_json = "0",
     .min = 0,
     .max = FLOWD_ACTIVITY_MAX,
     .doc = "Activity of every connection that is found."},
    {.key = "period",
     .type = FLOWD_OPTION_INTEGER,
     .offset = AT(period_ms),
     .default_json = "2000",
     .min = 100,
     .max = 3600000,
     .unit = "ms",
     .doc = "Time between two scans.",
     .reload = true},
    {.key = "internalNetworks",
     .type = FLOWD_OPTION_STRINGS,
     .offset = AT(internal_networks),
     .default_json = "[]",
     .doc = "Networks (CIDR, IPv4 and IPv6) whose addresses are ignored as the remote end."},
    {.key = "ignorePrivate",
     .type = FLOWD_OPTION_BOOL,
     .offset = AT(ignore_private),
     .default_json = "true",
     .doc = "Ignore private remote addresses: RFC 1918, RFC 6598, loopback, link-local, "
            "site-local, unique local."},
    {.key = NULL},
};

const struct flowd_module flowd_plugin_netlink = {
    .kind = FLOWD_PLUGIN,
    .name = "netlink",
    .summary = "finds TCP connections with sock_diag(7) and gives them all one tag",
    .options = options,
    .config_size = sizeof(struct flowd_netlink_config),
    .check = netlink_check,
    .start = netlink_start,
    .reload = netlink_reload,
    .stop = netlink_stop,
    .count = netlink_count,
};
