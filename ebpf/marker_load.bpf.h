/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
/*
 * Loads of what flowd writes meanwhile. They are in a file of their own because a unit test has
 * others in its place: it lets the lookup of marker_table.bpf.h run against each order of its loads
 * and flowd's stores.
 */
#pragma once

#include <linux/types.h>

#include <bpf/bpf_helpers.h>

/* Each time it is written, and whole. */
#define MARKER_LOAD(what) (*(const volatile __typeof__(what) *)&(what))

/* 0, which nobody can know before what was read is there. */
static __always_inline __u64 marker_nothing_of(__u64 read)
{
    asm volatile("%0 &= 0" : "+r"(read));
    return read;
}
