/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Which experiment and activity the next connection gets.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "daemon/flow/flow.h"
#include "daemon/options/option.h"

struct iperf3_tags {
    const struct flowd_integers *experiments; /* borrowed; not empty, in range */
    const struct flowd_integers *activities;
    bool random;
    uint64_t state; /* how many there were, or of the random numbers */
};

void iperf3_tags_init(struct iperf3_tags *tags, const struct flowd_integers *experiments,
                      const struct flowd_integers *activities, bool random);
struct flowd_tag iperf3_tags_next(struct iperf3_tags *tags);
