/* SPDX-License-Identifier: Apache-2.0 */
/*
 * State files as damage leaves them: ten thousand files, each with some random bits flipped or cut
 * at a random place. No start invents a flow or a tag, and none loses a flow whose record is whole.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "daemon/base/timestamp.h"
#include "daemon/flow/flow_table.h"
#include "lab/sample_flow.h"
#include "lab/scratch.h"
#include "lab/stride.h"

#define FILE_NAME "flows.state"
#define HEADER_SIZE 4096
#define RECORDS 48u
#define FILE_SIZE (HEADER_SIZE + RECORDS * sizeof(struct flowd_flow))
#define DAMAGES 10000

static unsigned char good[FILE_SIZE];
static unsigned char damaged[FILE_SIZE];
static struct scratch scratch;

static struct flowd_flow prototype_of(uint32_t number)
{
    struct flowd_flow flow = sample_flow(number);

    flow.experiment = (uint16_t)(number * 37 % 512);
    flow.activity = (uint8_t)(number % 64);
    flow.flow_label = flowd_flow_label(flow.experiment, flow.activity, (uint8_t)(number % 32));
    snprintf(flow.application, sizeof(flow.application), "application %u", number);
    return flow;
}

static const struct flowd_flow *good_record(uint32_t number)
{
    return (const struct flowd_flow *)(const void *)(good + HEADER_SIZE +
                                                     number * sizeof(struct flowd_flow));
}

/* A file with live flows, some that ended in this turn, free ones and ones that were never used. */
static void make_good_file(void)
{
    struct flowd_flow_table_report report;
    struct flowd_flow_table *table;
    struct flowd_flow *flow;
    int fd;

    assert_int_equal(flowd_flow_table_open(scratch.path, &table, &report, NULL), 0);
    for (uint32_t number = 0; number < RECORDS - 4; number++) {
        struct flowd_flow prototype = prototype_of(number);

        assert_int_equal(flowd_flow_table_add(table, &prototype, &flow), 0);
        flow->directions = (uint8_t)(number % 3);
        flow->backend[0] = (uint8_t)(number % 5);
    }
    for (uint32_t number = 0; number < RECORDS - 4; number += 5) {
        flow = flowd_flow_table_at(table, number);
        flowd_flow_table_end(table, flow);
        if (number % 2 == 0)
            flowd_flow_table_release(table, flow);
    }
    flowd_flow_table_close(table);
    fd = open(scratch_path(&scratch, FILE_NAME), O_RDONLY | O_CLOEXEC);
    assert_true(fd >= 0);
    assert_int_equal(read(fd, good, sizeof(good)), sizeof(good));
    close(fd);
}

/* Everything that the check word covers, and the word. */
static bool is_whole(uint32_t number, size_t size)
{
    static const struct {
        size_t from, to;
    } covered[] = {
        {offsetof(struct flowd_flow, key), offsetof(struct flowd_flow, last_event_us)},
        {offsetof(struct flowd_flow, flow_label), offsetof(struct flowd_flow, state)},
        {offsetof(struct flowd_flow, check), offsetof(struct flowd_flow, older)},
        {offsetof(struct flowd_flow, source), sizeof(struct flowd_flow)},
    };
    size_t at = HEADER_SIZE + number * sizeof(struct flowd_flow);

    if (at + sizeof(struct flowd_flow) > size)
        return false;
    for (size_t i = 0; i < sizeof(covered) / sizeof(covered[0]); i++)
        if (memcmp(good + at + covered[i].from, damaged + at + covered[i].from,
                   covered[i].to - covered[i].from) != 0)
            return false;
    return true;
}

static void assert_same(const struct flowd_flow *flow, const struct flowd_flow *wanted)
{
    assert_int_equal(wanted->state, FLOWD_FLOW_LIVE);
    assert_memory_equal(&flow->key, &wanted->key, sizeof(flow->key));
    assert_true(flow->id == wanted->id);
    assert_true(flow->start_us == wanted->start_us);
    assert_int_equal(flow->flow_label, wanted->flow_label);
    assert_int_equal(flow->experiment, wanted->experiment);
    assert_int_equal(flow->activity, wanted->activity);
    assert_string_equal(flow->source, wanted->source);
    assert_string_equal(flow->application, wanted->application);
    assert_true(flow->last_event_us >= 0 && flow->last_event_us <= flowd_timestamp_boot_us());
}

/* What became of the damaged file, of which size bytes are left. */
static void check_table(const struct flowd_flow_table *table, size_t size, bool state_is_whole)
{
    size_t restored = 0;

    for (uint32_t number = 0; number < RECORDS; number++) {
        const struct flowd_flow *flow = flowd_flow_table_at(table, number);

        if (flow != NULL) {
            assert_same(flow, good_record(number));
            assert_ptr_equal(flowd_flow_table_find(table, &flow->key), flow);
            restored++;
        } else if (good_record(number)->state == FLOWD_FLOW_LIVE && state_is_whole) {
            assert_false(is_whole(number, size));
        }
    }
    assert_int_equal(flowd_flow_table_count(table), restored);
}

static void write_damaged(size_t size)
{
    int fd =
        open(scratch_path(&scratch, FILE_NAME), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);

    assert_true(fd >= 0);
    assert_int_equal(write(fd, damaged, size), size);
    close(fd);
}

static void start_on(size_t size, bool state_is_whole)
{
    struct flowd_flow_table_report report;
    struct flowd_flow_table *table;

    write_damaged(size);
    assert_int_equal(flowd_flow_table_open(scratch.path, &table, &report, NULL), 0);
    check_table(table, size, state_is_whole);
    flowd_flow_table_close(table);
    /* The next start finds what this one left. */
    assert_int_equal(flowd_flow_table_open(scratch.path, &table, &report, NULL), 0);
    check_table(table, size, state_is_whole);
    assert_int_equal(report.damaged, 0);
    assert_string_equal(report.note, "");
    flowd_flow_table_close(table);
}

static void flip(uint32_t *random, size_t from, size_t to)
{
    size_t bit = sample_random(random) % ((to - from) * 8);

    damaged[from + bit / 8] ^= (unsigned char)(1u << bit % 8);
}

/* One bit anywhere, or the file is cut anywhere. */
static void test_single_bits_and_cuts(void **state)
{
    struct stride stride = {0};
    uint32_t random = 1234567;

    (void)state;
    for (int i = 0; i < DAMAGES; i++) {
        size_t size = FILE_SIZE;

        memcpy(damaged, good, sizeof(good));
        if (i % 4 == 0)
            size = sample_random(&random) % FILE_SIZE;
        else
            /* Half of the flips in the header's bytes that say something. */
            flip(&random, i % 4 == 1 ? 0 : HEADER_SIZE, i % 4 == 1 ? 96 : FILE_SIZE);
        if (stride_takes(&stride))
            start_on(size, true);
    }
    stride_say(&stride, "files");
}

/* Many bits of one file: only a state that became another one of those there are may cost a flow.
 */
static void test_many_bits(void **state)
{
    struct stride stride = {0};
    uint32_t random = 7654321;

    (void)state;
    for (int i = 0; i < DAMAGES / 10; i++) {
        memcpy(damaged, good, sizeof(good));
        for (int bit = 0; bit < 200; bit++)
            flip(&random, 0, FILE_SIZE);
        if (stride_takes(&stride))
            start_on(FILE_SIZE, false);
    }
    stride_say(&stride, "files");
}

static int set_up(void **state)
{
    (void)state;
    scratch_make(&scratch);
    (void)scratch_mount_small(&scratch); /* faster, where it may */
    make_good_file();
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    scratch_unmount(&scratch);
    scratch_remove(&scratch);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_single_bits_and_cuts),
        cmocka_unit_test(test_many_bits),
    };

    return cmocka_run_group_tests(tests, set_up, tear_down);
}
