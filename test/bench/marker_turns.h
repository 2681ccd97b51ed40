/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Runs a program on packets of many flows in turn, each as it comes from its sender. Which flow's
 * turn is next strided.h says.
 *
 * BPF_PROG_TEST_RUN hands the same packet to the program again and again, so an extension header
 * would be added to the first one only. Here another program runs first (marker_turns.bpf.c): it
 * takes away what was added to the packet, writes the headers of the next flow into it, and goes
 * over into the measured program. The clock runs from there until the kernel has come round to the
 * next packet, so the figures hold the reading of the clock and the kernel's loop, but nothing of
 * the taking away. An empty program in the place of the measured one gives the baseline.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "lab/packet.h"

struct marker_turns;

/* Returns 0 or -errno. */
int marker_turns_new(struct marker_turns **out);
void marker_turns_free(struct marker_turns *turns);

/*
 * The mean in nanoseconds of running the program on count packets of flows in turn, without those
 * that were disturbed (MARKER_TURNS_DISTURBED_NS). The flows are those of marker_turns_flow() with
 * the source port; each call goes on where the last one ended. Returns a
 * negative number on failure, also if a packet did not come out longer by added bytes.
 */
double marker_turns_run(struct marker_turns *turns, int program_fd, uint16_t src_port,
                        uint32_t flows, uint32_t count, uint32_t added);

/* Flow number n: ports run up, MARKER_TURNS_PORTS to each destination address. */
void marker_turns_flow(uint32_t n, uint16_t src_port, char address[static INET6_ADDRSTRLEN],
                       struct packet_recipe *recipe);
