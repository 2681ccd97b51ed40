/*
 * What the status says of the target interfaces.
 */
#include "attach.h"

static const char *const state_names[] = {
    [MARKER_INTERFACE_WAITING] = "waiting",
    [MARKER_INTERFACE_ATTACHED] = "attached",
    [MARKER_INTERFACE_UNSUPPORTED] = "unsupported",
    [MARKER_INTERFACE_FAILED] = "failed",
};

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
                                   interface->index, "state", state_names[interface->state]);

        if (interface->state == MARKER_INTERFACE_ATTACHED) {
            json_object_set_new(object, "attach", json_string(attach->tcx ? "tcx" : "tc"));
            json_object_set_new(object, "packets",
                                counters_json(attach->program, interface->index));
        } else if (interface->state != MARKER_INTERFACE_WAITING) {
            json_object_set_new(object, "error", json_string(interface->err.message));
        }
        json_array_append_new(list, object);
    }
    return list;
}
