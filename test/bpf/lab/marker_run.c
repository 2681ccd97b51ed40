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

#include "table_store.h"

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

/* The tables of loaded programs. */
static struct {
    const struct marker_program *program;
    struct marker_table table;
} tables[16];
#define TABLES (sizeof(tables) / sizeof(tables[0]))

struct marker_table *marker_run_table(const struct marker_program *program)
{
    for (size_t i = 0; i < TABLES; i++)
        if (tables[i].program == program)
            return &tables[i].table;
    return NULL;
}

static int open_table(const struct marker_program *program)
{
    const struct marker_table_maps maps = marker_program_maps(program);

    for (size_t i = 0; i < TABLES; i++) {
        if (tables[i].program != NULL)
            continue;
        tables[i].program = program;
        return marker_table_open(&tables[i].table, &maps);
    }
    return -ENFILE;
}

static void close_table(const struct marker_program *program)
{
    for (size_t i = 0; i < TABLES; i++) {
        if (tables[i].program != program)
            continue;
        tables[i].program = NULL;
        marker_table_close(&tables[i].table);
    }
}

int marker_run_load(struct marker_program *program, const struct marker_program_settings *settings)
{
    const struct marker_pins pins = {.directory = -1};
    struct flowd_error err;
    int result;

    libbpf_set_print(keep_quiet);
    result = marker_program_load(program, settings, &pins, &err);
    if (result < 0) {
        fprintf(stderr, "%s\n", err.message);
        return result;
    }
    result = open_table(program);
    if (result < 0) {
        fprintf(stderr, "flow map: %s\n", strerror(-result));
        marker_run_close(program);
    }
    return result;
}

void marker_run_close(struct marker_program *program)
{
    close_table(program);
    marker_program_close(program);
}

void marker_run_bit(struct marker_program *program, const struct flowd_marker_key *key, bool set)
{
    struct marker_table *table = marker_run_table(program);
    struct marker_sums sums;
    uint64_t bit;
    uint32_t bucket;

    marker_table_sums(table, key, &sums);
    bucket = flowd_marker_bucket_of(table->shared->geometry, sums.hash);
    bit = UINT64_C(1) << flowd_marker_bit(sums.hash);
    marker_store_bits(table, bucket,
                      set ? table->bitmap[bucket] | bit : table->bitmap[bucket] & ~bit);
}

static flowd_marker_value value_of(const struct marker_program *program,
                                   const struct flowd_marker_mark *mark)
{
    return flowd_marker_value_of(
        mark, flowd_marker_writes_scitag(program->settings.strategy, program->settings.encoding));
}

int marker_run_add(struct marker_program *program, const struct flowd_marker_key *key,
                   const struct flowd_marker_mark *mark)
{
    struct marker_table *table = marker_run_table(program);
    struct marker_owner *owner;
    struct marker_sums sums;

    marker_table_sums(table, key, &sums);
    owner = marker_table_find(table, &sums);
    return owner == NULL ? marker_table_add(table, &sums, value_of(program, mark), 1)
                         : marker_table_change(table, owner, &sums, value_of(program, mark), 1);
}

int marker_run_remove(struct marker_program *program, const struct flowd_marker_key *key)
{
    struct marker_table *table = marker_run_table(program);
    struct marker_owner *owner;
    struct marker_sums sums;

    marker_table_sums(table, key, &sums);
    owner = marker_table_find(table, &sums);
    return owner == NULL ? -ENOENT : marker_table_remove(table, owner, &sums);
}

/* A table that nothing was ever put into. */
static int renew_table(struct marker_program *program)
{
    struct marker_table *table = marker_run_table(program);

    for (uint32_t line = 0; line < table->size.lines; line++)
        marker_store_empty_line(table, line);
    for (uint32_t bucket = 0; bucket < table->size.buckets; bucket++)
        marker_store_bits(table, bucket, 0);
    close_table(program);
    return open_table(program);
}

int marker_run_clear(struct marker_program *program)
{
    int cpus = libbpf_num_possible_cpus();
    struct flowd_marker_counters *zeroes;
    int result = renew_table(program);

    if (result < 0)
        return result;
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
