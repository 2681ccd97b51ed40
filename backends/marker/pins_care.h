/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Looks after the pins of a running daemon: what somebody removes is pinned again.
 */
#pragma once

struct marker_pins;
struct marker_program;

/* Embedded in its owner; zero-initialised: nothing was looked at yet. */
struct marker_pins_care {
    double looked_s;
    int error; /* what was wrong then, a negative errno; 0: nothing */
};

/* To be called each second; looks once in a while. */
void marker_pins_care_look(struct marker_pins_care *care, struct marker_pins *pins,
                           const struct marker_program *program, double now_s);
