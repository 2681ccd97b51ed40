/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Reads what surrounds the process: the kernel's release, user namespace, seccomp filter, lockdown
 * and capabilities, from /proc, /sys and a bpf(2) call that does nothing. What is made of the texts
 * is pure.
 */
#include "ebpf/loader/environment.h"

#include <cap-ng.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/utsname.h>
#include <unistd.h>

#include "daemon/base/integer.h"

/* There is no such command: the kernel answers EINVAL, and who stands before it something else. */
#define NO_COMMAND 0x7fffff
/* Made by kernels that have bpf(2), whatever it is set to. */
#define BPF_SETTING "/proc/sys/kernel/unprivileged_bpf_disabled"
/* Its inode number is fixed (PROC_USER_INIT_INO in the kernel's include/linux/proc_ns.h). */
#define INITIAL_USER_NAMESPACE "user:[4026531837]"
#define STATUS_SIZE 4096
/* More than the marker and both sk_ops programs take while they are loaded. */
#define DESCRIPTORS_FEW 128

/* Reads the file's beginning; "" if there is no such file. */
static void read_text(const char *path, char *text, size_t size)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    ssize_t length = fd >= 0 ? read(fd, text, size - 1) : 0;

    text[length > 0 ? length : 0] = '\0';
    if (fd >= 0)
        close(fd);
}

bool flowd_bpf_environment_in_user_namespace(const char *link)
{
    return link[0] != '\0' && strcmp(link, INITIAL_USER_NAMESPACE) != 0;
}

bool flowd_bpf_environment_has_filter(const char *process_status)
{
    const char *line = strstr(process_status, "\nSeccomp:\t");

    return line != NULL && line[strlen("\nSeccomp:\t")] == '2';
}

enum flowd_lockdown flowd_bpf_environment_lockdown(const char *lockdown)
{
    /* All levels stand there, the one in force in brackets. */
    if (strstr(lockdown, "[confidentiality]") != NULL)
        return FLOWD_LOCKDOWN_CONFIDENTIALITY;
    return strstr(lockdown, "[integrity]") != NULL ? FLOWD_LOCKDOWN_INTEGRITY : FLOWD_LOCKDOWN_NONE;
}

static size_t digits(const char *text)
{
    return strspn(text, "0123456789");
}

void flowd_bpf_environment_set_release(struct flowd_bpf_environment *environment,
                                       const char *release)
{
    size_t major = digits(release);
    size_t minor = release[major] == '.' ? digits(release + major + 1) : 0;
    uint64_t numbers[2];

    snprintf(environment->release, sizeof(environment->release), "%s", release);
    environment->kernel[0] = environment->kernel[1] = 0;
    if (flowd_integer_parse(release, major, 0, UINT_MAX, &numbers[0]) < 0 ||
        flowd_integer_parse(release + major + 1, minor, 0, UINT_MAX, &numbers[1]) < 0)
        return;
    environment->kernel[0] = (unsigned)numbers[0];
    environment->kernel[1] = (unsigned)numbers[1];
}

static enum flowd_bpf_call try_bpf_call(void)
{
    unsigned char attributes[64] = {0};

    if (syscall(SYS_bpf, NO_COMMAND, attributes, sizeof(attributes)) >= 0)
        return FLOWD_BPF_ANSWERS;
    if (errno == ENOSYS)
        return FLOWD_BPF_ABSENT;
    return errno == EPERM || errno == EACCES ? FLOWD_BPF_REFUSED : FLOWD_BPF_ANSWERS;
}

/* CAP_SYS_ADMIN stands for it. */
static bool has_perfmon(void)
{
    return capng_get_caps_process() < 0 || capng_have_capability(CAPNG_EFFECTIVE, CAP_PERFMON) ||
           capng_have_capability(CAPNG_EFFECTIVE, CAP_SYS_ADMIN);
}

void flowd_bpf_environment_read(struct flowd_bpf_environment *environment)
{
    struct flowd_bpf_environment found = {.memlock_bytes = UINT64_MAX};
    char text[STATUS_SIZE];
    struct utsname name;
    struct rlimit limit;
    ssize_t length;

    found.bpf_call = try_bpf_call();
    found.bpf_in_kernel = access(BPF_SETTING, F_OK) == 0;
    length = readlink("/proc/self/ns/user", text, sizeof(text) - 1);
    text[length > 0 ? length : 0] = '\0';
    found.user_namespace = flowd_bpf_environment_in_user_namespace(text);
    read_text("/proc/self/status", text, sizeof(text));
    found.seccomp_filter = flowd_bpf_environment_has_filter(text);
    read_text("/sys/kernel/security/lockdown", text, sizeof(text));
    found.lockdown = flowd_bpf_environment_lockdown(text);
    if (getrlimit(RLIMIT_MEMLOCK, &limit) == 0 && limit.rlim_cur != RLIM_INFINITY)
        found.memlock_bytes = limit.rlim_cur;
    found.cap_perfmon = has_perfmon();
    found.no_proc = access("/proc/self", F_OK) < 0;
    found.few_descriptors =
        getrlimit(RLIMIT_NOFILE, &limit) == 0 && limit.rlim_cur < DESCRIPTORS_FEW;
    if (uname(&name) == 0)
        flowd_bpf_environment_set_release(&found, name.release);
    *environment = found;
}
