/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One interface's hook, by TCX or clsact.
 */
#pragma once

#include <stdbool.h>

#include "attach.h"
#include "daemon/base/error.h"

/*
 * Attaches to interface->index, or takes over what an earlier process left there and puts the
 * program into it; then removes what it left of the other kind. Returns 0 or -errno.
 */
int marker_hook_attach(struct marker_attach *attach, struct marker_interface *interface,
                       struct flowd_error *err);
/* Makes sure that what an attached interface has pinned is still pinned. */
void marker_hook_pin(const struct marker_attach *attach, const struct marker_interface *interface);
/*
 * Looks whether the program is still on the interface, and what a packet meets before it. Returns
 * 0, or -ENOENT (or another -errno) if it is not there.
 */
int marker_hook_look(const struct marker_attach *attach, const struct marker_interface *interface,
                     struct marker_front *front);
/*
 * Moves the program of an attached interface before everything else, as far as that is possible. No
 * packet meets none meanwhile. Returns 0 or -errno.
 */
int marker_hook_move_first(const struct marker_attach *attach, struct marker_interface *interface);
/* Removes the hook; the clsact qdisc too if it may and should be removed. */
void marker_hook_detach(struct marker_attach *attach, struct marker_interface *interface);
/* Drops what this process remembers of a hook that somebody else removed. */
void marker_hook_forget(struct marker_attach *attach, struct marker_interface *interface);

/*
 * Takes away what is pinned in the places of links and is none of flowd's. Later flowd may lack the
 * right to ask for the name of a program.
 */
void marker_hook_check_links(struct marker_pins *pins);
/* Detaches a pinned link of flowd's, and takes away what is pinned in its place. Returns whether
 * there was one. */
bool marker_hook_remove_link(const struct marker_pins *pins, int index);
/*
 * Removes flowd's filter, with the qdisc if remove_qdisc is set, flowd made it and nobody uses it.
 * A note of a qdisc without the filter beside it may be of a device that had the index before: it
 * is forgotten, and the qdisc stays. qdisc_removed may be NULL. Returns 1, 0 if there was no
 * filter, or -errno.
 */
int marker_hook_remove_filter(const struct marker_pins *pins, int index, bool remove_qdisc,
                              bool *qdisc_removed);
