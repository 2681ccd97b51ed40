/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The calls of the kernel's casts (ebpf/marker_kernel.h), put into a program in the place of those
 * helpers that no kernel has, after libbpf has made one piece of it and before the kernel sees it.
 */
#include "casts.h"

#include <bpf/libbpf.h>
#include <errno.h>
#include <linux/bpf.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

/* The section of all the marker's programs. */
#define SECTION "tc"

/* libbpf's handlers are the process's, and so is this. */
static const struct marker_kernel *used;

static bool is_helper_call(const struct bpf_insn *instruction)
{
    return instruction->code == (BPF_JMP | BPF_CALL) && instruction->src_reg == 0;
}

/* Makes the call one of a function of the kernel. */
static void put_call(struct bpf_insn *instruction, uint32_t function)
{
    instruction->src_reg = BPF_PSEUDO_KFUNC_CALL;
    instruction->imm = (int32_t)function;
}

static int put_calls(struct bpf_program *program, struct bpf_prog_load_opts *options, long cookie)
{
    size_t count = bpf_program__insn_cnt(program);
    struct bpf_insn *instructions;
    int result;

    (void)options;
    (void)cookie;
    if (used == NULL || used->reading != MARKER_READS_DIRECTLY)
        return 0;
    instructions = malloc(count * sizeof(*instructions));
    if (instructions == NULL)
        return -ENOMEM;
    memcpy(instructions, bpf_program__insns(program), count * sizeof(*instructions));
    for (size_t i = 0; i < count; i++)
        if (is_helper_call(&instructions[i]) && instructions[i].imm == FLOWD_MARKER_CAST_CONTEXT)
            put_call(&instructions[i], used->cast_context);
        else if (is_helper_call(&instructions[i]) &&
                 instructions[i].imm == FLOWD_MARKER_CAST_POINTER)
            put_call(&instructions[i], used->cast_pointer);
    result = bpf_program__set_insns(program, instructions, count);
    free(instructions);
    return result;
}

int marker_casts_use(const struct marker_kernel *kernel)
{
    LIBBPF_OPTS(libbpf_prog_handler_opts, options, .prog_prepare_load_fn = put_calls);
    static bool registered;
    int result = 0;

    /* Once for good: libbpf 1.1 loses its memory when the last handler is taken away. */
    if (!registered)
        result = libbpf_register_prog_handler(SECTION, BPF_PROG_TYPE_SCHED_CLS, 0, &options);
    if (result < 0)
        return result;
    registered = true;
    used = kernel;
    return 0;
}
