/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The hash table of numbers where it is hardest: many numbers under one hash, neighbouring hashes,
 * and a run of slots that goes on from the last one to the first. Against a model that is an array.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/base/probe.h"

#define HASHES 6
#define NUMBERS 24 /* under each hash */

/* Two homes at the end of the slots, each with a neighbour, and the first ones. */
static const uint32_t hashes[HASHES] = {0xffffffff, 0xfffffffe, 0xffa00000, 0xffa00001, 0, 1};

/* Of the numbers: bit n stands for n + 1. */
static uint32_t under(const struct flowd_probe *probe, uint32_t hash)
{
    size_t cursor = FLOWD_PROBE_BEGIN;
    uint32_t found = 0;
    uint32_t number;

    while ((number = flowd_probe_next(probe, hash, &cursor)) != 0) {
        uint32_t bit = UINT32_C(1) << (number - 1);

        assert_int_equal(found & bit, 0);
        found |= bit;
    }
    return found;
}

static void test_run_that_wraps(void **state)
{
    uint32_t model[HASHES] = {0};
    struct flowd_probe probe;
    uint32_t random = 1;
    int count = 0;

    (void)state;
    assert_int_equal(flowd_probe_init(&probe), 0);
    for (unsigned step = 0; step < 20000; step++) {
        unsigned which;
        uint32_t number, bit;

        random = random * 1664525 + 1013904223;
        which = (random >> 16) % HASHES;
        number = (random >> 24) % NUMBERS + 1;
        bit = UINT32_C(1) << (number - 1);
        if (model[which] & bit) {
            assert_true(flowd_probe_remove(&probe, hashes[which], number));
        } else {
            assert_false(flowd_probe_remove(&probe, hashes[which], number));
            assert_int_equal(flowd_probe_expect(&probe, probe.count + 1), 0);
            flowd_probe_add(&probe, hashes[which], number);
        }
        model[which] ^= bit;
        count += model[which] & bit ? 1 : -1;
        assert_int_equal(probe.count, count);
        for (unsigned i = 0; i < HASHES; i++)
            assert_int_equal(under(&probe, hashes[i]), model[i]);
        assert_int_equal(under(&probe, 2), 0);
    }
    flowd_probe_fini(&probe);
}

static void test_grows(void **state)
{
    struct flowd_probe probe;
    unsigned order;

    (void)state;
    assert_int_equal(flowd_probe_init(&probe), 0);
    order = probe.order;
    for (uint32_t number = 1; number <= 100000; number++) {
        assert_int_equal(flowd_probe_expect(&probe, number), 0);
        flowd_probe_add(&probe, number * 2654435761u, number);
        assert_true(number * 3 <= (UINT64_C(2) << probe.order));
    }
    assert_true(probe.order > order);
    for (uint32_t number = 1; number <= 100000; number++) {
        size_t cursor = FLOWD_PROBE_BEGIN;

        assert_int_equal(flowd_probe_next(&probe, number * 2654435761u, &cursor), number);
        assert_int_equal(flowd_probe_next(&probe, number * 2654435761u, &cursor), 0);
    }
    order = probe.order;
    assert_int_equal(flowd_probe_expect(&probe, SIZE_MAX), -ENOMEM);
    assert_int_equal(probe.order, order);
    assert_int_equal(probe.count, 100000);
    flowd_probe_fini(&probe);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_run_that_wraps),
        cmocka_unit_test(test_grows),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
