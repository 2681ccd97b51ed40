/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Records of a state file that damage made something else of.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <string.h>

#include "daemon/flow/flow_record.h"
#include "daemon/flow/state_file_header.h"
#include "lab/sample_flow.h"
#include "lab/state_fixture.h"

/* Each row damages the second of the three records; the others stay. */
static const struct {
    const char *what;
    size_t offset;
    uint64_t value;
    size_t size;
} damages[] = {
    {"source port 0", offsetof(struct flowd_flow, key.src_port), 0, 2},
    {"family", offsetof(struct flowd_flow, key.family), 77, 1},
    {"protocol", offsetof(struct flowd_flow, key.protocol), 132, 1},
    {"the key's hole", offsetof(struct flowd_flow, key.zero), 1, 2},
    {"an IPv4 key with bytes behind the address", offsetof(struct flowd_flow, key.family), AF_INET,
     1},
    {"id of another record", offsetof(struct flowd_flow, id), 1ull << 32 | 1, 8},
    {"id 0", offsetof(struct flowd_flow, id), 0, 8},
    {"generation 0", offsetof(struct flowd_flow, id), 2, 8},
    {"start before the epoch", offsetof(struct flowd_flow, start_us), UINT64_MAX, 8},
    {"start past the last year", offsetof(struct flowd_flow, start_us), INT64_MAX, 8},
    {"another start", offsetof(struct flowd_flow, start_us), 1767225600000009, 8},
    {"another tag", offsetof(struct flowd_flow, activity), 18, 1},
    {"another label", offsetof(struct flowd_flow, flow_label), 4, 4},
    {"another path", offsetof(struct flowd_flow, flow_label), 0x80000, 4},
    {"check word", offsetof(struct flowd_flow, check), 7, 4},
    {"source with a quote", offsetof(struct flowd_flow, source), '"', 1},
    {"label of 21 bits", offsetof(struct flowd_flow, flow_label), 0x100000, 4},
    {"experiment", offsetof(struct flowd_flow, experiment), 1024, 2},
    {"activity", offsetof(struct flowd_flow, activity), 64, 1},
    {"no source", offsetof(struct flowd_flow, source), 0, 1},
    {"application that is not UTF-8", offsetof(struct flowd_flow, application), 0xff, 1},
    {"application with a line feed", offsetof(struct flowd_flow, application), '\n', 1},
};

static void test_damaged_records(void **state)
{
    int wrong = 0;

    for (size_t i = 0; i < sizeof(damages) / sizeof(damages[0]); i++) {
        struct flowd_flow_table_report report;
        struct flowd_flow_table *table;

        state_patch((off_t)(FLOWD_STATE_HEADER_SIZE + STATE_RECORD_SIZE + damages[i].offset),
                    &damages[i].value, damages[i].size);
        assert_int_equal(flowd_flow_table_open(state_scratch.path, &table, &report, NULL), 0);
        if (report.restored != 2 || report.damaged != 1 || report.set_aside[0] != '\0') {
            print_error("%s: %zu restored, %zu damaged\n", damages[i].what, report.restored,
                        report.damaged);
            wrong++;
        }
        flowd_flow_table_close(table);
        scratch_remove(&state_scratch);
        state_make_good(state);
    }
    assert_int_equal(wrong, 0);
}

/* The same with a right check word, as only flowd itself could write it: still no flow of its. */
static void test_nonsense_with_check_word(void **state)
{
    int wrong = 0;

    (void)state;
    for (size_t i = 0; i < sizeof(damages) / sizeof(damages[0]); i++) {
        struct flowd_flow flow = sample_flow(1);

        if (strncmp(damages[i].what, "another", 7) == 0 ||
            strcmp(damages[i].what, "check word") == 0)
            continue;
        flow.id = 1ull << 32 | 2;
        assert_true(flowd_flow_record_ok(&flow, 1));
        memcpy((char *)&flow + damages[i].offset, &damages[i].value, damages[i].size);
        if (flowd_flow_record_ok(&flow, 1)) {
            print_error("%s\n", damages[i].what);
            wrong++;
        }
    }
    assert_int_equal(wrong, 0);
}

/* What changes while a flow lives is not covered by the check word, and costs no flow. */
static void test_damaged_passing_members(void **state)
{
    static const struct {
        size_t offset;
        uint64_t value;
        size_t size;
    } rows[] = {
        {offsetof(struct flowd_flow, last_event_us), INT64_MAX, 8},
        {offsetof(struct flowd_flow, last_event_us), UINT64_MAX, 8},
        {offsetof(struct flowd_flow, directions), 0xff, 1},
        /* untold and its neighbours */
        {offsetof(struct flowd_flow, backend) - 1, 0xff, 1},
        {offsetof(struct flowd_flow, backend), 0xff, 1},
        {offsetof(struct flowd_flow, older), UINT32_MAX, 4},
        {offsetof(struct flowd_flow, newer), UINT32_MAX, 4},
        {offsetof(struct flowd_flow, state), FLOWD_FLOW_LIVE ^ 4, 1},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        state_patch((off_t)(FLOWD_STATE_HEADER_SIZE + STATE_RECORD_SIZE + rows[i].offset),
                    &rows[i].value, rows[i].size);
        assert_int_equal(state_reopen().restored, 3);
    }
}

/* A flow that has ended does not live again, whatever its state becomes. */
static void test_ended_stays_ended(void **state)
{
    struct flowd_flow_table_report report;
    struct flowd_flow_table *table;
    struct flowd_flow_key key = sample_key(1);
    struct flowd_flow *flow;

    (void)state;
    for (int released = 0; released < 2; released++) {
        assert_int_equal(flowd_flow_table_open(state_scratch.path, &table, &report, NULL), 0);
        flow = flowd_flow_table_find(table, &key);
        if (flow != NULL)
            flowd_flow_table_end(table, flow);
        if (flow != NULL && released == 1)
            flowd_flow_table_release(table, flow);
        flowd_flow_table_close(table);
        state_patch((off_t)(FLOWD_STATE_HEADER_SIZE + STATE_RECORD_SIZE +
                            offsetof(struct flowd_flow, state)),
                    &(uint8_t){FLOWD_FLOW_LIVE}, 1);
        assert_int_equal(state_reopen().restored, 2);
        scratch_remove(&state_scratch);
        state_make_good(state);
    }
}

static void test_unterminated_texts(void **state)
{
    struct flowd_flow_table_report report;
    struct flowd_flow_table *table;
    char text[FLOWD_SOURCE_SIZE + FLOWD_APPLICATION_SIZE];

    (void)state;
    memset(text, 'a', sizeof(text));
    state_patch((off_t)(FLOWD_STATE_HEADER_SIZE + offsetof(struct flowd_flow, source)), text,
                FLOWD_SOURCE_SIZE);
    state_patch((off_t)(FLOWD_STATE_HEADER_SIZE + 2 * sizeof(struct flowd_flow) +
                        offsetof(struct flowd_flow, application)),
                text, FLOWD_APPLICATION_SIZE);
    assert_int_equal(flowd_flow_table_open(state_scratch.path, &table, &report, NULL), 0);
    assert_int_equal(report.restored, 1);
    assert_int_equal(report.damaged, 2);
    flowd_flow_table_close(table);
}

/* Two live records of one flow, which a kill in a change of tag leaves: the newer one counts. */
static void test_same_key_twice(void **state)
{
    struct flowd_flow_key key = sample_key(0);
    struct flowd_flow flow = sample_flow(0);
    struct flowd_flow_table_report report;
    struct flowd_flow_table *table;

    (void)state;
    flow.id = 1ull << 32 | 2;
    flow.last_event_us++;
    state_write_record(1, flow);
    assert_int_equal(flowd_flow_table_open(state_scratch.path, &table, &report, NULL), 0);
    assert_int_equal(report.restored, 2);
    assert_int_equal(report.damaged, 0);
    assert_int_equal(flowd_flow_index(flowd_flow_table_find(table, &key)), 1);
    flowd_flow_table_close(table);
}

/* A record that has been used 2^32 - 1 times gets another generation that is not 0. */
static void test_last_generation(void **state)
{
    struct flowd_flow_table_report report;
    struct flowd_flow_table *table;
    struct flowd_flow prototype = sample_flow(7), *flow;
    struct flowd_flow last = sample_flow(1);
    uint64_t id = UINT64_MAX << 32 | 2;

    (void)state;
    last.id = id;
    state_write_record(1, last);
    assert_int_equal(flowd_flow_table_open(state_scratch.path, &table, &report, NULL), 0);
    assert_int_equal(report.restored, 3);
    flow = flowd_flow_table_find_id(table, id);
    assert_non_null(flow);
    flowd_flow_table_end(table, flow);
    flowd_flow_table_release(table, flow);
    assert_int_equal(flowd_flow_table_add(table, &prototype, &flow), 0);
    flowd_flow_table_close(table);
    assert_int_equal(flowd_flow_table_open(state_scratch.path, &table, &report, NULL), 0);
    assert_int_equal(report.damaged, 0);
    assert_int_equal(report.restored, 3);
    flowd_flow_table_close(table);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        ON_GOOD_FILE(test_damaged_records),         ON_GOOD_FILE(test_nonsense_with_check_word),
        ON_GOOD_FILE(test_damaged_passing_members), ON_GOOD_FILE(test_ended_stays_ended),
        ON_GOOD_FILE(test_unterminated_texts),      ON_GOOD_FILE(test_same_key_twice),
        ON_GOOD_FILE(test_last_generation),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
