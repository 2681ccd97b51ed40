/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the programs know of the kernel's structures, and how they read them.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "daemon/base/error.h"
#include "ebpf/marker_kernel.h"

/* The kernel's type information. */
#define MARKER_KERNEL_BTF "/sys/kernel/btf/vmlinux"

enum marker_reading {
    MARKER_READS_NOTHING,   /* the programs do without */
    MARKER_READS_BY_HELPER, /* bpf_probe_read_kernel() */
    MARKER_READS_DIRECTLY,  /* Linux 6.2 */
};

struct marker_kernel {
    enum marker_reading reading;
    int btf; /* BTF of what the programs read; -1: the loader has to take the kernel's */
    struct flowd_marker_kernel_types types;
    uint32_t cast_context; /* the numbers of bpf_cast_to_kern_ctx() and bpf_rdonly_cast() */
    uint32_t cast_pointer;
};
/* clang-format off */
#define MARKER_KERNEL_CLOSED {.btf = -1}
/* clang-format on */

/*
 * Finds what a way of reading needs. Returns 0 or -errno: -EOPNOTSUPP if the kernel does not have
 * it.
 */
int marker_kernel_open(struct marker_kernel *kernel, enum marker_reading reading,
                       struct flowd_error *err);
void marker_kernel_close(struct marker_kernel *kernel);

/* What BTF in memory describes; for tests. Returns 0 or -errno. */
int marker_kernel_describe(struct marker_kernel *kernel, const void *bytes, size_t size);
