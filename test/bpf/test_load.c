/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The marker loads in every mode wherever it may run: with the kernel's BTF and without it, with
 * CAP_PERFMON and without it. What it can't know then is said, and the rest works all the same.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>
#include <errno.h>
#include <sys/resource.h>

#include "lab/bpf_main.h"
#include "lab/capabilities.h"
#include "lab/kernel_lacks.h"
#include "lab/marker_run.h"
#include "lab/model.h"
#include "lab/packet.h"
#include "lab/without_btf.h"

#define STRATEGIES 4u
#define MODES (STRATEGIES * 2 * 2)

static const struct flowd_marker_mark mark = {
    .label = 0x9c5a3, .experiment = 0x01a7, .activity = 0x2b};

/*
 * Strategies with and without the source address, of flows or all packets; encodings and segment
 * sizes take turns.
 */
static struct marker_program_settings mode(unsigned number)
{
    return (struct marker_program_settings){.strategy = number % STRATEGIES,
                                            .encoding = (number / 4 + number / 8) % 2,
                                            .match_source = number / 4 % 2,
                                            .match_all = number / 8 % 2,
                                            .mss_reduction = 8 * ((number / 4 + number / 8) % 3),
                                            .entries_max = 16};
}

/* Whether a flow's packet gets the mark of the mode. Asserts nothing: it also runs in a child. */
static bool marks(struct marker_program *program, const struct marker_program_settings *settings)
{
    const struct model_settings rules = {
        .strategy = settings->strategy, .encoding = settings->encoding, .mtu = 1500};
    const struct packet_recipe recipe = {.src = "2001:db8::1",
                                         .dst = "2001:db8::2",
                                         .src_port = 1094,
                                         .dst_port = 40000,
                                         .protocol = IPPROTO_TCP};
    const struct model_packet packet = {.recipe = &recipe};
    struct model_result expected = model_expect(&rules, &packet, &mark);
    struct flowd_marker_key key = packet_key(&recipe);
    static struct packet sent;
    static struct packet leaving;
    struct marker_run run;

    packet_compose(&recipe, &sent);
    packet_compose(&expected.recipe, &leaving);
    return marker_run_add(program, &key, &mark) == 0 &&
           marker_run(program->program_fds[MARKER_ETHERNET_HEADER], sent.bytes, sent.length, 1,
                      &run) == 0 &&
           run.length == leaving.length && memcmp(run.bytes, leaving.bytes, leaving.length) == 0;
}

/* Loads the mode and marks a packet; missing is what must be said about the MTU of routes. */
static const char *try_mode(unsigned number, const char *missing)
{
    struct marker_program_settings settings = mode(number);
    struct marker_program program;
    struct flowd_error err;
    const char *complaint = NULL;

    if (settings.strategy >= kernel_strategies())
        return NULL;
    if (settings.strategy == FLOWD_MARKER_LABEL)
        missing = NULL;
    if (marker_run_load(&program, &settings) != 0)
        return "it can't be loaded";
    if ((missing == NULL) != (program.no_path_mtu == NULL))
        complaint = "the MTU of routes";
    else if (missing != NULL && strstr(program.no_path_mtu, missing) == NULL)
        complaint = program.no_path_mtu;
    else if (!marks(&program, &settings))
        complaint = "it does not mark";
    else if (marker_program_get(&program, MARKER_NO_LINK_HEADER, &err) < 0)
        complaint = "what is for devices without a link header can't be loaded";
    marker_run_close(&program);
    return complaint;
}

static void try_all(const char *missing)
{
    for (unsigned number = 0; number < MODES; number++) {
        const char *complaint = try_mode(number, missing);

        if (complaint != NULL)
            fail_msg("mode %u: %s", number, complaint);
    }
}

static void test_with_everything(void **state)
{
    (void)state;
    try_all(NULL);
}

static void test_without_btf(void **state)
{
    (void)state;
    if (without_btf_unavailable() != NULL) {
        print_message("%s\n", without_btf_unavailable());
        skip();
    }
    assert_int_equal(without_btf_begin(), 0);
    try_all("/sys/kernel/btf/vmlinux");
    assert_int_equal(without_btf_end(), 0);
}

static int try_all_without_perfmon(void)
{
    for (unsigned number = 0; number < MODES; number++) {
        const char *complaint = try_mode(number, "CAP_PERFMON");

        /* Extension headers need what such a verifier refuses; labels do not. */
        if (complaint != NULL && mode(number).strategy != FLOWD_MARKER_LABEL &&
            capabilities_verifier_follows_all())
            continue;
        if (complaint != NULL) {
            fprintf(stderr, "mode %u: %s\n", number, complaint);
            return 1;
        }
    }
    return 0;
}

static void test_without_cap_perfmon(void **state)
{
    (void)state;
    assert_int_equal(capabilities_in_child(CAPABILITIES_MARKING, try_all_without_perfmon), 0);
}

/* 0 if the refusal names what is missing. */
static int try_refused(const char *missing)
{
    const struct marker_pins pins = {.directory = -1};
    const struct marker_program_settings settings = mode(0);
    struct marker_program program;
    struct flowd_error err = {0};

    if (marker_program_load(&program, &settings, &pins, &err) != -EPERM)
        return 1;
    return strstr(err.message, missing) == NULL;
}

static int try_without_bpf(void)
{
    return try_refused("missing: CAP_BPF");
}

static int try_without_net_admin(void)
{
    return try_refused("missing: CAP_NET_ADMIN");
}

static void test_missing_capability(void **state)
{
    (void)state;
    assert_int_equal(capabilities_in_child(CAPABILITY(CAP_NET_ADMIN), try_without_bpf), 0);
    assert_int_equal(capabilities_in_child(CAPABILITY(CAP_BPF), try_without_net_admin), 0);
}

/* The quickest way that there is, and the other one. */
static void test_reading(void **state)
{
    bool directly = kernel_reads_directly();

    (void)state;
    for (unsigned number = 1; number < kernel_strategies(); number++)
        for (unsigned by_helper = 0; by_helper < 2; by_helper++) {
            struct marker_program_settings settings = mode(number);
            struct marker_program program;

            settings.by_helper = by_helper;
            assert_int_equal(marker_run_load(&program, &settings), 0);
            assert_int_equal(program.reading, directly && !by_helper ? MARKER_READS_DIRECTLY
                                                                     : MARKER_READS_BY_HELPER);
            assert_true(marks(&program, &settings));
            marker_run_close(&program);
        }
}

/* What no device needs is not loaded, and what one needs is loaded once. */
static void test_loaded_when_needed(void **state)
{
    struct marker_program_settings settings = mode(0);
    struct marker_program program;
    struct flowd_error err;
    int fd;

    (void)state;
    assert_int_equal(marker_run_load(&program, &settings), 0);
    assert_int_equal(program.program_fds[MARKER_NO_LINK_HEADER], -1);
    assert_int_equal(marker_program_get(&program, MARKER_ETHERNET_HEADER, &err),
                     program.program_fds[MARKER_ETHERNET_HEADER]);
    fd = marker_program_get(&program, MARKER_NO_LINK_HEADER, &err);
    assert_true(fd >= 0);
    assert_int_equal(marker_program_get(&program, MARKER_NO_LINK_HEADER, &err), fd);
    assert_int_not_equal(program.ids[MARKER_NO_LINK_HEADER], program.ids[MARKER_ETHERNET_HEADER]);
    assert_int_equal(program.spare_fds[MARKER_NO_LINK_HEADER], -1);
    assert_int_not_equal(marker_program_spare(&program, MARKER_NO_LINK_HEADER), fd);
    marker_run_close(&program);
}

/* 0 if the second program's failure is told of, and it is loaded when that is over. */
static int try_loading_later(void)
{
    struct marker_program_settings settings = mode(0);
    const struct rlimit enough = {1024, 1024};
    const struct rlimit few = {4, 1024};
    struct marker_program program;
    struct flowd_error err = {0};
    int result;

    if (marker_run_load(&program, &settings) != 0 || setrlimit(RLIMIT_NOFILE, &few) < 0)
        return 1;
    result = marker_program_get(&program, MARKER_NO_LINK_HEADER, &err);
    if (result >= 0 || err.message[0] == '\0' || program.program_fds[MARKER_NO_LINK_HEADER] != -1 ||
        setrlimit(RLIMIT_NOFILE, &enough) < 0)
        return 2;
    result = marker_program_get(&program, MARKER_NO_LINK_HEADER, &err);
    marker_run_close(&program);
    return result < 0 ? 3 : 0;
}

static void test_loaded_later(void **state)
{
    (void)state;
    assert_int_equal(capabilities_in_child(CAPABILITIES_MARKING, try_loading_later), 0);
}

/* The trace is for root; the marks are the same. */
static void test_debug(void **state)
{
    (void)state;
    for (unsigned number = 0; number < kernel_strategies(); number++) {
        struct marker_program_settings settings = mode(number);
        struct marker_program program;

        settings.debug = true;
        assert_int_equal(marker_run_load(&program, &settings), 0);
        assert_true(marks(&program, &settings));
        marker_run_close(&program);
    }
}

/* What can't be loaded is said here, not by a child. */
static int say_what_is_missing(void **state)
{
    (void)state;
    kernel_strategies();
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_with_everything),
        cmocka_unit_test(test_without_btf),
        cmocka_unit_test(test_without_cap_perfmon),
        cmocka_unit_test(test_missing_capability),
        cmocka_unit_test(test_reading),
        cmocka_unit_test(test_loaded_when_needed),
        cmocka_unit_test(test_loaded_later),
        cmocka_unit_test(test_debug),
    };

    return bpf_main(tests, say_what_is_missing, NULL);
}
