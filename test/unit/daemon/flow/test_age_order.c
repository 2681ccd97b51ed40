/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Numbers come out in the order of their times, however many there are.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdlib.h>

#include "daemon/flow/age_order.h"
#include "lab/sample_flow.h"

static void check_sorted(uint32_t count, uint32_t different)
{
    struct flowd_age_order order = {0};
    int64_t *times = calloc(count > 0 ? count : 1, sizeof(*times));
    bool *taken = calloc(count > 0 ? count : 1, sizeof(*taken));
    uint32_t random = 17 + count;
    int64_t last = INT64_MIN;
    uint32_t number;
    uint32_t seen = 0;

    assert_non_null(times);
    assert_non_null(taken);
    for (uint32_t i = 0; i < count; i++) {
        times[i] = (int64_t)(sample_random(&random) % different) - 5;
        assert_int_equal(flowd_age_order_add(&order, i, times[i]), 0);
    }
    assert_int_equal(flowd_age_order_begin(&order), 0);
    for (; flowd_age_order_take(&order, &number); seen++) {
        assert_in_range(number, 0, count - 1);
        assert_false(taken[number]);
        taken[number] = true;
        assert_true(times[number] >= last);
        last = times[number];
    }
    assert_int_equal(seen, count);
    assert_false(flowd_age_order_take(&order, &number));
    flowd_age_order_fini(&order);
    free(times);
    free(taken);
}

static void test_sorted(void **state)
{
    static const uint32_t counts[] = {0, 1, 2, 4095, 4096, 4097, 8192, 8193, 50000};

    (void)state;
    for (size_t i = 0; i < sizeof(counts) / sizeof(counts[0]); i++) {
        check_sorted(counts[i], 1000000000);
        check_sorted(counts[i], 7);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_sorted)};

    return cmocka_run_group_tests(tests, NULL, NULL);
}
