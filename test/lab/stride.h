/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Fewer cases where a processor is emulated: tests that go through thousands of them take each
 * FLOWD_TEST_STRIDE-th only, where that is set, and say how many that were.
 *
 * A prime number that no dimension of the cases is a multiple of leaves no dimension out.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct stride {
    size_t seen;  /* cases that there are, up to now */
    size_t taken; /* of them, those that were run */
};

/* 1: all cases. Ends the program where the variable is no number from 1 to 1000. */
uint32_t stride_length(void);
/* Counts one more case; returns whether it is to be run. The first one is. */
bool stride_takes(struct stride *stride);
/* Says how many cases were run of how many, unless that is all of them. */
void stride_say(const struct stride *stride, const char *cases);
