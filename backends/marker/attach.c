/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The set of target interfaces: which of the configured names are there, what is attached to each,
 * and what has to be tried again. It follows the host's notifications of interfaces and asks hook.c
 * to attach to one, and to let go of it.
 */
#include "attach.h"

#include <errno.h>
#include <linux/if_arp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "daemon/base/log.h"
#include "daemon/base/vector.h"
#include "daemon/net/host.h"
#include "hook.h"
#include "tcx.h"

/* How often an attached interface is looked at, and how many in one turn: one look takes 3 us with
 * TCX, of which the kernel tells nothing, and up to 100 us with clsact, whose changes it tells. */
#define PERIOD_TCX_S 0.9
#define PERIOD_TC_S 4.9
#define VERIFIED_BY_TCX 256u
#define VERIFIED_BY_TC 32u

int marker_attach_init(struct marker_attach *attach, const struct flowd_host *host,
                       struct marker_program *program, const struct marker_pins *pins,
                       const struct flowd_marker_config *config, struct flowd_error *err)
{
    bool kernel_tcx = marker_tcx_available();
    bool tcx = config->attach != MARKER_ATTACH_TC && kernel_tcx;

    if (config->attach == MARKER_ATTACH_TCX && !tcx)
        return flowd_fail(err, EOPNOTSUPP,
                          "this kernel has no TCX (Linux 6.6): set attach to \"auto\" or \"tc\"");
    *attach = (struct marker_attach){.host = host,
                                     .program = program,
                                     .pins = pins,
                                     .config = config,
                                     .kernel_tcx = kernel_tcx,
                                     .tcx = tcx};
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

    if (flowd_vector_reserve(&attach->interfaces, &attach->capacity, attach->count + 1) < 0)
        return NULL;
    interface = &attach->interfaces[attach->count++];
    *interface = (struct marker_interface){.link_fd = -1};
    snprintf(interface->name, sizeof(interface->name), "%s", name);
    return interface;
}

/* Whether another target of these is the same interface by another name of its. */
static bool is_wanted_already(const struct marker_attach *attach, const char *name, int index)
{
    for (size_t i = 0; i < attach->count; i++)
        if (attach->interfaces[i].wanted && attach->interfaces[i].named == index &&
            strcmp(attach->interfaces[i].name, name) != 0)
            return true;
    return false;
}

/* Marks name as a target, remembered from here on. Of an interface's names the first one counts. */
static void want(struct marker_attach *attach, const char *name)
{
    const struct flowd_interface *found = flowd_host_interface(attach->host, name);
    struct marker_interface *interface;

    if (found != NULL && is_wanted_already(attach, name, found->index))
        return;
    interface = find_name(attach, name);
    if (interface == NULL) {
        interface = add_interface(attach, name);
        if (interface == NULL)
            return;
        if (found == NULL)
            flowd_warning("marker",
                          "interface %s is not there: no packet is marked on it until it is", name);
    }
    interface->named = found != NULL ? found->index : 0;
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
    interface->qdisc_made = interface->contested = false;
    interface->removals = (struct flowd_log_lasting){0};
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
    interface->place = other->place;
    interface->runs_spare = other->runs_spare;
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
        flowd_fail(&interface->err, EOPNOTSUPP,
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
            interface->place = (struct marker_place){.doubted = true};
            flowd_log(interface->contested ? FLOWD_LOG_DEBUG : FLOWD_LOG_INFO, "marker",
                      "interface %s: attached by %s", interface->name, attach->tcx ? "tcx" : "tc");
            return;
        }
        interface->state = MARKER_INTERFACE_FAILED;
        interface->contested = false;
        interface->err = err;
    }
    if (interface->state != before)
        flowd_warning("marker", "interface %s: packets are not marked: %s", interface->name,
                      interface->err.message);
}

/* Brings one target to the state that the host's interfaces allow. */
static void sync_one(struct marker_attach *attach, struct marker_interface *interface)
{
    const struct flowd_interface *found = flowd_host_interface(attach->host, interface->name);
    enum marker_link_header header;

    if (interface->index != 0 && (found == NULL || found->index != interface->index)) {
        let_go(attach, interface);
        if (found == NULL)
            flowd_warning("marker", "interface %s is gone: waiting for it", interface->name);
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
    if (interface->state != MARKER_INTERFACE_ATTACHED)
        attach_one(attach, interface, found);
}

void marker_attach_sync(struct marker_attach *attach)
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
            sync_one(attach, &attach->interfaces[i]);
        else
            let_go(attach, &attach->interfaces[i]);
    }
    for (size_t i = 0; i < attach->count; i++)
        if (attach->interfaces[i].wanted)
            attach->interfaces[kept++] = attach->interfaces[i];
    attach->count = kept;
}

void marker_attach_doubt(struct marker_attach *attach, int index)
{
    for (size_t i = 0; i < attach->count; i++)
        if (index == 0 || attach->interfaces[i].index == index)
            attach->interfaces[i].place.doubted = true;
}

/* Looks at one that is attached; attaches again where somebody took the program away. */
static void verify_one(struct marker_attach *attach, struct marker_interface *interface,
                       double now_s)
{
    const struct flowd_interface *found = flowd_host_interface(attach->host, interface->name);

    if (marker_place_check(attach, interface, now_s)) {
        marker_hook_pin(attach, interface);
        return;
    }
    /* It is just vanishing, its programs first; the host will tell. */
    if (found == NULL || (int)if_nametoindex(found->name) != interface->index)
        return;
    interface->contested =
        flowd_log_lasting(&interface->removals, FLOWD_LOG_WARNING) == FLOWD_LOG_DEBUG;
    flowd_log(interface->contested ? FLOWD_LOG_DEBUG : FLOWD_LOG_WARNING, "marker",
              "interface %s: somebody removed flowd's program; attaching again", interface->name);
    marker_hook_forget(attach, interface);
    interface->state = MARKER_INTERFACE_WAITING;
    attach_one(attach, interface, found);
    if (interface->state == MARKER_INTERFACE_ATTACHED)
        marker_place_check(attach, interface, now_s);
}

void marker_attach_verify(struct marker_attach *attach, double now_s)
{
    unsigned left = attach->tcx ? VERIFIED_BY_TCX : VERIFIED_BY_TC;
    double period_s = attach->tcx ? PERIOD_TCX_S : PERIOD_TC_S;

    for (int doubted = 1; doubted >= 0; doubted--)
        for (size_t n = 0; n < attach->count && left > 0; n++) {
            struct marker_interface *interface =
                &attach->interfaces[(attach->cursor + n) % attach->count];

            if (interface->state != MARKER_INTERFACE_ATTACHED ||
                (doubted ? !interface->place.doubted
                         : now_s - interface->place.looked_s < period_s))
                continue;
            verify_one(attach, interface, now_s);
            if (--left == 0)
                attach->cursor = (attach->cursor + n + 1) % attach->count;
        }
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

static bool is_seeing(const struct marker_interface *interface)
{
    return interface->state == MARKER_INTERFACE_ATTACHED && !interface->place.shadowed;
}

bool marker_attach_any_seeing(const struct marker_attach *attach)
{
    for (size_t i = 0; i < attach->count; i++)
        if (is_seeing(&attach->interfaces[i]))
            return true;
    return false;
}

/* The first that the kernel refused, or that was asked for by name and can't be attached to. */
static const struct marker_interface *first_failed(const struct marker_attach *attach)
{
    for (size_t i = 0; i < attach->count; i++)
        if (attach->interfaces[i].state == MARKER_INTERFACE_FAILED ||
            (attach->interfaces[i].state == MARKER_INTERFACE_UNSUPPORTED &&
             !attach->config->discover_interfaces))
            return &attach->interfaces[i];
    return NULL;
}

/* Why this interface's packets are not marked. */
static int explain_one(const struct marker_interface *interface, struct flowd_error *err)
{
    if (interface->state == MARKER_INTERFACE_ATTACHED)
        return flowd_fail(err, EAGAIN, "interface %s: shadowed by %s", interface->name,
                          interface->place.front.first);
    if (interface->state == MARKER_INTERFACE_WAITING)
        return flowd_fail(err, EAGAIN, "interface %s is not there", interface->name);
    return flowd_fail(err, EAGAIN, "interface %s: %s", interface->name, interface->err.message);
}

int marker_attach_ready(const struct marker_attach *attach, struct flowd_error *err)
{
    const struct marker_interface *failed = first_failed(attach);

    if (failed != NULL)
        return explain_one(failed, err);
    if (marker_attach_any_seeing(attach))
        return 0;
    if (attach->count == 0)
        return flowd_fail(err, EAGAIN, "no interface has a global IPv6 address");
    return explain_one(&attach->interfaces[0], err);
}
