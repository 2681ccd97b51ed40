/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Which flows are shown, against a sorted list of all of them, in whatever order they are seen.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdlib.h>

#include "lab/sample_flow.h"
#include "selection.h"

#define FLOWS 500

static struct selected flows[FLOWS];

static int compare(const void *one, const void *other)
{
    const struct selected *a = one;
    const struct selected *b = other;

    if (a->start_us != b->start_us)
        return a->start_us < b->start_us ? -1 : 1;
    return a->id < b->id ? -1 : a->id > b->id;
}

/* Ids differ, many flows began at the same time, and each has up to series_most series. */
static void make_flows(uint32_t *random, uint32_t series_most)
{
    for (uint32_t i = 0; i < FLOWS; i++)
        flows[i] = (struct selected){.start_us = sample_random(random) % 50,
                                     .id = (uint64_t)sample_random(random) << 16 | i,
                                     .series = sample_random(random) % (series_most + 1)};
}

/* Selects from flows, which are sorted afterwards. */
static void select_flows(struct selection *selection, uint64_t series_max)
{
    *selection = (struct selection){.series_max = series_max};
    for (size_t i = 0; i < FLOWS; i++)
        assert_int_equal(selection_add(selection, &flows[i]), 0);
    qsort(flows, FLOWS, sizeof(flows[0]), compare);
    qsort(selection->flows, selection->count, sizeof(flows[0]), compare);
}

/* The flows that are shown are the first ones, and the numbers are of them and of the others. */
static void assert_first(const struct selection *selection)
{
    uint64_t series = 0, left_out = 0;

    for (size_t i = 0; i < FLOWS; i++) {
        if (i < selection->count) {
            assert_true(selection->flows[i].id == flows[i].id);
            series += flows[i].series;
        } else {
            left_out += flows[i].series;
        }
    }
    assert_true(series <= selection->series_max);
    assert_true(selection->series == series);
    assert_true(selection->left_out == left_out);
}

static void test_everything_fits(void **state)
{
    struct selection selection;
    uint32_t random = 1;

    (void)state;
    make_flows(&random, 40);
    select_flows(&selection, 40 * FLOWS);
    assert_int_equal(selection.count, FLOWS);
    assert_first(&selection);
    assert_true(selection.left_out == 0);
    selection_fini(&selection);
}

static void test_nothing_fits(void **state)
{
    struct selection selection;
    uint32_t random = 2;

    (void)state;
    make_flows(&random, 40);
    for (size_t i = 0; i < FLOWS; i++)
        flows[i].series += 10;
    select_flows(&selection, 9);
    assert_int_equal(selection.count, 0);
    assert_first(&selection);
    selection_fini(&selection);
}

/* Flows of equal size: as many as there is room for, to the last one. */
static void test_equal_flows(void **state)
{
    uint32_t random = 3;

    (void)state;
    for (uint64_t series_max = 0; series_max < 41 * 20; series_max += 7) {
        struct selection selection;

        make_flows(&random, 0);
        for (size_t i = 0; i < FLOWS; i++)
            flows[i].series = 41;
        select_flows(&selection, series_max);
        assert_int_equal(selection.count, series_max / 41);
        assert_first(&selection);
        selection_fini(&selection);
    }
}

static void test_random_flows(void **state)
{
    uint32_t random = 4;

    (void)state;
    for (int i = 0; i < 300; i++) {
        struct selection selection;

        make_flows(&random, 40);
        select_flows(&selection, sample_random(&random) % (20 * FLOWS));
        assert_first(&selection);
        selection_fini(&selection);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_everything_fits),
        cmocka_unit_test(test_nothing_fits),
        cmocka_unit_test(test_equal_flows),
        cmocka_unit_test(test_random_flows),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
