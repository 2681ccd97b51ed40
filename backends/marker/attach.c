/*
 * The set of target interfaces: see attach.h. How one interface is attached to is in hook.c.
 */
#include "attach.h"

#include <errno.h>
#include <linux/if_arp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "daemon/host.h"
#include "daemon/log.h"
#include "hook.h"
#include "tcx.h"

int marker_attach_init(struct marker_attach *attach, const struct flowd_host *host,
                       const struct marker_program *program, const struct marker_pins *pins,
                       const struct flowd_marker_config *config, struct flowd_error *err)
{
    bool tcx = config->attach != MARKER_ATTACH_TC && marker_tcx_available();

    if (config->attach == MARKER_ATTACH_TCX && !tcx)
        return flowd_fail(err, -EOPNOTSUPP,
                          "this kernel has no TCX (Linux 6.6): set attach to \"auto\" or \"tc\"");
    *attach = (struct marker_attach){
        .host = host, .program = program, .pins = pins, .config = config, .tcx = tcx};
    return 0;
}

void marker_attach_fini(struct marker_attach *attach)
{
    for (size_t i = 0; i < attach->count; i++)
        if (attach->interfaces[i].link_fd >= 0)
            close(attach->interfaces[i].link_fd);
    free(attach->interfaces);
    attach->interfaces = NULL;
    attach->count = attach->capacity = 0;
}

static struct marker_interface *find_name(struct marker_attach *attach, const char *name)
{
    for (size_t i = 0; i < attach->count; i++)
        if (strcmp(attach->interfaces[i].name, name) == 0)
            return &attach->interfaces[i];
    return NULL;
}

static struct marker_interface *find_attached(struct marker_attach *attach, int index)
{
    for (size_t i = 0; i < attach->count; i++)
        if (attach->interfaces[i].index == index &&
            attach->interfaces[i].state == MARKER_INTERFACE_ATTACHED)
            return &attach->interfaces[i];
    return NULL;
}

static struct marker_interface *add_interface(struct marker_attach *attach, const char *name)
{
    struct marker_interface *interface;

    if (attach->count == attach->capacity) {
        size_t capacity = attach->capacity > 0 ? attach->capacity * 2 : 8;
        struct marker_interface *interfaces =
            realloc(attach->interfaces, capacity * sizeof(*interfaces));

        if (interfaces == NULL)
            return NULL;
        attach->interfaces = interfaces;
        attach->capacity = capacity;
    }
    interface = &attach->interfaces[attach->count++];
    *interface = (struct marker_interface){.link_fd = -1};
    snprintf(interface->name, sizeof(interface->name), "%s", name);
    return interface;
}

/* Marks name as a target, remembered from here on. */
static void want(struct marker_attach *attach, const char *name)
{
    struct marker_interface *interface = find_name(attach, name);

    if (interface == NULL) {
        interface = add_interface(attach, name);
        if (interface == NULL)
            return;
        if (flowd_host_interface(attach->host, name) == NULL)
            flowd_info("marker", "interface %s is not there: waiting for it", name);
    }
    interface->wanted = true;
}

static void want_targets(struct marker_attach *attach)
{
    const struct flowd_interface *interface = NULL;
    int after = 0;

    for (size_t i = 0; i < attach->count; i++)
        attach->interfaces[i].wanted = false;
    if (!attach->config->discover_interfaces) {
        for (size_t i = 0; i < attach->config->target_interfaces.count; i++)
            want(attach, attach->config->target_interfaces.items[i]);
        return;
    }
    while ((interface = flowd_host_next(attach->host, after)) != NULL) {
        after = interface->index;
        if (interface->global_ipv6)
            want(attach, interface->name);
    }
}

/* Lets go of an interface that has vanished or is no target. */
static void let_go(struct marker_attach *attach, struct marker_interface *interface)
{
    if (interface->state == MARKER_INTERFACE_ATTACHED) {
        marker_hook_detach(attach, interface);
        flowd_info("marker", "interface %s: detached", interface->name);
    }
    interface->index = 0;
    interface->qdisc_made = false;
    interface->state = MARKER_INTERFACE_WAITING;
}

/* An interface that was renamed takes its hook along. */
static void take_over(struct marker_attach *attach, struct marker_interface *interface, int index)
{
    struct marker_interface *other = find_attached(attach, index);

    if (other == NULL || other == interface)
        return;
    interface->index = index;
    interface->state = other->state;
    interface->link_header = other->link_header;
    interface->link_fd = other->link_fd;
    interface->qdisc_made = other->qdisc_made;
    other->link_fd = -1;
    other->qdisc_made = false;
    other->index = 0;
    other->state = MARKER_INTERFACE_WAITING;
}

/* Returns false for a type of device (ARPHRD_...) whose packets begin with something else. */
static bool find_link_header(unsigned type, enum marker_link_header *header)
{
    switch (type) {
    case ARPHRD_ETHER:
    case ARPHRD_LOOPBACK:
        *header = MARKER_ETHERNET_HEADER;
        return true;
    case ARPHRD_NONE:
    case ARPHRD_RAWIP:
    case ARPHRD_PPP:
    case ARPHRD_TUNNEL:
    case ARPHRD_TUNNEL6:
    case ARPHRD_SIT:
        *header = MARKER_NO_LINK_HEADER;
        return true;
    default:
        return false;
    }
}

static void attach_one(struct marker_attach *attach, struct marker_interface *interface,
                       const struct flowd_interface *found)
{
    enum marker_interface_state before = interface->state;
    struct flowd_error err = {0};
    int result;

    interface->index = found->index;
    if (!find_link_header(found->type, &interface->link_header)) {
        interface->state = MARKER_INTERFACE_UNSUPPORTED;
        flowd_fail(&interface->err, -EOPNOTSUPP,
                   "flowd does not know the link header of this type of device (%u)", found->type);
    } else {
        result = marker_hook_attach(attach, interface, &err);
        if (result == -ENODEV) {
            /* It is just vanishing; the host will tell. */
            interface->state = MARKER_INTERFACE_WAITING;
            return;
        }
        if (result == 0) {
            interface->state = MARKER_INTERFACE_ATTACHED;
            flowd_info("marker", "interface %s: attached by %s", interface->name,
                       attach->tcx ? "tcx" : "tc");
            return;
        }
        interface->state = MARKER_INTERFACE_FAILED;
        interface->err = err;
    }
    if (interface->state != before)
        flowd_warning("marker", "interface %s: packets are not marked: %s", interface->name,
                      interface->err.message);
}

/* Brings one target to the state that the host's interfaces allow. */
static void sync_one(struct marker_attach *attach, struct marker_interface *interface, bool verify)
{
    const struct flowd_interface *found = flowd_host_interface(attach->host, interface->name);
    enum marker_link_header header;

    if (interface->index != 0 && (found == NULL || found->index != interface->index)) {
        let_go(attach, interface);
        if (found == NULL)
            flowd_info("marker", "interface %s is gone: waiting for it", interface->name);
    }
    if (found == NULL)
        return;
    if (interface->state != MARKER_INTERFACE_ATTACHED)
        take_over(attach, interface, found->index);
    if (interface->state == MARKER_INTERFACE_ATTACHED &&
        (!find_link_header(found->type, &header) || header != interface->link_header)) {
        /* A bond, or a tun device that was told so: another program is for it. */
        marker_hook_detach(attach, interface);
        interface->state = MARKER_INTERFACE_WAITING;
    }
    if (interface->state == MARKER_INTERFACE_ATTACHED) {
        if (!verify)
            return;
        if (marker_hook_present(attach, interface)) {
            marker_hook_pin(attach, interface);
            return;
        }
        /* It is just vanishing, its programs first; the host will tell. */
        if ((int)if_nametoindex(interface->name) != interface->index)
            return;
        flowd_warning("marker", "interface %s: somebody removed flowd's program; attaching again",
                      interface->name);
        marker_hook_forget(attach, interface);
        interface->state = MARKER_INTERFACE_WAITING;
    }
    attach_one(attach, interface, found);
}

void marker_attach_sync(struct marker_attach *attach, bool verify)
{
    size_t kept = 0;

    want_targets(attach);
    /* What took the place of a renamed interface comes first, so that its hook is handed over. */
    for (size_t i = 0; i < attach->count; i++) {
        struct marker_interface *interface = &attach->interfaces[i];
        const struct flowd_interface *found = flowd_host_interface(attach->host, interface->name);

        if (interface->wanted && found != NULL && interface->index == 0)
            take_over(attach, interface, found->index);
    }
    for (size_t i = 0; i < attach->count; i++) {
        if (attach->interfaces[i].wanted)
            sync_one(attach, &attach->interfaces[i], verify);
        else
            let_go(attach, &attach->interfaces[i]);
    }
    for (size_t i = 0; i < attach->count; i++)
        if (attach->interfaces[i].wanted)
            attach->interfaces[kept++] = attach->interfaces[i];
    attach->count = kept;
}

static void sweep_link(void *context, int index)
{
    struct marker_attach *attach = context;

    if (!attach->tcx || find_attached(attach, index) == NULL)
        marker_hook_remove_link(attach->pins, index);
}

static void sweep_qdisc(void *context, int index)
{
    struct marker_attach *attach = context;

    if (attach->tcx || find_attached(attach, index) == NULL)
        marker_pins_note_qdisc(attach->pins, index, false);
}

void marker_attach_sweep(struct marker_attach *attach)
{
    const struct flowd_interface *interface;
    int after = 0;

    marker_pins_each_link(attach->pins, sweep_link, attach);
    while ((interface = flowd_host_next(attach->host, after)) != NULL) {
        after = interface->index;
        if (!attach->tcx && find_attached(attach, after) != NULL)
            continue;
        if (marker_hook_remove_filter(attach->pins, after, attach->config->remove_qdisc, NULL) > 0)
            flowd_info("marker", "interface %s: removed the filter that an earlier flowd left",
                       interface->name);
    }
    marker_pins_each_qdisc(attach->pins, sweep_qdisc, attach);
}

void marker_attach_detach_all(struct marker_attach *attach)
{
    for (size_t i = 0; i < attach->count; i++)
        if (attach->interfaces[i].state == MARKER_INTERFACE_ATTACHED) {
            marker_hook_detach(attach, &attach->interfaces[i]);
            attach->interfaces[i].state = MARKER_INTERFACE_WAITING;
        }
}

bool marker_attach_failing(const struct marker_attach *attach)
{
    for (size_t i = 0; i < attach->count; i++)
        if (attach->interfaces[i].state == MARKER_INTERFACE_FAILED)
            return true;
    return false;
}

bool marker_attach_any(const struct marker_attach *attach)
{
    for (size_t i = 0; i < attach->count; i++)
        if (attach->interfaces[i].state == MARKER_INTERFACE_ATTACHED)
            return true;
    return false;
}

const struct marker_interface *marker_attach_first_failed(const struct marker_attach *attach)
{
    for (size_t i = 0; i < attach->count; i++)
        if (attach->interfaces[i].state == MARKER_INTERFACE_FAILED ||
            (attach->interfaces[i].state == MARKER_INTERFACE_UNSUPPORTED &&
             !attach->config->discover_interfaces))
            return &attach->interfaces[i];
    return NULL;
}
