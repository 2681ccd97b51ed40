/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Each reason that loading or attaching can fail for: found from what is known, and told with its
 * cause and its remedy in a message that fits.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "explain.h"

#define ENOTSUPP_OF_KERNEL 524
/* Surroundings in which nothing is in the way. */
#define NORMAL .bpf_in_kernel = true, .memlock_bytes = UINT64_MAX, .cap_perfmon = true
#define LINUX(major, minor) .kernel = {major, minor}, .release = #major "." #minor ".0-1-longer"
#define MAP_FAILED_WARNING "map 'flowd_flows_3': failed to create: Cannot allocate memory(-12)"

struct row {
    const char *name;
    struct marker_failure failure;
    const char *warning, *verifier;
    struct flowd_bpf_environment environment;
    enum marker_reason reason;
    int result; /* a positive errno */
    const char *words[4];
};

static const struct row rows[] = {
    {"seccomp, EPERM",
     {.stage = MARKER_STAGE_LOAD, .error = EPERM},
     .environment = {NORMAL, LINUX(6, 1), .bpf_call = FLOWD_BPF_REFUSED, .seccomp_filter = true},
     .reason = MARKER_REASON_SECCOMP,
     .result = EPERM,
     .words = {"seccomp", "SystemCallFilter", "--cap-add BPF"}},
    {"seccomp, ENOSYS",
     {.stage = MARKER_STAGE_LOAD, .error = ENOSYS},
     .environment = {NORMAL, LINUX(6, 1), .bpf_call = FLOWD_BPF_ABSENT, .seccomp_filter = true},
     .reason = MARKER_REASON_SECCOMP,
     .result = EPERM},
    {"descriptors, EMFILE",
     {.stage = MARKER_STAGE_LOAD, .error = EMFILE},
     .environment = {NORMAL, LINUX(6, 12)},
     .reason = MARKER_REASON_DESCRIPTORS,
     .result = EMFILE,
     .words = {"LimitNOFILE", "ulimit -n"}},
    {"descriptors, mapping",
     {.stage = MARKER_STAGE_MAP, .error = ENFILE},
     .environment = {NORMAL, LINUX(6, 12)},
     .reason = MARKER_REASON_DESCRIPTORS,
     .result = ENFILE,
     .words = {"fs.file-max"}},
    {"descriptors, TCX",
     {.stage = MARKER_STAGE_TCX, .error = EMFILE},
     .environment = {NORMAL, LINUX(6, 12)},
     .reason = MARKER_REASON_DESCRIPTORS,
     .result = EMFILE},
    {"descriptors, as libbpf sees it",
     {.stage = MARKER_STAGE_LOAD, .error = EINVAL},
     .warning = "map 'flowd_counters': failed to create: Too many open files(-24)",
     .environment = {NORMAL, LINUX(6, 12)},
     .reason = MARKER_REASON_DESCRIPTORS,
     .result = EINVAL},
    {"descriptors, a map that the verifier misses",
     {.stage = MARKER_STAGE_LOAD, .error = EINVAL},
     .verifier = "BPF map 'marker_b.rodata' is referenced but wasn't created",
     .environment = {NORMAL, LINUX(6, 12), .few_descriptors = true},
     .reason = MARKER_REASON_DESCRIPTORS,
     .result = EINVAL},
    {"the same with descriptors enough",
     {.stage = MARKER_STAGE_LOAD, .error = EINVAL},
     .verifier = "BPF map 'marker_b.rodata' is referenced but wasn't created",
     .environment = {NORMAL, LINUX(6, 12)},
     .reason = MARKER_REASON_VERIFIER,
     .result = EINVAL},
    {"no /proc",
     {.stage = MARKER_STAGE_LOAD, .error = ENOENT},
     .warning = "failed to parse target BTF: -2",
     .environment = {NORMAL, LINUX(6, 12), .no_proc = true},
     .reason = MARKER_REASON_NO_PROC,
     .result = ENOENT,
     .words = {"mount -t proc", "No such file or directory"}},
    {"ENOENT with /proc",
     {.stage = MARKER_STAGE_LOAD, .error = ENOENT},
     .environment = {NORMAL, LINUX(6, 12)},
     .reason = MARKER_REASON_UNKNOWN,
     .result = ENOENT},
    {"seccomp in a user namespace, ENOSYS",
     {.stage = MARKER_STAGE_LOAD, .error = ENOSYS},
     .environment = {NORMAL, LINUX(6, 1), .bpf_call = FLOWD_BPF_ABSENT, .seccomp_filter = true,
                     .user_namespace = true},
     .reason = MARKER_REASON_SECCOMP,
     .result = EPERM},
    {"seccomp, TCX",
     {.stage = MARKER_STAGE_TCX, .error = EPERM},
     .environment = {NORMAL, LINUX(6, 6), .bpf_call = FLOWD_BPF_REFUSED, .seccomp_filter = true},
     .reason = MARKER_REASON_SECCOMP,
     .result = EPERM,
     .words = {"TCX"}},
    {"a filter that lets bpf(2) pass is not the reason",
     {.stage = MARKER_STAGE_LOAD, .error = EPERM},
     .environment = {NORMAL, LINUX(6, 1), .seccomp_filter = true},
     .reason = MARKER_REASON_SECURITY_MODULE,
     .result = EPERM},
    {"user namespace",
     {.stage = MARKER_STAGE_LOAD, .error = EPERM},
     .environment = {NORMAL, LINUX(6, 1), .user_namespace = true},
     .reason = MARKER_REASON_USER_NAMESPACE,
     .result = EPERM,
     .words = {"user namespace", "host's root", "--cap-add"}},
    {"user namespace, where bpf(2) is for the privileged only, and a filter",
     {.stage = MARKER_STAGE_LOAD, .error = EPERM},
     .environment = {NORMAL, LINUX(5, 10), .bpf_call = FLOWD_BPF_REFUSED, .user_namespace = true,
                     .seccomp_filter = true},
     .reason = MARKER_REASON_USER_NAMESPACE,
     .result = EPERM},
    {"SELinux",
     {.stage = MARKER_STAGE_LOAD, .error = EACCES},
     .environment = {NORMAL, LINUX(5, 14)},
     .reason = MARKER_REASON_SECURITY_MODULE,
     .result = EPERM,
     .words = {"SELinux", "audit log", "allow flowd"}},
    {"SELinux, mapping",
     {.stage = MARKER_STAGE_MAP, .error = EACCES},
     .environment = {NORMAL, LINUX(5, 14)},
     .reason = MARKER_REASON_SECURITY_MODULE,
     .result = EPERM},
    {"nothing known",
     {.stage = MARKER_STAGE_LOAD, .error = ESRCH},
     "a warning that tells",
     .environment = {NORMAL, LINUX(6, 1)},
     .reason = MARKER_REASON_UNKNOWN,
     .result = ESRCH,
     .words = {"No such process", "a warning that tells", "report", "6.1.0"}},
    {"the interface is vanishing",
     {.stage = MARKER_STAGE_TCX, .error = ENODEV},
     .environment = {NORMAL, LINUX(6, 6)},
     .reason = MARKER_REASON_UNKNOWN,
     .result = ENODEV},
    {"no bpf(2)",
     {.stage = MARKER_STAGE_LOAD, .error = ENOSYS},
     .environment = {.memlock_bytes = UINT64_MAX, LINUX(6, 1), .bpf_call = FLOWD_BPF_ABSENT},
     .reason = MARKER_REASON_NO_BPF,
     .result = ENOSYS,
     .words = {"without bpf(2)", "CONFIG_BPF_SYSCALL", "6.1.0"}},
    {"lockdown",
     {.stage = MARKER_STAGE_LOAD, .error = EPERM},
     .environment = {NORMAL, LINUX(4, 18), .lockdown = FLOWD_LOCKDOWN_INTEGRITY},
     .reason = MARKER_REASON_LOCKDOWN,
     .result = EPERM,
     .words = {"lockdown", "lockdown=integrity", "/sys/kernel/security/lockdown"}},
    {"lockdown forbids a helper",
     {.stage = MARKER_STAGE_LOAD, .error = EINVAL, .strategy = FLOWD_MARKER_HOP_BY_HOP},
     .verifier = "program of this type cannot use helper bpf_probe_read_kernel#113",
     .environment = {NORMAL, LINUX(6, 1), .lockdown = FLOWD_LOCKDOWN_CONFIDENTIALITY},
     .reason = MARKER_REASON_LOCKDOWN,
     .result = EPERM,
     .words = {"bpf_probe_read_kernel"}},
    {"locked memory, EPERM",
     {.stage = MARKER_STAGE_LOAD, .error = EPERM, .entries = 524288},
     .environment = {.bpf_in_kernel = true, LINUX(5, 10), .memlock_bytes = 65536},
     .reason = MARKER_REASON_MEMLOCK,
     .result = EPERM,
     .words = {"RLIMIT_MEMLOCK", "LimitMEMLOCK=infinity", "64 KiB", "9 MiB"}},
    {"locked memory, ENOMEM",
     {.stage = MARKER_STAGE_LOAD, .error = ENOMEM},
     .environment = {.bpf_in_kernel = true, LINUX(4, 19), .memlock_bytes = 0},
     .reason = MARKER_REASON_MEMLOCK,
     .result = ENOMEM},
    {"a limit that newer kernels do not look at",
     {.stage = MARKER_STAGE_LOAD, .error = ENOMEM},
     .environment = {.bpf_in_kernel = true, LINUX(5, 11), .memlock_bytes = 0},
     .reason = MARKER_REASON_NO_MEMORY,
     .result = ENOMEM},
    {"memory cgroup",
     {.stage = MARKER_STAGE_LOAD, .error = ENOMEM, .entries = 2000000},
     MAP_FAILED_WARNING,
     .environment = {NORMAL, LINUX(6, 18)},
     .reason = MARKER_REASON_NO_MEMORY,
     .result = ENOMEM,
     .words = {"memory", "flows.max", "MemoryMax", "35 MiB"}},
    {"too many entries",
     {.stage = MARKER_STAGE_LOAD, .error = E2BIG, .entries = 8388608},
     MAP_FAILED_WARNING,
     .environment = {NORMAL, LINUX(6, 18)},
     .reason = MARKER_REASON_NO_MEMORY,
     .result = E2BIG,
     .words = {"flows.max", "142 MiB"}},
    {"no memory, mapping",
     {.stage = MARKER_STAGE_MAP, .error = ENOMEM},
     .environment = {NORMAL, LINUX(6, 18)},
     .reason = MARKER_REASON_NO_MEMORY,
     .result = ENOMEM},
    {"no JIT",
     {.stage = MARKER_STAGE_LOAD, .error = ENOTSUPP_OF_KERNEL},
     .environment = {NORMAL, LINUX(6, 1)},
     .reason = MARKER_REASON_JIT,
     .result = ENOTSUPP_OF_KERNEL,
     .words = {"compile", "net.core.bpf_jit_enable", "net.core.bpf_jit_limit"}},
    {"debugMode without CAP_PERFMON",
     {.stage = MARKER_STAGE_LOAD, .error = EINVAL, .debug = true},
     .verifier = "program of this type cannot use helper bpf_trace_printk#6",
     .environment = {.bpf_in_kernel = true, .memlock_bytes = UINT64_MAX, LINUX(6, 18)},
     .reason = MARKER_REASON_DEBUG_PRIVILEGE,
     .result = EPERM,
     .words = {"CAP_PERFMON", "debugMode to false"}},
    {"tracing that is never reached, without CAP_PERFMON",
     {.stage = MARKER_STAGE_LOAD, .error = EINVAL, .strategy = FLOWD_MARKER_HOP_BY_HOP},
     .verifier = "program of this type cannot use helper bpf_trace_printk#6",
     .environment = {.bpf_in_kernel = true, .memlock_bytes = UINT64_MAX, LINUX(6, 12)},
     .reason = MARKER_REASON_PERFMON,
     .result = EPERM,
     .words = {"CAP_PERFMON", "give it"}},
    {"debugMode where there is no trace_pipe",
     {.stage = MARKER_STAGE_LOAD, .error = EINVAL, .debug = true},
     .verifier = "unknown func bpf_trace_printk#6",
     .environment = {NORMAL, LINUX(6, 18)},
     .reason = MARKER_REASON_DEBUG_UNAVAILABLE,
     .result = EINVAL,
     .words = {"trace_pipe", "CONFIG_BPF_EVENTS", "debugMode to false"}},
    {"the stricter verifier",
     {.stage = MARKER_STAGE_LOAD, .error = EACCES},
     .verifier = "R3 pointer -= pointer prohibited",
     .environment = {.bpf_in_kernel = true, .memlock_bytes = UINT64_MAX, LINUX(6, 18)},
     .reason = MARKER_REASON_PERFMON,
     .result = EPERM,
     .words = {"CAP_PERFMON", "give it", "R3 pointer -= pointer prohibited"}},
    {"the options without CAP_PERFMON on a kernel that lacks more",
     {.stage = MARKER_STAGE_LOAD, .error = EACCES, .strategy = FLOWD_MARKER_HOP_BY_HOP},
     .verifier = "attempt to corrupt spilled pointer on stack",
     .environment = {.bpf_in_kernel = true, .memlock_bytes = UINT64_MAX, LINUX(5, 10)},
     .reason = MARKER_REASON_OLD_FOR_OPTIONS,
     .result = EACCES,
     .words = {"Linux 5.12", "markingStrategy to \"label\""}},
    {"a helper that the options need",
     {.stage = MARKER_STAGE_LOAD, .error = EINVAL, .strategy = FLOWD_MARKER_DESTINATION},
     .verifier = "unknown func bpf_check_mtu#163",
     .environment = {NORMAL, LINUX(5, 10)},
     .reason = MARKER_REASON_OLD_FOR_OPTIONS,
     .result = EINVAL,
     .words = {"Linux 5.12", "markingStrategy to \"label\"", "bpf_check_mtu", "kernel 5.10.0"}},
    {"a helper that the options need, in the words of Linux 5.10",
     {.stage = MARKER_STAGE_LOAD, .error = EINVAL, .strategy = FLOWD_MARKER_HOP_BY_HOP},
     .verifier = "invalid func unknown#163",
     .environment = {NORMAL, LINUX(5, 10)},
     .reason = MARKER_REASON_OLD_FOR_OPTIONS,
     .result = EINVAL,
     .words = {"Linux 5.12", "markingStrategy to \"label\"", "unknown#163", "kernel 5.10.0"}},
    {"a helper that label needs",
     {.stage = MARKER_STAGE_LOAD, .error = EINVAL},
     .verifier = "unknown func bpf_skb_load_bytes#26",
     .environment = {NORMAL, LINUX(4, 4)},
     .reason = MARKER_REASON_OLD_KERNEL,
     .result = EINVAL,
     .words = {"Linux 5.10", "update", "bpf_skb_load_bytes", "kernel 4.4.0"}},
    {"a kernel that is too old for label too",
     {.stage = MARKER_STAGE_LOAD, .error = EINVAL, .strategy = FLOWD_MARKER_HOP_BY_HOP},
     .verifier = "unknown opcode de",
     .environment = {NORMAL, LINUX(4, 19)},
     .reason = MARKER_REASON_OLD_KERNEL,
     .result = EINVAL},
    {"a loop in an old kernel",
     {.stage = MARKER_STAGE_LOAD, .error = EINVAL},
     .verifier = "back-edge from insn 12 to 3",
     .environment = {NORMAL, LINUX(5, 2)},
     .reason = MARKER_REASON_OLD_KERNEL,
     .result = EINVAL},
    {"a type of map or program that is not known",
     {.stage = MARKER_STAGE_LOAD, .error = EINVAL},
     .environment = {NORMAL, LINUX(5, 4)},
     .reason = MARKER_REASON_OLD_KERNEL,
     .result = EINVAL},
    {"more instructions than old kernels take",
     {.stage = MARKER_STAGE_LOAD, .error = E2BIG},
     .environment = {NORMAL, LINUX(5, 1)},
     .reason = MARKER_REASON_OLD_KERNEL,
     .result = E2BIG},
    {"maps that can't be mapped",
     {.stage = MARKER_STAGE_MAP, .error = ENODEV},
     .environment = {NORMAL, LINUX(5, 4)},
     .reason = MARKER_REASON_OLD_KERNEL,
     .result = ENODEV},
    {"a new kernel with EINVAL",
     {.stage = MARKER_STAGE_LOAD, .error = EINVAL},
     .environment = {NORMAL, LINUX(6, 1)},
     .reason = MARKER_REASON_UNKNOWN,
     .result = EINVAL},
    {"the verifier",
     {.stage = MARKER_STAGE_LOAD, .error = EACCES},
     .verifier = "invalid mem access 'scalar'",
     .environment = {NORMAL, LINUX(6, 18)},
     .reason = MARKER_REASON_VERIFIER,
     .result = EACCES,
     .words = {"verifier", "report", "invalid mem access 'scalar'", "kernel 6.18.0"}},
    {"the verifier, a rule that a new kernel should know",
     {.stage = MARKER_STAGE_LOAD, .error = EINVAL},
     .verifier = "back-edge from insn 12 to 3",
     .environment = {NORMAL, LINUX(6, 18)},
     .reason = MARKER_REASON_VERIFIER,
     .result = EINVAL},
    {"the verifier, which also speaks in a user namespace",
     {.stage = MARKER_STAGE_LOAD, .error = E2BIG},
     .verifier = "BPF program is too large. Processed 1000001 insn",
     .environment = {NORMAL, LINUX(6, 18), .user_namespace = true},
     .reason = MARKER_REASON_VERIFIER,
     .result = E2BIG},
    {"somebody else's network namespace, clsact",
     {.stage = MARKER_STAGE_QDISC, .error = EPERM, .interface = "eth0"},
     .environment = {NORMAL, LINUX(5, 14)},
     .reason = MARKER_REASON_NET_ADMIN,
     .result = EPERM,
     .words = {"CAP_NET_ADMIN", "network namespace", "--cap-add NET_ADMIN", "clsact"}},
    {"somebody else's network namespace, TCX",
     {.stage = MARKER_STAGE_TCX, .error = EPERM, .interface = "eth0"},
     .environment = {NORMAL, LINUX(6, 6), .user_namespace = true},
     .reason = MARKER_REASON_NET_ADMIN,
     .result = EPERM},
    {"SELinux, filter",
     {.stage = MARKER_STAGE_FILTER, .error = EACCES, .interface = "eth0"},
     .environment = {NORMAL, LINUX(5, 14)},
     .reason = MARKER_REASON_SECURITY_MODULE,
     .result = EACCES},
    {"no TCX",
     {.stage = MARKER_STAGE_TCX, .error = EINVAL, .interface = "eth0"},
     .environment = {NORMAL, LINUX(6, 1)},
     .reason = MARKER_REASON_TCX_OLD,
     .result = EINVAL,
     .words = {"Linux 6.6", "attach to \"tc\"", "kernel 6.1.0"}},
    {"TCX is full",
     {.stage = MARKER_STAGE_TCX, .error = ERANGE, .interface = "eth0"},
     .environment = {NORMAL, LINUX(6, 6)},
     .reason = MARKER_REASON_TCX_FULL,
     .result = ERANGE,
     .words = {"63", "detach one", "bpftool net show dev eth0"}},
    {"TCX is taken",
     {.stage = MARKER_STAGE_TCX, .error = EBUSY, .interface = "eth0"},
     .environment = {NORMAL, LINUX(6, 6)},
     .reason = MARKER_REASON_TCX_BUSY,
     .result = EBUSY,
     .words = {"for itself", "detach it", "bpftool net show dev eth0"}},
    {"an ingress qdisc",
     {.stage = MARKER_STAGE_QDISC, .error = EEXIST, .interface = "eth0"},
     .environment = {NORMAL, LINUX(5, 14)},
     .reason = MARKER_REASON_INGRESS_QDISC,
     .result = EEXIST,
     .words = {"\"ingress\"", "replace it by clsact", "tc qdisc show dev eth0"}},
    {"no clsact",
     {.stage = MARKER_STAGE_QDISC, .error = ENOENT, .interface = "eth0"},
     .environment = {NORMAL, LINUX(5, 14)},
     .reason = MARKER_REASON_NO_CLSACT,
     .result = ENOENT,
     .words = {"no clsact", "modprobe sch_ingress", "CONFIG_NET_SCH_INGRESS"}},
    {"no BPF classifier",
     {.stage = MARKER_STAGE_FILTER, .error = EOPNOTSUPP, .interface = "eth0"},
     .environment = {NORMAL, LINUX(5, 14)},
     .reason = MARKER_REASON_NO_CLS_BPF,
     .result = EOPNOTSUPP,
     .words = {"classifier", "modprobe cls_bpf", "CONFIG_NET_CLS_BPF"}},
    {"all handles taken",
     {.stage = MARKER_STAGE_FILTER, .error = EEXIST, .interface = "eth0"},
     .environment = {NORMAL, LINUX(5, 14)},
     .reason = MARKER_REASON_HANDLES_TAKEN,
     .result = EEXIST,
     .words = {"0xf10d", "remove one", "tc filter show dev eth0 egress"}},
};
#define ROWS (sizeof(rows) / sizeof(rows[0]))

static void explain(const struct row *row, const struct flowd_bpf_log *bpf_log,
                    struct flowd_error *err)
{
    struct marker_failure failure = row->failure;
    int result;

    failure.bpf_log = bpf_log;
    if (marker_explain_reason(&failure, &row->environment) != row->reason)
        fail_msg("%s: reason %d", row->name, marker_explain_reason(&failure, &row->environment));
    result = marker_explain(&failure, &row->environment, err);
    if (result != -row->result)
        fail_msg("%s: %d instead of %d", row->name, result, -row->result);
}

static void set(char text[static FLOWD_BPF_LOG_SIZE], const char *value)
{
    snprintf(text, FLOWD_BPF_LOG_SIZE, "%s", value != NULL ? value : "");
}

static void test_each_reason(void **state)
{
    (void)state;
    for (size_t i = 0; i < ROWS; i++) {
        const struct row *row = &rows[i];
        struct flowd_bpf_log bpf_log;
        struct flowd_error err;

        set(bpf_log.warning, row->warning);
        set(bpf_log.verifier, row->verifier);
        explain(row, &bpf_log, &err);
        for (size_t j = 0; j < 4 && row->words[j] != NULL; j++)
            if (strstr(err.message, row->words[j]) == NULL)
                fail_msg("%s: \"%s\" is not in: %s", row->name, row->words[j], err.message);
    }
}

/* Each reason has a row, and one whose words are looked for. */
static void test_no_reason_is_forgotten(void **state)
{
    (void)state;
    for (int reason = 0; reason < MARKER_REASONS; reason++) {
        size_t told = 0;

        for (size_t i = 0; i < ROWS; i++)
            told += (int)rows[i].reason == reason && rows[i].words[1] != NULL;
        if (told == 0)
            fail_msg("reason %d has no row with words", reason);
    }
}

/* With all that a kernel and libbpf may say; the callers' words still fit before it. */
static void test_messages_fit(void **state)
{
    (void)state;
    for (size_t i = 0; i < ROWS; i++) {
        struct row row = rows[i];
        struct flowd_bpf_log bpf_log;
        struct flowd_error err;
        struct flowd_error brief;
        size_t length;

        set(bpf_log.warning, row.warning);
        set(bpf_log.verifier, row.verifier);
        explain(&row, &bpf_log, &brief);
        memset(row.environment.release, 'r', sizeof(row.environment.release) - 1);
        row.failure.interface = "interface012345";
        for (size_t j = strlen(bpf_log.warning); j > 0 && j < FLOWD_BPF_LOG_SIZE - 1; j++)
            bpf_log.warning[j] = 'w';
        for (size_t j = strlen(bpf_log.verifier); j > 0 && j < FLOWD_BPF_LOG_SIZE - 1; j++)
            bpf_log.verifier[j] = 'v';
        bpf_log.warning[FLOWD_BPF_LOG_SIZE - 1] = '\0';
        bpf_log.verifier[FLOWD_BPF_LOG_SIZE - 1] = '\0';
        explain(&row, &bpf_log, &err);
        length = strlen(err.message);
        if (length > FLOWD_ERROR_SIZE - 1 - MARKER_EXPLANATION_PREFIX)
            fail_msg("%s: %zu bytes: %s", row.name, length, err.message);
        /* What is cut off are the last of the facts in parentheses. */
        length = strlen(brief.message);
        if (brief.message[length - 1] == ')') {
            length = (size_t)(strrchr(brief.message, '(') - brief.message);
            assert_int_equal(err.message[strlen(err.message) - 1], ')');
        }
        if (strncmp(err.message, brief.message, length) != 0)
            fail_msg("%s: cut: %s", row.name, err.message);
        if (strstr(brief.message, "seen by: ") != NULL &&
            strstr(err.message, row.failure.interface) == NULL)
            fail_msg("%s: the interface is not in: %s", row.name, err.message);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_each_reason),
        cmocka_unit_test(test_no_reason_is_forgotten),
        cmocka_unit_test(test_messages_fit),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
