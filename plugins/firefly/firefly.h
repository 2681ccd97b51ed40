/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The parts of the firefly plugin that its files share.
 */
#pragma once

#include <stdint.h>

#include "daemon/firefly/message.h"

struct flowd_counter_sink;

/* What became of datagrams. */
struct firefly_counts {
    uint64_t received;
    uint64_t own; /* enum firefly_verdict, judge.h */
    uint64_t again;
    uint64_t late;
    uint64_t limited; /* their sender sent too many */
    uint64_t dropped; /* by the kernel; not among those received */
    uint64_t rejected[FLOWD_FIREFLY_REJECTS];
    uint64_t senders; /* how many are known */
};

void firefly_counts_put(const struct firefly_counts *counts, const struct flowd_counter_sink *sink);
