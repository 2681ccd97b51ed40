/* SPDX-License-Identifier: Apache-2.0 */
/*
 * State files of tests: see state_fixture.h.
 */
#include "lab/state_fixture.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "daemon/flow/flow_record.h"
#include "daemon/flow/state_file_header.h"
#include "lab/sample_flow.h"

struct scratch state_scratch;

int state_make_good(void **state)
{
    struct flowd_flow_table_report report;
    struct flowd_flow_table *table;
    struct flowd_flow *flow;

    (void)state;
    scratch_make(&state_scratch);
    assert_int_equal(flowd_flow_table_open(state_scratch.path, &table, &report, NULL), 0);
    for (uint32_t number = 0; number < 3; number++) {
        struct flowd_flow prototype = sample_flow(number);

        assert_int_equal(flowd_flow_table_add(table, &prototype, &flow), 0);
    }
    flowd_flow_table_close(table);
    return 0;
}

int state_remove(void **state)
{
    (void)state;
    scratch_remove(&state_scratch);
    return 0;
}

void state_patch(off_t offset, const void *bytes, size_t length)
{
    int fd = open(scratch_path(&state_scratch, STATE_FILE_NAME), O_RDWR | O_CLOEXEC);

    assert_true(fd >= 0);
    assert_int_equal(pwrite(fd, bytes, length, offset), length);
    close(fd);
}

bool state_exists(const char *name)
{
    return access(scratch_path(&state_scratch, name), F_OK) == 0;
}

struct flowd_flow_table_report state_reopen(void)
{
    struct flowd_flow_table_report report;
    struct flowd_flow_table *table;
    struct flowd_flow prototype = sample_flow(100), *flow;
    struct flowd_error err;
    size_t restored;

    if (flowd_flow_table_open(state_scratch.path, &table, &report, &err) < 0)
        fail_msg("open: %s", err.message);
    restored = report.restored;
    assert_int_equal(flowd_flow_table_add(table, &prototype, &flow), 0);
    flowd_flow_table_close(table);
    assert_int_equal(flowd_flow_table_open(state_scratch.path, &table, &report, &err), 0);
    assert_int_equal(report.restored, restored + 1);
    assert_string_equal(report.set_aside, "");
    flow = flowd_flow_table_find(table, &prototype.key);
    assert_non_null(flow);
    flowd_flow_table_end(table, flow);
    flowd_flow_table_close(table);
    return (struct flowd_flow_table_report){.restored = restored};
}

void state_assert_set_aside(const char *reason)
{
    struct flowd_flow_table_report report;
    struct flowd_flow_table *table;

    assert_int_equal(flowd_flow_table_open(state_scratch.path, &table, &report, NULL), 0);
    flowd_flow_table_close(table);
    assert_int_equal(report.restored, 0);
    if (strstr(report.set_aside, reason) == NULL)
        fail_msg("found \"%s\", wanted \"%s\" in it", report.set_aside, reason);
    assert_true(state_exists(STATE_UNUSABLE_NAME));
    assert_int_equal(state_reopen().restored, 0);
}

static uint64_t seed_of_this_boot(void)
{
    struct flowd_boot boot;

    flowd_boot_read(&boot);
    return flowd_flow_record_seed(boot.id);
}

void state_write_record(uint32_t number, struct flowd_flow flow)
{
    flow.check = flowd_flow_record_check(&flow, seed_of_this_boot());
    flow.state = FLOWD_FLOW_LIVE;
    state_patch((off_t)(FLOWD_STATE_HEADER_SIZE + number * STATE_RECORD_SIZE), &flow, sizeof(flow));
}
