/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Why the kernel does not load or attach an sk_ops program, and what to do about it.
 */
#pragma once

#include "daemon/base/error.h"
#include "ebpf/loader/bpf_log.h"
#include "ebpf/loader/environment.h"

enum flowd_sockops_stage { FLOWD_SOCKOPS_LOADING, FLOWD_SOCKOPS_ATTACHING };

/*
 * Writes what failed, why, and what to do, into err; error is a positive errno, path the cgroup's.
 * Returns -errno: -EPERM wherever the process lacks a right.
 */
int flowd_sockops_explain(enum flowd_sockops_stage stage, int error, const char *path,
                          const struct flowd_bpf_log *bpf_log,
                          const struct flowd_bpf_environment *environment, struct flowd_error *err);
