/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Looks after the pins of a running daemon: what somebody removes is pinned again.
 */
#pragma once

#include "daemon/base/log.h"

struct marker_pins;
struct marker_program;

/* Embedded in its owner; zero-initialised: nothing was looked at yet. */
struct marker_pins_care {
    double looked_s;
    int found; /* what was found then: see marker_pins_look() */
    int error; /* what was wrong when the look was over, a negative errno; 0: nothing */
    struct flowd_log_lasting removals; /* after which they were made again */
};

/* To be called each second; looks once in a while. */
void marker_pins_care_look(struct marker_pins_care *care, struct marker_pins *pins,
                           const struct marker_program *program, double now_s);
