/*
 * What users see of the target interfaces: the state of each and what became of its packets, in the
 * status and in the metrics, from the set of attach.c and the counters that the program keeps.
 */
#include "attach.h"

#include "daemon/metrics/metrics.h"

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

/* FLOWD_MARKER_NO_FLOW is not counted by interface. */
static const char *const verdict_names[FLOWD_MARKER_VERDICTS] = {
    [FLOWD_MARKER_MARKED] = "marked",
    [FLOWD_MARKER_NOT_IPV6] = "not-ipv6",
    [FLOWD_MARKER_OTHER_PROTOCOL] = "other-protocol",
    [FLOWD_MARKER_FRAGMENT] = "fragment",
    [FLOWD_MARKER_TRUNCATED] = "truncated",
    [FLOWD_MARKER_TOO_DEEP] = "too-many-headers",
    [FLOWD_MARKER_ERROR] = "error",
    [FLOWD_MARKER_MTU] = "mtu",
    [FLOWD_MARKER_OPTIONS] = "options",
    [FLOWD_MARKER_VLAN] = "vlan",
};

static json_t *counters_json(const struct marker_program *program, int index)
{
    struct flowd_marker_counters counters = {0};
    uint32_t slot = (uint32_t)index % FLOWD_MARKER_INTERFACE_SLOTS;
    json_t *object = json_object();

    marker_program_counters(program, slot, &counters);
    for (unsigned verdict = 0; verdict < FLOWD_MARKER_VERDICTS; verdict++)
        if (verdict_names[verdict] != NULL)
            json_object_set_new(object, verdict_names[verdict],
                                json_integer((json_int_t)counters.packets[verdict]));
    return object;
}

json_t *marker_attach_json(const struct marker_attach *attach)
{
    json_t *list = json_array();

    for (size_t i = 0; i < attach->count; i++) {
        const struct marker_interface *interface = &attach->interfaces[i];
        json_t *object = json_pack("{s:s, s:i, s:s}", "name", interface->name, "index",
                                   interface->index, "state", state_names[state_of(interface)]);

        if (interface->state == MARKER_INTERFACE_ATTACHED) {
            json_object_set_new(object, "attach", json_string(attach->tcx ? "tcx" : "tc"));
            if (interface->place.front.count > 0)
                json_object_set_new(object, "behind", json_string(interface->place.front.first));
            json_object_set_new(object, "packets",
                                counters_json(attach->program, interface->index));
        } else if (interface->state != MARKER_INTERFACE_WAITING) {
            json_object_set_new(object, "error", json_string(interface->err.message));
        }
        json_array_append_new(list, object);
    }
    return list;
}

static void add_packets(const struct marker_attach *attach,
                        const struct marker_interface *interface, struct flowd_metrics *metrics)
{
    static const struct flowd_metric packets = {
        "flowd_marker_packets_total", FLOWD_METRIC_COUNTER,
        "Packets that left, and whether they bear a mark; those of no flow have no interface."};
    uint32_t slot = interface != NULL ? (uint32_t)interface->index % FLOWD_MARKER_INTERFACE_SLOTS
                                      : FLOWD_MARKER_SHARED_SLOT;
    const char *name = interface != NULL ? interface->name : "";
    struct flowd_marker_counters counters;

    if (marker_program_counters(attach->program, slot, &counters) < 0)
        return;
    for (unsigned verdict = 0; interface != NULL && verdict < FLOWD_MARKER_VERDICTS; verdict++)
        if (verdict_names[verdict] != NULL)
            flowd_metrics_add(metrics, &packets, counters.packets[verdict],
                              FLOWD_LABELS("interface", name, "result", verdict_names[verdict]));
    if (interface == NULL)
        flowd_metrics_add(metrics, &packets, counters.packets[FLOWD_MARKER_NO_FLOW],
                          FLOWD_LABELS("interface", name, "result", "no-flow"));
}

void marker_attach_metrics(const struct marker_attach *attach, struct flowd_metrics *metrics)
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
        if (interface->state != MARKER_INTERFACE_ATTACHED)
            continue;
        add_packets(attach, interface, metrics);
        flowd_metrics_add(metrics, &shadowed, interface->place.shadowed,
                          FLOWD_LABELS("interface", interface->name));
    }
    add_packets(attach, NULL, metrics);
    for (size_t i = 0; i < sizeof(states) / sizeof(states[0]); i++)
        flowd_metrics_add(metrics, &interfaces, states[i], FLOWD_LABELS("state", state_names[i]));
}
