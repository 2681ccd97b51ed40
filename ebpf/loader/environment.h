/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What decides whether the kernel lets this process load and attach BPF programs.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

enum flowd_bpf_call {
    FLOWD_BPF_ANSWERS, /* bpf(2) reaches the kernel */
    FLOWD_BPF_REFUSED, /* EPERM or EACCES to any command */
    FLOWD_BPF_ABSENT,  /* ENOSYS */
};

enum flowd_lockdown {
    FLOWD_LOCKDOWN_NONE, /* also if the kernel does not tell */
    FLOWD_LOCKDOWN_INTEGRITY,
    FLOWD_LOCKDOWN_CONFIDENTIALITY,
};

struct flowd_bpf_environment {
    enum flowd_bpf_call bpf_call;
    bool bpf_in_kernel;  /* the kernel is built with bpf(2) */
    bool user_namespace; /* not the initial one: capabilities don't count for BPF */
    bool seccomp_filter;
    enum flowd_lockdown lockdown;
    uint64_t memlock_bytes; /* RLIMIT_MEMLOCK, UINT64_MAX: no limit */
    bool cap_perfmon;       /* or CAP_SYS_ADMIN */
    bool no_proc;           /* /proc is not mounted, which libbpf reads */
    bool few_descriptors;   /* maps, programs and links may need more than there may be */
    char release[32];       /* uname -r */
    unsigned kernel[2];     /* its first two numbers; 0.0: not known */
};

/* Asks the kernel; what can't be asked is taken to be harmless. */
void flowd_bpf_environment_read(struct flowd_bpf_environment *environment);

/* The parsers, for tests. Texts are what the kernel's files hold, or what its links point to. */
bool flowd_bpf_environment_in_user_namespace(const char *link);
bool flowd_bpf_environment_has_filter(const char *process_status);
enum flowd_lockdown flowd_bpf_environment_lockdown(const char *lockdown);
void flowd_bpf_environment_set_release(struct flowd_bpf_environment *environment,
                                       const char *release);
