/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Why the kernel does not load or attach the marker, and what to do about it.
 *
 * The kernel answers with an errno that stands for many causes. What libbpf and the verifier said,
 * and what surrounds the process, narrow it down to the most probable one.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "daemon/base/error.h"
#include "ebpf/loader/bpf_log.h"
#include "ebpf/loader/environment.h"
#include "ebpf/marker.h"

enum marker_stage {
    MARKER_STAGE_LOAD,   /* maps and programs */
    MARKER_STAGE_MAP,    /* mapping the flow map into this process */
    MARKER_STAGE_TCX,    /* the link */
    MARKER_STAGE_QDISC,  /* making clsact */
    MARKER_STAGE_FILTER, /* on clsact */
};

struct marker_failure {
    enum marker_stage stage;
    int error;                           /* a positive errno */
    const struct flowd_bpf_log *bpf_log; /* borrowed, not NULL */
    const char *interface;               /* where it was to be attached; NULL or "": not known */
    enum flowd_marker_strategy strategy;
    uint32_t entries; /* that the flow map has room for */
    bool debug;       /* debugMode is on */
};

enum marker_reason {
    /* Any stage */
    MARKER_REASON_SECCOMP,
    MARKER_REASON_USER_NAMESPACE,
    MARKER_REASON_SECURITY_MODULE,
    MARKER_REASON_DESCRIPTORS,
    MARKER_REASON_NO_PROC,
    MARKER_REASON_UNKNOWN,
    /* Loading */
    MARKER_REASON_NO_BPF,
    MARKER_REASON_LOCKDOWN,
    MARKER_REASON_MEMLOCK,
    MARKER_REASON_NO_MEMORY,
    MARKER_REASON_JIT,
    MARKER_REASON_DEBUG_PRIVILEGE,
    MARKER_REASON_DEBUG_UNAVAILABLE,
    MARKER_REASON_PERFMON,
    MARKER_REASON_OLD_FOR_OPTIONS,
    MARKER_REASON_OLD_KERNEL,
    MARKER_REASON_VERIFIER,
    /* Attaching */
    MARKER_REASON_NET_ADMIN,
    MARKER_REASON_TCX_OLD,
    MARKER_REASON_TCX_FULL,
    MARKER_REASON_TCX_BUSY,
    MARKER_REASON_INGRESS_QDISC,
    MARKER_REASON_NO_CLSACT,
    MARKER_REASON_NO_CLS_BPF,
    MARKER_REASON_HANDLES_TAKEN,
    MARKER_REASONS
};

/* What callers put before a message ("backends.marker: ", "interface NAME: ") has this much room.
 */
#define MARKER_EXPLANATION_PREFIX 64

/* The most probable reason. */
enum marker_reason marker_explain_reason(const struct marker_failure *failure,
                                         const struct flowd_bpf_environment *environment);

/*
 * Writes what failed, why, and what to do, into err. Returns -errno; of a failure to load it is
 * -EPERM wherever the process lacks a right, so that flowd goes on without the marker.
 */
int marker_explain(const struct marker_failure *failure,
                   const struct flowd_bpf_environment *environment, struct flowd_error *err);

/* The same with the environment as they are and what libbpf said since the last reset. */
int marker_explain_here(struct marker_failure failure, struct flowd_error *err);
