/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Whether each packet bears its own mark while flows come, go and change beside it:
 *
 *     marker_stress [PACKETS [CHANGES]]      CHANGES a second; 0: as many as go
 *
 * One thread runs packets of flows that stay, of flows that change and of no flow through the
 * marker, another changes flows as the daemon does. A packet counts as wrong if its flow did not
 * change from before it was handed over until it was looked at, and the label is another one than
 * the flow's; or if it did, and the label is no flow's but its own. The number of flows goes up and
 * down, so that buckets are split and made one again. Once with mappings, then with system calls a
 * tenth of it.
 */
#include <bpf/bpf.h>
#include <errno.h>
#include <linux/pkt_cls.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>

#include "lab/marker_run.h"
#include "lab/packet.h"
#include "marker_stress_shared.h"

#include "marker_stress.skel.h" /* uses the type above */

#define PACKETS_AT_ONCE 200000u
#define PACE_NS 1000000

struct stress {
    struct marker_program program;
    struct marker_stress_bpf *skeleton;
    uint64_t *states; /* a mapping */
    unsigned long changes_a_second;
    unsigned long changes;
    atomic_bool over;
    int error;
};

static struct flowd_marker_key key_of(uint32_t number)
{
    char address[64];
    struct packet_recipe recipe = {
        .src = "2001:db8::1",
        .dst = address,
        .src_port = 1094,
        .dst_port = (uint16_t)number,
        .protocol = IPPROTO_TCP,
    };

    snprintf(address, sizeof(address), "2001:db8::%x", (number >> 16) << 8);
    return packet_key(&recipe);
}

static int put(struct stress *stress, uint32_t number, uint32_t label)
{
    const struct flowd_marker_mark mark = {.label = label};
    struct flowd_marker_key key = key_of(number);

    return label != 0 ? marker_run_add(&stress->program, &key, &mark)
                      : marker_run_remove(&stress->program, &key);
}

/* Gives a flow a mark, or another one, or takes it away. */
static int change_one(struct stress *stress, uint32_t which, uint32_t random, bool rising)
{
    uint32_t before = (uint32_t)stress->states[which] >> 1;
    uint32_t one = STRESS_LABEL_ONE | which;
    uint32_t another = STRESS_LABEL_ANOTHER | which;
    uint32_t label = random & 1 ? one : another;
    int result;

    if (before != 0 && random % 100 < (rising ? 20u : 80u))
        label = 0;
    else if (before == 0 && random % 100 < (rising ? 20u : 80u))
        return 0;
    __atomic_store_n(&stress->states[which], stress_state(before) | STRESS_UNDER_WAY,
                     __ATOMIC_SEQ_CST);
    result = put(stress, STRESS_STAYING + which, label);
    __atomic_store_n(&stress->states[which], stress_state(label), __ATOMIC_SEQ_CST);
    stress->changes++;
    return result;
}

static double seconds(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

static void *change_flows(void *context)
{
    struct stress *stress = context;
    struct timespec pace = {.tv_nsec = PACE_NS};
    uint64_t random = 2463534242u;
    double began = seconds();

    while (!atomic_load(&stress->over) && stress->error == 0) {
        /* Up for some 100,000 changes, then down for as many. */
        bool rising = stress->changes / 100000 % 2 == 0;
        unsigned long due = stress->changes + 1000;

        if (stress->changes_a_second != 0)
            due = (unsigned long)((seconds() - began) * (double)stress->changes_a_second);
        while (stress->changes < due && stress->error == 0) {
            random ^= random << 13;
            random ^= random >> 7;
            random ^= random << 17;
            stress->error = change_one(stress, (uint32_t)(random >> 20) % STRESS_CHANGING,
                                       (uint32_t)(random >> 40), rising);
        }
        if (stress->changes_a_second != 0)
            nanosleep(&pace, NULL);
    }
    return NULL;
}

static int run_packets(struct stress *stress, unsigned long packets)
{
    static struct packet packet;
    static struct marker_run run;
    struct packet_recipe recipe = {
        .src = "2001:db8::1",
        .dst = "2001:db8::2",
        .src_port = 1094,
        .protocol = IPPROTO_TCP,
        .flow_label = STRESS_UNMARKED,
    };

    packet_compose(&recipe, &packet);
    memcpy(&stress->skeleton->bss->stress_headers, packet.bytes + packet.network,
           sizeof(struct stress_headers));
    stress->skeleton->bss->stress_headers.address[2] = 0;
    while (stress->skeleton->bss->stress_packets < packets) {
        stress->skeleton->bss->stress_begun = 0;
        if (marker_run(bpf_program__fd(stress->skeleton->progs.stress_next), packet.bytes,
                       packet.length, PACKETS_AT_ONCE, &run) != 0 ||
            run.verdict != TC_ACT_UNSPEC)
            return -EIO;
    }
    return 0;
}

static int open_stress(struct stress *stress, bool by_calls)
{
    /* Hardly more than there are at times: buckets of several lines, in which entries move. */
    const struct marker_program_settings settings = {.entries_max = 100000,
                                                     .without_mmap = by_calls};
    const uint32_t first = 0;
    int result = marker_run_load(&stress->program, &settings);

    if (result < 0)
        return result;
    stress->skeleton = marker_stress_bpf__open_and_load();
    if (stress->skeleton == NULL)
        return -errno;
    stress->states = mmap(NULL, STRESS_CHANGING * sizeof(*stress->states), PROT_READ | PROT_WRITE,
                          MAP_SHARED, bpf_map__fd(stress->skeleton->maps.stress_states), 0);
    if (stress->states == MAP_FAILED)
        return -errno;
    return bpf_map_update_elem(bpf_map__fd(stress->skeleton->maps.stress_marker), &first,
                               &stress->program.program_fds[MARKER_ETHERNET_HEADER], BPF_ANY);
}

/* Returns 0 if no packet was wrong. */
static int run_stress(unsigned long packets, unsigned long changes, bool by_calls)
{
    struct stress stress = {.changes_a_second = changes};
    struct marker_stress_bpf__bss *result;
    pthread_t thread;
    int error = open_stress(&stress, by_calls);

    for (uint32_t i = 0; i < STRESS_STAYING && error == 0; i++)
        error = put(&stress, i, STRESS_LABEL_STAYING | i);
    if (error == 0)
        error = -pthread_create(&thread, NULL, change_flows, &stress);
    if (error != 0) {
        fprintf(stderr, "marker_stress: %s\n", strerror(-error));
        return 1;
    }
    error = run_packets(&stress, packets);
    atomic_store(&stress.over, true);
    pthread_join(thread, NULL);
    result = stress.skeleton->bss;
    printf("{\"stored\": \"%s\", \"packets\": %llu, \"changes\": %lu, \"settled\": %llu, "
           "\"foreign\": %llu, \"stale\": %llu, \"missing\": %llu, \"error\": %d}\n",
           by_calls ? "by calls" : "mapped", (unsigned long long)result->stress_packets,
           stress.changes, (unsigned long long)result->stress_settled,
           (unsigned long long)result->stress_foreign, (unsigned long long)result->stress_stale,
           (unsigned long long)result->stress_missing, error != 0 ? error : stress.error);
    error |= stress.error;
    if (result->stress_foreign + result->stress_stale + result->stress_missing > 0)
        error = -EBADMSG;
    munmap(stress.states, STRESS_CHANGING * sizeof(*stress.states));
    marker_stress_bpf__destroy(stress.skeleton);
    marker_run_close(&stress.program);
    return error != 0;
}

int main(int argc, char **argv)
{
    unsigned long packets = argc > 1 ? strtoul(argv[1], NULL, 10) : 10000000;
    unsigned long changes = argc > 2 ? strtoul(argv[2], NULL, 10) : 20000;
    const char *reason = marker_run_unavailable();

    if (reason) {
        fprintf(stderr, "marker_stress: %s\n", reason);
        return 77;
    }
    return run_stress(packets, changes, false) | run_stress(packets / 10, changes, true);
}
