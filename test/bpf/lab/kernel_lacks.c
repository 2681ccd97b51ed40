/* SPDX-License-Identifier: Apache-2.0 */
/*
 * See kernel_lacks.h.
 */
#include "lab/kernel_lacks.h"

#include <bpf/btf.h>
#include <bpf/libbpf.h>
#include <stdio.h>
#include <unistd.h>

#define STRATEGIES 4u

/* The first text is what the manual's table says of such a kernel. */
static const struct {
    const char *what;
    const char *why;
} lacks[KERNEL_LACKS] = {
    [KERNEL_NO_OPTIONS] = {"extension headers",
                           "this kernel's programs can't write them (Linux 5.12: bpf_check_mtu)"},
    [KERNEL_NO_DATAGRAMS] = {"UDP to be cut", "this kernel can't be handed UDP datagrams that are "
                                              "still to be cut (Linux 6.2)"},
    [KERNEL_NO_COOKIES] = {"namespace cookies",
                           "this kernel's sk_ops programs can't ask for them (Linux 5.15)"},
    [KERNEL_NO_CALLBACKS] = {"callbacks of existing connections",
                             "this kernel's iterators can't ask for them (Linux 5.15)"},
    [KERNEL_LINEAR] = {"headers outside of linear memory",
                       "packet sockets of this kernel put a packet there only if it is longer than "
                       "a page, and none is"},
};

size_t kernel_page_size(void)
{
    return (size_t)sysconf(_SC_PAGESIZE);
}

bool kernel_writes_options(void)
{
    static int probed = -1;

    /* Where it can't be found out, loading says so. */
    if (probed < 0)
        probed = libbpf_probe_bpf_helper(BPF_PROG_TYPE_SCHED_CLS, BPF_FUNC_check_mtu, NULL) != 0;
    return probed;
}

bool kernel_reads_directly(void)
{
    struct btf *btf = btf__load_vmlinux_btf();
    bool found = btf != NULL &&
                 btf__find_by_name_kind(btf, "bpf_cast_to_kern_ctx", BTF_KIND_FUNC) > 0 &&
                 btf__find_by_name_kind(btf, "bpf_rdonly_cast", BTF_KIND_FUNC) > 0;

    btf__free(btf);
    return found;
}

unsigned kernel_strategies(void)
{
    static bool said;

    if (kernel_writes_options())
        return STRATEGIES;
    if (!said)
        kernel_leave_out(KERNEL_NO_OPTIONS, "");
    said = true;
    return 1;
}

void kernel_leave_out(enum kernel_lack lack, const char *how_much)
{
    printf("left out: %s: %s%s%s\n", lacks[lack].what, lacks[lack].why, *how_much ? ": " : "",
           how_much);
    fflush(stdout);
}
