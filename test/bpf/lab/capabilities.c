/* SPDX-License-Identifier: Apache-2.0 */
/*
 * See capabilities.h.
 */
#include "lab/capabilities.h"

#include "ebpf/loader/environment.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include <stdio.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#define NOT_KEPT 100

/* Keeps these capabilities only; for good. */
static int keep(uint64_t capabilities)
{
    struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3};
    struct __user_cap_data_struct data[2] = {
        {.effective = (uint32_t)capabilities, .permitted = (uint32_t)capabilities},
        {.effective = (uint32_t)(capabilities >> 32), .permitted = (uint32_t)(capabilities >> 32)},
    };

    return (int)syscall(SYS_capset, &header, data);
}

int capabilities_in_child(uint64_t capabilities, int (*function)(void))
{
    pid_t child;
    int status = 0;

    fflush(stdout);
    child = fork();
    if (child == 0)
        _exit(keep(capabilities) < 0 ? NOT_KEPT : function());
    assert_true(child > 0);
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFEXITED(status));
    return WEXITSTATUS(status);
}

bool capabilities_verifier_follows_all(void)
{
    struct flowd_bpf_environment here;

    flowd_bpf_environment_read(&here);
    return here.kernel[0] < 6 || (here.kernel[0] == 6 && here.kernel[1] < 17);
}
