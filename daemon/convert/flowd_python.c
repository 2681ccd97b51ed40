/* SPDX-License-Identifier: Apache-2.0 */
/*
 * flowd.cfg has one plugin, a list of backends, and a prefix for the settings of each: a table of
 * the plugins and one of the backends say what they become. Settings of a plugin or backend that is
 * not switched on are named in the notes as any other that is left over.
 */
#include "daemon/convert/flowd_python.h"

#include <stdint.h>
#include <stdio.h>
#include <string.h>

#define LISTENER_ADDRESS "0.0.0.0"
#define METRICS_ADDRESS "0.0.0.0"
#define MS_PER_S 1000

/* What is being made. */
struct conversion {
    const json_t *from;
    json_t *left; /* the settings that nobody has asked for yet; owned */
    json_t *root; /* owned until the end */
    struct flowd_messages *notes;
};

/* The setting's value, which counts as converted from here on; NULL: not given. Borrowed. */
static json_t *take(struct conversion *conversion, const char *name)
{
    json_object_del(conversion->left, name);
    return json_object_get(conversion->from, name);
}

static json_t *section_of(struct conversion *conversion, const char *name)
{
    if (json_object_get(conversion->root, name) == NULL)
        json_object_set_new(conversion->root, name, json_object());
    return json_object_get(conversion->root, name);
}

/* The module's object, made where it is not there. Borrowed. */
static json_t *module_of(struct conversion *conversion, const char *section, const char *name)
{
    json_t *parent = section_of(conversion, section);

    if (json_object_get(parent, name) == NULL)
        json_object_set_new(parent, name, json_object());
    return json_object_get(parent, name);
}

/* Puts the setting under key where it is given and of that type. */
static void move(struct conversion *conversion, const char *name, json_t *object, const char *key,
                 json_type type)
{
    json_t *value = take(conversion, name);

    if (value != NULL && json_typeof(value) == type)
        json_object_set(object, key, value);
    else if (value != NULL)
        flowd_messages_add(conversion->notes, "%s: left out: %s wants %s", name, key,
                           type == JSON_INTEGER ? "a number" : "a text");
}

/* A text or a list of texts as a list. Returns owned. */
static json_t *list_of(json_t *value, const char *separators)
{
    json_t *list = json_array();
    const char *at = json_string_value(value);

    if (json_is_array(value)) {
        json_array_extend(list, value);
        return list;
    }
    while (at != NULL && *(at += strspn(at, separators)) != '\0') {
        size_t length = strcspn(at, separators);

        json_array_append_new(list, json_stringn(at, length));
        at += length;
    }
    return list;
}

static void convert_fifo(struct conversion *conversion, const char *prefix)
{
    (void)prefix;
    move(conversion, "NP_API_FILE", module_of(conversion, "plugins", "namedPipe"), "pipePath",
         JSON_STRING);
}

static void convert_listener(struct conversion *conversion, const char *prefix)
{
    json_t *listener = module_of(conversion, "plugins", "firefly");

    (void)prefix;
    json_object_set_new(listener, "bindAddress", json_string(LISTENER_ADDRESS));
    move(conversion, "FIREFLY_LISTENER_HOST", listener, "bindAddress", JSON_STRING);
    move(conversion, "FIREFLY_LISTENER_PORT", listener, "bindPort", JSON_INTEGER);
}

static json_t *take_prefixed(struct conversion *conversion, const char *prefix, const char *name)
{
    char full[64];

    snprintf(full, sizeof(full), "%s_%s", prefix, name);
    return take(conversion, full);
}

static void move_id(struct conversion *conversion, const char *prefix, const char *name,
                    json_t *object, const char *key)
{
    json_t *id = take_prefixed(conversion, prefix, name);

    if (json_is_integer(id))
        json_object_set(object, key, id);
    else
        flowd_messages_add(conversion->notes,
                           "%s_%s: %s: set plugins.netlink.%s to the number in the registry",
                           prefix, name, id != NULL ? "is no number" : "is missing", key);
}

/* netlink asks the kernel as flowd does; netstat had /proc read, which nobody has to do. */
static void convert_scanner(struct conversion *conversion, const char *prefix)
{
    json_t *scanner = module_of(conversion, "plugins", "netlink");
    json_t *networks = take_prefixed(conversion, prefix, "INTERNAL_NETWORKS");
    json_t *period = take_prefixed(conversion, prefix, "TIMEOUT");

    move_id(conversion, prefix, "EXPERIMENT", scanner, "experiment");
    move_id(conversion, prefix, "ACTIVITY", scanner, "activity");
    if (networks != NULL)
        json_object_set_new(scanner, "internalNetworks", list_of(networks, ", "));
    if (json_is_integer(period))
        json_object_set_new(scanner, "period", json_integer(json_integer_value(period) * MS_PER_S));
    if (strcmp(prefix, "NETSTAT") == 0)
        flowd_messages_add(conversion->notes,
                           "PLUGIN: netstat becomes plugins.netlink, which asks the kernel "
                           "(sock_diag) instead of reading /proc");
}

/* Experiments and activities that the iperf plugins deal out where nothing else is said. */
static json_t *default_pairs(void)
{
    return json_pack("[[i,i],[i,i],[i,i],[i,i],[i,i],[i,i],[i,i],[i,i]]", 2, 9, 2, 19, 3, 3, 3, 4,
                     4, 3, 4, 4, 5, 10, 5, 14);
}

static void convert_iperf(struct conversion *conversion, const char *prefix)
{
    json_t *iperf = module_of(conversion, "plugins", "iperf3");
    json_t *given = take(conversion, "IPERF_FLOW_ID");
    json_t *pairs = json_is_array(given) ? json_incref(given) : default_pairs();
    json_t *experiments = json_array(), *activities = json_array();
    json_t *pair;
    size_t index;

    json_array_foreach (pairs, index, pair) {
        if (json_array_size(pair) != 2)
            flowd_messages_add(conversion->notes,
                               "IPERF_FLOW_ID: entry %zu is no pair (experiment, activity), left "
                               "out",
                               index + 1);
        if (json_array_size(pair) != 2)
            continue;
        json_array_append(experiments, json_array_get(pair, 0));
        json_array_append(activities, json_array_get(pair, 1));
    }
    json_decref(pairs);
    json_object_set_new(iperf, "experimentIDs", experiments);
    json_object_set_new(iperf, "activityIDs", activities);
    json_object_set_new(iperf, "randomIDs", json_boolean(strcmp(prefix, "IPERF") == 0));
    flowd_messages_add(conversion->notes,
                       "PLUGIN: iperf left out connections to private addresses and to "
                       "IPERF_INTERNAL_NETWORKS; plugins.iperf3 goes by ports "
                       "(minDestinationPort, maxDestinationPort, ...)");
    take(conversion, "IPERF_INTERNAL_NETWORKS");
}

static void convert_fireflies(struct conversion *conversion)
{
    static const char *const sources[] = {"UDP_FIREFLY_IP4_SRC", "UDP_FIREFLY_IP6_SRC"};
    static const char *const statistics[] = {"UDP_FIREFLY_NETLINK", "UDP_FIREFLY_WITH_NETLINK"};
    json_t *firefly = module_of(conversion, "backends", "firefly");
    json_t *collector = take(conversion, "UDP_FIREFLY_DST");

    if (collector != NULL)
        json_object_set_new(firefly, "collectors", list_of(collector, ", "));
    for (size_t i = 0; i < sizeof(sources) / sizeof(sources[0]); i++) {
        json_t *address = take(conversion, sources[i]);

        if (json_is_string(address))
            flowd_messages_add(conversion->notes,
                               "%s: flowd put %s into each firefly, whatever the flow's address; "
                               "name the addresses that this host has: "
                               "\"backends.firefly.stun.manualMapping\": {\"ADDRESS\": \"%s\"}",
                               sources[i], json_string_value(address), json_string_value(address));
    }
    for (size_t i = 0; i < sizeof(statistics) / sizeof(statistics[0]); i++)
        if (json_is_true(take(conversion, statistics[i]))) {
            (void)module_of(conversion, "enrichers", "netlink");
            json_object_set_new(firefly, "enrichmentMode", json_string("compatible"));
            flowd_messages_add(conversion->notes,
                               "%s: TCP statistics are in the firefly of the end; \"enrich\": true "
                               "in backends.firefly sends them while a flow goes on, too",
                               statistics[i]);
        }
}

static void convert_marker(struct conversion *conversion)
{
    json_t *marker = module_of(conversion, "backends", "marker");
    json_t *interfaces = take(conversion, "NETWORK_INTERFACE");

    if (interfaces == NULL)
        interfaces = take(conversion, "NETWORK_INTERFACES");
    if (interfaces != NULL)
        json_object_set_new(marker, "targetInterfaces", list_of(interfaces, ", "));
    flowd_messages_add(
        conversion->notes,
        "BACKEND: flowd replaced the interface's root qdisc (sfq) and marked TCP from the "
        "source to the destination; backends.marker leaves qdiscs alone and marks "
        "TCP and UDP of whichever end is this host");
}

static void convert_metrics(struct conversion *conversion)
{
    json_t *prometheus = module_of(conversion, "backends", "prometheus");

    json_object_set_new(prometheus, "bindAddress", json_string(METRICS_ADDRESS));
    move(conversion, "PROMETHEUS_SRV_PORT", prometheus, "port", JSON_INTEGER);
    (void)module_of(conversion, "enrichers", "netlink");
}

static const struct plugin {
    const char *name;
    void (*convert)(struct conversion *conversion, const char *prefix);
    const char *prefix; /* of its settings */
} plugins[] = {
    {"np_api", convert_fifo, "NP_API"},      {"firefly", convert_listener, "FIREFLY"},
    {"netlink", convert_scanner, "NETLINK"}, {"netstat", convert_scanner, "NETSTAT"},
    {"iperf", convert_iperf, "IPERF"},       {"iperf_rr", convert_iperf, "IPERF_RR"},
};

static const struct backend {
    const char *name;
    void (*convert)(struct conversion *conversion);
} backends[] = {
    {"udp_firefly", convert_fireflies}, {"prometheus", convert_metrics},
    {"ebpf", convert_marker},           {"ebpf_el8", convert_marker},
    {"ebpf_el9", convert_marker},       {"ebpf_rhel8", convert_marker},
    {"ebpf_rhel9", convert_marker},
};

static void convert_plugin(struct conversion *conversion)
{
    const char *name = json_string_value(take(conversion, "PLUGIN"));

    for (size_t i = 0; name != NULL && i < sizeof(plugins) / sizeof(plugins[0]); i++) {
        if (strcmp(plugins[i].name, name) == 0) {
            plugins[i].convert(conversion, plugins[i].prefix);
            return;
        }
    }
    flowd_messages_add(conversion->notes, "PLUGIN: %s%s%s", name != NULL ? "\"" : "is missing",
                       name != NULL ? name : "", name != NULL ? "\" has no equivalent" : "");
}

static void convert_backend(struct conversion *conversion, const char *name)
{
    for (size_t i = 0; i < sizeof(backends) / sizeof(backends[0]); i++) {
        if (strcmp(backends[i].name, name) == 0) {
            backends[i].convert(conversion);
            return;
        }
    }
    flowd_messages_add(conversion->notes, "BACKEND: \"%s\" has no equivalent", name);
}

static void convert_backends(struct conversion *conversion)
{
    json_t *given = take(conversion, "BACKEND");
    json_t *names = given != NULL ? list_of(given, ", ") : json_pack("[s]", "udp_firefly");
    json_t *name;
    size_t index;

    json_array_foreach (names, index, name)
        convert_backend(conversion, json_is_string(name) ? json_string_value(name) : "");
    json_decref(names);
}

/* The servers of flowd's own settings: pairs of a name and a port. Returns owned. */
static json_t *stun_servers(struct conversion *conversion)
{
    json_t *given = take(conversion, "STUN_SERVERS"), *servers, *server;
    size_t index;

    if (!json_is_array(given))
        return json_pack("[s,s]", "stun.l.google.com:19305", "stun.services.mozilla.org:3478");
    servers = json_array();
    json_array_foreach (given, index, server) {
        const char *host = json_string_value(json_array_get(server, 0));

        if (host != NULL && json_is_integer(json_array_get(server, 1)))
            json_array_append_new(
                servers, json_sprintf("%s:%lld", host,
                                      (long long)json_integer_value(json_array_get(server, 1))));
        else if (json_is_string(server))
            json_array_append(servers, server);
        else
            flowd_messages_add(conversion->notes,
                               "STUN_SERVERS: entry %zu is no pair (name, port), left out",
                               index + 1);
    }
    return servers;
}

/* The public address by STUN. */
static void convert_discovery(struct conversion *conversion)
{
    if (!json_is_true(take(conversion, "IP_DISCOVERY_ENABLED")))
        return;
    json_object_set_new(module_of(conversion, "backends", "firefly"), "stun",
                        json_pack("{s:o}", "stunServers", stun_servers(conversion)));
    flowd_messages_add(conversion->notes,
                       "IP_DISCOVERY_ENABLED: flowd asked once, at its start, and put the answer "
                       "into each firefly; here each private address is mapped by itself");
}

static void convert_registry(struct conversion *conversion)
{
    if (json_object_get(conversion->from, "FLOW_MAP_API") == NULL)
        return;
    move(conversion, "FLOW_MAP_API", section_of(conversion, "registry"), "url", JSON_STRING);
    flowd_messages_add(conversion->notes,
                       "FLOW_MAP_API: flowd fetched it without looking at the certificate and did "
                       "not start without it; here certificates are verified and a registry that "
                       "can't be had stops nothing");
}

static void name_what_is_left(const struct conversion *conversion)
{
    const char *name;
    json_t *value;

    json_object_foreach (conversion->left, name, value)
        flowd_messages_add(conversion->notes, "%s: has no equivalent, left out", name);
}

json_t *flowd_python_convert(const json_t *assignments, struct flowd_messages *notes)
{
    struct conversion conversion = {.from = assignments,
                                    .left = json_copy((json_t *)(uintptr_t)assignments),
                                    .root = json_object(),
                                    .notes = notes};

    convert_plugin(&conversion);
    convert_backends(&conversion);
    convert_discovery(&conversion);
    convert_registry(&conversion);
    name_what_is_left(&conversion);
    json_decref(conversion.left);
    return conversion.root;
}
