/* SPDX-License-Identifier: Apache-2.0 */
/*
 * See bpf_main.h.
 */
#include "lab/bpf_main.h"

#include <stdio.h>

#include "lab/marker_run.h"

#define SKIPPED 77 /* SKIP_RETURN_CODE in cmake/FlowdTests.cmake */

int bpf_main_skip(const char *reason)
{
    fprintf(stderr, "skipped: %s\n", reason);
    return SKIPPED;
}

int bpf_main_run(const char *name, const struct CMUnitTest *tests, size_t count,
                 CMFixtureFunction setup, CMFixtureFunction teardown)
{
    const char *reason = marker_run_unavailable();

    if (reason != NULL)
        return bpf_main_skip(reason);
    return _cmocka_run_group_tests(name, tests, count, setup, teardown);
}
