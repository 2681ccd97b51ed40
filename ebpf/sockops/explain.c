/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The reasons for which the kernel refuses an sk_ops program: finds the most probable one by the
 * errno, by what the verifier said and by what surrounds the process, and puts it into words.
 */
#include "ebpf/sockops/explain.h"

#include <errno.h>
#include <stdbool.h>
#include <string.h>

#include "daemon/base/descriptors.h"

static bool is_refusal(int error)
{
    return error == EPERM || error == EACCES;
}

static const char *refusal(const struct flowd_bpf_environment *environment)
{
    if (environment->user_namespace)
        return "BPF is not allowed in a user namespace: run flowd in the initial one (a container "
               "that is not rootless)";
    if (environment->seccomp_filter && environment->bpf_call != FLOWD_BPF_ANSWERS)
        return "a seccomp filter keeps bpf(2) from flowd: allow it in the container's or the "
               "service's profile";
    if (environment->lockdown == FLOWD_LOCKDOWN_CONFIDENTIALITY)
        return "the kernel is locked down (confidentiality) and lets no program read its memory: "
               "boot with lockdown=integrity, or leave the option out";
    return "a security module keeps bpf(2) from flowd: see the audit log";
}

static bool verifier_lacks_helper(const struct flowd_bpf_log *bpf_log)
{
    return strstr(bpf_log->verifier, "unknown func") != NULL ||
           strstr(bpf_log->verifier, "invalid func") != NULL ||
           strstr(bpf_log->verifier, "cannot use helper") != NULL ||
           strstr(bpf_log->verifier, "invalid bpf_context access") != NULL;
}

static int explain_load(int error, const struct flowd_bpf_log *bpf_log,
                        const struct flowd_bpf_environment *environment, struct flowd_error *err)
{
    const char *said = bpf_log->verifier[0] != '\0' ? bpf_log->verifier : bpf_log->warning;

    if (flowd_bpf_log_lacks_descriptors(bpf_log, error, environment->few_descriptors))
        return flowd_fail_errno(err, EMFILE,
                                "loading the sk_ops program: " FLOWD_DESCRIPTORS_REMEDY);
    if (error == ENOENT && environment->no_proc)
        return flowd_fail(err, ENOENT,
                          "loading the sk_ops program: there is no /proc, which loading needs: "
                          "mount it (mount -t proc proc /proc), or leave it in the service or "
                          "container");
    if (strstr(bpf_log->verifier, "bpf_trace_printk") != NULL)
        return flowd_fail_errno(err, error,
                                "the kernel does not let the program trace: set debugMode to "
                                "false");
    if (verifier_lacks_helper(bpf_log))
        return flowd_fail_errno(
            err, error, "this kernel's sk_ops programs can't do what flowd needs (Linux 5.10): %s",
            said);
    if (is_refusal(error) && bpf_log->verifier[0] == '\0')
        return flowd_fail_errno(err, EPERM, "loading the sk_ops program: %s", refusal(environment));
    if (error == ENOMEM)
        return flowd_fail_errno(err, ENOMEM, "loading the sk_ops program");
    return flowd_fail_errno(err, error,
                            "loading the sk_ops program (kernel %s%s%s); it needs Linux 5.10 with "
                            "CONFIG_CGROUP_BPF and CONFIG_DEBUG_INFO_BTF",
                            environment->release, said[0] != '\0' ? "; " : "", said);
}

static int explain_attach(int error, const char *path,
                          const struct flowd_bpf_environment *environment, struct flowd_error *err)
{
    switch (error) {
    case EPERM:
        return flowd_fail_errno(
            err, EPERM,
            "attaching to cgroup %s: a program of somebody else shares neither it nor "
            "what is below it (bpftool cgroup tree %s), or flowd is not allowed to: "
            "give cgroupPath another directory",
            path, path);
    case E2BIG:
        return flowd_fail_errno(err, E2BIG,
                                "attaching to cgroup %s: 64 sk_ops programs are there already "
                                "(bpftool cgroup show %s)",
                                path, path);
    case EINVAL:
        return flowd_fail_errno(
            err, EINVAL,
            "attaching to cgroup %s: kernel %s has no links for cgroups (Linux 5.7, "
            "CONFIG_CGROUP_BPF)",
            path, environment->release);
    default:
        return flowd_fail_errno(err, error, "attaching to cgroup %s", path);
    }
}

int flowd_sockops_explain(enum flowd_sockops_stage stage, int error, const char *path,
                          const struct flowd_bpf_log *bpf_log,
                          const struct flowd_bpf_environment *environment, struct flowd_error *err)
{
    return stage == FLOWD_SOCKOPS_LOADING ? explain_load(error, bpf_log, environment, err)
                                          : explain_attach(error, path, environment, err);
}
