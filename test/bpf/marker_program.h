/*
 * The marker program, loaded for a test or a benchmark: its maps, its bitmap, and packets run
 * through it with BPF_PROG_TEST_RUN.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "ebpf/marker.h"

struct marker_bpf;

struct marker_program {
    struct marker_bpf *skeleton;
    int program_fd;
    int flows_fd;
    int counters_fd;
    uint64_t *bitmap;
    bool match_source;
};

/* Why programs can't be run here, or NULL if they can. */
const char *marker_program_unavailable(void);

/* Loads the program with its own maps. Returns 0 or -errno. */
int marker_program_load(struct marker_program *program, bool match_source, bool debug,
                        uint32_t max_entries);
void marker_program_unload(struct marker_program *program);

void marker_program_bit(struct marker_program *program, const struct flowd_marker_key *key,
                        bool set);
/* Adds the key to the map and sets its bit. Returns 0 or -errno. */
int marker_program_add(struct marker_program *program, const struct flowd_marker_key *key,
                       uint32_t label);
/* Empties the map and the bitmap, zeroes the counters. Returns 0 or -errno. */
int marker_program_clear(struct marker_program *program);

/* One run: what came out, and each verdict's count over all interfaces and CPUs. */
struct marker_run {
    int verdict;
    uint8_t bytes[2048];
    uint32_t length;
    uint32_t duration_ns; /* mean of one repetition */
};

/*
 * Runs packet repeat times through the program (any program of type SCHED_CLS). Returns 0 or
 * -errno.
 */
int marker_run(int program_fd, const void *packet, size_t length, uint32_t repeat,
               struct marker_run *run);

/* Sums the counters of slot over the CPUs. Returns 0 or -errno. */
int marker_program_counters(const struct marker_program *program, uint32_t slot,
                            struct flowd_marker_counters *counters);
