/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Measures the marker: nanoseconds per packet over an empty program, and map updates per second.
 *
 * Each figure is the median of rounds; in each round every case is run once, right after the empty
 * program, so that what the machine does meanwhile falls on both alike. Each round loads the
 * programs anew, since where the kernel puts their code decides about a nanosecond. A case with N
 * flows has N entries in the map. There are two kinds:
 *
 * "same": the kernel runs the program on the same packet again and again. The case rotates over up
 * to 256 packets (one BPF_PROG_TEST_RUN for each, of equal repeats), so that the figure is not one
 * entry's luck with the hash table. Everything that a packet needs is warm in the cache, as it is
 * for those of a busy flow. An extension header would be added to the first of the repeats only:
 * with those strategies this kind measures packets that come with their mark.
 *
 * "in_turn": each packet is another flow's and comes unmarked (see marker_turns.h), in an order
 * that is not that in which the map was filled (strided.h). With many flows their entries are cold
 * in the cache, and branches are not always foreseen. The figures hold the whole way of a packet,
 * of which the processor does a part at the same time in the other kind.
 *
 * Every run is checked by the marker's own counters: a case whose packets went another way than it
 * says ends the benchmark. Prints one JSON object.
 */
#include <arpa/inet.h>
#include <bpf/bpf.h>
#include <errno.h>
#include <linux/bpf.h>
#include <net/if.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "lab/marker_run.h"
#include "lab/packet.h"
#include "marker_turns.h"

#define ROUNDS 11
#define PACKETS_MAX 256
#define REPEATS_PER_ROUND 500000u
#define TURNS_PER_ROUND 100000u
#define FLOWS_MAX 200000u
#define PORT_OF_FLOWS 1094
#define PORT_OF_NO_FLOW 443

enum way { SAME_PACKET, IN_TURN };

struct measure {
    const char *name;
    enum flowd_marker_strategy strategy;
    enum way way;
    bool hit;
    uint32_t flows;
    double ns[ROUNDS];
    double empty_ns[ROUNDS];
};

#define LABEL FLOWD_MARKER_LABEL
#define HOP_BY_HOP FLOWD_MARKER_HOP_BY_HOP
#define DESTINATION FLOWD_MARKER_DESTINATION
#define BOTH FLOWD_MARKER_HOP_BY_HOP_DESTINATION

/* Each strategy's in the order of rising flows: the map is filled as they come. */
static struct measure measures[] = {
    {"miss", LABEL, SAME_PACKET, false, 0, {0}, {0}},
    {"hit_1_flow", LABEL, SAME_PACKET, true, 1, {0}, {0}},
    {"miss_1_flow", LABEL, IN_TURN, false, 1, {0}, {0}},
    {"label_1_flow", LABEL, IN_TURN, true, 1, {0}, {0}},
    {"hit_10k_flows", LABEL, SAME_PACKET, true, 10000, {0}, {0}},
    {"miss_10k_flows", LABEL, IN_TURN, false, 10000, {0}, {0}},
    {"label_10k_flows", LABEL, IN_TURN, true, 10000, {0}, {0}},
    {"miss_100k_flows", LABEL, SAME_PACKET, false, 100000, {0}, {0}},
    {"hit_100k_flows", LABEL, SAME_PACKET, true, 100000, {0}, {0}},
    {"hit_200k_flows", LABEL, SAME_PACKET, true, FLOWS_MAX, {0}, {0}},
    {"miss_200k_flows", LABEL, IN_TURN, false, FLOWS_MAX, {0}, {0}},
    {"label_200k_flows", LABEL, IN_TURN, true, FLOWS_MAX, {0}, {0}},
    {"hopByHop_1_flow", HOP_BY_HOP, IN_TURN, true, 1, {0}, {0}},
    {"hopByHop_10k_flows", HOP_BY_HOP, IN_TURN, true, 10000, {0}, {0}},
    {"hopByHop_there_10k_flows", HOP_BY_HOP, SAME_PACKET, true, 10000, {0}, {0}},
    {"hopByHop_200k_flows", HOP_BY_HOP, IN_TURN, true, FLOWS_MAX, {0}, {0}},
    {"destination_1_flow", DESTINATION, IN_TURN, true, 1, {0}, {0}},
    {"destination_10k_flows", DESTINATION, IN_TURN, true, 10000, {0}, {0}},
    {"destination_there_10k_flows", DESTINATION, SAME_PACKET, true, 10000, {0}, {0}},
    {"destination_200k_flows", DESTINATION, IN_TURN, true, FLOWS_MAX, {0}, {0}},
    {"hopByHopDestination_1_flow", BOTH, IN_TURN, true, 1, {0}, {0}},
    {"hopByHopDestination_10k_flows", BOTH, IN_TURN, true, 10000, {0}, {0}},
    {"hopByHopDestination_there_10k_flows", BOTH, SAME_PACKET, true, 10000, {0}, {0}},
    {"hopByHopDestination_200k_flows", BOTH, IN_TURN, true, FLOWS_MAX, {0}, {0}},
};
#define MEASURES (sizeof(measures) / sizeof(measures[0]))

/* What all of it is run with. */
struct bench {
    int empty_fd;
    struct marker_turns *turns;
    struct flowd_marker_key *keys; /* of FLOWS_MAX flows */
};

static int compare_doubles(const void *a, const void *b)
{
    double x = *(const double *)a;
    double y = *(const double *)b;

    return (x > y) - (x < y);
}

/* The value below which so many quarters of all lie; of 0 quarters the lowest. */
static double quartile(const double *values, unsigned quarters)
{
    double sorted[ROUNDS];

    memcpy(sorted, values, sizeof(sorted));
    qsort(sorted, ROUNDS, sizeof(sorted[0]), compare_doubles);
    return sorted[(ROUNDS - 1) * quarters / 4];
}

static double median(const double *values)
{
    return quartile(values, 2);
}

static double seconds(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

static int empty_program(void)
{
    const struct bpf_insn instructions[] = {
        {.code = BPF_ALU64 | BPF_MOV | BPF_K, .dst_reg = BPF_REG_0, .imm = -1},
        {.code = BPF_JMP | BPF_EXIT},
    };

    return bpf_prog_load(BPF_PROG_TYPE_SCHED_CLS, "empty", "GPL", instructions, 2, NULL);
}

static void bench_close(struct bench *bench)
{
    if (bench->empty_fd >= 0)
        close(bench->empty_fd);
    marker_turns_free(bench->turns);
    free(bench->keys);
}

static int bench_open(struct bench *bench)
{
    *bench = (struct bench){
        .empty_fd = empty_program(),
        .keys = calloc(FLOWS_MAX, sizeof(*bench->keys)),
    };
    if (bench->empty_fd < 0)
        return bench->empty_fd;
    if (!bench->keys)
        return -ENOMEM;
    for (uint32_t n = 0; n < FLOWS_MAX; n++) {
        char address[INET6_ADDRSTRLEN];
        struct packet_recipe recipe;

        marker_turns_flow(n, PORT_OF_FLOWS, address, &recipe);
        bench->keys[n] = packet_key(&recipe);
    }
    return marker_turns_new(&bench->turns);
}

/* Grows the program's flow map from *populated entries to flows. */
static int populate(const struct bench *bench, struct marker_program *program, uint32_t *populated,
                    uint32_t flows)
{
    const struct flowd_marker_mark mark = {.label = 0x12345, .experiment = 2, .activity = 17};
    int result = 0;

    for (; *populated < flows && result == 0; ++*populated)
        result = marker_run_add(program, &bench->keys[*populated], &mark);
    return result;
}

/* How many packets the program counted as what the case is about. */
static uint64_t counted(const struct marker_program *program, const struct measure *measure)
{
    struct flowd_marker_counters counters = {0};

    if (measure->hit) {
        marker_program_counters(program, if_nametoindex("lo") % FLOWD_MARKER_INTERFACE_SLOTS,
                                &counters);
        return counters.packets[FLOWD_MARKER_MARKED];
    }
    marker_program_counters(program, FLOWD_MARKER_SHARED_SLOT, &counters);
    return counters.packets[FLOWD_MARKER_NO_FLOW];
}

/* The mean of one round on the same packets. Returns a negative number on failure. */
static double run_same(int program_fd, const struct measure *measure, uint64_t *packets_run)
{
    uint32_t packets = measure->hit && measure->flows < PACKETS_MAX ? measure->flows : PACKETS_MAX;
    uint32_t step = measure->hit ? measure->flows / packets : 1;
    static struct packet packet;
    static struct marker_run run;
    double sum = 0;

    for (uint32_t i = 0; i < packets; i++) {
        char address[INET6_ADDRSTRLEN];
        struct packet_recipe recipe;

        marker_turns_flow(i * step, measure->hit ? PORT_OF_FLOWS : PORT_OF_NO_FLOW, address,
                          &recipe);
        packet_compose(&recipe, &packet);
        if (marker_run(program_fd, packet.bytes, packet.length, REPEATS_PER_ROUND / packets,
                       &run) != 0)
            return -1;
        sum += run.duration_ns;
    }
    *packets_run = (uint64_t)(REPEATS_PER_ROUND / packets) * packets;
    return sum / packets;
}

static double run_in_turn(const struct bench *bench, int program_fd, const struct measure *measure,
                          uint32_t added, uint64_t *packets_run)
{
    *packets_run = TURNS_PER_ROUND + 1;
    return marker_turns_run(bench->turns, program_fd,
                            measure->hit ? PORT_OF_FLOWS : PORT_OF_NO_FLOW, measure->flows,
                            TURNS_PER_ROUND, added);
}

static uint32_t bytes_added(enum flowd_marker_strategy strategy)
{
    return (strategy & HOP_BY_HOP ? FLOWD_MARKER_HEADER_SIZE : 0) +
           (strategy & DESTINATION ? FLOWD_MARKER_HEADER_SIZE : 0);
}

/* One case, and the empty program before it. */
static int run_measure(const struct bench *bench, const struct marker_program *program,
                       struct measure *measure, unsigned round)
{
    int program_fd = program->program_fds[MARKER_ETHERNET_HEADER];
    uint64_t before = counted(program, measure);
    uint64_t packets = 0;
    double *ns = &measure->ns[round];
    double *empty_ns = &measure->empty_ns[round];

    if (measure->way == IN_TURN) {
        *empty_ns = run_in_turn(bench, bench->empty_fd, measure, 0, &packets);
        *ns = run_in_turn(bench, program_fd, measure, bytes_added(measure->strategy), &packets);
    } else {
        *empty_ns = run_same(bench->empty_fd, measure, &packets);
        *ns = run_same(program_fd, measure, &packets);
    }
    if (*empty_ns >= 0 && *ns >= 0 && counted(program, measure) - before == packets)
        return 0;
    fprintf(stderr, "marker_bench: %s did not go as it should\n", measure->name);
    return -EIO;
}

static int measure_strategy(const struct bench *bench, enum flowd_marker_strategy strategy,
                            unsigned round)
{
    const struct marker_program_settings settings = {
        .strategy = strategy,
        .entries_max = 2 * FLOWS_MAX,
    };
    struct marker_program program;
    uint32_t populated = 0;
    int result = marker_run_load(&program, &settings);

    if (result != 0)
        return result;
    for (unsigned i = 0; i < MEASURES && result == 0; i++) {
        if (measures[i].strategy != strategy)
            continue;
        result = populate(bench, &program, &populated, measures[i].flows);
        if (result == 0)
            result = run_measure(bench, &program, &measures[i], round);
    }
    marker_run_close(&program);
    return result;
}

static int measure_packets(const struct bench *bench)
{
    int result = 0;

    for (unsigned round = 0; round < ROUNDS; round++)
        for (enum flowd_marker_strategy strategy = LABEL; strategy <= BOTH && result == 0;
             strategy++)
            result = measure_strategy(bench, strategy, round);
    return result;
}

/* Seconds for FLOWS_MAX new entries; negative on failure. */
static double measure_updates(const struct bench *bench)
{
    struct marker_program program;
    uint32_t populated = 0;
    double begin;
    int result;

    if (marker_run_load(&program,
                        &(struct marker_program_settings){.entries_max = 2 * FLOWS_MAX}) != 0)
        return -1;
    begin = seconds();
    result = populate(bench, &program, &populated, FLOWS_MAX);
    begin = seconds() - begin;
    marker_run_close(&program);
    return result == 0 ? begin : -1;
}

static void print_cases(const char *name, enum way way)
{
    const char *comma = "";

    printf("  \"%s\": {", name);
    for (unsigned i = 0; i < MEASURES; i++) {
        double over[ROUNDS];
        double ratio[ROUNDS];

        if (measures[i].way != way)
            continue;
        for (unsigned round = 0; round < ROUNDS; round++) {
            over[round] = measures[i].ns[round] - measures[i].empty_ns[round];
            ratio[round] = measures[i].ns[round] / measures[i].empty_ns[round];
        }
        printf("%s\n    \"%s\": {\"ns\": %.1f, \"empty_ns\": %.1f, \"over_empty_ns\": %.1f, "
               "\"min\": %.1f, \"q1\": %.1f, \"q3\": %.1f, \"ratio\": %.2f}",
               comma, measures[i].name, median(measures[i].ns), median(measures[i].empty_ns),
               median(over), quartile(over, 0), quartile(over, 1), quartile(over, 3),
               median(ratio));
        comma = ",";
    }
    printf("\n  },\n");
}

static void print_results(double update_seconds)
{
    printf("{\n  \"rounds\": %d,\n  \"same_per_round\": %u,\n  \"in_turn_per_round\": %u,\n",
           ROUNDS, REPEATS_PER_ROUND, TURNS_PER_ROUND);
    print_cases("same", SAME_PACKET);
    print_cases("in_turn", IN_TURN);
    printf("  \"map_updates_per_second\": %.0f\n}\n", FLOWS_MAX / update_seconds);
}

int main(void)
{
    const char *reason = marker_run_unavailable();
    struct bench bench;
    double update_seconds = -1;
    int result;

    if (reason) {
        fprintf(stderr, "marker_bench: %s\n", reason);
        return 77;
    }
    result = bench_open(&bench);
    if (result == 0)
        result = measure_packets(&bench);
    if (result == 0)
        update_seconds = measure_updates(&bench);
    bench_close(&bench);
    if (result != 0 || update_seconds <= 0) {
        fprintf(stderr, "marker_bench: %s\n", strerror(result ? -result : EIO));
        return 1;
    }
    print_results(update_seconds);
    return 0;
}
