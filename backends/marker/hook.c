/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Attaching to one interface and letting go of it. The order is always: the program that is wanted
 * first, then what is to go, so that a packet in between meets at least one of them. Meeting both
 * does no harm: a label is written twice, and a mark in an extension header is not added again.
 */
#include "hook.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "clsact.h"
#include "daemon/base/log.h"
#include "ebpf/loader/bpf_log.h"
#include "explain.h"
#include "front.h"
#include "tcx.h"

/* The pinned link of the interface, or -errno. What is pinned in its place is taken away. */
static int get_link(const struct marker_pins *pins, int index)
{
    int fd = marker_pins_get_link(pins, index);

    if (fd == -ENOENT || fd == -EACCES || (fd >= 0 && marker_tcx_is_own(fd)))
        return fd;
    flowd_warning("marker", "%s/links/%d is no link of flowd's: it is replaced", pins->path, index);
    marker_pins_remove_link(pins, index);
    if (fd >= 0)
        close(fd);
    return -ENOENT;
}

static void check_link(void *context, int index)
{
    int fd = get_link(context, index);

    if (fd >= 0)
        close(fd);
}

void marker_hook_check_links(struct marker_pins *pins)
{
    marker_pins_each_link(pins, check_link, pins);
}

/* The pinned link of the interface with the program put into it, or -errno. */
static int adopt_link(const struct marker_attach *attach, int index, int program_fd)
{
    struct marker_front front = {0};
    int fd = get_link(attach->pins, index);

    if (fd < 0)
        return fd;
    if (marker_tcx_look(fd, index, &front) == 0 && marker_tcx_replace(fd, program_fd) == 0) {
        marker_pins_drop_fresh_link(attach->pins, index);
        return fd;
    }
    /* Of another network namespace, detached, or of an interface that had this index before. */
    marker_pins_remove_link(attach->pins, index);
    close(fd);
    return -ENOENT;
}

static int attach_tcx(struct marker_attach *attach, struct marker_interface *interface,
                      struct flowd_error *err)
{
    int program_fd = marker_program_get(attach->program, interface->link_header, err);
    int fd;

    if (program_fd < 0)
        return program_fd;
    fd = adopt_link(attach, interface->index, program_fd);
    if (fd < 0) {
        int result;

        flowd_bpf_log_reset();
        fd = marker_tcx_attach(program_fd, interface->index);
        if (fd < 0)
            return marker_explain_here((struct marker_failure){.stage = MARKER_STAGE_TCX,
                                                               .error = -fd,
                                                               .interface = interface->name},
                                       err);
        result = marker_pins_put_link(attach->pins, interface->index, fd);
        if (result < 0)
            flowd_warning("marker",
                          "interface %s: its link can't be pinned (%s): packets leave unmarked "
                          "when flowd crashes, until it is back",
                          interface->name, strerror(-result));
    }
    interface->link_fd = fd;
    interface->runs_spare = false;
    marker_hook_remove_filter(attach->pins, interface->index, attach->config->remove_qdisc, NULL);
    return 0;
}

static int attach_clsact(struct marker_attach *attach, struct marker_interface *interface,
                         struct flowd_error *err)
{
    struct marker_filters filters = {0};
    bool made = false;
    int program_fd = marker_program_get(attach->program, interface->link_header, err);
    int result;

    if (program_fd < 0)
        return program_fd;
    marker_clsact_read(interface->index, &filters);
    result = marker_clsact_attach(program_fd, interface->index, &made, err);
    /*
     * Attached again after somebody took the filter away, the qdisc is still the one flowd made. An
     * earlier process's note counts beside its filter only: the index may be another device's.
     */
    interface->qdisc_made |=
        made || (filters.own && marker_pins_made_qdisc(attach->pins, interface->index));
    marker_pins_note_qdisc(attach->pins, interface->index, interface->qdisc_made);
    if (result < 0) {
        if (made) {
            marker_pins_note_qdisc(attach->pins, interface->index, false);
            marker_clsact_remove_qdisc(interface->index);
            interface->qdisc_made = false;
        }
        return result;
    }
    marker_hook_remove_link(attach->pins, interface->index);
    return 0;
}

int marker_hook_attach(struct marker_attach *attach, struct marker_interface *interface,
                       struct flowd_error *err)
{
    return attach->tcx ? attach_tcx(attach, interface, err) : attach_clsact(attach, interface, err);
}

int marker_hook_look(const struct marker_attach *attach, const struct marker_interface *interface,
                     struct marker_front *front)
{
    struct marker_filters filters;

    *front = (struct marker_front){0};
    if (attach->tcx) {
        int result = marker_tcx_look(interface->link_fd, interface->index, front);

        front->movable = front->count;
        return result;
    }
    /* What can't be asked is taken to be there. */
    if (marker_clsact_read(interface->index, &filters) < 0)
        return 0;
    if (!filters.own || filters.own_program != attach->program->ids[interface->link_header])
        return -ENOENT;
    /* Every TCX program comes before the filters. */
    if (attach->kernel_tcx)
        marker_tcx_look(-1, interface->index, front);
    if (front->count == 0)
        *front = filters.front;
    else
        front->count += filters.front.count;
    front->movable = filters.front.count;
    return 0;
}

int marker_hook_move_first(const struct marker_attach *attach, struct marker_interface *interface)
{
    int program_fd = attach->program->program_fds[interface->link_header];
    int fd, old = interface->link_fd;

    if (!attach->tcx)
        return marker_clsact_move_first(program_fd, interface->index);
    if (!interface->runs_spare)
        program_fd = marker_program_spare(attach->program, interface->link_header);
    if (program_fd < 0)
        return program_fd;
    fd = marker_tcx_attach(program_fd, interface->index);
    if (fd < 0)
        return fd;
    interface->runs_spare = !interface->runs_spare;
    /*
     * The pin first: a crash between the two leaves at least one of them on the interface. A pin of
     * the old one would pass for it: without one it is pinned when the interface is looked at.
     */
    if (marker_pins_put_link(attach->pins, interface->index, fd) < 0)
        marker_pins_remove_link(attach->pins, interface->index);
    interface->link_fd = fd;
    marker_tcx_detach(old);
    return 0;
}

void marker_hook_pin(const struct marker_attach *attach, const struct marker_interface *interface)
{
    if (interface->link_fd >= 0 && !marker_pins_has_link(attach->pins, interface->index))
        marker_pins_put_link(attach->pins, interface->index, interface->link_fd);
    if (interface->qdisc_made && !marker_pins_made_qdisc(attach->pins, interface->index))
        marker_pins_note_qdisc(attach->pins, interface->index, true);
}

void marker_hook_detach(struct marker_attach *attach, struct marker_interface *interface)
{
    if (attach->tcx) {
        marker_pins_remove_link(attach->pins, interface->index);
        marker_tcx_detach(interface->link_fd);
        interface->link_fd = -1;
        return;
    }
    marker_clsact_detach(interface->index);
    if (!interface->qdisc_made)
        return;
    marker_pins_note_qdisc(attach->pins, interface->index, false);
    if (attach->config->remove_qdisc)
        marker_clsact_remove_qdisc(interface->index);
    interface->qdisc_made = false;
}

void marker_hook_forget(struct marker_attach *attach, struct marker_interface *interface)
{
    if (interface->link_fd >= 0) {
        marker_pins_remove_link(attach->pins, interface->index);
        close(interface->link_fd);
    }
    interface->link_fd = -1;
}

bool marker_hook_remove_link(const struct marker_pins *pins, int index)
{
    int fd = marker_pins_get_link(pins, index);
    bool own = fd >= 0 && marker_tcx_is_own(fd);

    if (own)
        marker_tcx_detach(fd);
    else if (fd >= 0)
        close(fd);
    marker_pins_remove_link(pins, index);
    return own;
}

int marker_hook_remove_filter(const struct marker_pins *pins, int index, bool remove_qdisc,
                              bool *qdisc_removed)
{
    bool made = marker_pins_made_qdisc(pins, index);
    int result = marker_clsact_detach(index);
    bool removed = result > 0 && made && remove_qdisc && marker_clsact_remove_qdisc(index) > 0;

    if (made && result >= 0)
        marker_pins_note_qdisc(pins, index, false);
    if (qdisc_removed != NULL)
        *qdisc_removed = removed;
    return result;
}
