/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The reasons for which the kernel refuses the marker: finds the most probable one from the errno,
 * from what libbpf said and from what surrounds the process, and puts it into words. Everything but
 * the last function is pure.
 */
#include "explain.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "daemon/base/descriptors.h"
#include "table.h"

/* The kernel's own number for "not supported", which no header for programs has. */
#define KERNEL_ENOTSUPP 524
#define MESSAGE_MAX (FLOWD_ERROR_SIZE - MARKER_EXPLANATION_PREFIX)
#define MEBIBYTE (1024u * 1024u)
/* What the kernel adds to a key and a value, and what a bucket takes. */

/* The oldest kernel that flowd is tested with. */
static const unsigned label_kernel[2] = {5, 10};
/* What the others need: bpf_check_mtu(). */
static const unsigned options_kernel[2] = {5, 12};
/* Maps count as locked memory before. */
static const unsigned memory_cgroup_kernel[2] = {5, 11};

static const char *const stages[] = {
    [MARKER_STAGE_LOAD] = "loading the BPF program",
    [MARKER_STAGE_MAP] = "mapping the BPF program's flow map",
    [MARKER_STAGE_TCX] = "attaching by TCX",
    [MARKER_STAGE_QDISC] = "making the clsact qdisc",
    [MARKER_STAGE_FILTER] = "attaching the filter",
};

enum fact {
    RELEASE = 1, /* the kernel's */
    BPF_LOG = 2,
    ERROR = 4, /* the errno's text */
    MEMLOCK = 8,
    MAP_SIZE = 16,
    SHOW = 32, /* the command that shows what is on the interface */
};

/* The cause and the remedy, and which facts follow them in parentheses. */
static const struct {
    const char *text;
    int result; /* a positive errno; 0: the failure's own */
    unsigned facts;
} reasons[MARKER_REASONS] = {
    [MARKER_REASON_SECCOMP] = {"a seccomp filter keeps bpf(2) from flowd: allow it in the "
                               "container's seccomp profile, with --cap-add BPF, or in systemd's "
                               "SystemCallFilter",
                               EPERM, 0},
    [MARKER_REASON_USER_NAMESPACE] = {"flowd is in a user namespace (a rootless container?), where "
                                      "no capability allows BPF: run it as the host's root, or in "
                                      "a rootful container with --cap-add BPF and NET_ADMIN",
                                      EPERM, 0},
    [MARKER_REASON_SECURITY_MODULE] = {"refused although the capabilities are there, most probably "
                                       "by a security module (SELinux, AppArmor, BPF LSM): look "
                                       "into the audit log (ausearch -m avc) and allow flowd bpf",
                                       EPERM, ERROR},
    [MARKER_REASON_DESCRIPTORS] = {"no file descriptors are left: " FLOWD_DESCRIPTORS_REMEDY
                                   ", or raise fs.file-max where the whole system has none",
                                   0, 0},
    [MARKER_REASON_NO_PROC] = {"there is no /proc, which loading needs: mount it (mount -t proc "
                               "proc /proc), or leave it in the service or container",
                               0, ERROR},
    [MARKER_REASON_UNKNOWN] = {"the kernel refuses for a reason that flowd does not know: please "
                               "report this line",
                               0, ERROR | RELEASE | BPF_LOG},
    [MARKER_REASON_NO_BPF] = {"this kernel is built without bpf(2): boot one with "
                              "CONFIG_BPF_SYSCALL",
                              0, RELEASE},
    [MARKER_REASON_LOCKDOWN] = {"refused, most probably by kernel lockdown: boot with "
                                "lockdown=integrity or none (see /sys/kernel/security/lockdown), "
                                "or update the kernel",
                                EPERM, RELEASE | BPF_LOG},
    [MARKER_REASON_MEMLOCK] = {"before Linux 5.11 maps are locked memory and RLIMIT_MEMLOCK is too "
                               "small: set LimitMEMLOCK=infinity (systemd) or ulimit -l unlimited",
                               0, MEMLOCK | MAP_SIZE | RELEASE},
    [MARKER_REASON_NO_MEMORY] = {"no kernel memory for the maps: lower flows.max, or raise the "
                                 "memory limit of flowd's cgroup (systemd: MemoryMax)",
                                 0, MAP_SIZE | BPF_LOG},
    [MARKER_REASON_JIT] = {"the kernel can't compile BPF programs: set net.core.bpf_jit_enable to "
                           "1, and net.core.bpf_jit_limit higher",
                           0, RELEASE | BPF_LOG},
    [MARKER_REASON_DEBUG_PRIVILEGE] = {"debugMode needs CAP_PERFMON, which is missing: give it to "
                                       "flowd, or set debugMode to false",
                                       EPERM, BPF_LOG},
    [MARKER_REASON_DEBUG_UNAVAILABLE] = {"this kernel lets no tc program write to trace_pipe "
                                         "(CONFIG_BPF_EVENTS): set debugMode to false",
                                         0, RELEASE | BPF_LOG},
    [MARKER_REASON_PERFMON] = {"the verifier is stricter without CAP_PERFMON, which is missing: "
                               "give it to flowd beside CAP_BPF and CAP_NET_ADMIN",
                               EPERM, RELEASE | BPF_LOG},
    [MARKER_REASON_OLD_FOR_OPTIONS] =
        {"the kernel lacks what this markingStrategy needs: update it "
         "to Linux 5.12, or set markingStrategy to \"label\"",
         0, RELEASE | BPF_LOG},
    [MARKER_REASON_OLD_KERNEL] = {"the kernel lacks what marking needs: update it to Linux 5.10 or "
                                  "later, or to a vendor's kernel with its BPF",
                                  0, RELEASE | BPF_LOG},
    [MARKER_REASON_VERIFIER] = {"the kernel's verifier refuses the program, which is a fault of "
                                "flowd or the kernel: please report this line, and the log of a "
                                "start with -d",
                                0, RELEASE | BPF_LOG},
    [MARKER_REASON_NET_ADMIN] = {"CAP_NET_ADMIN does not hold in this network namespace: start "
                                 "flowd with it in the user namespace that owns the network "
                                 "namespace (container: --cap-add NET_ADMIN)",
                                 0, ERROR},
    [MARKER_REASON_TCX_OLD] = {"the kernel takes no TCX link here (Linux 6.6): set attach to "
                               "\"tc\", or update the kernel",
                               0, ERROR | RELEASE},
    [MARKER_REASON_TCX_FULL] = {"the interface has as many TCX programs as the kernel allows (63): "
                                "detach one, or set attach to \"tc\"",
                                0, SHOW},
    [MARKER_REASON_TCX_BUSY] = {"another program holds the interface's hook for itself: detach it, "
                                "or set attach to \"tc\"",
                                0, ERROR | SHOW},
    [MARKER_REASON_INGRESS_QDISC] = {"another qdisc (\"ingress\"?) stands where clsact must: "
                                     "replace it by clsact, which serves its filters too, or set "
                                     "attach to \"tcx\"",
                                     0, SHOW},
    [MARKER_REASON_NO_CLSACT] = {"the kernel has no clsact: modprobe sch_ingress, or boot a kernel "
                                 "with CONFIG_NET_SCH_INGRESS and CONFIG_NET_CLS_ACT",
                                 0, ERROR | RELEASE},
    [MARKER_REASON_NO_CLS_BPF] = {"the kernel has no BPF classifier: modprobe cls_bpf, or boot a "
                                  "kernel with CONFIG_NET_CLS_BPF",
                                  0, ERROR | RELEASE},
    [MARKER_REASON_HANDLES_TAKEN] = {"filters of somebody else have flowd's handle 0xf10d at each "
                                     "of the priorities 1 to 8: remove one, or set attach to "
                                     "\"tcx\"",
                                     0, SHOW},
};

static bool older(const struct flowd_bpf_environment *environment, const unsigned than[2])
{
    const unsigned *kernel = environment->kernel;

    return kernel[0] > 0 && (kernel[0] < than[0] || (kernel[0] == than[0] && kernel[1] < than[1]));
}

static bool is_refusal(int error)
{
    return error == EPERM || error == EACCES;
}

/* Where the process stands, not what it asked for. */
static enum marker_reason refusal(const struct flowd_bpf_environment *environment)
{
    /* Unprivileged bpf(2) that is switched off looks like a filter in old kernels. */
    if (environment->seccomp_filter && environment->bpf_call != FLOWD_BPF_ANSWERS &&
        !(environment->user_namespace && environment->bpf_call == FLOWD_BPF_REFUSED))
        return MARKER_REASON_SECCOMP;
    return environment->user_namespace ? MARKER_REASON_USER_NAMESPACE
                                       : MARKER_REASON_SECURITY_MODULE;
}

static bool has_one(const char *text, const char *const signs[], size_t count)
{
    for (size_t i = 0; i < count; i++)
        if (strstr(text, signs[i]) != NULL)
            return true;
    return false;
}

static bool is_old_for(const char *verifier, const struct flowd_bpf_environment *environment)
{
    static const char *const helpers[] = {"unknown func ", "invalid func ", "cannot use helper"};
    /* Of instructions and rules; in a kernel that should know them it is another fault. */
    static const char *const rules[] = {"unknown opcode", "uses reserved fields", "back-edge",
                                        "invalid bpf_context access", "invalid BPF_"};

    return has_one(verifier, helpers, sizeof(helpers) / sizeof(helpers[0])) ||
           (older(environment, options_kernel) &&
            has_one(verifier, rules, sizeof(rules) / sizeof(rules[0])));
}

static enum marker_reason old_kernel(const struct marker_failure *failure,
                                     const struct flowd_bpf_environment *environment)
{
    return failure->strategy == FLOWD_MARKER_LABEL || older(environment, label_kernel)
               ? MARKER_REASON_OLD_KERNEL
               : MARKER_REASON_OLD_FOR_OPTIONS;
}

/* What the verifier's last words mean. */
static enum marker_reason verifier_reason(const struct marker_failure *failure,
                                          const struct flowd_bpf_environment *environment)
{
    const char *verifier = failure->bpf_log->verifier;

    /* Without CAP_PERFMON the verifier may find it where it is never reached, too. */
    if (failure->debug && strstr(verifier, "bpf_trace_printk") != NULL)
        return environment->cap_perfmon ? MARKER_REASON_DEBUG_UNAVAILABLE
                                        : MARKER_REASON_DEBUG_PRIVILEGE;
    if (strstr(verifier, "bpf_probe_read") != NULL &&
        environment->lockdown == FLOWD_LOCKDOWN_CONFIDENTIALITY)
        return MARKER_REASON_LOCKDOWN;
    if (!environment->cap_perfmon && !older(environment, options_kernel) &&
        (strstr(verifier, "cannot use helper bpf_trace_printk") != NULL ||
         strstr(verifier, "cannot use helper bpf_probe_read") != NULL))
        return MARKER_REASON_PERFMON;
    if (is_old_for(verifier, environment))
        return old_kernel(failure, environment);
    if (environment->cap_perfmon)
        return MARKER_REASON_VERIFIER;
    /* With the capability, they would still lack what the strategy needs. */
    if (failure->strategy != FLOWD_MARKER_LABEL && older(environment, options_kernel))
        return MARKER_REASON_OLD_FOR_OPTIONS;
    return MARKER_REASON_PERFMON;
}

static enum marker_reason load_reason(const struct marker_failure *failure,
                                      const struct flowd_bpf_environment *environment)
{
    bool map = strstr(failure->bpf_log->warning, "failed to create") != NULL;
    bool memlock =
        older(environment, memory_cgroup_kernel) && environment->memlock_bytes != UINT64_MAX;

    if (failure->bpf_log->verifier[0] != '\0')
        return verifier_reason(failure, environment);
    if (is_refusal(failure->error)) {
        enum marker_reason reason = refusal(environment);

        if (reason != MARKER_REASON_SECURITY_MODULE)
            return reason;
        if (memlock && failure->error == EPERM)
            return MARKER_REASON_MEMLOCK;
        return environment->lockdown != FLOWD_LOCKDOWN_NONE ? MARKER_REASON_LOCKDOWN : reason;
    }
    switch (failure->error) {
    case ENOSYS:
        return environment->seccomp_filter && environment->bpf_in_kernel ? MARKER_REASON_SECCOMP
                                                                         : MARKER_REASON_NO_BPF;
    case ENOMEM:
        return memlock ? MARKER_REASON_MEMLOCK : MARKER_REASON_NO_MEMORY;
    case E2BIG:
        if (map)
            return MARKER_REASON_NO_MEMORY;
        /* A program of more than 4,096 instructions, before Linux 5.2. */
        return older(environment, label_kernel) ? MARKER_REASON_OLD_KERNEL : MARKER_REASON_UNKNOWN;
    case EINVAL:
        return older(environment, label_kernel) ? MARKER_REASON_OLD_KERNEL : MARKER_REASON_UNKNOWN;
    case EOPNOTSUPP:
    case KERNEL_ENOTSUPP:
        return MARKER_REASON_JIT;
    default:
        return MARKER_REASON_UNKNOWN;
    }
}

static enum marker_reason map_reason(int error)
{
    switch (error) {
    case ENOMEM:
        return MARKER_REASON_NO_MEMORY;
    case EPERM:
    case EACCES:
        return MARKER_REASON_SECURITY_MODULE;
    case ENODEV:
    case EINVAL:
    case EOPNOTSUPP:
    case KERNEL_ENOTSUPP:
        return MARKER_REASON_OLD_KERNEL;
    default:
        return MARKER_REASON_UNKNOWN;
    }
}

static enum marker_reason tcx_reason(int error)
{
    switch (error) {
    case EINVAL:
    case EOPNOTSUPP:
    case KERNEL_ENOTSUPP:
        return MARKER_REASON_TCX_OLD;
    case ERANGE:
    case E2BIG:
    case ENOSPC:
        return MARKER_REASON_TCX_FULL;
    case EBUSY:
    case EEXIST:
        return MARKER_REASON_TCX_BUSY;
    default:
        return MARKER_REASON_UNKNOWN;
    }
}

static enum marker_reason attach_reason(const struct marker_failure *failure,
                                        const struct flowd_bpf_environment *environment)
{
    bool missing = failure->error == ENOENT || failure->error == EOPNOTSUPP;
    bool qdisc = failure->stage == MARKER_STAGE_QDISC;

    if (is_refusal(failure->error)) {
        if (failure->stage == MARKER_STAGE_TCX && refusal(environment) == MARKER_REASON_SECCOMP)
            return MARKER_REASON_SECCOMP;
        return failure->error == EACCES ? MARKER_REASON_SECURITY_MODULE : MARKER_REASON_NET_ADMIN;
    }
    if (failure->stage == MARKER_STAGE_TCX)
        return tcx_reason(failure->error);
    if (missing)
        return qdisc ? MARKER_REASON_NO_CLSACT : MARKER_REASON_NO_CLS_BPF;
    if (failure->error == EEXIST)
        return qdisc ? MARKER_REASON_INGRESS_QDISC : MARKER_REASON_HANDLES_TAKEN;
    return MARKER_REASON_UNKNOWN;
}

static enum marker_reason reason_of_stage(const struct marker_failure *failure,
                                          const struct flowd_bpf_environment *environment)
{
    switch (failure->stage) {
    case MARKER_STAGE_LOAD:
        return load_reason(failure, environment);
    case MARKER_STAGE_MAP:
        return map_reason(failure->error);
    default:
        return attach_reason(failure, environment);
    }
}

enum marker_reason marker_explain_reason(const struct marker_failure *failure,
                                         const struct flowd_bpf_environment *environment)
{
    enum marker_reason reason;

    if (flowd_bpf_log_lacks_descriptors(failure->bpf_log, failure->error,
                                        environment->few_descriptors))
        return MARKER_REASON_DESCRIPTORS;
    reason = reason_of_stage(failure, environment);
    return reason == MARKER_REASON_UNKNOWN && environment->no_proc ? MARKER_REASON_NO_PROC : reason;
}

/* The text that is being put together; what does not fit is cut off. */
struct words {
    char text[MESSAGE_MAX];
    size_t length;
    unsigned facts;
};

static void say(struct words *words, const char *format, ...) __attribute__((format(printf, 2, 3)));

static void say(struct words *words, const char *format, ...)
{
    /* A parenthesis that is open can always be closed. */
    size_t room = sizeof(words->text) - 1 - words->length;
    va_list arguments;
    int length;

    va_start(arguments, format);
    length = vsnprintf(words->text + words->length, room, format, arguments);
    va_end(arguments);
    if (length > 0)
        words->length += (size_t)length < room ? (size_t)length : room - 1;
}

/* What parts the next fact from what stands before it. */
static const char *gap(struct words *words)
{
    return words->facts++ == 0 ? " (" : "; ";
}

static uint64_t map_bytes(const struct marker_failure *failure)
{
    const struct marker_table_size size = marker_table_size(failure->entries);

    return size.lines * (uint64_t)sizeof(struct flowd_marker_bucket) +
           size.buckets * (uint64_t)sizeof(uint64_t);
}

static void say_facts(struct words *words, unsigned facts, const struct marker_failure *failure,
                      const struct flowd_bpf_environment *environment)
{
    const char *interface = failure->interface != NULL ? failure->interface : "";
    const char *bpf_log = failure->bpf_log->verifier[0] != '\0' ? failure->bpf_log->verifier
                                                                : failure->bpf_log->warning;
    uint64_t mebibytes = map_bytes(failure) / MEBIBYTE + 1;
    char text[96];

    if (facts & MAP_SIZE)
        say(words, "%sthe flow map takes %llu MiB", gap(words), (unsigned long long)mebibytes);
    if (facts & MEMLOCK)
        say(words, "%slimit: %llu KiB", gap(words),
            (unsigned long long)(environment->memlock_bytes / 1024));
    if (facts & SHOW && failure->stage == MARKER_STAGE_TCX)
        say(words, "%sseen by: bpftool net show dev %s", gap(words), interface);
    else if (facts & SHOW)
        say(words, "%sseen by: tc %s show dev %s%s", gap(words),
            failure->stage == MARKER_STAGE_QDISC ? "qdisc" : "filter", interface,
            failure->stage == MARKER_STAGE_QDISC ? "" : " egress");
    if (facts & ERROR)
        say(words, "%s%s", gap(words), strerror_r(failure->error, text, sizeof(text)));
    if (facts & RELEASE)
        say(words, "%skernel %s", gap(words), environment->release);
    if (facts & BPF_LOG && bpf_log[0] != '\0')
        say(words, "%s%s", gap(words), bpf_log);
    if (words->facts > 0) {
        words->text[words->length++] = ')';
        words->text[words->length] = '\0';
    }
}

int marker_explain(const struct marker_failure *failure,
                   const struct flowd_bpf_environment *environment, struct flowd_error *err)
{
    enum marker_reason reason = marker_explain_reason(failure, environment);
    bool loading = failure->stage == MARKER_STAGE_LOAD || failure->stage == MARKER_STAGE_MAP;
    int error = loading && reasons[reason].result != 0 ? reasons[reason].result : failure->error;
    struct words words = {.length = 0};

    say(&words, "%s: %s", stages[failure->stage], reasons[reason].text);
    say_facts(&words, reasons[reason].facts, failure, environment);
    return flowd_fail(err, error, "%s", words.text);
}

int marker_explain_here(struct marker_failure failure, struct flowd_error *err)
{
    struct flowd_bpf_environment environment;

    flowd_bpf_environment_read(&environment);
    failure.bpf_log = flowd_bpf_log_heard();
    return marker_explain(&failure, &environment, err);
}
