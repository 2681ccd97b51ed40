/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The marker's programs, loaded by flowd's own loader but on no interface, for a test or a
 * benchmark: entries put into their maps, and packets run through them with BPF_PROG_TEST_RUN.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "program.h" /* backends/marker */

/* Why programs can't be run here, or NULL if they can. */
const char *marker_run_unavailable(void);

/* Loads with maps of its own and a table over them; prints why not. Returns 0 or -errno. */
int marker_run_load(struct marker_program *program, const struct marker_program_settings *settings);
/* Closes both, also what marker_run_load() never filled in. */
void marker_run_close(struct marker_program *program);
/* The table (backends/marker/table.h), borrowed. */
struct marker_table *marker_run_table(const struct marker_program *program);

/* Sets or clears the key's bit in the bitmap. */
void marker_run_bit(struct marker_program *program, const struct flowd_marker_key *key, bool set);
/* Adds the key to the flow map, or gives it another mark. Returns 0 or -errno. */
int marker_run_add(struct marker_program *program, const struct flowd_marker_key *key,
                   const struct flowd_marker_mark *mark);
/* Takes it away. Returns 0 or -errno. */
int marker_run_remove(struct marker_program *program, const struct flowd_marker_key *key);
/* Empties the flow map and the bitmap, zeroes the counters. Returns 0 or -errno. */
int marker_run_clear(struct marker_program *program);

/* What came out of one run. */
struct marker_run {
    int verdict; /* what the program returned: TC_ACT_... */
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
/* The same, once, as if the packet left by the interface, which belongs to this network namespace.
 */
int marker_run_on(int program_fd, uint32_t interface, const void *packet, size_t length,
                  struct marker_run *run);
