/*
 * Measures the marker: nanoseconds per packet over an empty program, and map updates per second.
 *
 * Each figure is the median of rounds; in each round every case is run once, right after the empty
 * program, so that what the machine does meanwhile falls on both alike. A case with N flows has N
 * entries in the map; its packets rotate over up to 256 of them (one BPF_PROG_TEST_RUN for each, of
 * equal repeats), so that the figure is not one entry's luck with the hash table. The packets'
 * entries are warm in the cache, as those of busy flows are. Prints one JSON object.
 */
#include <arpa/inet.h>
#include <bpf/bpf.h>
#include <errno.h>
#include <linux/bpf.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "marker_program.h"
#include "packet.h"

#define ROUNDS 15
#define PACKETS_MAX 256
#define REPEATS_PER_ROUND 1000000u
#define FLOWS_MAX 200000u
#define UPDATE_BATCH 1000u

struct measure {
    const char *name;
    uint32_t flows;
    bool hit;
    double ns[ROUNDS];
    double empty_ns[ROUNDS];
};

static struct measure measures[] = {
    {.name = "miss", .flows = 0, .hit = false},
    {.name = "miss_100k_flows", .flows = 100000, .hit = false},
    {.name = "hit_1_flow", .flows = 1, .hit = true},
    {.name = "hit_10k_flows", .flows = 10000, .hit = true},
    {.name = "hit_100k_flows", .flows = 100000, .hit = true},
    {.name = "hit_200k_flows", .flows = FLOWS_MAX, .hit = true},
};
#define MEASURES (sizeof(measures) / sizeof(measures[0]))

static int compare_doubles(const void *a, const void *b)
{
    double x = *(const double *)a;
    double y = *(const double *)b;

    return (x > y) - (x < y);
}

static double median(const double *values, size_t count)
{
    double sorted[ROUNDS];

    memcpy(sorted, values, count * sizeof(values[0]));
    qsort(sorted, count, sizeof(sorted[0]), compare_doubles);
    return sorted[count / 2];
}

static double seconds(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

/* Flow number n: ports run up, 20,000 to each destination address. */
static void flow_recipe(uint32_t n, char address[static INET6_ADDRSTRLEN],
                        struct packet_recipe *recipe)
{
    snprintf(address, INET6_ADDRSTRLEN, "2001:db8::%x", n / 20000 + 2);
    *recipe = (struct packet_recipe){
        .src = "2001:db8::1",
        .dst = address,
        .src_port = 1094,
        .dst_port = (uint16_t)(20000 + n % 20000),
        .protocol = IPPROTO_TCP,
    };
}

static struct flowd_marker_key flow_key(uint32_t n)
{
    char address[INET6_ADDRSTRLEN];
    struct packet_recipe recipe;

    flow_recipe(n, address, &recipe);
    return packet_key(&recipe);
}

static int empty_program(void)
{
    const struct bpf_insn instructions[] = {
        {.code = BPF_ALU64 | BPF_MOV | BPF_K, .dst_reg = BPF_REG_0, .imm = -1},
        {.code = BPF_JMP | BPF_EXIT},
    };

    return bpf_prog_load(BPF_PROG_TYPE_SCHED_CLS, "empty", "GPL", instructions, 2, NULL);
}

/* Grows the map of program to flows entries. */
static int populate(struct marker_program *program, uint32_t *populated, uint32_t flows)
{
    for (; *populated < flows; (*populated)++) {
        struct flowd_marker_key key = flow_key(*populated);
        int result = marker_program_add(program, &key, 0x12345);

        if (result != 0)
            return result;
    }
    return 0;
}

/* The mean of one round: packets of the case, rotated. Returns a negative number on failure. */
static double run_case(int program_fd, const struct measure *measure)
{
    uint32_t packets = measure->hit && measure->flows < PACKETS_MAX ? measure->flows : PACKETS_MAX;
    uint32_t step = measure->hit ? measure->flows / packets : 1;
    double sum = 0;

    for (uint32_t i = 0; i < packets; i++) {
        char address[INET6_ADDRSTRLEN];
        struct packet_recipe recipe;
        struct packet packet;
        struct marker_run run;

        flow_recipe(i * step, address, &recipe);
        if (!measure->hit)
            recipe.src_port = 443;
        packet_compose(&recipe, &packet);
        if (marker_run(program_fd, packet.bytes, packet.length, REPEATS_PER_ROUND / packets,
                       &run) != 0)
            return -1;
        sum += run.duration_ns;
    }
    return sum / packets;
}

static int measure_packets(int empty_fd)
{
    for (unsigned round = 0; round < ROUNDS; round++) {
        struct marker_program program;
        uint32_t populated = 0;
        int result = marker_program_load(&program, false, false, 2 * FLOWS_MAX);

        if (result != 0)
            return result;
        /* In the order of rising flows; "miss" with flows runs after its "hit". */
        static const unsigned order[MEASURES] = {0, 2, 3, 4, 1, 5};

        for (unsigned i = 0; i < MEASURES; i++) {
            struct measure *measure = &measures[order[i]];

            result = populate(&program, &populated, measure->flows);
            if (result != 0)
                break;
            measure->empty_ns[round] = run_case(empty_fd, measure);
            measure->ns[round] = run_case(program.program_fd, measure);
            if (measure->ns[round] < 0 || measure->empty_ns[round] < 0) {
                result = -EIO;
                break;
            }
        }
        marker_program_unload(&program);
        if (result != 0)
            return result;
    }
    return 0;
}

/* Seconds for FLOWS_MAX updates in batches; negative on failure. */
static double measure_updates(void)
{
    struct flowd_marker_mark *marks = calloc(UPDATE_BATCH, sizeof(*marks));
    uint8_t *keys = calloc(UPDATE_BATCH, FLOWD_MARKER_KEY_SIZE);
    struct marker_program program;
    double taken = 0;

    if (!marks || !keys || marker_program_load(&program, false, false, 2 * FLOWS_MAX) != 0) {
        free(marks);
        free(keys);
        return -1;
    }
    for (uint32_t n = 0; n < FLOWS_MAX; n += UPDATE_BATCH) {
        uint32_t count = UPDATE_BATCH;
        double begin;

        for (uint32_t i = 0; i < UPDATE_BATCH; i++) {
            struct flowd_marker_key key = flow_key(n + i);

            memcpy(keys + i * FLOWD_MARKER_KEY_SIZE, &key, FLOWD_MARKER_KEY_SIZE);
        }
        begin = seconds();
        if (bpf_map_update_batch(program.flows_fd, keys, marks, &count, NULL) != 0) {
            taken = -1;
            break;
        }
        taken += seconds() - begin;
    }
    marker_program_unload(&program);
    free(marks);
    free(keys);
    return taken;
}

static void print_results(double update_seconds)
{
    double empty = 0;

    printf("{\n  \"rounds\": %d,\n  \"repeats_per_round\": %u,\n  \"cases\": {\n", ROUNDS,
           REPEATS_PER_ROUND);
    for (unsigned i = 0; i < MEASURES; i++) {
        double over[ROUNDS];
        double ratio[ROUNDS];

        for (unsigned round = 0; round < ROUNDS; round++) {
            over[round] = measures[i].ns[round] - measures[i].empty_ns[round];
            ratio[round] = measures[i].ns[round] / measures[i].empty_ns[round];
        }
        empty = median(measures[i].empty_ns, ROUNDS);
        printf("    \"%s\": {\"ns\": %.1f, \"empty_ns\": %.1f, \"over_empty_ns\": %.1f, "
               "\"ratio\": %.2f}%s\n",
               measures[i].name, median(measures[i].ns, ROUNDS), empty, median(over, ROUNDS),
               median(ratio, ROUNDS), i + 1 < MEASURES ? "," : "");
    }
    printf("  },\n  \"map_batch_updates_per_second\": %.0f\n}\n", FLOWS_MAX / update_seconds);
}

int main(void)
{
    const char *reason = marker_program_unavailable();
    double update_seconds;
    int empty_fd;
    int result;

    if (reason) {
        fprintf(stderr, "marker_bench: %s\n", reason);
        return 77;
    }
    empty_fd = empty_program();
    if (empty_fd < 0) {
        fprintf(stderr, "marker_bench: empty program: %s\n", strerror(-empty_fd));
        return 1;
    }
    result = measure_packets(empty_fd);
    update_seconds = measure_updates();
    close(empty_fd);
    if (result != 0 || update_seconds <= 0) {
        fprintf(stderr, "marker_bench: %s\n", strerror(result ? -result : EIO));
        return 1;
    }
    print_results(update_seconds);
    return 0;
}
