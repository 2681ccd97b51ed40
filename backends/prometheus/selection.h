/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Which flows a scrape shows: those that began first, as many as maxSeries leaves room for, so that
 * what was there in one scrape is there in the next, until its flow ends.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct selected {
    int64_t start_us;
    uint64_t id;
    uint32_t series; /* that the flow has */
};

/* Zero-initialised, but for series_max, is empty. */
struct selection {
    struct selected *flows; /* owned; a heap, the latest first */
    size_t count;
    size_t capacity;
    uint64_t series; /* of the flows above, */
    uint64_t series_max;
    uint64_t left_out;     /* and of those that had no room */
    bool full;             /* something had none: */
    struct selected bound; /* the earliest such flow */
};

void selection_fini(struct selection *selection);
/* Takes the flow, or leaves out the latest of all. Each flow is added once. Returns 0 or -ENOMEM.
 */
int selection_add(struct selection *selection, const struct selected *flow);
