/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Reconciles maps that an earlier process left with the live flows, some entries in each call: the
 * second half of adopting them, after every live flow has been told of.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "ebpf/marker.h"

struct marker_entries;

#define MARKER_SWEEP_ENTRIES 4096u

struct marker_sweep {
    struct marker_entries *entries; /* borrowed */
    uint32_t place;                 /* in the map, as the kernel counts */
    bool begun;
    int64_t deleted; /* entries of no flow */
    uint8_t keys[MARKER_SWEEP_ENTRIES * FLOWD_MARKER_KEY_SOURCE_SIZE];
    flowd_marker_word words[MARKER_SWEEP_ENTRIES];
};

/* Returns owned (free()), NULL: no memory. */
struct marker_sweep *marker_sweep_new(struct marker_entries *entries);
/*
 * Looks at some thousand entries more and deletes those without a flow; at the end clears every bit
 * that no flow needs. Returns 1 when there are more, 0 when that was all, or -errno.
 */
int marker_sweep_some(struct marker_sweep *sweep);
