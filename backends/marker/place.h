/* SPDX-License-Identifier: Apache-2.0 */
/*
 * flowd's place in the chain of an interface's egress. A program that stands before flowd's and
 * ends the chain takes the packets away from it: flowd goes back to the head where it may, and else
 * says that it is shadowed, unless flows' packets reach it all the same.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "front.h"

struct marker_attach;
struct marker_interface;

/* Zero-initialised: at the head. */
struct marker_place {
    bool doubted;  /* to be looked at as soon as possible */
    bool shadowed; /* something stands before it, and no flow's packet was seen behind that */
    bool warned;   /* of this front */
    struct marker_front front;
    double looked_s;
    double moved_s;   /* the last return to the head */
    unsigned moves;   /* returns that did not last */
    uint64_t marked;  /* packets marked when this was looked at */
    double reached_s; /* when that number grew last behind this front; 0: never */
};

/*
 * Looks at the place of an attached interface, returns to the head if that is due, and says in the
 * log what has changed. Returns false if the program is not on the interface.
 */
bool marker_place_check(struct marker_attach *attach, struct marker_interface *interface,
                        double now_s);
