/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the kernel's files and a release's name say, and that this process's own can be read.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <string.h>
#include <sys/resource.h>
#include <sys/utsname.h>

#include "ebpf/loader/environment.h"

static void test_user_namespace(void **state)
{
    (void)state;
    assert_false(flowd_bpf_environment_in_user_namespace("user:[4026531837]"));
    assert_true(flowd_bpf_environment_in_user_namespace("user:[4026532281]"));
    /* /proc is not there. */
    assert_false(flowd_bpf_environment_in_user_namespace(""));
}

static void test_seccomp_filter(void **state)
{
    (void)state;
    assert_true(
        flowd_bpf_environment_has_filter("NoNewPrivs:\t1\nSeccomp:\t2\nSeccomp_filters:\t1\n"));
    assert_false(
        flowd_bpf_environment_has_filter("NoNewPrivs:\t0\nSeccomp:\t0\nSeccomp_filters:\t2\n"));
    assert_false(flowd_bpf_environment_has_filter(""));
}

static void test_lockdown(void **state)
{
    (void)state;
    assert_int_equal(flowd_bpf_environment_lockdown("[none] integrity confidentiality\n"),
                     FLOWD_LOCKDOWN_NONE);
    assert_int_equal(flowd_bpf_environment_lockdown("none [integrity] confidentiality\n"),
                     FLOWD_LOCKDOWN_INTEGRITY);
    assert_int_equal(flowd_bpf_environment_lockdown("none integrity [confidentiality]\n"),
                     FLOWD_LOCKDOWN_CONFIDENTIALITY);
    assert_int_equal(flowd_bpf_environment_lockdown(""), FLOWD_LOCKDOWN_NONE);
}

static void test_release(void **state)
{
    static const struct {
        const char *release;
        unsigned major, minor;
    } rows[] = {
        {"6.18.44", 6, 18},  {"4.18.0-553.el8.x86_64", 4, 18},
        {"5.10-rc1", 5, 10}, {"6", 0, 0},
        {"6.", 0, 0},        {"unknown", 0, 0},
        {"", 0, 0},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct flowd_bpf_environment environment = {.kernel = {9, 9}};

        flowd_bpf_environment_set_release(&environment, rows[i].release);
        assert_string_equal(environment.release, rows[i].release);
        assert_int_equal(environment.kernel[0], rows[i].major);
        assert_int_equal(environment.kernel[1], rows[i].minor);
    }
}

static void test_own(void **state)
{
    struct flowd_bpf_environment environment;
    struct utsname name;
    struct rlimit limit;

    (void)state;
    flowd_bpf_environment_read(&environment);
    assert_int_equal(uname(&name), 0);
    assert_int_equal(strncmp(environment.release, name.release, sizeof(environment.release) - 1),
                     0);
    assert_true(environment.kernel[0] > 0);
    assert_int_equal(getrlimit(RLIMIT_MEMLOCK, &limit), 0);
    assert_true(environment.memlock_bytes ==
                (limit.rlim_cur == RLIM_INFINITY ? UINT64_MAX : (uint64_t)limit.rlim_cur));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_user_namespace),
        cmocka_unit_test(test_seccomp_filter),
        cmocka_unit_test(test_lockdown),
        cmocka_unit_test(test_release),
        cmocka_unit_test(test_own),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
