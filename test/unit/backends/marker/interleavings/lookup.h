/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The lookup of the marker program, as it is, over walk_load().
 */
#pragma once

#include <stdint.h>

#include "ebpf/marker.h"

/* The word of the key's entry; 0: there is none. */
uint64_t lookup(const struct flowd_marker_key *key, uint32_t hash);
