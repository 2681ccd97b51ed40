/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Sorts numbers by time, a little at a time: the order of age of many flows is made over several
 * turns of the loop.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct flowd_age {
    int64_t time_us;
    uint32_t number;
};

/* Zero-initialised is empty. */
struct flowd_age_order {
    struct flowd_age *ages; /* in sorted runs, the last of which may be under way; owned */
    size_t count;
    size_t capacity;
    size_t *heads; /* a heap of the runs' first ages that were not taken; owned */
    size_t head_count;
};

void flowd_age_order_fini(struct flowd_age_order *order);
/* Adds a number. Returns 0 or -ENOMEM. Sorts some thousand ages at most. */
int flowd_age_order_add(struct flowd_age_order *order, uint32_t number, int64_t time_us);
/* After everything was added. Returns 0 or -ENOMEM. */
int flowd_age_order_begin(struct flowd_age_order *order);
/* Takes the number with the earliest time. Returns false when there is none left. */
bool flowd_age_order_take(struct flowd_age_order *order, uint32_t *number);
