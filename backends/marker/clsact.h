/* SPDX-License-Identifier: Apache-2.0 */
/*
 * clsact: the program as a direct-action filter at an interface's egress, for kernels without TCX.
 *
 * flowd's filter is known by its handle and its program's name together; nothing else is ever
 * removed or replaced.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "daemon/base/error.h"
#include "front.h"

/* flowd's filter has one of two handles: while it moves, one is old and one is new. */
#define MARKER_CLSACT_HANDLES 2

/* What stands at the ingress and egress of an interface's clsact qdisc. */
struct marker_filters {
    unsigned others; /* filters of anybody else */
    bool own;        /* flowd's is there; of two, what follows is of the first */
    bool own_again;  /* there are two: a crash cut a move short */
    uint32_t own_priority;
    uint32_t own_program; /* its program's id */
    unsigned own_handle;  /* which */
    /* Bit p: egress priority p (1-31) has this handle taken by others. */
    uint32_t taken[MARKER_CLSACT_HANDLES];
    struct marker_front front; /* others' filters before flowd's, or all, that see IPv6 */
};

/* Returns 0 (also if there is no clsact) or -errno. */
int marker_clsact_read(int index, struct marker_filters *filters);

/*
 * Attaches the program, in the place of flowd's filter if there is one. Sets *qdisc_made if the
 * qdisc was not there and is flowd's. Returns 0 or -errno.
 */
int marker_clsact_attach(int program_fd, int index, bool *qdisc_made, struct flowd_error *err);

/*
 * Moves flowd's filter before everything else as far as the others allow: another one is put there
 * before it goes. Returns 0 or -errno.
 */
int marker_clsact_move_first(int program_fd, int index);

/* Removes flowd's filter. Returns 1 if there was one, 0 if not, or -errno. */
int marker_clsact_detach(int index);

/* Removes the qdisc if no filter is left on it. Returns 1 if it is gone, 0 if it is in use. */
int marker_clsact_remove_qdisc(int index);
