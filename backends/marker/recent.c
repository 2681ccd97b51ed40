/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Decides whether the programs may remember marks.
 *
 * They may not where one packet's way through a program may be interrupted by another's on the same
 * CPU, nor where the atomic operations that keep loads in order are not compiled: arm64 compiles
 * them since Linux 5.18, and a program that is not compiled is interpreted as a whole, or refused.
 */
#include "recent.h"

#include <bpf/bpf.h>
#include <linux/bpf.h>
#include <stdint.h>
#include <string.h>
#include <sys/utsname.h>
#include <unistd.h>

static bool is_realtime(void)
{
    struct utsname names;

    return uname(&names) < 0 || strstr(names.version, "PREEMPT_RT") != NULL ||
           strstr(names.version, "PREEMPT RT") != NULL;
}

static bool atomics_are_compiled(void)
{
    const struct bpf_insn instructions[] = {
        {.code = BPF_ALU64 | BPF_MOV | BPF_K, .dst_reg = BPF_REG_0},
        {.code = BPF_STX | BPF_MEM | BPF_DW,
         .dst_reg = BPF_REG_10,
         .src_reg = BPF_REG_0,
         .off = -8},
        {.code = BPF_STX | BPF_ATOMIC | BPF_W,
         .dst_reg = BPF_REG_10,
         .src_reg = BPF_REG_0,
         .off = -8,
         .imm = BPF_ADD | BPF_FETCH},
        {.code = BPF_JMP | BPF_EXIT},
    };
    struct bpf_prog_info info = {0};
    uint32_t length = sizeof(info);
    int fd = bpf_prog_load(BPF_PROG_TYPE_SCHED_CLS, "flowd_atomics", "Dual BSD/GPL", instructions,
                           sizeof(instructions) / sizeof(instructions[0]), NULL);
    bool compiled =
        fd >= 0 && bpf_obj_get_info_by_fd(fd, &info, &length) == 0 && info.jited_prog_len > 0;

    if (fd >= 0)
        close(fd);
    return compiled;
}

bool marker_recent_is_safe(void)
{
#ifdef FLOWD_BPF_LOADS_IN_ORDER
    const bool in_order = true;
#else
    const bool in_order = false;
#endif

    return !is_realtime() && (in_order || atomics_are_compiled());
}
