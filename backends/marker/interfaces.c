/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What users see of the target interfaces: the state of each and what became of its packets, in the
 * status and in the metrics, from the set of attach.c and the counters that the program keeps.
 */
#include "attach.h"

#include "daemon/metrics/counter.h"

/* An attached interface whose packets do not reach the program, as far as is known. */
#define STATE_SHADOWED (MARKER_INTERFACE_FAILED + 1)

static const char *const state_names[] = {
    [MARKER_INTERFACE_WAITING] = "waiting",
    [MARKER_INTERFACE_ATTACHED] = "attached",
    [MARKER_INTERFACE_UNSUPPORTED] = "unsupported",
    [MARKER_INTERFACE_FAILED] = "failed",
    [STATE_SHADOWED] = "shadowed",
};

static unsigned state_of(const struct marker_interface *interface)
{
    bool attached = interface->state == MARKER_INTERFACE_ATTACHED;

    return attached && interface->place.shadowed ? STATE_SHADOWED : (unsigned)interface->state;
}

static const struct flowd_metric packets = {
    "flowd_marker_packets_total", FLOWD_METRIC_COUNTER,
    "Packets that left, and whether they bear a mark; those of no flow have no interface."};

#define COUNTED(verdict) FLOWD_COUNTED(struct flowd_marker_counters, packets[verdict])

/* Of each interface, in its object "packets". */
static const struct flowd_counter packet_counters[] = {
    {.key = "marked",
     .metric = &packets,
     .labels = {"result", "marked"},
     COUNTED(FLOWD_MARKER_MARKED)},
    {.key = "not-ipv6",
     .metric = &packets,
     .labels = {"result", "not-ipv6"},
     COUNTED(FLOWD_MARKER_NOT_IPV6)},
    {.key = "other-protocol",
     .metric = &packets,
     .labels = {"result", "other-protocol"},
     COUNTED(FLOWD_MARKER_OTHER_PROTOCOL)},
    {.key = "fragment",
     .metric = &packets,
     .labels = {"result", "fragment"},
     COUNTED(FLOWD_MARKER_FRAGMENT)},
    {.key = "truncated",
     .metric = &packets,
     .labels = {"result", "truncated"},
     COUNTED(FLOWD_MARKER_TRUNCATED)},
    {.key = "too-many-headers",
     .metric = &packets,
     .labels = {"result", "too-many-headers"},
     COUNTED(FLOWD_MARKER_TOO_DEEP)},
    {.key = "error",
     .metric = &packets,
     .labels = {"result", "error"},
     COUNTED(FLOWD_MARKER_ERROR)},
    {.key = "mtu", .metric = &packets, .labels = {"result", "mtu"}, COUNTED(FLOWD_MARKER_MTU)},
    {.key = "options",
     .metric = &packets,
     .labels = {"result", "options"},
     COUNTED(FLOWD_MARKER_OPTIONS)},
    {.key = "vlan", .metric = &packets, .labels = {"result", "vlan"}, COUNTED(FLOWD_MARKER_VLAN)},
    {.key = NULL},
};

/* Of all interfaces together, in the marker's own object. */
static const struct flowd_counter shared_counters[] = {
    {.key = "packetsOfNoFlow",
     .metric = &packets,
     .labels = {"result", "no-flow"},
     COUNTED(FLOWD_MARKER_NO_FLOW)},
    {.key = NULL},
};

/* Puts what the program counted in the slot; name is the interface's, "" of none. */
static void put_packets(const struct marker_attach *attach, const struct flowd_counter *rows,
                        uint32_t slot, const char *name, const struct flowd_counter_sink *sink)
{
    struct flowd_marker_counters counters = {0};

    if (marker_program_counters(attach->program, slot, &counters) == 0 || sink->status != NULL)
        flowd_counters_put(sink, rows, &counters, FLOWD_LABELS("interface", name));
}

static void put_interface_packets(const struct marker_attach *attach,
                                  const struct marker_interface *interface,
                                  const struct flowd_counter_sink *sink)
{
    put_packets(attach, packet_counters, (uint32_t)interface->index % FLOWD_MARKER_INTERFACE_SLOTS,
                interface->name, sink);
}

static json_t *interface_json(const struct marker_attach *attach,
                              const struct marker_interface *interface)
{
    json_t *object = json_pack("{s:s, s:i, s:s}", "name", interface->name, "index",
                               interface->index, "state", state_names[state_of(interface)]);

    if (interface->state == MARKER_INTERFACE_ATTACHED) {
        const struct flowd_counter_sink sink = {.status = json_object()};

        json_object_set_new(object, "attach", json_string(attach->tcx ? "tcx" : "tc"));
        if (interface->place.front.count > 0)
            json_object_set_new(object, "behind", json_string(interface->place.front.first));
        put_interface_packets(attach, interface, &sink);
        json_object_set_new(object, "packets", sink.status);
    } else if (interface->state != MARKER_INTERFACE_WAITING) {
        json_object_set_new(object, "error", json_string(interface->err.message));
    }
    return object;
}

/* How many interfaces there are in each state, which the status has one by one. */
static void put_states(const struct marker_attach *attach, struct flowd_metrics *metrics)
{
    static const struct flowd_metric interfaces = {"flowd_marker_interfaces", FLOWD_METRIC_GAUGE,
                                                   "Target interfaces by their state."};
    static const struct flowd_metric shadowed = {
        "flowd_marker_shadowed", FLOWD_METRIC_GAUGE,
        "Whether a program before flowd's keeps the interface's packets from it, as far as is "
        "known."};
    uint64_t states[sizeof(state_names) / sizeof(state_names[0])] = {0};

    for (size_t i = 0; i < attach->count; i++) {
        const struct marker_interface *interface = &attach->interfaces[i];

        states[state_of(interface)]++;
        if (interface->state == MARKER_INTERFACE_ATTACHED)
            flowd_metrics_add(metrics, &shadowed, interface->place.shadowed,
                              FLOWD_LABELS("interface", interface->name));
    }
    for (size_t i = 0; i < sizeof(states) / sizeof(states[0]); i++)
        flowd_metrics_add(metrics, &interfaces, states[i], FLOWD_LABELS("state", state_names[i]));
}

void marker_attach_count(const struct marker_attach *attach, const struct flowd_counter_sink *sink)
{
    json_t *list = sink->status != NULL ? json_array() : NULL;

    for (size_t i = 0; i < attach->count; i++) {
        const struct marker_interface *interface = &attach->interfaces[i];

        if (list != NULL)
            json_array_append_new(list, interface_json(attach, interface));
        else if (interface->state == MARKER_INTERFACE_ATTACHED)
            put_interface_packets(attach, interface, sink);
    }
    put_packets(attach, shared_counters, FLOWD_MARKER_SHARED_SLOT, "", sink);
    if (list != NULL)
        json_object_set_new(sink->status, "interfaces", list);
    if (sink->metrics != NULL)
        put_states(attach, sink->metrics);
}
