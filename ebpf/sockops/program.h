/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Loads one of the sk_ops programs (ebpf/sockops.bpf.c) and attaches it to a cgroup. Nothing is
 * pinned: when the process goes, however that happens, the kernel takes the program off.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "daemon/base/error.h"
#include "ebpf/sockops/sockops.h"

struct flowd_sockops_program {
    int program_fd;
    int link_fd;
    int ring_fd;
    int counts_fd;
    int watched_fd;  /* -1 for FLOWD_SOCKOPS_CONNECTIONS */
    int existing_fd; /* an iterator over the sockets that are there; -1: this kernel has none for it
                      */
};

/* clang-format off */
#define FLOWD_SOCKOPS_PROGRAM_CLOSED                                                               \
    {                                                                                              \
        .program_fd = -1, .link_fd = -1, .ring_fd = -1, .counts_fd = -1, .watched_fd = -1,         \
        .existing_fd = -1,                                                                         \
    }
/* clang-format on */

/* Returns 0 and *out (owned), or -errno with the reason and the remedy; -EPERM: a right is missing.
 */
int flowd_sockops_program_load(const struct flowd_sockops_settings *settings,
                               struct flowd_sockops_program *out, struct flowd_error *err);
/* Takes the program off the cgroup. */
void flowd_sockops_program_close(struct flowd_sockops_program *program);

/* Sums over the processors; counts is indexed by enum flowd_sockops_count (ebpf/sockops.h). */
int flowd_sockops_program_counts(const struct flowd_sockops_program *program, uint64_t *counts);

/*
 * Begins to run the iterator over the sockets of this network namespace. Returns a file descriptor
 * (owned) for flowd_sockops_program_visit(), or -errno: -EOPNOTSUPP where there is no iterator.
 */
int flowd_sockops_program_begin_visit(const struct flowd_sockops_program *program);
/* Visits some sockets more. Returns 1: there are others; 0: that was all; or -errno. */
int flowd_sockops_program_visit(int visit_fd);
