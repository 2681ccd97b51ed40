/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What main() of a program of BPF tests does: run the tests where this process may load BPF
 * programs; say why not, and be a skip, elsewhere.
 */
#pragma once

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

/* Says why the tests can't run here. Returns what main() returns then: ctest's sign of a skip. */
int bpf_main_skip(const char *reason);

/* As cmocka_run_group_tests(), or a skip. Returns what main() returns. */
#define bpf_main(tests, setup, teardown)                                                           \
    bpf_main_run(#tests, tests, sizeof(tests) / sizeof((tests)[0]), setup, teardown)

int bpf_main_run(const char *name, const struct CMUnitTest *tests, size_t count,
                 CMFixtureFunction setup, CMFixtureFunction teardown);
