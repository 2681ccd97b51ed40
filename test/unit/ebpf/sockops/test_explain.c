/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Failures to load and attach, and the words for them.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <string.h>

#include "ebpf/sockops/explain.h"

static const struct {
    enum flowd_sockops_stage stage;
    int error;
    const char *verifier;
    struct flowd_bpf_environment environment;
    int result;
    const char *words;
} cases[] = {
    {FLOWD_SOCKOPS_LOADING, EPERM, "", {.user_namespace = true}, -EPERM, "user namespace"},
    {FLOWD_SOCKOPS_LOADING,
     EPERM,
     "",
     {.seccomp_filter = true, .bpf_call = FLOWD_BPF_REFUSED},
     -EPERM,
     "seccomp filter"},
    {FLOWD_SOCKOPS_LOADING,
     EACCES,
     "",
     {.lockdown = FLOWD_LOCKDOWN_CONFIDENTIALITY},
     -EPERM,
     "locked down"},
    {FLOWD_SOCKOPS_LOADING, EPERM, "", {.release = "6.1"}, -EPERM, "security module"},
    {FLOWD_SOCKOPS_LOADING,
     EINVAL,
     "unknown func bpf_x#1",
     {.release = "5.4"},
     -EINVAL,
     "Linux 5.10"},
    {FLOWD_SOCKOPS_LOADING,
     EINVAL,
     "invalid func unknown#163",
     {.release = "5.8"},
     -EINVAL,
     "sk_ops programs can't do what flowd needs (Linux 5.10): invalid func"},
    {FLOWD_SOCKOPS_LOADING,
     EACCES,
     "R1 invalid",
     {.release = "6.1"},
     -EACCES,
     "kernel 6.1; R1 invalid"},
    {FLOWD_SOCKOPS_LOADING, ESRCH, "", {.release = "5.14"}, -ESRCH, "CONFIG_DEBUG_INFO_BTF"},
    {FLOWD_SOCKOPS_LOADING,
     EINVAL,
     "program of this type cannot use helper bpf_trace_printk",
     {.release = "6.1"},
     -EINVAL,
     "debugMode"},
    {FLOWD_SOCKOPS_LOADING, EMFILE, "", {.release = "6.12"}, -EMFILE, "LimitNOFILE"},
    {FLOWD_SOCKOPS_LOADING,
     EINVAL,
     "BPF map 'x' is referenced but wasn't created",
     {.release = "6.12", .few_descriptors = true},
     -EMFILE,
     "LimitNOFILE"},
    {FLOWD_SOCKOPS_LOADING, ENOENT, "", {.release = "6.12", .no_proc = true}, -ENOENT, "/proc"},
    {FLOWD_SOCKOPS_ATTACHING, EPERM, "", {.release = "6.1"}, -EPERM, "bpftool cgroup tree /cgroup"},
    {FLOWD_SOCKOPS_ATTACHING, E2BIG, "", {.release = "6.1"}, -E2BIG, "64 sk_ops programs"},
    {FLOWD_SOCKOPS_ATTACHING, EINVAL, "", {.release = "5.4"}, -EINVAL, "kernel 5.4 has no links"},
    {FLOWD_SOCKOPS_ATTACHING, EBADF, "", {.release = "6.1"}, -EBADF, "/cgroup: Bad file"},
};

static void test_reasons(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct flowd_bpf_log bpf_log = {{0}, {0}};
        struct flowd_error err = {.message = ""};

        strncpy(bpf_log.verifier, cases[i].verifier, sizeof(bpf_log.verifier) - 1);
        assert_int_equal(flowd_sockops_explain(cases[i].stage, cases[i].error, "/cgroup", &bpf_log,
                                               &cases[i].environment, &err),
                         cases[i].result);
        if (strstr(err.message, cases[i].words) == NULL)
            fail_msg("\"%s\" is not in: %s", cases[i].words, err.message);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_reasons)};

    return cmocka_run_group_tests(tests, NULL, NULL);
}
