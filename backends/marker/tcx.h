/* SPDX-License-Identifier: Apache-2.0 */
/*
 * TCX: links that run the program at an interface's egress (Linux 6.6, and kernels that have it
 * backported).
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

/* The most programs that one hook holds. */
#define MARKER_TCX_PROGRAMS 64

struct marker_front;

/* Asks the kernel, whatever its version. */
bool marker_tcx_available(void);

/*
 * Attaches the program before everything else at the egress of the interface. Returns the link's
 * file descriptor (owned), or -errno.
 */
int marker_tcx_attach(int program_fd, int index);

/* Whether what is open is a TCX link with flowd's program, as far as it may be known. */
bool marker_tcx_is_own(int link_fd);

/*
 * The index of the interface that the TCX link is on, in the interface's network namespace; 0: it
 * is on none any more. It may be another namespace than this one: see marker_tcx_look().
 */
int marker_tcx_index(int link_fd);

/* The id of the link's program; 0: it can't be asked. */
uint32_t marker_tcx_program(int link_fd);
/* Lists the programs at the egress of the interface. Returns their number or -errno. */
int marker_tcx_list(int index, uint32_t programs[static MARKER_TCX_PROGRAMS]);

/*
 * Adds to front what runs before the link at the egress of this interface in this network
 * namespace; with no link (-1), everything there. Returns 0, -ENOENT if the link is not there, or
 * -errno.
 */
int marker_tcx_look(int link_fd, int index, struct marker_front *front);

/* Replaces the link's program; no packet passes without one. Returns 0 or -errno. */
int marker_tcx_replace(int link_fd, int program_fd);

/* Detaches the link, whoever else holds it, and closes the file descriptor. */
void marker_tcx_detach(int link_fd);
