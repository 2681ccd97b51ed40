/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What is picked out of libbpf's messages.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <string.h>

#include "ebpf/loader/bpf_log.h"

static void test_first_warning_stays(void **state)
{
    struct flowd_bpf_log bpf_log = {{0}, {0}};

    (void)state;
    flowd_bpf_log_note(&bpf_log,
                       "libbpf: map 'flows': failed to create: Cannot allocate memory(-12)\n");
    flowd_bpf_log_note(&bpf_log, "libbpf: something else\n");
    assert_string_equal(bpf_log.warning,
                        "map 'flows': failed to create: Cannot allocate memory(-12)");
    assert_string_equal(bpf_log.verifier, "");
}

static void test_consequences_are_left_out(void **state)
{
    static const char *const messages[] = {
        "libbpf: failed to load object 'marker_bpf'\n",
        "libbpf: failed to load BPF skeleton 'marker_bpf': -22\n",
        "libbpf: prog 'flowd_marker': failed to load: -22\n",
        "libbpf: Error in bpf_create_map_xattr(x):Invalid argument(-22). Retrying without BTF.\n",
    };
    struct flowd_bpf_log bpf_log = {{0}, {0}};

    (void)state;
    for (size_t i = 0; i < sizeof(messages) / sizeof(messages[0]); i++)
        flowd_bpf_log_note(&bpf_log, messages[i]);
    assert_string_equal(bpf_log.warning, "");
}

static void test_last_words_of_the_verifier(void **state)
{
    struct flowd_bpf_log bpf_log = {{0}, {0}};

    (void)state;
    flowd_bpf_log_note(&bpf_log, "libbpf: prog 'a': -- BEGIN PROG LOAD LOG --\n"
                                 "0: (85) call bpf_check_mtu#163\n"
                                 "unknown func bpf_check_mtu#163\n"
                                 "processed 1 insns (limit 1000000)\n"
                                 "\n"
                                 "-- END PROG LOAD LOG --\n");
    flowd_bpf_log_note(&bpf_log, "libbpf: prog 'b': -- BEGIN PROG LOAD LOG --\n"
                                 "another\n-- END PROG LOAD LOG --\n");
    assert_string_equal(bpf_log.verifier, "unknown func bpf_check_mtu#163");
    assert_string_equal(bpf_log.warning, "");
}

static void test_logs_without_words(void **state)
{
    static const char *const messages[] = {
        "libbpf: prog 'a': -- BEGIN PROG LOAD LOG --",
        "libbpf: prog 'a': -- BEGIN PROG LOAD LOG --\n",
        "libbpf: prog 'a': -- BEGIN PROG LOAD LOG --\n-- END PROG LOAD LOG --\n",
        "libbpf: prog 'a': -- BEGIN PROG LOAD LOG --\nprocessed 0 insns\n",
    };
    struct flowd_bpf_log bpf_log = {{0}, {0}};

    (void)state;
    for (size_t i = 0; i < sizeof(messages) / sizeof(messages[0]); i++)
        flowd_bpf_log_note(&bpf_log, messages[i]);
    assert_string_equal(bpf_log.verifier, "");
    assert_string_equal(bpf_log.warning, "");
}

static void test_long_ones_are_cut(void **state)
{
    struct flowd_bpf_log bpf_log = {{0}, {0}};
    char message[4 * FLOWD_BPF_LOG_SIZE];

    (void)state;
    memset(message, 'x', sizeof(message) - 1);
    message[sizeof(message) - 1] = '\0';
    flowd_bpf_log_note(&bpf_log, message);
    assert_int_equal(strlen(bpf_log.warning), FLOWD_BPF_LOG_SIZE - 1);
    memcpy(message, "-- BEGIN PROG LOAD LOG --\n", 26);
    flowd_bpf_log_note(&bpf_log, message);
    assert_int_equal(strlen(bpf_log.verifier), FLOWD_BPF_LOG_SIZE - 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_first_warning_stays),
        cmocka_unit_test(test_consequences_are_left_out),
        cmocka_unit_test(test_last_words_of_the_verifier),
        cmocka_unit_test(test_logs_without_words),
        cmocka_unit_test(test_long_ones_are_cut),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
