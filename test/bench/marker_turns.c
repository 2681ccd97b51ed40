/* SPDX-License-Identifier: Apache-2.0 */
/*
 * See marker_turns.h.
 */
#include "marker_turns.h"

#include <arpa/inet.h>
#include <bpf/bpf.h>
#include <errno.h>
#include <linux/pkt_cls.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lab/marker_run.h"
#include "marker_turns_shared.h"
#include "strided.h"

#include "marker_turns.skel.h" /* uses the type above */

struct marker_turns {
    struct marker_turns_bpf *skeleton;
    struct packet packet;
    struct marker_run run;
};

int marker_turns_new(struct marker_turns **out)
{
    struct marker_turns *turns = calloc(1, sizeof(*turns));

    if (!turns)
        return -ENOMEM;
    turns->skeleton = marker_turns_bpf__open_and_load();
    if (!turns->skeleton) {
        free(turns);
        return -errno;
    }
    *out = turns;
    return 0;
}

void marker_turns_free(struct marker_turns *turns)
{
    if (turns)
        marker_turns_bpf__destroy(turns->skeleton);
    free(turns);
}

void marker_turns_flow(uint32_t n, uint16_t src_port, char address[static INET6_ADDRSTRLEN],
                       struct packet_recipe *recipe)
{
    snprintf(address, INET6_ADDRSTRLEN, "2001:db8::%x",
             n / MARKER_TURNS_PORTS + MARKER_TURNS_ADDRESS_FIRST);
    *recipe = (struct packet_recipe){
        .src = "2001:db8::1",
        .dst = address,
        .src_port = src_port,
        .dst_port = (uint16_t)(MARKER_TURNS_PORT_FIRST + n % MARKER_TURNS_PORTS),
        .protocol = IPPROTO_TCP,
    };
}

double marker_turns_run(struct marker_turns *turns, int program_fd, uint16_t src_port,
                        uint32_t flows, uint32_t count, uint32_t added)
{
    struct marker_turns_bpf__bss *shared = turns->skeleton->bss;
    const uint32_t first = 0;
    char address[INET6_ADDRSTRLEN];
    struct packet_recipe recipe;

    if (bpf_map_update_elem(bpf_map__fd(turns->skeleton->maps.turns_measured_program), &first,
                            &program_fd, BPF_ANY) != 0)
        return -1;
    marker_turns_flow(0, src_port, address, &recipe);
    packet_compose(&recipe, &turns->packet);
    memcpy(&shared->turns_headers, turns->packet.bytes + turns->packet.network,
           sizeof(shared->turns_headers));
    shared->turns_length = (uint32_t)turns->packet.length;
    shared->turns_added = added;
    shared->turns_flows = flows;
    shared->turns_step = strided_step(flows);
    shared->turns_flow %= flows;
    shared->turns_began_ns = 0;
    shared->turns_taken_ns = shared->turns_others = 0;
    shared->turns_measured = shared->turns_disturbed = 0;
    /* The last packet's end is not seen. */
    if (marker_run(bpf_program__fd(turns->skeleton->progs.turns_next), turns->packet.bytes,
                   turns->packet.length, count + 1, &turns->run) != 0 ||
        turns->run.verdict != TC_ACT_UNSPEC || shared->turns_others != 0 ||
        shared->turns_measured + shared->turns_disturbed != count || shared->turns_measured == 0)
        return -1;
    return (double)shared->turns_taken_ns / (double)shared->turns_measured;
}
