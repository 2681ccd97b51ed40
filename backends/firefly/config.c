/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The firefly backend's options: their rows, what is wrong or hardly meant in them, and how other
 * programs spelled them.
 */
#include "config.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "daemon/net/network.h"
#include "daemon/resolver/host_port.h"
#include "reach.h"

static const char *const mode_names[] = {
    [FIREFLY_LEAN] = "lean", [FIREFLY_COMPATIBLE] = "compatible", [FIREFLY_ALL] = "", NULL};

void firefly_check(const void *config, const char *path, struct flowd_messages *errors)
{
    const struct firefly_config *firefly = config;
    struct flowd_host_port place;
    struct flowd_network network;
    struct flowd_error error;
    char section[128];

    for (size_t i = 0; i < firefly->collectors.count; i++)
        if (flowd_host_port_parse(firefly->collectors.items[i], (uint16_t)firefly->destination_port,
                                  &place) < 0)
            flowd_messages_add(errors,
                               "%s.collectors: found \"%s\", wants a host name or an address, with "
                               "or without a port in 1-65535",
                               path, firefly->collectors.items[i]);
    for (size_t i = 0; i < firefly->exclude_networks.count; i++) {
        const char *text = firefly->exclude_networks.items[i];

        if (flowd_network_parse(text, strlen(text), &network, &error) < 0)
            flowd_messages_add(errors, "%s.excludeNetworks: \"%s\": %s", path, text, error.message);
    }
    snprintf(section, sizeof(section), "%s.stun", path);
    flowd_public_check(&firefly->stun, section, errors);
}

/* Another spelling of one collector, such as with the standard port, is the same. */
static bool is_double(const struct firefly_config *firefly, size_t number)
{
    uint16_t port = (uint16_t)firefly->destination_port;
    struct flowd_host_port one, other;

    if (flowd_host_port_parse(firefly->collectors.items[number], port, &one) < 0)
        return false;
    for (size_t i = 0; i < number; i++)
        if (flowd_host_port_parse(firefly->collectors.items[i], port, &other) == 0 &&
            one.port == other.port && strcasecmp(one.host, other.host) == 0)
            return true;
    return false;
}

static void warn_of_doubles(const struct firefly_config *firefly, const char *path,
                            struct flowd_messages *warnings)
{
    for (size_t i = 0; i < firefly->collectors.count; i++)
        if (is_double(firefly, i))
            flowd_messages_add(warnings,
                               "%s.collectors: \"%s\" stands there twice: it gets each firefly "
                               "once",
                               path, firefly->collectors.items[i]);
}

void firefly_share(void *config, const char *path, struct flowd_shared *shared,
                   struct flowd_messages *errors)
{
    struct firefly_config *firefly = config;
    const struct flowd_strings *receivers = shared->firefly_receivers;
    struct flowd_host_port place;

    (void)path;
    firefly->receivers = receivers;
    shared->firefly_receivers_taken = true;
    for (size_t i = 0; receivers != NULL && i < receivers->count; i++)
        if (flowd_host_port_parse(receivers->items[i], (uint16_t)firefly->destination_port,
                                  &place) < 0)
            flowd_messages_add(errors,
                               "plugins.firefly.fireflyReceivers: found \"%s\", wants a host name "
                               "or an address, with or without a port in 1-65535",
                               receivers->items[i]);
}

static bool has_receivers(const struct firefly_config *firefly)
{
    return firefly->receivers != NULL && firefly->receivers->count > 0;
}

static void warn_of_places(const struct firefly_config *firefly, const char *path,
                           struct flowd_messages *warnings)
{
    uint16_t port = (uint16_t)firefly->destination_port;
    struct flowd_error list;

    (void)flowd_fail(&list, EINVAL, "%s.collectors", path);
    firefly_reach_warn(&firefly->collectors, port, list.message, warnings);
    if (has_receivers(firefly))
        firefly_reach_warn(firefly->receivers, port, "plugins.firefly.fireflyReceivers", warnings);
}

void firefly_warn(const void *config, const char *path, const struct flowd_environment *environment,
                  struct flowd_messages *warnings)
{
    const struct firefly_config *firefly = config;

    /* flowd-go takes such a configuration too. */
    if (firefly->enrich && !environment->has_enricher)
        flowd_messages_add(warnings,
                           "%s.enrich: does nothing without an enricher, which takes the samples: "
                           "\"enrichers\": {\"netlink\": {}}",
                           path);
    if (has_receivers(firefly) && !firefly->relay)
        flowd_messages_add(warnings,
                           "%s.relay: is false, so that nothing is sent to "
                           "plugins.firefly.fireflyReceivers",
                           path);
    if (!firefly->send_to_destination && firefly->collectors.count == 0 && !has_receivers(firefly))
        flowd_messages_add(warnings,
                           "%s: no firefly is sent: sendToDestination is false and there are no "
                           "collectors",
                           path);
    if (!firefly->prepend_syslog && firefly->collectors.count > 0)
        flowd_messages_add(warnings,
                           "%s.prependSyslog: collectors drop fireflies without a syslog header: "
                           "set it to true",
                           path);
    warn_of_doubles(firefly, path, warnings);
    if (environment->host != NULL)
        warn_of_places(firefly, path, warnings);
}

static bool is_port(const json_t *value, json_int_t least)
{
    return json_is_integer(value) && json_integer_value(value) >= least &&
           json_integer_value(value) <= UINT16_MAX;
}

const struct flowd_option firefly_old_options[] = {
    {.key = "sendToCollector",
     .type = FLOWD_OPTION_BOOL,
     .instead = "collectors",
     .doc = "With true, collectorAddress and collectorPort are one more of the collectors."},
    {.key = "collectorAddress",
     .type = FLOWD_OPTION_STRING,
     .instead = "collectors",
     .doc = "See sendToCollector."},
    {.key = "collectorPort",
     .type = FLOWD_OPTION_INTEGER,
     .min = 0,
     .max = UINT16_MAX,
     .instead = "collectors",
     .doc = "See sendToCollector, with which it is 1 or more; 10514 where it is not given."},
    {.key = NULL},
};

/* sendToCollector, collectorAddress and collectorPort become one entry of collectors. */
void firefly_translate(json_t *object, const char *path, struct flowd_options_report *report)
{
    const json_t *send = json_object_get(object, "sendToCollector");
    const json_t *address = json_object_get(object, "collectorAddress");
    const json_t *port = json_object_get(object, "collectorPort");
    json_t *collectors = json_object_get(object, "collectors");
    json_t *endpoint = NULL;

    if (send == NULL && address == NULL && port == NULL)
        return;
    flowd_messages_add(&report->deprecations,
                       "%s: sendToCollector, collectorAddress and collectorPort are the old "
                       "spelling of \"collectors\"",
                       path);
    if ((send != NULL && !json_is_boolean(send)) || (address != NULL && !json_is_string(address)) ||
        (port != NULL && !is_port(port, json_is_true(send) ? 1 : 0)))
        flowd_messages_add(&report->errors,
                           "%s: sendToCollector wants true or false, collectorAddress a string, "
                           "collectorPort an integer in 1-65535",
                           path);
    else if (json_is_true(send) && address == NULL)
        flowd_messages_add(&report->errors, "%s.collectorAddress: is missing", path);
    else if (json_is_true(send))
        endpoint = json_sprintf(
            strchr(json_string_value(address), ':') != NULL && json_string_value(address)[0] != '['
                ? "[%s]:%d"
                : "%s:%d",
            json_string_value(address), port != NULL ? (int)json_integer_value(port) : 10514);
    if (endpoint != NULL && collectors == NULL) {
        collectors = json_array();
        json_object_set_new(object, "collectors", collectors);
    }
    if (endpoint != NULL && json_array_append(collectors, endpoint) < 0)
        flowd_messages_add(&report->errors, "%s.collectors: wants an array of strings", path);
    json_decref(endpoint);
    json_object_del(object, "sendToCollector");
    json_object_del(object, "collectorAddress");
    json_object_del(object, "collectorPort");
}

#define AT(field) offsetof(struct firefly_config, field)
/* What took the place of flowd-go's own sampling. */
#define ENRICHER_INSTEAD                                                                           \
    "an enricher (\"enrichers\": {\"netlink\": {}}) samples TCP statistics each "                  \
    "enrichers.period, and \"enrich\": true sends them while a flow goes on"

const struct flowd_option firefly_options[] = {
    {.key = "destinationPort",
     .alias = "fireflyDestinationPort",
     .type = FLOWD_OPTION_INTEGER,
     .offset = AT(destination_port),
     .default_json = "10514",
     .min = 1,
     .max = UINT16_MAX,
     .doc = "UDP port of fireflies to the destination, and of collectors that name none.",
     .reload = true},
    {.key = "sendToDestination",
     .type = FLOWD_OPTION_BOOL,
     .offset = AT(send_to_destination),
     .default_json = "true",
     .doc = "Send to the flow's destination address.",
     .reload = true},
    {.key = "collectors",
     .type = FLOWD_OPTION_STRINGS,
     .offset = AT(collectors),
     .default_json = "[]",
     .doc = "Who gets every firefly: \"collector.example.org\", \"192.0.2.1:10514\", "
            "\"[2001:db8::1]:10514\"; names are asked for again when their time is over.",
     .reload = true},
    {.key = "excludeNetworks",
     .type = FLOWD_OPTION_STRINGS,
     .offset = AT(exclude_networks),
     .default_json = "[]",
     .doc =
         "Networks (\"192.0.2.0/24\", \"2001:db8::/32\"): a flow with both ends in them sends no "
         "fireflies.",
     .reload = true},
    {.key = "prependSyslog",
     .type = FLOWD_OPTION_BOOL,
     .offset = AT(prepend_syslog),
     .default_json = "true",
     .doc = "Put the syslog header before the JSON object.",
     .reload = true},
    {.key = "relay",
     .type = FLOWD_OPTION_BOOL,
     .offset = AT(relay),
     .default_json = "true",
     .doc = "Pass fireflies on with all members that their sender put there.",
     .reload = true},
    {.key = "enrich",
     .type = FLOWD_OPTION_BOOL,
     .offset = AT(enrich),
     .default_json = "false",
     .doc = "Send an ongoing firefly with TCP statistics each enrichers.period.",
     .reload = true},
    {.key = "enrichmentMode",
     .type = FLOWD_OPTION_CHOICE,
     .offset = AT(enrichment_mode),
     .default_json = "\"lean\"",
     .choices = mode_names,
     .doc = "Which TCP statistics stand in fireflies: the most useful, those of flowd 1.1 and "
            "flowd-go "
            "under their names, or (\"\") all.",
     .reload = true},
    {.key = "stun",
     .type = FLOWD_OPTION_SECTION,
     .offset = AT(stun),
     .section = flowd_public_options,
     .default_json = "{}",
     .doc = "Public addresses that stand in fireflies in place of private ones.",
     .reload = true},
    {.key = "addNetlinkContext",
     .type = FLOWD_OPTION_IGNORED,
     .instead = ENRICHER_INSTEAD,
     .doc = "Accepted from flowd-go, no effect."},
    {.key = "pollNetlink",
     .type = FLOWD_OPTION_IGNORED,
     .instead = ENRICHER_INSTEAD,
     .doc = "Accepted from flowd-go, no effect."},
    {.key = "netlinkPollingInterval",
     .type = FLOWD_OPTION_IGNORED,
     .instead = ENRICHER_INSTEAD,
     .doc = "Accepted from flowd-go, no effect."},
    {.key = NULL},
};
