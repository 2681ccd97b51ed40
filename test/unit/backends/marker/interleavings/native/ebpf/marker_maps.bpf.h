/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
/*
 * In the place of ebpf/marker_maps.bpf.h: the maps in the test's memory, and what the lookup needs
 * of libbpf.
 */
#pragma once

#include "ebpf/marker.h"

#include "record.h"

#undef __always_inline
#define __always_inline inline __attribute__((always_inline))
#undef __noinline
#define __noinline __attribute__((noinline))
#define barrier_var(variable) __asm__ volatile("" : "+r"(variable))

#define marker_match_source 0
#define marker_written_by_calls (recorded.by_calls)
#define marker_shared (recorded.maps.shared)
#undef FLOWD_MARKER_FLOWS
#define FLOWD_MARKER_FLOWS recorded.maps.lines
#define flowd_bitmap recorded.maps.bitmap
#define bpf_map_lookup_elem(map, at) record_element(map, *(at))
