/* SPDX-License-Identifier: Apache-2.0 */
/*
 * An order of flows that none of a table's makers has thought of: the golden section of all flows
 * lies between one and the next, and each has its turn before the first comes again. In the order
 * in which flows came, a table that was filled in that order is read forwards, and the processor
 * fetches what comes next before it is asked for.
 */
#pragma once

#include <stdint.h>

static inline uint32_t strided_common_divisor(uint32_t a, uint32_t b)
{
    while (b > 0) {
        uint32_t rest = a % b;

        a = b;
        b = rest;
    }
    return a;
}

/* What to add to a flow's number, modulo flows, for the next one's. */
static inline uint32_t strided_step(uint32_t flows)
{
    uint32_t step = (uint32_t)(flows * 0.618034) | 1;

    while (strided_common_divisor(step, flows) != 1)
        step += 2;
    return step % flows;
}
