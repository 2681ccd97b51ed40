/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The calls by which a program gets pointers that it may read through.
 */
#pragma once

#include "kernel_btf.h"

/*
 * Has libbpf put the calls into the programs of each object that is opened and loaded from here on,
 * until the next call of this. kernel is borrowed; NULL: into none. Returns 0 or -errno.
 */
int marker_casts_use(const struct marker_kernel *kernel);
