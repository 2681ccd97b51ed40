/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The verifier of the kernel that this runs on takes the marker with every combination of the
 * settings that flowd writes into it before loading, for root and for those who lack CAP_PERFMON:
 * verifiers differ in what they remember of a program's registers and stack, and each combination
 * is another program. What a kernel lacks as a whole (helpers of the extension headers) is refused
 * with just that.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include <bpf/libbpf.h>
#include <errno.h>
#include <stdbool.h>
#include <sys/resource.h>

#include "casts.h"
#include "ebpf/marker.h"
#include "kernel_btf.h"
#include "lab/bpf_main.h"
#include "lab/capabilities.h"
#include "lab/kernel_lacks.h"
#include "lab/stride.h"
#include "lab/verifier_log.h"
#include "marker.skel.h"

/* How many values each setting takes here: mssReduction, which is a constant, none and one. */
#define STRATEGIES 4u
#define ENCODINGS 2u
#define REDUCTIONS 2u
#define READINGS 3u
#define FLAGS 4u
#define COMBINATIONS (STRATEGIES * ENCODINGS * REDUCTIONS * READINGS * (1u << FLAGS))

struct combination {
    unsigned strategy;
    unsigned encoding;
    unsigned mss_reduction;
    bool match_source;
    bool match_all;
    bool by_calls;               /* the maps are written by system calls */
    enum marker_reading reading; /* any asks for CAP_PERFMON, as debug does */
    bool debug;
};

static bool reads_directly; /* this kernel lets programs do so */
static bool label_only;     /* as the argument "label" asks for */

static unsigned digit(unsigned *number, unsigned base)
{
    unsigned value = *number % base;

    *number /= base;
    return value;
}

static struct combination combination_of(unsigned number)
{
    return (struct combination){
        .strategy = digit(&number, STRATEGIES),
        .encoding = digit(&number, ENCODINGS),
        .mss_reduction = 8 * digit(&number, REDUCTIONS),
        .match_source = digit(&number, 2),
        .match_all = digit(&number, 2),
        .by_calls = digit(&number, 2),
        .reading = digit(&number, READINGS),
        .debug = digit(&number, 2),
    };
}

/* Whether flowd would load this program for the combination: see enum marker_kind. */
static bool is_chosen(const struct bpf_program *program, const struct combination *combination,
                      bool plain)
{
    const char *name = bpf_program__name(program);
    bool full = combination->strategy != FLOWD_MARKER_LABEL;
    bool trace = !full && combination->debug;

    if (full || strstr(name, "_full") != NULL)
        return full && strstr(name, "_full") != NULL;
    if (strstr(name, "_trace") != NULL || trace)
        return trace && strstr(name, "_trace") != NULL;
    /* What flowd falls back to. */
    if (strstr(name, "_plain") != NULL || plain)
        return plain && strstr(name, "_plain") != NULL;
    return true;
}

static int load(const struct combination *combination, bool plain)
{
    LIBBPF_OPTS(bpf_object_open_opts, options);
    struct marker_kernel kernel;
    struct marker_bpf *skeleton;
    struct bpf_program *program;
    struct flowd_error err;
    char path[32];
    int result = marker_kernel_open(&kernel, combination->reading, &err);

    if (result < 0)
        return result;
    snprintf(path, sizeof(path), "/proc/self/fd/%d", kernel.btf);
    options.btf_custom_path = path;
    result = marker_casts_use(&kernel);
    skeleton = result == 0 ? marker_bpf__open_opts(&options) : NULL;
    if (skeleton == NULL)
        return -errno;
    skeleton->rodata->marker_strategy = (uint8_t)combination->strategy;
    skeleton->rodata->marker_encoding = (uint8_t)combination->encoding;
    skeleton->rodata->marker_mss_reduction = (uint8_t)combination->mss_reduction;
    skeleton->rodata->marker_match_source = combination->match_source;
    skeleton->rodata->marker_match_all = combination->match_all;
    skeleton->rodata->marker_written_by_calls = combination->by_calls;
    skeleton->rodata->marker_path_mtu = combination->reading != MARKER_READS_NOTHING;
    skeleton->rodata->marker_direct = combination->reading == MARKER_READS_DIRECTLY;
    memcpy((void *)&skeleton->rodata->marker_types, &kernel.types, sizeof(kernel.types));
    skeleton->rodata->marker_debug = combination->debug;
    bpf_map__set_max_entries(skeleton->maps.FLOWD_MARKER_FLOWS, 16);
    bpf_map__set_max_entries(skeleton->maps.flowd_bitmap, 16);
    bpf_object__for_each_program(program, skeleton->obj)
        bpf_program__set_autoload(program, is_chosen(program, combination, plain));
    verifier_log_clear();
    result = marker_bpf__load(skeleton);
    marker_bpf__destroy(skeleton);
    marker_kernel_close(&kernel);
    return result;
}

/* Whether what the kernel said of the combination is what it should say. */
static bool is_right(const struct combination *combination, bool checks_mtu, bool privileged,
                     int result)
{
    const char *said = verifier_log_text();

    if (combination->strategy != FLOWD_MARKER_LABEL && !checks_mtu)
        return result < 0 &&
               (!privileged || strstr(said, "unknown func") || strstr(said, "invalid func") ||
                strstr(said, "BPF_STX uses reserved fields"));
    if (combination->strategy != FLOWD_MARKER_LABEL && !privileged &&
        capabilities_verifier_follows_all())
        return true;
    return result == 0;
}

static void complain(const struct combination *combination, int result)
{
    const char *said = verifier_log_text();
    size_t length = strlen(said);

    printf("strategy %u encoding %u mssReduction %u matchSource %d matchAll %d byCalls %d reading "
           "%d debug %d: %d\n%s\n",
           combination->strategy, combination->encoding, combination->mss_reduction,
           combination->match_source, combination->match_all, combination->by_calls,
           combination->reading, combination->debug, result,
           length > 800 ? said + length - 800 : said);
}

/*
 * Whether the program differs from that of every other combination for this process. A label has no
 * encoding and makes no packet longer, and what segments leave free counts with a route's MTU only.
 */
static bool counts(const struct combination *combination, bool privileged)
{
    if (label_only && combination->strategy != FLOWD_MARKER_LABEL)
        return false;
    /* flowd does not set it there. */
    if (combination->strategy == FLOWD_MARKER_LABEL &&
        (combination->encoding != 0 || combination->mss_reduction != 0 ||
         combination->reading != MARKER_READS_NOTHING))
        return false;
    if (combination->reading == MARKER_READS_DIRECTLY && !reads_directly)
        return false;
    if (combination->mss_reduction != 0 && combination->reading == MARKER_READS_NOTHING)
        return false;
    return privileged || !(combination->reading != MARKER_READS_NOTHING || combination->debug);
}

/* Tries them all; returns how many went wrong, of which it shows the first. */
static unsigned try_all(bool privileged)
{
    bool checks_mtu = kernel_writes_options();
    struct stride stride = {0};
    unsigned wrong = 0;

    for (unsigned number = 0; number < COMBINATIONS; number++) {
        struct combination combination = combination_of(number);
        int result;

        if (!counts(&combination, privileged) || !stride_takes(&stride))
            continue;
        result = load(&combination, false);
        if (result < 0 && !privileged && combination.strategy == FLOWD_MARKER_LABEL)
            result = load(&combination, true);
        if (is_right(&combination, checks_mtu, privileged, result))
            continue;
        if (wrong++ == 0)
            complain(&combination, result);
    }
    stride_say(&stride, "combinations");
    printf("%zu of %zu combinations as they should be%s%s\n", stride.taken - wrong, stride.taken,
           privileged ? "" : " without CAP_PERFMON",
           checks_mtu ? "" : ", extension headers refused: no bpf_check_mtu (Linux 5.12)");
    fflush(stdout);
    return wrong;
}

static void test_every_combination_loads(void **state)
{
    (void)state;
    verifier_log_keep();
    assert_int_equal(try_all(true), 0);
}

static int try_all_in_child(void)
{
    verifier_log_keep();
    return try_all(false) == 0 ? 0 : 1;
}

static void test_every_combination_loads_without_cap_perfmon(void **state)
{
    (void)state;
    assert_int_equal(capabilities_in_child(CAPABILITIES_MARKING, try_all_in_child), 0);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_combination_loads_without_cap_perfmon),
        cmocka_unit_test(test_every_combination_loads),
    };
    const struct rlimit unlimited = {RLIM_INFINITY, RLIM_INFINITY};

    reads_directly = kernel_reads_directly();
    label_only = argc > 1 && strcmp(argv[1], "label") == 0;
    /* Before Linux 5.11 maps are locked memory. */
    setrlimit(RLIMIT_MEMLOCK, &unlimited);
    return bpf_main(tests, NULL, NULL);
}
