/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Whether the programs may remember marks on this kernel: see ebpf/marker_recent.bpf.h.
 */
#pragma once

#include <stdbool.h>

bool marker_recent_is_safe(void);
