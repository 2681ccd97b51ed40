/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
/*
 * In the place of ebpf/marker_load.bpf.h: loads that the test answers.
 */
#pragma once

#include <linux/types.h>

#include "walk.h"

/* The sum is only for a type without qualifiers. */
#define MARKER_LOAD(what) ((__typeof__((what) + 0))walk_load(&(what), sizeof(what)))

static inline __u64 marker_nothing_of(__u64 read)
{
    return read & 0;
}
