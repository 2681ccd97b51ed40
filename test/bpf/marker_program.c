/*
 * Loads the marker program the way flowd does (same object, same load-time settings) but without
 * any interface, and runs packets through it.
 */
#include "marker_program.h"

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "marker.skel.h"

static int keep_quiet(enum libbpf_print_level level, const char *format, va_list arguments)
    __attribute__((format(printf, 2, 0)));

static int keep_quiet(enum libbpf_print_level level, const char *format, va_list arguments)
{
    return level == LIBBPF_WARN ? vfprintf(stderr, format, arguments) : 0;
}

static int ignore_all(enum libbpf_print_level level, const char *format, va_list arguments)
{
    (void)level;
    (void)format;
    (void)arguments;
    return 0;
}

const char *marker_program_unavailable(void)
{
    struct marker_program program;
    int result;

    if (geteuid() != 0)
        return "not root";
    libbpf_set_print(ignore_all);
    result = marker_program_load(&program, false, false, 16);
    libbpf_set_print(keep_quiet);
    if (result == -EPERM)
        return "the kernel does not let this process load BPF programs";
    if (result == 0)
        marker_program_unload(&program);
    /* Any other failure is the program's own and must be seen as one. */
    return NULL;
}

int marker_program_load(struct marker_program *program, bool match_source, bool debug,
                        uint32_t max_entries)
{
    struct marker_bpf *skeleton = marker_bpf__open();
    int result;

    if (!skeleton)
        return -errno;
    skeleton->rodata->marker_match_source = match_source;
    skeleton->rodata->marker_debug = debug;
    bpf_map__set_max_entries(skeleton->maps.flowd_flows_1, max_entries);
    bpf_map__set_key_size(skeleton->maps.flowd_flows_1,
                          match_source ? FLOWD_MARKER_KEY_SOURCE_SIZE : FLOWD_MARKER_KEY_SIZE);
    result = marker_bpf__load(skeleton);
    if (result != 0) {
        marker_bpf__destroy(skeleton);
        return result;
    }
    *program = (struct marker_program){
        .skeleton = skeleton,
        .program_fd = bpf_program__fd(skeleton->progs.flowd_marker),
        .flows_fd = bpf_map__fd(skeleton->maps.flowd_flows_1),
        .counters_fd = bpf_map__fd(skeleton->maps.flowd_counters),
        .bitmap = (uint64_t *)skeleton->bss->marker_bitmap,
        .match_source = match_source,
    };
    return 0;
}

void marker_program_unload(struct marker_program *program)
{
    marker_bpf__destroy(program->skeleton);
    program->skeleton = NULL;
}

void marker_program_bit(struct marker_program *program, const struct flowd_marker_key *key,
                        bool set)
{
    uint32_t bit =
        flowd_marker_bit(flowd_marker_hash(key->dst[0], key->dst[1], key->ports, key->protocol));
    uint64_t mask = UINT64_C(1) << (bit % 64);

    if (set)
        program->bitmap[bit / 64] |= mask;
    else
        program->bitmap[bit / 64] &= ~mask;
}

int marker_program_add(struct marker_program *program, const struct flowd_marker_key *key,
                       uint32_t label)
{
    struct flowd_marker_mark mark = {.label = label};

    marker_program_bit(program, key, true);
    return bpf_map_update_elem(program->flows_fd, key, &mark, BPF_ANY);
}

int marker_program_clear(struct marker_program *program)
{
    int cpus = libbpf_num_possible_cpus();
    struct flowd_marker_counters *zeroes;
    struct flowd_marker_key key;

    while (bpf_map_get_next_key(program->flows_fd, NULL, &key) == 0) {
        int result = bpf_map_delete_elem(program->flows_fd, &key);

        if (result != 0)
            return result;
    }
    memset(program->bitmap, 0, FLOWD_MARKER_BITMAP_WORDS * sizeof(program->bitmap[0]));

    if (cpus < 1)
        return cpus;
    zeroes = calloc((size_t)cpus, sizeof(*zeroes));
    if (!zeroes)
        return -ENOMEM;
    for (uint32_t slot = 0; slot < FLOWD_MARKER_COUNTER_SLOTS; slot++)
        bpf_map_update_elem(program->counters_fd, &slot, zeroes, BPF_ANY);
    free(zeroes);
    return 0;
}

int marker_run(int program_fd, const void *packet, size_t length, uint32_t repeat,
               struct marker_run *run)
{
    LIBBPF_OPTS(bpf_test_run_opts, options, .data_in = packet, .data_size_in = (uint32_t)length,
                .data_out = run->bytes, .data_size_out = sizeof(run->bytes), .repeat = (int)repeat);
    int result = bpf_prog_test_run_opts(program_fd, &options);

    if (result != 0)
        return result;
    run->verdict = (int)options.retval;
    run->length = options.data_size_out;
    run->duration_ns = options.duration;
    return 0;
}

int marker_program_counters(const struct marker_program *program, uint32_t slot,
                            struct flowd_marker_counters *counters)
{
    int cpus = libbpf_num_possible_cpus();
    struct flowd_marker_counters *copies;
    int result;

    if (cpus < 1)
        return cpus;
    copies = calloc((size_t)cpus, sizeof(*copies));
    if (!copies)
        return -ENOMEM;
    result = bpf_map_lookup_elem(program->counters_fd, &slot, copies);
    if (result == 0) {
        memset(counters, 0, sizeof(*counters));
        for (int cpu = 0; cpu < cpus; cpu++)
            for (unsigned v = 0; v < FLOWD_MARKER_VERDICTS; v++)
                counters->packets[v] += copies[cpu].packets[v];
    }
    free(copies);
    return result;
}
