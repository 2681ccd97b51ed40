/* SPDX-License-Identifier: Apache-2.0 */
/*
 * See marker_run.h.
 */
#include "lab/marker_run.h"

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static int keep_quiet(enum libbpf_print_level level, const char *format, va_list arguments)
    __attribute__((format(printf, 2, 0)));

static int keep_quiet(enum libbpf_print_level level, const char *format, va_list arguments)
{
    return level == LIBBPF_WARN ? vfprintf(stderr, format, arguments) : 0;
}

const char *marker_run_unavailable(void)
{
    struct flowd_error err;

    if (geteuid() != 0)
        return "not root";
    if (marker_program_check_privileges(&err) < 0)
        return "the kernel does not let this process load BPF programs";
    return NULL;
}

int marker_run_load(struct marker_program *program, const struct marker_program_settings *settings)
{
    const struct marker_pins pins = {.directory = -1};
    struct flowd_error err;
    int result;

    libbpf_set_print(keep_quiet);
    result = marker_program_load(program, settings, &pins, &err);
    if (result < 0)
        fprintf(stderr, "%s\n", err.message);
    return result;
}

void marker_run_bit(struct marker_program *program, const struct flowd_marker_key *key, bool set)
{
    uint32_t bit = flowd_marker_bit(flowd_marker_key_hash(key));
    uint64_t mask = UINT64_C(1) << (bit % 64);

    if (set)
        program->shared->bitmap[bit / 64] |= mask;
    else
        program->shared->bitmap[bit / 64] &= ~mask;
}

void marker_run_void(struct marker_program *program)
{
    for (size_t i = 0; i < FLOWD_MARKER_RECENT_SLOTS; i++)
        program->shared->generations[i]++;
}

flowd_marker_word marker_run_word(const struct marker_program *program,
                                  const struct flowd_marker_key *key,
                                  const struct flowd_marker_mark *mark)
{
    struct bpf_map_info info = {0};
    uint32_t length = sizeof(info);
    uint32_t check;
    bool source;

    if (bpf_obj_get_info_by_fd(program->flows_fd, &info, &length) != 0)
        return 0;
    source = info.key_size == FLOWD_MARKER_KEY_SOURCE_SIZE;
    check = flowd_marker_check(flowd_marker_key_hash(key), source ? key->src[0] : 0,
                               source ? key->src[1] : 0);
    return flowd_marker_word_make(mark, check);
}

int marker_run_add(struct marker_program *program, const struct flowd_marker_key *key,
                   const struct flowd_marker_mark *mark)
{
    flowd_marker_word word = marker_run_word(program, key, mark);
    int result;

    marker_run_bit(program, key, true);
    result = bpf_map_update_elem(program->flows_fd, key, &word, BPF_ANY);
    marker_run_void(program);
    return result;
}

int marker_run_clear(struct marker_program *program)
{
    int cpus = libbpf_num_possible_cpus();
    struct flowd_marker_counters *zeroes;
    struct flowd_marker_key key;

    while (bpf_map_get_next_key(program->flows_fd, NULL, &key) == 0) {
        int result = bpf_map_delete_elem(program->flows_fd, &key);

        if (result != 0)
            return result;
    }
    memset(program->shared->bitmap, 0, sizeof(program->shared->bitmap));
    marker_run_void(program);

    if (cpus < 1)
        return cpus;
    zeroes = calloc((size_t)cpus, sizeof(*zeroes));
    if (!zeroes)
        return -ENOMEM;
    for (uint32_t slot = 0; slot < FLOWD_MARKER_COUNTER_ENTRIES; slot++)
        bpf_map_update_elem(program->counters_fd, &slot, zeroes, BPF_ANY);
    free(zeroes);
    return 0;
}

static int run_program(int program_fd, struct bpf_test_run_opts *options, struct marker_run *run)
{
    int result;

    options->data_out = run->bytes;
    options->data_size_out = sizeof(run->bytes);
    result = bpf_prog_test_run_opts(program_fd, options);
    if (result != 0)
        return result;
    run->verdict = (int)options->retval;
    run->length = options->data_size_out;
    run->duration_ns = options->duration;
    return 0;
}

int marker_run(int program_fd, const void *packet, size_t length, uint32_t repeat,
               struct marker_run *run)
{
    LIBBPF_OPTS(bpf_test_run_opts, options, .data_in = packet, .data_size_in = (uint32_t)length,
                .repeat = (int)repeat);

    return run_program(program_fd, &options, run);
}

int marker_run_on(int program_fd, uint32_t interface, const void *packet, size_t length,
                  struct marker_run *run)
{
    struct __sk_buff context = {.ifindex = interface};
    LIBBPF_OPTS(bpf_test_run_opts, options, .data_in = packet, .data_size_in = (uint32_t)length,
                .repeat = 1, .ctx_in = &context, .ctx_size_in = sizeof(context));

    return run_program(program_fd, &options, run);
}
