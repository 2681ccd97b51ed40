/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Finds programs of another flowd on the target interfaces. Whose program it is follows from its
 * name and its maps: one with a name of flowd's that uses none of the pinned maps is another's.
 */
#include "others.h"

#include <bpf/bpf.h>
#include <errno.h>
#include <linux/bpf.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>
#include <unistd.h>

#include "attach.h"
#include "clsact.h"
#include "daemon/base/log.h"
#include "daemon/net/host.h"
#include "front.h"
#include "tcx.h"

#define MAPS_OF_PROGRAM 16

static const char *const pin_names[] = {MARKER_PIN_FLOWS, MARKER_PIN_BITMAP, MARKER_PIN_COUNTERS,
                                        MARKER_PIN_FRAGMENTS};
#define PINS (sizeof(pin_names) / sizeof(pin_names[0]))

/* The ids of the pinned maps; 0: there is none. */
struct own_maps {
    uint32_t ids[PINS];
};

static void read_own_maps(const struct marker_pins *pins, struct own_maps *own)
{
    for (size_t i = 0; i < PINS; i++) {
        struct bpf_map_info info = {0};
        uint32_t length = sizeof(info);
        int fd = marker_pins_get(pins, pin_names[i]);

        own->ids[i] = 0;
        if (fd < 0)
            continue;
        if (bpf_obj_get_info_by_fd(fd, &info, &length) == 0)
            own->ids[i] = info.id;
        close(fd);
    }
}

static bool has_own_map(const struct own_maps *own, const uint32_t *ids, uint32_t count)
{
    for (uint32_t n = 0; n < count && n < MAPS_OF_PROGRAM; n++)
        for (size_t i = 0; i < PINS; i++)
            if (ids[n] != 0 && ids[n] == own->ids[i])
                return true;
    return false;
}

static bool is_anothers(const struct own_maps *own, uint32_t program)
{
    uint32_t maps[MAPS_OF_PROGRAM] = {0};
    struct bpf_prog_info info = {.nr_map_ids = MAPS_OF_PROGRAM,
                                 .map_ids = (uint64_t)(uintptr_t)maps};
    uint32_t length = sizeof(info);
    int fd = bpf_prog_get_fd_by_id(program);
    bool known;

    if (fd < 0)
        return false;
    known = bpf_obj_get_info_by_fd(fd, &info, &length) == 0;
    close(fd);
    return known && marker_front_is_own_name(info.name) && !has_own_map(own, maps, info.nr_map_ids);
}

/* The program of the link that is pinned for this interface; 0: there is none. */
static uint32_t program_of_link(const struct marker_pins *pins, int index)
{
    int fd = marker_pins_get_link(pins, index);
    uint32_t program = fd >= 0 ? marker_tcx_program(fd) : 0;

    if (fd >= 0)
        close(fd);
    return program;
}

/* The id of another flowd's program at the egress of the interface; 0: there is none. */
static uint32_t find_other(const struct marker_attach *attach, const struct own_maps *own,
                           int index)
{
    uint32_t ids[MARKER_TCX_PROGRAMS], pinned = program_of_link(attach->pins, index);
    struct marker_filters filters = {0};
    int count = attach->kernel_tcx ? marker_tcx_list(index, ids) : 0;

    for (int i = 0; i < count; i++)
        if (ids[i] != pinned && is_anothers(own, ids[i]))
            return ids[i];
    /* Without pins nothing tells a filter that a crash left from a running flowd's. */
    if (attach->pins->path != NULL && marker_clsact_read(index, &filters) == 0 && filters.own &&
        is_anothers(own, filters.own_program))
        return filters.own_program;
    return 0;
}

static bool is_target(const struct marker_attach *attach, const struct flowd_interface *interface)
{
    const struct flowd_strings *targets = &attach->config->target_interfaces;

    if (attach->config->discover_interfaces)
        return interface->global_ipv6;
    for (size_t i = 0; i < targets->count; i++)
        if (flowd_host_interface(attach->host, targets->items[i]) == interface)
            return true;
    return false;
}

void marker_others_warn(const struct marker_attach *attach)
{
    const struct flowd_interface *interface = NULL;
    struct own_maps own;
    int after = 0;

    read_own_maps(attach->pins, &own);
    while ((interface = flowd_host_next(attach->host, after)) != NULL) {
        uint32_t other = 0;

        after = interface->index;
        if (is_target(attach, interface))
            other = find_other(attach, &own, after);
        if (other != 0)
            flowd_warning("marker",
                          "interface %s: another flowd's program (id %u) is on the interface, or "
                          "one that was left under another pinPath: give each flowd a network "
                          "namespace of its own",
                          interface->name, other);
    }
}
