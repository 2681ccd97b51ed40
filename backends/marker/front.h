/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a packet meets at an interface's egress before it meets flowd's program. Any of it may end
 * the chain, so that the packet leaves without a mark; whether it does can't be read from it.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

/* Zero-initialised: nothing. */
struct marker_front {
    unsigned count;   /* programs and filters; those of a flowd, which end no chain, do not count */
    unsigned movable; /* those of them that flowd's program may get before, as they are attached */
    char first[96];   /* the first of them as users know it */
};

/* Adds a BPF program that stands there as what ("TCX program", ...), by its id. */
void marker_front_add_program(struct marker_front *front, const char *what, uint32_t program);
/* Whether a program's name is that of a flowd's. */
bool marker_front_is_own_name(const char *name);
/* Whether the program is known not to be a flowd's. */
bool marker_front_is_foreign(uint32_t program);
/* Adds a filter of another kind than BPF. */
void marker_front_add_filter(struct marker_front *front, const char *kind, uint32_t priority);
